"""Tells whoever imports a module that needs the extra ``holdfast[testing]`` what is missing."""

from __future__ import annotations

from importlib import import_module

for _name in ("hypothesis", "pytest", "pytest_asyncio"):
    try:
        import_module(_name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"testing with Holdfast needs the package {error.name}: "
            "pip install 'holdfast[testing]'",
            name=error.name,
        ) from None
