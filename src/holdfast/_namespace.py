"""The sorted ``__all__`` of a package that collects the names of its modules."""

from __future__ import annotations

from types import ModuleType
from typing import Any

__all__ = ["publish"]


def publish(namespace: dict[str, Any]) -> None:
    """Make ``__all__`` of every name so far but modules and those that begin with ``_``.

    So a new entity needs no list but that of its own module. Not an assignment: type checkers
    know the names from the star imports, and would believe a list they cannot compute.
    """
    namespace["__all__"] = sorted(
        name
        for name, value in namespace.items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    )
