"""The shapes that repositories share, each written once.

A shape belongs to a table, not to a session: it is made when the module is imported, and its
methods are handed the repository that calls. So a repository's own module keeps the contract's
names and says only what is special about it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from sqlalchemy import Table, func

from holdfast import validation
from holdfast.storage.listing import EntityListing, Listing
from holdfast.storage.mapping import Mapper
from holdfast.storage.moments import next_moment
from holdfast.storage.reading import entity
from holdfast.storage.repository import Repository
from holdfast.storage.session import Row, Session, Statement
from holdfast.storage.statements import (
    delete_by,
    insert,
    insert_if_absent,
    select_by,
    update_by,
    upsert,
)
from holdfast.storage.tables import SAVED_ORDER

__all__ = ["AppendOnly", "History", "Keyed", "Records", "Revised"]

E = TypeVar("E", bound=BaseModel)


class Records(Generic[E]):
    """Rows of one entity; a column made by `saved_order` is filled when a row is saved first."""

    def __init__(
        self,
        table: Table,
        entity: type[E],
        *,
        derived: Mapping[str, Callable[[E], Any]] | None = None,
    ) -> None:
        self.table = table
        self.name = table.name
        saved = {SAVED_ORDER: lambda _: next_moment()} if SAVED_ORDER in table.c else {}
        self.mapper = Mapper(table, entity, derived={**saved, **(derived or {})})
        self.key: tuple[str, ...] = table.info["key"]

    # Not `async` where something is only handed on: a coroutine less on the way of every call.

    def one(
        self, owner: Repository, statement: Statement, *values: Any
    ) -> Coroutine[Any, Any, E | None]:
        """Return the entity of a point read; ``None`` if no row matches."""
        for place, value in enumerate(values, start=1):
            if not validation.is_plain(value):
                validation.not_blank(value, f"{statement.name}: {statement.parameters[place]}")
        return entity(owner._session, statement, (owner._tenant, *values), self.decode, owner)

    async def drop(self, owner: Repository, statement: Statement, *key: str) -> bool:
        """Delete by key with this statement; False if there was no such row."""
        for name, value in zip(self.key, key, strict=True):
            validation.not_blank(value, f"{statement.name}: {name}")
        return await owner._session.execute(statement, (owner._tenant, *key)) > 0

    async def encode(self, owner: Repository, entity: E) -> tuple[Any, ...]:
        """Return the arguments of a statement that saves the entity."""
        return await owner._bound(self.mapper).encoded(owner._tenant, entity)

    def decode(self, owner: Repository, row: Row, *, patient: bool = True) -> E:
        """Return the entity of a row, of the application's class where one is bound."""
        return owner._bound(self.mapper).decode(row, patient=patient)

    def both(self, owner: Repository, row: Row) -> tuple[E, E]:
        """Return Holdfast's entity of a row, and that of the application's class for it."""
        bound, entity = owner._bound(self.mapper), self.mapper.decode(row)
        return entity, entity if bound is self.mapper else bound.decode(row)

    def by(self, verb: str, *columns: str) -> Statement:
        """Make a point read by columns that are unique together."""
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
        keep = (*keep, SAVED_ORDER)
        self._save = upsert(f"{self.name}.save", table, self.mapper.parameters, keep=keep)
        self._get = self.by("get", *self.key)
        self._delete = delete_by(f"{self.name}.delete", table, self.key)

    def save(self, owner: Repository, entity: E) -> Coroutine[Any, Any, None]:
        """Insert the entity, or replace the row with its key."""
        return owner._bound(self.mapper).write(owner._session, self._save, owner._tenant, entity)

    async def save_many(self, owner: Repository, entities: Iterable[E]) -> None:
        """Save all entities or, on an error, none; of equal keys the last."""
        rows = [await self.encode(owner, entity) for entity in entities]
        # In key order, so that two callers with the same keys cannot deadlock.
        places = [self.mapper.parameters.index(name) for name in self.key]
        rows.sort(key=lambda row: [row[place] for place in places])

        async def save_all(session: Session) -> None:
            for row in rows:
                await session.write(self._save, row)

        await owner._session.atomically(save_all)

    def get(self, owner: Repository, *key: str) -> Coroutine[Any, Any, E | None]:
        """Return the entity with this key; ``None`` if there is none."""
        return self.one(owner, self._get, *key)

    async def delete(self, owner: Repository, *key: str) -> bool:
        """Delete the row with this key; False if there is none."""
        return await self.drop(owner, self._delete, *key)


class AppendOnly(Records[E]):
    """Rows that are written once; a second save of a key is `DuplicateRecordError`."""

    def __init__(
        self,
        table: Table,
        entity: type[E],
        *,
        derived: Mapping[str, Callable[[E], Any]] | None = None,
    ) -> None:
        super().__init__(table, entity, derived=derived)
        self._save = insert(f"{self.name}.save", table, self.mapper.parameters)
        self._get = self.by("get", *self.key)

    def save(self, owner: Repository, entity: E) -> Coroutine[Any, Any, None]:
        """Insert the entity; `DuplicateRecordError` if its key is taken."""
        return owner._bound(self.mapper).write(owner._session, self._save, owner._tenant, entity)

    def get(self, owner: Repository, *key: str) -> Coroutine[Any, Any, E | None]:
        """Return the entity with this key; ``None`` if there is none."""
        return self.one(owner, self._get, *key)


class Revised(Records[E]):
    """Rows whose ``version`` counts their changes: 1 when made, one more with each update.

    An update is written over the version before its own and over nothing else (optimistic
    concurrency), and leaves the columns to ``keep`` as they are.
    """

    def __init__(self, table: Table, entity: type[E], *, keep: tuple[str, ...] = ()) -> None:
        super().__init__(table, entity)
        parameters = self.mapper.parameters
        self.insert = insert(f"{self.name}.save", table, parameters)
        self._insert_if_absent = insert_if_absent(f"{self.name}.save (new)", table, parameters)
        self._update = update_by(
            f"{self.name}.save (next)", table, parameters, keep=keep, previous="version"
        )
        self._changed = [place for place, name in enumerate(parameters) if name not in keep]
        self._version = parameters.index("version")
        self._get = self.by("get", *self.key)
        self._delete = delete_by(f"{self.name}.delete", table, self.key)

    async def create(self, session: Session, arguments: tuple[Any, ...]) -> bool:
        """Insert what `encode` made; False, and nothing is written, if the key is taken."""
        return await session.execute(self._insert_if_absent, arguments) > 0

    async def replace(self, session: Session, arguments: tuple[Any, ...]) -> bool:
        """Update to what `encode` made; False, and nothing is written, unless the version before
        is what is stored."""
        changed = [arguments[place] for place in self._changed]
        changed.append(arguments[self._version] - 1)
        return await session.execute(self._update, tuple(changed)) > 0

    async def get(self, owner: Repository, *key: str) -> E | None:
        """Return the entity with this key; ``None`` if there is none."""
        return await self.one(owner, self._get, *key)

    async def delete(self, owner: Repository, *key: str) -> bool:
        """Delete the row with this key; False if there is none."""
        return await self.drop(owner, self._delete, *key)


class History(Records[E]):
    """Numbered, unchanging snapshots of things: rows by (``entity_id``, ``version``)."""

    def __init__(self, table: Table, entity: type[E]) -> None:
        super().__init__(table, entity)
        of_entity = {"entity_id": ("entity_id", operator.eq)}
        self._add = insert_if_absent(f"{self.name}.save_version", table, self.mapper.parameters)
        self._forget = delete_by(f"{self.name}.delete_versions_for_entity", table, ("entity_id",))
        #: Of one thing, the highest version first.
        self.list = EntityListing(
            f"{self.name}.list_versions",
            self.mapper,
            order=("entity_id", "version"),
            descending=True,
            filters={
                **of_entity,
                "version": ("version", operator.eq),
                "content_hash": ("content_hash", operator.eq),
            },
        )
        self._count = Listing(
            f"{self.name}.count_versions",
            table,
            (func.count().label("versions"),),
            lambda row: int(row[0]),
            order=(),
            filters=of_entity,
        )

    async def add(self, owner: Repository, entity: E) -> bool:
        """Insert a version; False, and nothing is written, if the pair is taken."""
        return await owner._session.execute(self._add, await self.encode(owner, entity)) > 0

    async def count_of(self, owner: Repository, entity_id: str) -> int:
        """Count the versions of one entity."""
        filters = {"entity_id": validation.not_blank(entity_id, f"{self._count.name}: entity_id")}
        return (await self._count.fetch(owner, filters, limit=1))[0]

    async def forget(self, owner: Repository, entity_id: str) -> int:
        """Delete every version of one entity, and return how many."""
        validation.not_blank(entity_id, f"{self._forget.name}: entity_id")
        return await owner._session.execute(self._forget, (owner._tenant, entity_id))
