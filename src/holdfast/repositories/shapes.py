"""The shapes that repositories share, each written once.

A shape belongs to a table, not to a session: it is made when the module is imported, and its
methods are handed the repository that calls. So a repository's own module keeps the contract's
names and says only what is special about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from sqlalchemy import Table

from holdfast import checks
from holdfast.engines.base import Statement
from holdfast.mapping import Mapper
from holdfast.repositories.base import Repository, delete_by, insert, select_by, upsert

__all__ = ["AppendOnly", "Keyed", "Records"]

E = TypeVar("E", bound=BaseModel)


class Records(Generic[E]):
    """Rows of one entity."""

    def __init__(
        self,
        table: Table,
        entity: type[E],
        *,
        derived: Mapping[str, Callable[[E], Any]] | None = None,
    ) -> None:
        self.table = table
        self.name = table.name
        self.mapper = Mapper(table, entity, derived=derived)
        self.key: tuple[str, ...] = table.info["key"]

    async def one(self, owner: Repository, statement: Statement, *values: Any) -> E | None:
        """The entity of a point read; ``values`` are checked texts by parameter."""
        names = statement.parameters[1:]
        for name, value in zip(names, values, strict=True):
            checks.not_blank(value, f"{statement.name}: {name}")
        row = await owner._session.get(statement, (owner._tenant, *values))
        return None if row is None else self.mapper.decode(row)

    def by(self, verb: str, *columns: str) -> Statement:
        """A point read by columns that are unique together."""
        return select_by(f"{self.name}.{verb}", self.table, self.mapper.columns, columns)


class Keyed(Records[E]):
    """Rows that are saved again and again under their key (``keep``: but for these columns)."""

    def __init__(
        self,
        table: Table,
        entity: type[E],
        *,
        derived: Mapping[str, Callable[[E], Any]] | None = None,
        keep: tuple[str, ...] = (),
    ) -> None:
        super().__init__(table, entity, derived=derived)
        self._save = upsert(f"{self.name}.save", table, self.mapper.parameters, keep=keep)
        self._get = self.by("get", *self.key)
        self._delete = delete_by(f"{self.name}.delete", table, self.key)

    async def save(self, owner: Repository, entity: E) -> None:
        await owner._session.write(self._save, self.mapper.encode(owner._tenant, entity))

    async def get(self, owner: Repository, *key: str) -> E | None:
        return await self.one(owner, self._get, *key)

    async def delete(self, owner: Repository, *key: str) -> bool:
        for name, value in zip(self.key, key, strict=True):
            checks.not_blank(value, f"{self._delete.name}: {name}")
        return await owner._session.execute(self._delete, (owner._tenant, *key)) > 0


class AppendOnly(Records[E]):
    """Rows that are written once; a second save of a key is `DuplicateRecordError`."""

    def __init__(self, table: Table, entity: type[E]) -> None:
        super().__init__(table, entity)
        self._save = insert(f"{self.name}.save", table, self.mapper.parameters)

    async def save(self, owner: Repository, entity: E) -> None:
        await owner._session.write(self._save, self.mapper.encode(owner._tenant, entity))
