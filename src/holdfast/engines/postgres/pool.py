"""A pool of asyncpg connections that keeps four promises asyncpg's own does not.

Connections are opened by tasks of the pool, so that a caller's deadline cannot kill the opening
it waits for; callers are served first come first served; returning a connection costs no query
(nothing we send leaves session state behind); and while the server is away one task asks for it,
with growing pauses, instead of every caller.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from holdfast.config import PostgresConfig
from holdfast.engines.base import PoolStats
from holdfast.engines.home import Home
from holdfast.engines.postgres.connection import PooledConnection, open_connection
from holdfast.errors import PersistenceConnectionError, PoolTimeoutError

__all__ = ["Pool"]

logger = logging.getLogger("holdfast.postgres")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_CLOSE_SECONDS = 2.0


class Pool:
    """``acquire`` and ``release`` `PooledConnection` objects of one event loop."""

    def __init__(
        self,
        config: PostgresConfig,
        connect: Callable[[PostgresConfig], Awaitable[asyncpg.Connection[Any]]] = open_connection,
    ) -> None:
        self._config = config
        self._connect = connect
        self._home = Home()
        self._loop = self._home.loop
        self._idle: list[PooledConnection] = []
        self._busy: set[PooledConnection] = set()
        self._waiters: deque[asyncio.Future[PooledConnection]] = deque()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._connecting = 0
        self._away: PersistenceConnectionError | None = None
        self._closed = False
        self._returned: asyncio.Future[None] | None = None
        self._opened = self._lost = 0

    async def open(self) -> None:
        """Open the smallest number of connections; raises if the first cannot be had."""
        self._idle.append(await self._new())
        for _ in range(self._config.pool_min_size - 1):
            self._grow()

    async def acquire(self, deadline: float | None = None) -> PooledConnection:
        """A connection that was alive a moment ago, by ``deadline`` or the pool's own."""
        self._home.check()
        connection = self._pop_idle()
        if connection is None:
            return await self._wait(deadline)
        self._lend(connection)
        return connection

    def release(self, connection: PooledConnection) -> None:
        """Give back. A connection that is closed, expired or too old is replaced if needed."""
        self._busy.discard(connection)
        if self._returned is not None and not self._busy and not self._returned.done():
            self._returned.set_result(None)
        if connection.raw.is_closed():
            self._lost += 1
            self._replace()
        elif self._closed or self._loop.time() >= connection.retire_at:
            self._own(self._close(connection))
            self._replace()
        else:
            self._hand_over(connection)

    def expire_all(self) -> None:
        """Replace every connection as it comes back: after a migration or a failover."""
        for connection in (*self._idle, *self._busy):
            connection.retire_at = 0.0

    async def close(self) -> None:
        """Close idle connections, wait a little for busy ones, then end them."""
        self._closed = True
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(PersistenceConnectionError("the backend was disconnected"))
        idle, self._idle = self._idle, []
        for connection in idle:
            self._own(self._close(connection))
        if self._busy:
            self._returned = self._loop.create_future()
            await asyncio.wait([self._returned], timeout=_CLOSE_SECONDS)
        for connection in self._busy:
            connection.raw.terminate()
        for task in list(self._tasks):
            if task.get_name() == "holdfast-grow":
                task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)

    @property
    def closed(self) -> bool:
        return self._closed

    def stats(self) -> PoolStats:
        busy, idle = len(self._busy), len(self._idle)
        waiting = sum(1 for waiter in self._waiters if not waiter.done())
        return PoolStats(busy + idle, busy, idle, waiting, self._opened, self._lost)

    def describe_busy(self) -> str:
        """How many connections are busy and for how long, for a caller that got none."""
        if self._away is not None and not self._busy:
            return str(self._away)
        longest = max((self._loop.time() - c.busy_since for c in self._busy), default=0.0)
        return (
            f"{len(self._busy)} of {self._config.pool_max_size} connections are busy, "
            f"the longest for {longest:.1f} s"
        )

    # -- inside --------------------------------------------------------------------------------

    def _pop_idle(self) -> PooledConnection | None:
        if self._closed:
            raise PersistenceConnectionError("the backend is disconnecting")
        now = self._loop.time()
        while self._idle:
            connection = self._idle.pop()
            if connection.raw.is_closed():
                self._lost += 1
            elif now >= connection.retire_at:
                self._own(self._close(connection))
            else:
                return connection
        return None

    async def _wait(self, deadline: float | None) -> PooledConnection:
        waiter: asyncio.Future[PooledConnection] = self._loop.create_future()
        self._waiters.append(waiter)
        self._grow()
        begun = self._loop.time()
        if deadline is None:
            deadline = begun + self._config.pool_timeout_seconds
        try:
            async with asyncio.timeout_at(deadline):
                return await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.release(waiter.result())  # it came in the moment the wait ended
            if not isinstance(error, TimeoutError):
                raise
            if self._away is not None and not self._busy:
                raise PersistenceConnectionError(str(self._away)) from self._away
            raise PoolTimeoutError(
                f"no connection within {self._loop.time() - begun:.3g} s: {self.describe_busy()}"
            ) from None

    def _hand_over(self, connection: PooledConnection) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                self._lend(connection)
                waiter.set_result(connection)
                return
        if self._closed:
            self._own(self._close(connection))
        else:
            self._idle.append(connection)

    def _lend(self, connection: PooledConnection) -> None:
        connection.busy_since = self._loop.time()
        self._busy.add(connection)

    def _replace(self) -> None:
        wanted = len(self._idle) + len(self._busy) + self._connecting
        if not self._closed and (
            wanted < self._config.pool_min_size or any(not w.done() for w in self._waiters)
        ):
            self._grow()

    def _grow(self) -> None:
        size = len(self._idle) + len(self._busy) + self._connecting
        if self._closed or size >= self._config.pool_max_size:
            return
        if self._away is not None and self._connecting:
            return  # somebody is asking already
        self._connecting += 1
        self._own(self._open_one(), "holdfast-grow")

    async def _open_one(self) -> None:
        pause = _FIRST_PAUSE
        try:
            while not self._closed:
                try:
                    connection = await self._new()
                except PersistenceConnectionError as error:
                    if self._away is None:
                        logger.warning("%s", error)
                    elif self._connecting > 1:
                        return
                    self._away = error
                    self._waiters = deque(w for w in self._waiters if not w.done())
                    if not self._waiters:
                        return
                    await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
                    pause = min(pause * 2, _LONGEST_PAUSE)
                else:
                    if self._away is not None:
                        logger.info("PostgreSQL answers again")
                        self._away = None
                    self._hand_over(connection)
                    break
        finally:
            self._connecting -= 1
        if any(not waiter.done() for waiter in self._waiters):
            self._grow()

    async def _new(self) -> PooledConnection:
        raw = await self._connect(self._config)
        self._opened += 1
        # A random share of the age, so that connections opened together do not end together.
        age = self._config.max_connection_age_seconds * random.uniform(0.8, 1.0)  # noqa: S311
        keep = self._config.statement_cache_size
        return PooledConnection(raw, self._loop.time() + age, keep)

    async def _close(self, connection: PooledConnection) -> None:
        timer = self._loop.call_later(_CLOSE_SECONDS, connection.raw.terminate)
        try:
            await connection.raw.close()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            connection.raw.terminate()
        finally:
            timer.cancel()

    def _own(self, work: Any, name: str | None = None) -> None:
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
