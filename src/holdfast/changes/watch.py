"""Watching: each committed change once, in the order of commits per key."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Table, bindparam, func, literal_column, select

from holdfast import checks
from holdfast.changes.pruning import PRUNED
from holdfast.changes.switch import recorded_tables
from holdfast.engines.base import CHUNK, Engine, Log, Row, Statement
from holdfast.errors import ChangesLostError, InvalidArgumentError
from holdfast.schema.changes import changes
from holdfast.schema.functions import json_texts
from holdfast.schema.recorders import CHANNEL
from holdfast.schema.types import INTEGER, JsonText

__all__ = ["Change", "ChangeKind", "Watch", "watch"]


class ChangeKind(StrEnum):
    """What was done to a record. Saving one again is an update, also if nothing differs."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Change:
    """A committed change of one record.

    ``table`` is where the record is, ``key`` the texts of its key's columns. ``revision`` grows
    from one change of a tenant to the next, with gaps.
    """

    table: str
    kind: ChangeKind
    key: tuple[str, ...]
    revision: int


class Watch:
    """Changes of one tenant: ``async for change in watch``; it never ends by itself.

    Begins with its first step, or with ``async with``, which also ends it. A step that is
    cancelled or fails loses nothing: the next one goes on behind the last change.
    """

    def __init__(
        self,
        engine: Callable[[], Engine],
        tenant: str,
        tables: Sequence[Table],
        after: int | None,
        pause: float,
    ) -> None:
        self._engine = engine
        self._tenant = tenant
        self._tables = tables
        self._revision = after
        self._pause = pause
        self._steps: Any = None
        self._rows: Iterator[Row] = iter(())
        self._upto: int | None = after
        self._closed = False
        self._lost: str | None = None

    @property
    def revision(self) -> int | None:
        """Changes up to here were handed out: ``after`` for a watch that goes on from here.

        ``None`` before the watch has begun.
        """
        return self._revision

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        while not self._closed:
            if self._lost is not None:
                await self._leave()
                raise ChangesLostError(self._lost)
            for row in self._rows:
                if (change := self._read(row)) is None:
                    break
                self._revision = change.revision
                return change
            else:
                self._revision = self._upto
                await self._step()
        raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        """Begin: what is committed from now on will be handed out."""
        if self._steps is None:
            await self._begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End at once, and give back the connection."""
        self._closed = True
        await self._leave()

    async def _leave(self) -> None:
        if self._steps is not None:
            steps, self._steps = self._steps, None
            await steps.aclose()

    async def _begin(self) -> None:
        engine = self._engine()
        known = await recorded_tables(engine)
        for table in self._tables:
            if table.name not in known:
                raise InvalidArgumentError(
                    f"watch: changes of {table.name} are not recorded: switch that on with "
                    f"await backend.record_changes(backend.{table.name})"
                )
        if self._revision is not None:
            row = await engine.get(LOG.newest, (self._tenant,))
            newest = (row[0] if row is not None else None) or 0
            if self._revision > newest:
                raise InvalidArgumentError(
                    "watch: after is larger than any revision of this tenant in this database"
                )
        names = json.dumps([*(table.name for table in self._tables), ""])
        steps: AsyncIterator[tuple[int, Sequence[Row]]] = engine.follow(
            LOG, self._tenant, names, after=self._revision, pause=self._pause
        )
        self._steps = steps
        if self._revision is None:
            await self._step()
            self._revision = self._upto

    async def _step(self) -> None:
        if self._steps is None:
            await self._begin()
        try:
            self._upto, rows = await anext(self._steps)
        except BaseException:
            # Ended by it. Before anything was read of this step, so a new one misses nothing.
            self._steps = None
            raise
        self._rows = iter(rows)

    def _read(self, row: Row) -> Change | None:
        """The change, or nothing if the row says that others are not here any more."""
        revision, table, key, kind = row
        with suppress(ValueError):
            return Change(table, ChangeKind(kind), tuple(json.loads(key, strict=False)), revision)
        what = (
            "changes were deleted before they were read"
            if kind == PRUNED
            else f"the recording of {table} was switched off, or on again"
        )
        self._lost = (
            f"watch: behind revision {self._revision} {what}: read everything, then watch anew"
        )
        return None


_after, _upto = (bindparam(name, type_=INTEGER) for name in ("after", "upto"))
_tenant = changes.c.tenant == bindparam("tenant", type_=changes.c.tenant.type)
_names = json_texts(bindparam("names", type_=JsonText()), "name")

#: The log as engines follow it. Notes on pruning, of no table, come with every piece.
LOG = Log(
    Statement("changes.newest", select(func.max(changes.c.revision)).where(_tenant), ("tenant",),
              changes),
    Statement(
        "changes.piece",
        select(changes.c.revision, changes.c.table_name, changes.c.key, changes.c.kind)
        .where(
            _tenant,
            changes.c.revision > _after,
            changes.c.revision <= _upto,
            changes.c.table_name.in_(select(_names.c.value)),
        )
        .order_by(changes.c.revision)
        .limit(literal_column(str(CHUNK))),
        ("tenant", "names", "after", "upto"),
        changes,
    ),
    CHANNEL,
)  # fmt: skip


def watch(
    engine: Callable[[], Engine],
    tenant: str,
    tables: Sequence[Table],
    after: int | None,
    pause: float,
) -> Watch:
    """See `holdfast.backend.PersistenceBackend.watch`."""
    if after is not None and checks.integer(after, "watch: after") < 0:
        raise InvalidArgumentError("watch: after is a revision, which is not negative")
    if not pause > 0:
        raise InvalidArgumentError("watch: pause must be more than 0 seconds")
    return Watch(engine, tenant, tables, after, pause)
