"""Following a log on PostgreSQL, where a smaller number may appear after a larger one.

A transaction takes its numbers when it writes and shows them when it commits, so rows appear out
of order, and a reader that only asks for what is behind its place loses those that come late. What
does hold: two changes of one row are numbered in the order of their commits, because the number
is taken while the row is locked. So a reader needs to know up to where nothing can appear any more.
It finds out in three steps:

1. It reads the largest number that is visible, the goal.
2. After that it reads who holds the lock that an insert into the log takes on the table. Whoever
   has a number up to the goal took the lock before it took the number, and keeps it to its end: it
   is among the holders, or has ended. Who comes later gets larger numbers. Ended means visible:
   PostgreSQL shows a transaction's rows before it gives its locks back.
3. When none of these holders is left, all rows up to the goal are visible to any later snapshot.
   Only then they are read.

Savepoints change nothing: rolled back, they give up the lock with rows that never appear. Prepared
transactions, whose locks change their holder's name, are none of these: PostgreSQL prepares no
transaction that has notified, and who records notifies.

Neither of two simpler ways works. The bounds of a snapshot say nothing about transactions that
have an id but come after the last one that ended: ``xmin = xmax`` while one of them is under way.
And ids are not in the order of commits: an older transaction may write a row after a younger one.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg

from holdfast.config import PostgresConfig
from holdfast.engines.affinity import disconnected
from holdfast.engines.postgres.connection import Known, PooledConnection, open_connection
from holdfast.engines.postgres.errors import translate
from holdfast.engines.postgres.executor import Executor
from holdfast.engines.protocol import QUIET_SECONDS
from holdfast.engines.transactions import Kind
from holdfast.errors import ChangesLostError, PersistenceConnectionError, QueryTimeoutError
from holdfast.storage.session import CHUNK, Log, Row, Statement

__all__ = ["Follower"]

logger = logging.getLogger("holdfast.postgres")

#: Between two looks at transactions that are under way, and between two attempts to connect.
_SETTLING = (0.005, 0.1)
_AWAY = (0.05, 2.0)
#: Numbers that are read at a time. Rows of other tables among them may be more than the statement's
#: deadline allows to read through: then it is halved.
_SPAN = 2**63

_HOLDERS = """
SELECT virtualtransaction FROM pg_locks
WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND relation = (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE nspname = $1::text AND relname = $2::text)
"""


class Follower:
    """One reader of a log, on a connection of its own."""

    def __init__(
        self,
        config: PostgresConfig,
        known: Known,
        executor: Executor,
        log: Log,
        tenant: str,
        names: str,
        after: int | None,
    ) -> None:
        self._config = config
        self._known = known
        self._executor = executor
        self._log = log
        self._tenant = tenant
        self._names = names
        #: Everything up to here was answered; up to ``settled`` it can be read.
        self._cursor = self._settled = after
        self._goal: int | None = None
        self._span = _SPAN
        self._holders: set[str] | None = None
        self._connection: PooledConnection | None = None
        self._woken = asyncio.Event()
        self._stopped = False

    async def steps(self) -> AsyncIterator[tuple[int, Sequence[Row]]]:
        """See `holdfast.engines.protocol.Engine.follow`."""
        try:
            while True:
                yield await self._next()
        finally:
            self._drop()

    def stop(self) -> None:
        """End the steps with `PersistenceConnectionError`."""
        self._stopped = True
        self._woken.set()
        self._drop()

    async def _next(self) -> tuple[int, Sequence[Row]]:
        settling, away = _SETTLING[0], _AWAY[0]
        now = asyncio.get_running_loop().time
        quiet = now() + QUIET_SECONDS
        while True:
            try:
                self._woken.clear()  # before looking: what comes meanwhile wakes us again
                step = await self._look(await self._listening())
            except (PersistenceConnectionError, QueryTimeoutError) as error:
                self._drop()
                if self._stopped or self._known.opened.abandoned:
                    raise disconnected() from error
                if self._known.sessionless:
                    raise  # no waiting mends that
                if away == _AWAY[0]:
                    logger.warning(
                        "watching goes on when PostgreSQL answers again: %s",
                        error,
                        extra={"error": type(error).__name__},
                    )
                await self._wait(away * random.uniform(0.5, 1.0))  # noqa: S311
                away = min(away * 2, _AWAY[1])
                continue
            away = _AWAY[0]
            if step is not None:
                return step
            if self._cursor is not None and now() >= quiet:
                return self._cursor, ()
            if self._goal is None:
                # Not longer: a connection may be dead without anybody having said so.
                await self._wait(quiet - now())
            else:  # what we wait for tells nobody when it ends
                await asyncio.sleep(settling)
                settling = min(settling * 2, _SETTLING[1])

    async def _look(self, connection: PooledConnection) -> tuple[int, Sequence[Row]] | None:
        """The next step, if it can be made."""
        if self._settled == self._cursor:
            if not await self._settle(connection):
                return None
            if self._cursor is None:
                self._cursor = self._settled or 0
                return self._cursor, ()
        after = self._cursor or 0
        upto = min(self._settled or 0, after + self._span)
        try:
            rows = await self._read(connection, self._log.piece, self._names, after, upto)
        except QueryTimeoutError:
            self._span = max(1, (upto - after) // 2)
            raise
        self._span = min(self._span * 2, _SPAN)
        self._cursor = rows[-1][0] if len(rows) == CHUNK else upto
        return self._cursor, rows

    async def _settle(self, connection: PooledConnection) -> bool:
        """Whether there is something new below which nothing can appear any more."""
        if self._goal is None:
            newest = (await self._read(connection, self._log.newest))[0][0] or 0
            if self._cursor is not None and newest < self._cursor:
                raise ChangesLostError("the log was made anew, or lost its end in a crash")
            if newest == self._cursor:
                return False
            self._goal, self._holders = newest, None
        table = self._log.piece.table.name
        place = (self._config.schema_name, table)
        found = {row[0] for row in await self._executor.query(connection, _HOLDERS, place)}
        self._holders = found if self._holders is None else self._holders & found
        if self._holders:
            return False
        self._settled, self._goal = self._goal, None
        return True

    async def _read(
        self, connection: PooledConnection, statement: Statement, *arguments: Any
    ) -> Sequence[Row]:
        rows: Sequence[Row] = await self._executor.run(
            connection, Kind.FETCH, statement, (self._tenant, *arguments)
        )
        return rows

    async def _listening(self) -> PooledConnection:
        """The connection. What was committed before it listened, the next look finds."""
        if self._stopped:
            raise disconnected()
        if self._connection is None:
            raw = await open_connection(self._config, self._known, direct=True, bounded=True)
            self._connection = PooledConnection(raw, float("inf"), keep=2)
            # Who held what is forgotten: after a restart the names begin anew.
            self._goal = self._holders = None
            raw.add_termination_listener(self._wake)
            try:
                async with asyncio.timeout(self._config.connect_timeout_seconds):
                    await raw.add_listener(self._log.channel, self._wake)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                raise translate(error, None) from error
            if self._stopped:
                raise disconnected()
        return self._connection

    def _wake(self, *_: Any) -> None:
        self._woken.set()

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.raw.terminate()
            self._connection = None
