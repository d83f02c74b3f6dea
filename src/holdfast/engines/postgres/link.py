"""A pooled connection, lent to one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, TypeVar

import asyncpg

from holdfast.engines.base import CHUNK, Row, Statement
from holdfast.engines.postgres.acknowledged import Pending
from holdfast.engines.postgres.connection import PooledConnection
from holdfast.engines.postgres.pool import Pool
from holdfast.engines.postgres.runner import Runner
from holdfast.engines.transactions import Kind

__all__ = ["ConnectionLink"]

T = TypeVar("T")

#: How long a rollback may take before ending the session does it.
ROLLBACK_SECONDS = 2.0


class ConnectionLink:
    """See `holdfast.engines.transactions.Link`."""

    def __init__(
        self,
        runner: Runner,
        pool: Pool,
        connection: PooledConnection,
        begin_sql: str,
        pending: Pending | None = None,
    ) -> None:
        self.begin_sql = begin_sql
        self._runner = runner
        self._pool = pool
        self._connection = connection
        self._pending = pending
        self._running: asyncio.Future[Any] | None = None

    async def run(self, kind: Kind, statement: Statement, arguments: tuple[Any, ...]) -> Any:
        value = await self._guard(
            self._runner.run(self._connection, kind, statement, arguments, in_transaction=True)
        )
        if self._pending is not None:
            self._pending.ran(statement, arguments)
        return value

    async def command(self, sql: str) -> None:
        await self._guard(self._runner.command(self._connection, sql))
        if self._pending is not None:
            self._pending.commanded(sql)

    async def stream(
        self, statement: Statement, arguments: tuple[Any, ...]
    ) -> AsyncIterator[Sequence[Row]]:
        compiled = self._runner.compile(statement)
        # One name per statement: asyncpg keeps FETCH prepared by its text, and with it the columns.
        name = f"holdfast_{compiled.number}"
        declare = f"DECLARE {name} NO SCROLL CURSOR FOR {compiled.sql}"
        await self._query(declare, statement, compiled.bind(arguments))
        rows: Sequence[Row] | None = None
        try:
            while True:
                # Once it fails, or its caller is cancelled, the connection hears ROLLBACK only.
                rows = None
                rows = await self._query(f"FETCH {CHUNK} FROM {name}", statement)
                if rows:
                    yield rows
                if len(rows) < CHUNK:
                    return
        finally:
            if rows is not None:
                await self._query(f"CLOSE {name}", statement)

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
        return await self._guard(self._runner.query(self._connection, sql, values, statement))

    async def _guard(self, work: Coroutine[Any, Any, T]) -> T:
        """Shield what runs on the connection: a cancelled caller must not leave it half-spoken."""
        running = self._running = asyncio.get_running_loop().create_task(work)
        running.add_done_callback(_look_at)
        return await asyncio.shield(running)


def _look_at(task: asyncio.Future[Any]) -> None:
    """An error nobody waits for any more is no news: the rollback that follows deals with it."""
    if not task.cancelled():
        task.exception()
