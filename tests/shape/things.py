"""What the modules of `repositories/` are made of, found by looking at their globals."""

from __future__ import annotations

import itertools
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from holdfast import repositories
from holdfast.engines.base import Statement
from holdfast.mapping import Mapper
from holdfast.repositories.paging import Listing
from holdfast.repositories.shapes import Records


def modules(package: ModuleType) -> list[ModuleType]:
    found = pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    return [import_module(module.name) for module in found]


AREAS = [m for m in modules(repositories) if any(n.endswith("Repositories") for n in vars(m))]


def _globals(kind: type[Any]) -> list[Any]:
    found = {id(v): v for area in AREAS for v in vars(area).values() if isinstance(v, kind)}
    return list(found.values())


MAPPERS: list[Mapper[BaseModel]] = [r.mapper for r in _globals(Records)] + _globals(Mapper)
LISTINGS: list[Listing[Any]] = _globals(Listing)


def shapes(listing: Listing[Any]) -> Iterator[tuple[tuple[str, ...], bool, bool, bool]]:
    """No filter, each, each two and all; with each of them after, limit and offset, or without."""
    names = tuple(listing._filters)
    for size in sorted({0, min(1, len(names)), min(2, len(names)), len(names)}):
        for used in itertools.combinations(names, size):
            for behind, limited, offset in itertools.product((False, True), repeat=3):
                if not (behind and not listing._order):
                    yield used, behind, limited, offset


def statements() -> dict[str, Statement]:
    """Every statement there can be, by a name that tells it from its siblings."""
    found: dict[str, Statement] = {}
    for statement in _globals(Statement):
        found[statement.name] = statement
    for records in _globals(Records):
        for value in vars(records).values():
            if isinstance(value, Statement):
                found[f"{value.name} (shape)"] = value
    for statement in list(found.values()):
        if statement.confirm is not None:
            found[statement.confirm.name] = statement.confirm
    for listing in LISTINGS:
        for shape in shapes(listing):
            marks = [*shape[0], *itertools.compress(("after", "limit", "offset"), shape[1:])]
            found[f"{listing.name} by {','.join(marks) or 'nothing'}"] = listing._build(*shape)
    return found


STATEMENTS = statements()
