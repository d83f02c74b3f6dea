"""Where an organisation lives: one ``MetaData``, tables only, no statements."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from holdfast.storage.tables import metadata

__all__ = ["metadata"]

# Every module here declares tables; importing the package declares them all.
for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
