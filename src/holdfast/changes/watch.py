"""Watching: each committed change once, in the order of commits per key."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Table, bindparam, func, literal_column, select

from holdfast import validation
from holdfast.changes.pruning import PRUNED
from holdfast.changes.recorders import CHANNEL
from holdfast.changes.switch import recorded_tables
from holdfast.engines.protocol import QUIET_SECONDS, Engine
from holdfast.errors import (
    ChangesLostError,
    InvalidArgumentError,
    PersistenceConnectionError,
    QueryTimeoutError,
)
from holdfast.schema.changes import changes
from holdfast.storage.functions import json_texts
from holdfast.storage.session import CHUNK, Log, Row, Statement
from holdfast.storage.types import INTEGER, JsonText

__all__ = ["Change", "ChangeKind", "Watch", "watch"]

#: Up to where, the rows up to there, and why what is behind them cannot be had.
_Step = tuple[int | None, Sequence[Row], str | None]


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

    Begins with its first step, or with ``async with``, which also ends it. For one reader at a
    time. A step that is cancelled, or fails, loses nothing, and a cancelled one goes on by itself
    for the next to pick up. So a watch that is left without ``async with`` or `aclose` keeps what
    it has, on PostgreSQL a connection, until the backend disconnects.
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
        self._pending: asyncio.Task[_Step] | None = None
        self._waiting = False
        self._rows: Iterator[Row] = iter(())
        self._upto = after
        self._begun = self._closed = False
        self._check_at = 0.0
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
            if (row := next(self._rows, None)) is not None:
                if (change := self._read(row)) is not None:
                    self._revision = change.revision
                    return change
                self._rows = iter(())
            elif self._lost is not None:
                await self._leave()
                raise ChangesLostError(
                    f"watch: behind revision {self._revision} {self._lost}: "
                    "read everything, then watch anew"
                )
            else:
                self._revision = self._upto
                await self._step()
        raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        """Begin: what is committed from now on will be handed out."""
        if not self._begun and not self._closed:
            try:
                await self._step()
            except asyncio.CancelledError:  # nobody is inside, so nobody will leave
                await self._leave()
                raise
            self._revision = self._upto
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End at once, and give back the connection. Another task's step ends as a loop does."""
        self._closed = True
        await self._leave()

    async def _step(self) -> None:
        """Wait for the pending step, which may be one that was left by a cancelled wait."""
        if self._waiting:
            raise InvalidArgumentError(
                "watch: another task waits for the next change: make a watch for each reader"
            )
        if self._pending is None:
            self._pending = asyncio.create_task(self._take())
            self._pending.add_done_callback(_look_at_error)
        pending, self._waiting = self._pending, True
        try:
            await asyncio.wait([pending])
        finally:
            self._waiting = False
        self._pending = None
        if not self._closed:
            self._upto, rows, self._lost = pending.result()
            self._rows = iter(rows)
            self._begun = True

    async def _leave(self) -> None:
        if self._pending is not None:
            self._pending.cancel()
            await asyncio.wait([self._pending])
            self._pending = None
        await self._end()

    async def _end(self) -> None:
        steps, self._steps, self._check_at = self._steps, None, 0.0
        if steps is not None:
            await steps.aclose()

    async def _take(self) -> _Step:
        """Make the next step; the first one begins. One that fails leaves everything as it was."""
        try:
            engine = self._engine()
            if self._steps is None:
                return await self._begin(engine)
            upto, rows = await anext(self._steps)
            return upto, rows, await self._why_lost(engine)
        except ChangesLostError as error:
            await self._end()
            return self._upto, (), str(error)
        except BaseException:
            await self._end()
            raise

    async def _begin(self, engine: Engine) -> _Step:
        if not self._begun:
            await self._check(engine)
        names = json.dumps([*(table.name for table in self._tables), ""])
        self._steps = engine.follow(LOG, self._tenant, names, after=self._upto, pause=self._pause)
        upto = self._upto
        if upto is None:
            upto, _ = await anext(self._steps)
        # Also at once: a note on what was switched off meanwhile may be before our place.
        return upto, (), await self._why_lost(engine)

    async def _check(self, engine: Engine) -> None:
        if (name := await self._unrecorded(engine)) is not None:
            raise InvalidArgumentError(
                f"watch: changes of {name} are not recorded: switch that on with "
                f"await backend.record_changes(backend.{name})"
            )
        if self._upto is not None:
            row = await engine.get(LOG.newest, (self._tenant,))
            newest = (row[0] if row is not None else None) or 0
            if self._upto > newest:
                raise InvalidArgumentError(
                    "watch: after is larger than any revision of this tenant in this database"
                )

    async def _why_lost(self, engine: Engine) -> str | None:
        """Look, from time to time, whether everything is recorded still.

        A table that was dropped leaves no note, nor does switching off for a tenant whom neither
        the table nor the log knew.
        """
        now = asyncio.get_running_loop().time()
        if now < self._check_at:
            return None
        self._check_at = now + QUIET_SECONDS
        # The way there may be blocked for a while: it is enough to look the next time.
        with suppress(PersistenceConnectionError, QueryTimeoutError):
            if (name := await self._unrecorded(engine)) is not None:
                return f"the recording of {name} was switched off, or the table is gone"
        return None

    async def _unrecorded(self, engine: Engine) -> str | None:
        known = await recorded_tables(engine)
        return next((table.name for table in self._tables if table.name not in known), None)

    def _read(self, row: Row) -> Change | None:
        """The change, or nothing if the row says that others are not here any more."""
        revision, table, key, kind = row
        with suppress(ValueError):
            return Change(table, ChangeKind(kind), tuple(json.loads(key, strict=False)), revision)
        self._lost = (
            "changes were deleted before they were read"
            if kind == PRUNED
            else f"the recording of {table} was switched off, or on again"
        )
        return None


def _look_at_error(step: asyncio.Task[_Step]) -> None:
    """A step that nobody picks up any more must not be logged as forgotten."""
    if not step.cancelled():
        step.exception()


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
    if after is not None and validation.integer(after, "watch: after") < 0:
        raise InvalidArgumentError("watch: after is a revision, which is not negative")
    if validation.amount(pause, "watch: pause") == 0:
        raise InvalidArgumentError("watch: pause must be more than 0 seconds")
    return Watch(engine, tenant, tables, after, pause)
