"""Tables and repositories from outside of Holdfast, as one thing to attach to a backend."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, Table

from holdfast.errors import InvalidArgumentError
from holdfast.migrations import HOLDFAST, Chain
from holdfast.storage.mapping import MAPPERS
from holdfast.storage.repository import Repository
from holdfast.storage.tables import TENANT
from holdfast.storage.types import unstorable

__all__ = ["Extension", "attached"]

#: What is left of PostgreSQL's 63 characters beside `_VERSION_TABLE`.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_VERSION_TABLE = "holdfast_revision_"


@dataclass(frozen=True, eq=False)
class Extension:
    """An application's own tables, their repositories and the migrations that make them.

    ``metadata`` comes from `new_metadata`, its tables from `store_table`. ``migrations`` is the
    directory of the revisions or the package that is one; it may be empty at first:
    ``holdfast revision`` writes into it. How far a database is, it notes in the table
    ``holdfast_revision_<name>``, so the name stays.

    `InvalidArgumentError` for a name, table or repository that does not fit.
    """

    name: str
    metadata: MetaData
    repositories: tuple[type[Repository], ...]
    migrations: Path | str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(str(self.name)):
            raise InvalidArgumentError(
                f"the extension's name {self.name!r} must be 1 to 40 of a-z, 0-9 and _, and begin "
                "with a letter: it is a part of a table's name"
            )
        object.__setattr__(self, "repositories", tuple(self.repositories))
        for problem in self._problems():
            raise InvalidArgumentError(f"extension {self.name}: {problem}")

    @cached_property
    def chain(self) -> Chain:
        """Its revisions, which are run behind Holdfast's."""
        return Chain(self.name, self.metadata, self._folder(), f"{_VERSION_TABLE}{self.name}")

    def _folder(self) -> Path:
        if isinstance(self.migrations, Path):
            return self.migrations.absolute()
        spec = find_spec(self.migrations)
        places = list(spec.submodule_search_locations or ()) if spec is not None else []
        return Path(places[0]) if places else Path(self.migrations)

    def _problems(self) -> Iterator[str]:
        if self.name == HOLDFAST.name:
            yield "this name is Holdfast's own"
        tables = self.metadata.tables
        if self.metadata is HOLDFAST.metadata or not tables:
            yield "it needs tables of its own: store_table(..., metadata=new_metadata())"
        for table in tables.values():
            yield from _of_table(table)
        for name in sorted(_names(self.metadata) & _names(HOLDFAST.metadata)):
            yield f"Holdfast has a table or index {name!r} already; choose another name"
        for kind in self.repositories:
            yield from self._of_repository(kind)
        if not self._folder().is_dir():
            yield f"there is no directory or package {self.migrations} for its migrations"

    def _of_repository(self, kind: Any) -> Iterator[str]:
        if not (isinstance(kind, type) and issubclass(kind, Repository)):
            yield f"{kind!r} is no class derived from Repository"
        table = getattr(kind, "table", None)
        if not isinstance(table, Table) or table.metadata is not self.metadata:
            yield f"{kind.__name__}.table is not in the extension's metadata"


def _of_table(table: Table) -> Iterator[str]:
    if table.name.startswith(_VERSION_TABLE.rstrip("_")):
        yield f"a table must not be named {table.name!r}: this is where Alembic counts"
    key = [column.name for column in table.primary_key]
    if key[:1] != [TENANT] or tuple(key[1:]) != table.info.get("key"):
        yield f"the key of {table.name} must begin with the tenant: make it with store_table"
    yield from unstorable(table)
    for mapper in MAPPERS:
        if mapper.table is table and (lost := mapper.without_column):
            yield f"{table.name} has no column for {mapper.entity.__name__}.{', '.join(lost)}"


def _names(metadata: MetaData) -> set[str]:
    """Of all that shares one space of names in a PostgreSQL schema."""
    indexes = {str(index.name) for table in metadata.tables.values() for index in table.indexes}
    return {*metadata.tables, *indexes}


def attached(extensions: Iterable[Any]) -> tuple[Extension, ...]:
    """The extensions of one backend; `InvalidArgumentError` if two of them do not go together."""
    found: list[Extension] = []
    for extension in extensions:
        if not isinstance(extension, Extension):
            raise InvalidArgumentError(f"extensions: {type(extension).__name__} is no Extension")
        for table in extension.metadata.tables.values():
            for problem in unstorable(table):  # of a column that was added since
                raise InvalidArgumentError(f"extension {extension.name}: {problem}")
        for other in found:
            if other.name == extension.name:
                raise InvalidArgumentError(f"extensions: {other.name!r} is there twice")
            for name in sorted(_names(other.metadata) & _names(extension.metadata)):
                raise InvalidArgumentError(
                    f"extensions: {other.name!r} and {extension.name!r} both have a table or "
                    f"index {name!r}"
                )
        found.append(extension)
    return tuple(found)
