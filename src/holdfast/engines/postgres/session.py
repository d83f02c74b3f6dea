"""A pooled connection, lent to one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, TypeVar

import asyncpg

from holdfast.engines.compiler import CompiledStatement
from holdfast.engines.postgres.connection import PooledConnection
from holdfast.engines.postgres.errors import is_undecodable
from holdfast.engines.postgres.executor import Executor, readable
from holdfast.engines.postgres.pool import Pool
from holdfast.engines.postgres.replication.recent_writes import Pending
from holdfast.engines.transactions import Kind
from holdfast.errors import QueryError
from holdfast.storage.session import CHUNK, Row, Statement

__all__ = ["SNAPSHOT", "ConnectionSession"]

T = TypeVar("T")

#: Begins a read whose rows can be asked for again.
SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
#: How long a rollback may take before ending the session does it.
ROLLBACK_SECONDS = 2.0


class ConnectionSession:
    """See `holdfast.engines.transactions.LentSession`."""

    def __init__(
        self,
        executor: Executor,
        pool: Pool,
        connection: PooledConnection,
        begin_sql: str,
        pending: Pending | None = None,
    ) -> None:
        self.begin_sql = begin_sql
        self._executor = executor
        self._pool = pool
        self._connection = connection
        self._pending = pending
        self._running: asyncio.Future[Any] | None = None

    async def run(self, kind: Kind, statement: Statement, arguments: tuple[Any, ...]) -> Any:
        value = await self._guard(
            self._executor.run(self._connection, kind, statement, arguments, in_transaction=True)
        )
        if self._pending is not None:
            self._pending.ran(statement, arguments)
        return value

    async def command(self, sql: str) -> None:
        await self._guard(self._executor.command(self._connection, sql))
        if self._pending is not None:
            self._pending.commanded(sql)

    async def stream(
        self, statement: Statement, arguments: tuple[Any, ...]
    ) -> AsyncIterator[Sequence[Row]]:
        compiled = self._executor.compile(statement)
        given, as_text = 0, False
        name = await self._declare(compiled, statement, arguments)
        rows: Sequence[Row] | None = None
        try:
            while True:
                # Once it fails, or its caller is cancelled, the connection hears ROLLBACK only.
                rows = None
                try:
                    rows = await self._query(f"FETCH {CHUNK} FROM {name}", statement)
                except QueryError as error:
                    if not is_undecodable(error):
                        raise
                    # The cursor has moved on. The same rows come again where one snapshot is for
                    # the whole transaction.
                    await self._query(f"CLOSE {name}", statement)
                    compiled = self._executor.compile(self._executor.compile.as_text(statement))
                    name = await self._declare(compiled, statement, arguments)
                    await self._query(f"MOVE {given} FROM {name}", statement)
                    rows = await self._query(f"FETCH {CHUNK} FROM {name}", statement)
                    as_text = True
                given += len(rows)
                if rows:
                    yield readable(compiled, rows) if as_text else rows
                if len(rows) < CHUNK:
                    return
        finally:
            if rows is not None:
                await self._query(f"CLOSE {name}", statement)

    async def _declare(
        self, compiled: CompiledStatement, statement: Statement, arguments: tuple[Any, ...]
    ) -> str:
        # One name per statement: asyncpg keeps FETCH prepared by its text, and with it the columns.
        name = f"holdfast_{compiled.number}"
        declare = f"DECLARE {name} NO SCROLL CURSOR FOR {compiled.sql}"
        await self._query(declare, statement, compiled.bind(arguments))
        return name

    async def rollback(self) -> None:
        raw = self._connection.raw
        loop = asyncio.get_running_loop()
        timer = loop.call_later(ROLLBACK_SECONDS, self._connection.expire)
        try:
            if self._running is not None and not self._running.done():
                await asyncio.wait([self._running])
            if not raw.is_closed():
                await raw.execute("ROLLBACK")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            raw.terminate()
        finally:
            timer.cancel()

    def release(self) -> None:
        self._pool.release(self._connection)

    async def _query(
        self, sql: str, statement: Statement, values: tuple[Any, ...] = ()
    ) -> Sequence[Row]:
        return await self._guard(self._executor.query(self._connection, sql, values, statement))

    async def _guard(self, work: Coroutine[Any, Any, T]) -> T:
        """Shield what runs on the connection: a cancelled caller must not leave it half-spoken."""
        running = self._running = asyncio.get_running_loop().create_task(work)
        running.add_done_callback(_look_at)
        return await asyncio.shield(running)


def _look_at(task: asyncio.Future[Any]) -> None:
    """An error nobody waits for any more is no news: the rollback that follows deals with it."""
    if not task.cancelled():
        task.exception()
