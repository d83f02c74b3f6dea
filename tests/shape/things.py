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
from holdfast.storage.listing import Listing
from holdfast.storage.mapping import Mapper
from holdfast.storage.records import Records
from holdfast.storage.session import Statement


def modules(package: ModuleType) -> list[ModuleType]:
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return [import_module(module.name) for module in found]


MODULES = modules(repositories)
AREAS = [m for m in MODULES if any(n.endswith("Repositories") for n in vars(m))]


def _globals(kind: type[Any]) -> list[Any]:
    values = [value for module in MODULES for value in vars(module).values()]
    values += [value for table in values if isinstance(table, dict) for value in table.values()]
    return list({id(value): value for value in values if isinstance(value, kind)}.values())


RECORDS: list[Records[BaseModel]] = _globals(Records)
MAPPERS: list[Mapper[BaseModel]] = [r.mapper for r in RECORDS] + _globals(Mapper)
LISTINGS: list[Listing[Any]] = _globals(Listing) + [
    part for records in RECORDS for part in vars(records).values() if isinstance(part, Listing)
]


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
        twins = sum(name.partition(" #")[0] == statement.name for name in found)
        found[f"{statement.name} #{twins + 1}" if twins else statement.name] = statement
    for records in RECORDS:
        for value in vars(records).values():
            if isinstance(value, Statement):
                found[f"{value.name} (shape)"] = value
    for statement in list(found.values()):
        if statement.confirm is not None:
            found[statement.confirm.name] = statement.confirm
    for listing in LISTINGS:
        if set(listing._order) > set(listing.key):  # otherwise the key is the place
            found[f"{listing.place.name} of {len(found)}"] = listing.place
        for shape in shapes(listing):
            marks = [*shape[0], *itertools.compress(("after", "limit", "offset"), shape[1:])]
            name = f"{listing.name} by {','.join(marks) or 'nothing'}"
            while name in found:  # one method may have two listings
                name += " again"
            found[name] = listing._build(*shape)
    return found


STATEMENTS = statements()
