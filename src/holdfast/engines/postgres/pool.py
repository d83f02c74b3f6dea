"""A pool of asyncpg connections that keeps four promises asyncpg's own does not.

Connections are opened by tasks of the pool, so that a caller's deadline cannot kill the opening
it waits for; callers are served first come first served; returning a connection costs no query
(nothing we send leaves session state behind); and while the server is away one task asks for it,
with growing pauses, instead of every caller.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from math import inf
from typing import Any

import asyncpg

from holdfast.config import PostgresConfig
from holdfast.engines.affinity import Affinity, disconnected
from holdfast.engines.postgres.callers import Callers
from holdfast.engines.postgres.circuit_breaker import CircuitBreaker
from holdfast.engines.postgres.connection import PooledConnection, open_connection
from holdfast.engines.protocol import PoolStats
from holdfast.engines.waiting import waited
from holdfast.errors import PersistenceConnectionError, PoolTimeoutError

__all__ = ["Pool"]

#: A connection that has been idle for longer is asked before it is lent again.
FRESH_SECONDS = 0.5
#: How long it may take to answer; after that all that are idle are asked.
CHECK_SECONDS = 2.0
_CLOSE_SECONDS = 2.0
#: After the successor of a connection whose age is over could not be opened.
_AGAIN_SECONDS = 30.0
_LOST = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


class Pool:
    """``acquire`` and ``release`` `PooledConnection` objects of one event loop."""

    def __init__(
        self,
        config: PostgresConfig,
        connect: Callable[[PostgresConfig], Awaitable[asyncpg.Connection[Any]]] = open_connection,
    ) -> None:
        self._config = config
        self._connect = connect
        self._affinity = Affinity()
        self._loop = self._affinity.loop
        self._breaker = CircuitBreaker(config.outage_patience_seconds)
        #: In the order in which they came back, the latest last.
        self._idle: list[PooledConnection] = []
        self._busy: set[PooledConnection] = set()
        #: Those of `_busy` that are asked whether they are alive; nobody's yet.
        self._checking: set[PooledConnection] = set()
        self._callers = Callers(self._loop)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._connecting = 0
        self._prober: asyncio.Task[Any] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._heard_at = 0.0
        self._closed = False
        self._opened = self._lost = 0

    async def open(self) -> None:
        """Open the smallest number of connections; raises if the first cannot be had."""
        connection = await self._new()
        self._breaker.answered()
        self._idle.append(connection)
        self._supply()

    async def acquire(self, deadline: float | None = None) -> PooledConnection:
        """A connection that was alive a moment ago, by ``deadline`` or the pool's own.

        `CircuitOpenError` at once when the server has been away for longer than the configuration
        lets callers wait; the server's own word when it refuses the user or the database.
        """
        self._affinity.check()
        if self._closed:
            raise PersistenceConnectionError("the backend is disconnecting", is_retryable=False)
        now = self._loop.time()
        while self._idle:
            connection = self._idle[-1]
            if self._is_over(connection, now):
                self._idle.pop()
            elif now - connection.alive_at > FRESH_SECONDS:
                break  # so are all before it: the waiter's will be checked first
            else:
                self._idle.pop()
                connection.busy_since = now
                self._busy.add(connection)
                return connection
        return await self._wait(deadline)

    def release(self, connection: PooledConnection) -> None:
        """Give back. A connection that is closed, expired or too old is replaced if needed."""
        self._busy.discard(connection)
        now = self._loop.time()
        if connection.raw.is_closed():
            self._lose(connection)
        elif self._closed or self._is_due(connection, now):
            self._own(self._close(connection))
            self._supply()
        else:
            connection.alive_at = self._heard_at = now
            self._hand_over(connection)

    def _dismiss(self, connection: PooledConnection) -> None:
        connection.retire_at = 0.0
        if connection in self._idle:
            self._idle.remove(connection)
            self._own(self._close(connection))

    def expire_all(self) -> None:
        """Replace every connection, a busy one as it comes back: the server may be another one."""
        idle, self._idle = self._idle, []
        for connection in idle:
            self._own(self._close(connection))
        for connection in self._busy:
            connection.retire_at = 0.0
        self._supply()

    async def close(self) -> None:
        """Close idle connections and end busy ones; whatever waits or runs is told at once."""
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        self._callers.tell(disconnected)
        idle, self._idle = self._idle, []
        for connection in idle:
            self._own(self._close(connection))
        for connection in tuple(self._busy):
            connection.raw.terminate()
        for task in list(self._tasks):
            if task.get_name() == "holdfast-grow":
                task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def shut(self) -> None:
        """Lend none any more, and open none; from any thread."""
        self._closed = True

    @property
    def tasks(self) -> Iterable[asyncio.Task[Any]]:
        """What opens, asks and closes connections."""
        return self._tasks

    @property
    def closed(self) -> bool:
        return self._closed

    def stats(self) -> PoolStats:
        busy, idle = len(self._busy) - len(self._checking), len(self._idle) + len(self._checking)
        return PoolStats(busy + idle, busy, idle, self._callers.waiting, self._opened, self._lost)

    def describe_busy(self) -> str:
        """How many connections are busy and for how long, for a caller that got none."""
        reason = self._breaker.reason()
        if reason is not None and not self._busy:
            return str(reason)
        longest = max((self._loop.time() - c.busy_since for c in self._busy), default=0.0)
        return (
            f"{len(self._busy)} of {self._config.pool_max_size} connections are busy, "
            f"the longest for {longest:.1f} s"
        )

    # -- who waits -----------------------------------------------------------------------------

    async def _wait(self, deadline: float | None) -> PooledConnection:
        if (error := self._refusal()) is not None:
            raise error
        place = self._callers.join()
        self._supply()
        begun = self._loop.time()
        if deadline is None:
            deadline = begun + self._config.pool_timeout_seconds
        try:
            async with asyncio.timeout_at(deadline):
                return await place
        except BaseException as error:
            if place.cancelled():
                self._callers.leave()
            elif place.done() and place.exception() is None:
                self.release(place.result())  # it came in the moment the wait ended
            if not isinstance(error, TimeoutError):
                raise
            reason = self._breaker.reason()
            if reason is not None and not self._busy:
                raise reason from reason.__cause__
            raise PoolTimeoutError(
                f"no connection within {self._loop.time() - begun:.3g} s: {self.describe_busy()}"
            ) from None
        finally:
            waited(self._loop.time() - begun)

    def _hand_over(self, connection: PooledConnection) -> None:
        if self._callers.serve(connection):
            connection.busy_since = self._loop.time()
            self._busy.add(connection)
        elif self._closed:
            self._own(self._close(connection))
        else:
            self._idle.append(connection)

    def _refusal(self) -> PersistenceConnectionError | None:
        if self._idle or self._checking:
            return None  # one of these may be alive
        return self._breaker.refusal(self._loop.time(), self._heard_at, stranded=not self._busy)

    # -- what they wait for --------------------------------------------------------------------

    def _supply(self) -> None:
        """Get what the waiters need under way, and what the smallest size asks for."""
        missing = self._callers.waiting - len(self._checking)
        while missing > 0 and self._idle:
            # Whatever is being opened: that may take long, and come to nothing.
            connection = self._idle.pop()
            if not self._is_over(connection, self._loop.time()):
                self._start_check(connection)
                missing -= 1
        missing -= self._connecting
        missing = max(missing, self._config.pool_min_size - self._size)
        room = min(self._config.pool_max_size - self._size, self._breaker.width - self._connecting)
        if not self._closed:
            for _ in range(min(missing, room)):
                self._grow()

    @property
    def _size(self) -> int:
        return len(self._idle) + len(self._busy) + self._connecting

    def _grow(self, instead_of: PooledConnection | None = None) -> None:
        self._connecting += 1
        self._own(self._open_one(instead_of), "holdfast-grow")

    async def _open_one(self, instead_of: PooledConnection | None) -> None:
        try:
            connection = await self._new()
        except PersistenceConnectionError as error:
            if self._loop.is_closed():  # the application has left it: no caller is waiting
                return
            if instead_of is not None and instead_of.retire_at:
                instead_of.retire_at = self._loop.time() + _AGAIN_SECONDS
            self._fail(error)
        else:
            if instead_of is not None:
                self._dismiss(instead_of)
            if self._prober is not None:
                self._prober.cancel()
                self._prober = None
            self._breaker.answered()
            self._hand_over(connection)
        finally:
            self._connecting -= 1
        self._supply()

    def _fail(self, error: PersistenceConnectionError) -> None:
        now = self._loop.time()
        if self._breaker.failed(error, now):
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = self._loop.call_later(self._breaker.patience, self._open_circuit)
        self._callers.tell(self._refusal)
        if not self._closed and self._prober is None:
            self._prober = self._own(self._probe(), "holdfast-grow")

    async def _probe(self) -> None:
        """Ask for the server until it answers, whether anybody waits or not.

        Nothing else is opened meanwhile. It is cancelled when another attempt succeeds, perhaps
        before it begins, and there may be the next one by then: so it is not counted.
        """
        try:
            while self._breaker.since is not None:
                await asyncio.sleep(self._breaker.next_pause())
                if self._breaker.full and not self._callers.waiting:
                    # There is a server, and nobody who needs a further connection to it.
                    self._breaker.answered()
                    return
                try:
                    connection = await self._new()
                except PersistenceConnectionError as error:
                    self._breaker.failed(error, self._loop.time())
                    self._callers.tell(self._refusal)
                else:
                    self._breaker.answered()
                    self._hand_over(connection)
                    return
        finally:
            if self._prober is asyncio.current_task():
                self._prober = None
            if not self._closed:
                self._supply()

    def _open_circuit(self) -> None:
        if self._refusal() is not None:  # else nobody is refused: there are some that work
            if not self._breaker.full:
                self._breaker.open_circuit()
            self._callers.tell(self._refusal)

    def _start_check(self, connection: PooledConnection) -> None:
        connection.busy_since = self._loop.time()
        self._busy.add(connection)
        self._checking.add(connection)
        self._own(self._check(connection))

    async def _check(self, connection: PooledConnection) -> None:
        """Ask an idle connection whether it is alive, and give it to who has waited longest."""
        begun = self._loop.time()
        timer = self._loop.call_later(CHECK_SECONDS, connection.raw.terminate)
        try:
            await connection.raw.execute("SELECT 1")
        except Exception:  # whatever it is, the connection is of no use
            connection.raw.terminate()
        finally:
            timer.cancel()
            self._checking.discard(connection)
        if connection.raw.is_closed():
            # What cut this one has probably cut them all: let the next caller not find out.
            for other in [other for other in self._idle if other.alive_at < begun]:
                self._idle.remove(other)
                self._start_check(other)
        self.release(connection)

    # -- one connection ------------------------------------------------------------------------

    async def _new(self) -> PooledConnection:
        raw = await self._connect(self._config)
        self._opened += 1
        # A random share of the age, so that connections opened together do not end together.
        age = self._config.max_connection_age_seconds * random.uniform(0.8, 1.0)  # noqa: S311
        keep = self._config.statement_cache_size
        now = self._loop.time()
        connection = PooledConnection(raw, now + age, keep)
        connection.alive_at = self._heard_at = now
        return connection

    def _is_over(self, connection: PooledConnection, now: float) -> bool:
        """Whether an idle connection is of no more use; then it is seen to."""
        if connection.raw.is_closed():
            self._lost += 1
            self._breaker.lost()
            return True
        if self._is_due(connection, now):
            self._own(self._close(connection))
            return True
        return False

    def _is_due(self, connection: PooledConnection, now: float) -> bool:
        """Whether its age is over and it can be spared.

        Where there is room its successor is opened first, and while no connection is to be had
        none is closed for its age: one that works would be given up for one that is refused, by a
        password that was changed or a certificate that has expired. A pool of one makes room.
        """
        if now < connection.retire_at:
            return False
        if connection.retire_at:  # or it was told to go
            if self._breaker.width <= self._connecting:
                return False
            others = self._size - (connection in self._idle)
            if others < max(self._config.pool_max_size - 1, 1):
                connection.retire_at = inf
                self._grow(connection)
                return False
        return True

    def _lose(self, connection: PooledConnection) -> None:
        self._lost += 1
        self._breaker.lost()
        if connection.moved:
            self.expire_all()
        self._supply()
        self._callers.tell(self._refusal)

    async def _close(self, connection: PooledConnection) -> None:
        timer = self._loop.call_later(_CLOSE_SECONDS, connection.raw.terminate)
        try:
            await connection.raw.close()
        except _LOST:
            connection.raw.terminate()
        finally:
            timer.cancel()

    def _own(self, work: Any, name: str | None = None) -> asyncio.Task[Any]:
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
