"""Standbys that answer lists and queries, as if the primary had.

A replica answers only what includes every write this process was told is stored. Whatever stands
in the way (it is away, behind, promoted, of another history, or it cancels the read for what it
must apply), the primary answers instead, and the caller does not notice.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import asyncpg

from holdfast.config import PostgresConfig
from holdfast.engines.postgres.connection import (
    Known,
    Opened,
    PooledConnection,
    open_connection,
)
from holdfast.engines.postgres.executor import Executor
from holdfast.engines.postgres.pool import Pool
from holdfast.engines.postgres.replication.lsn import Position
from holdfast.engines.postgres.replication.timeline import History
from holdfast.engines.postgres.session import SNAPSHOT, ConnectionSession
from holdfast.engines.protocol import ReplicaStats
from holdfast.engines.transactions import Kind, begin_on, transaction_on
from holdfast.errors import (
    InvalidArgumentError,
    PersistenceConnectionError,
    PersistenceError,
    QueryTimeoutError,
)
from holdfast.storage.session import Row, Statement

__all__ = ["Replicas"]

logger = logging.getLogger("holdfast.postgres")

T = TypeVar("T")

#: How often a replica is asked whether it is alive, and how long it may take to answer.
BEAT_SECONDS = 1.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_FIRST_POLL, _LONGEST_POLL = 0.001, 0.02

_APPLIED = "SELECT (pg_last_wal_replay_lsn() - '0/0')::bigint"

#: A timeline that a standby is known to have reached: it receives it, or its last restart point
#: lies on it. A role without pg_monitor does not see the first.
_LOOK = """
SELECT pg_is_in_recovery(),
       (SELECT system_identifier FROM pg_control_system())::text,
       ARRAY[(SELECT received_tli FROM pg_stat_wal_receiver),
             (SELECT timeline_id FROM pg_control_checkpoint()),
             (SELECT min_recovery_end_timeline FROM pg_control_recovery())]
"""


class _Replica:
    """One server, kept at hand for as long as it follows the primary."""

    def __init__(
        self,
        config: PostgresConfig,
        place: str,
        executor: Executor,
        home: Callable[[], History | None],
        opened: Opened,
    ) -> None:
        host, port = config.place(place)
        self._name = f"{host}:{port}"
        self._config = config.model_copy(
            update={
                "host": host, "port": port, "fallback_hosts": (), "replicas": (),
                "target_session_attrs": "any", "direct_host": None, "pool_min_size": 1,
                "synchronous_commit": "on", "ssl_mode": config.effective_ssl_mode,
            }
        )  # fmt: skip
        self._executor = executor
        self._affinity = home
        self._known = Known(opened=opened)
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._lapsed = False
        self._why = ""
        self._applied: WeakKeyDictionary[asyncpg.Connection[Any], int] = WeakKeyDictionary()
        #: A place it did not reach in time: it is not waited for again before it has.
        self.overdue = 0
        #: ``None`` while it must not be asked.
        self.pool: Pool | None = None

    def look(self) -> None:
        """Something went wrong: see whether it is alive now, not at the next beat."""
        self._wake.set()

    def lapse(self) -> None:
        """There is a new primary: whom this one follows has to be seen again."""
        self._lapsed, self.pool = True, None
        self._wake.set()

    async def keep(self) -> None:
        pause = _FIRST_PAUSE
        while not self._known.opened.abandoned:
            begun = self._loop.time()
            try:
                await self._serve()
            except PersistenceError as error:
                if str(error) != self._why:
                    self._why = str(error)
                    logger.warning("the primary answers for replica %s: %s", self._name, error)
            if self._loop.time() - begun > 2 * BEAT_SECONDS:
                pause = _FIRST_PAUSE
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _serve(self) -> None:
        """Be ready until something is wrong with it, which is raised."""
        self._lapsed = False
        watch = PooledConnection(await self._open(self._config), float("inf"), 0)
        pool: Pool | None = None
        try:
            pool = Pool(self._config, self._open)
            await pool.open()
            while not self._lapsed:
                self._wake.clear()
                applied = await self._beat(watch)
                if applied >= self.overdue:
                    self.overdue = 0
                if self.pool is None and not self._lapsed:
                    self.pool, self._why = pool, ""
                    logger.info("replica %s answers", self._name)
                try:
                    async with asyncio.timeout(BEAT_SECONDS):
                        await self._wake.wait()
                except TimeoutError:
                    pass
        finally:
            self.pool = None
            watch.raw.terminate()
            if pool is not None:
                await pool.close()

    async def _beat(self, watch: PooledConnection) -> int:
        timer = self._loop.call_later(BEAT_SECONDS, watch.expire)
        try:
            applied = (await self._executor.query(watch, _APPLIED))[0][0]
        except QueryTimeoutError as error:
            raise PersistenceConnectionError("it does not answer") from error
        finally:
            timer.cancel()
        if applied is None or not is_standby(watch.raw):
            raise PersistenceConnectionError("it is no standby any more")
        return int(applied)

    async def _open(self, config: PostgresConfig) -> asyncpg.Connection[Any]:
        async def look(raw: asyncpg.Connection[Any]) -> str:
            row = await (await raw.prepare(_LOOK, name="")).fetchrow()
            return "" if row is None else self._refusal(raw, *row)

        return await open_connection(config, self._known, look=look)

    def _refusal(
        self, raw: asyncpg.Connection[Any], standby: bool, cluster: str, timelines: list[int | None]
    ) -> str:
        home = self._affinity()
        if home is None:
            return "the primary does not tell which cluster it is"
        if not standby:
            return "it is no standby"
        if cluster != home.cluster:
            return "it is a standby of another cluster"
        if home.timeline not in timelines:
            return f"it has not reached timeline {home.timeline} of the primary"
        return "" if is_standby(raw) else "replicas need PostgreSQL 14 or later"

    async def caught_up(self, connection: PooledConnection, place: int, deadline: float) -> bool:
        """Wait until what the connection reads includes ``place`` of the log."""
        raw, pause = connection.raw, _FIRST_POLL
        if self._applied.get(raw, 0) >= place:
            return True
        timer = self._loop.call_at(max(deadline, self._loop.time() + 0.05), connection.expire)
        try:
            while True:
                applied = (await self._executor.query(connection, _APPLIED))[0][0] or 0
                self._applied[raw] = applied
                if applied >= place:
                    return True
                if self._loop.time() + pause >= deadline:
                    self.overdue = max(self.overdue, place)
                    return False
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_POLL)
        except QueryTimeoutError as error:  # not the caller's query: the primary may be fast
            raw.terminate()
            raise PersistenceConnectionError("it does not answer") from error
        except BaseException:
            raw.terminate()
            raise
        finally:
            timer.cancel()


class Replicas:
    """Asks the replicas in place of the primary; ``None`` is no answer: the primary has to."""

    def __init__(
        self,
        config: PostgresConfig,
        executor: Executor,
        position: Position,
        home: Callable[[], History | None],
        opened: Opened,
    ) -> None:
        self.stats = ReplicaStats()
        self.position = position
        self._executor = executor
        self._patience = config.replica_wait_seconds
        self._loop = asyncio.get_running_loop()
        self._replicas = [
            _Replica(config, place, executor, home, opened) for place in config.replicas
        ]
        self._owned: set[asyncio.Task[Any]] = set()
        self._keepers = [self._loop.create_task(replica.keep()) for replica in self._replicas]

    async def close(self) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.wait([*self._keepers, *self._owned])
        await self.position.close()

    def lapse(self) -> None:
        """There is a new primary."""
        self.position.forget()
        for replica in self._replicas:
            replica.overdue = 0
            replica.lapse()

    async def fetch(self, statement: Statement, arguments: tuple[Any, ...]) -> Sequence[Row] | None:
        async def ask(pool: Pool, connection: PooledConnection) -> Sequence[Row]:
            try:
                rows: Sequence[Row] = await self._executor.run(
                    connection, Kind.FETCH, statement, arguments
                )
            finally:
                pool.release(connection)
            return rows

        return await self._ask(ask)

    async def stream(
        self, statement: Statement, arguments: tuple[Any, ...]
    ) -> Sequence[Sequence[Row]] | None:
        """All pieces, or none: a read that is cancelled half-way begins anew on the primary."""

        async def ask(pool: Pool, connection: PooledConnection) -> Sequence[Sequence[Row]]:
            link = ConnectionSession(self._executor, pool, connection, SNAPSHOT)
            await begin_on(link, self._owned)
            async with transaction_on(link, self._owned) as session:
                session.abandon()  # it wrote nothing: no commit to count
                async with aclosing(session.stream(statement, arguments)) as pieces:  # type: ignore[type-var]
                    return [rows async for rows in pieces]

        return await self._ask(ask)

    async def _ask(self, ask: Callable[[Pool, PooledConnection], Awaitable[T]]) -> T | None:
        """Run ``ask``, which releases the connection, on the replica that is least busy."""
        replica = self._choose()
        if replica is None or (place := await self.position.get()) is None:
            self.stats.away += 1
            return None
        pool = replica.pool
        if pool is None:
            self.stats.away += 1
            return None
        if replica.overdue:
            self.stats.behind += 1
            return None
        deadline = self._loop.time() + self._patience
        try:
            connection = await pool.acquire(deadline)
            try:
                ready = await replica.caught_up(connection, place, deadline)
            except BaseException:
                pool.release(connection)
                raise
            if not ready:
                pool.release(connection)
                self.stats.behind += 1
                return None
            answer = await ask(pool, connection)
        except InvalidArgumentError:
            raise
        except PersistenceError as error:
            if isinstance(error, QueryTimeoutError) and replica.pool is pool:
                raise  # slow here, slow there
            replica.look()
            self.stats.refused += 1
            return None
        if replica.pool is not pool or not is_standby(connection.raw):
            # Meanwhile there is another primary, or this one is it: what it said may be apart.
            replica.lapse()
            self.stats.away += 1
            return None
        self.stats.answered += 1
        return answer

    def _choose(self) -> _Replica | None:
        """The one with the fewest callers; one that lags only if all do."""
        ready = [(replica, pool) for replica in self._replicas if (pool := replica.pool)]
        if not ready:
            return None

        def load(each: tuple[_Replica, Pool]) -> tuple[bool, int, float]:
            stats = each[1].stats()
            return bool(each[0].overdue), stats.busy + stats.waiting, random.random()  # noqa: S311

        return min(ready, key=load)[0]


def is_standby(raw: asyncpg.Connection[Any]) -> bool:
    """As the server said with its last answer: it tells sessions when it is promoted."""
    return getattr(raw.get_settings(), "in_hot_standby", None) == "on"
