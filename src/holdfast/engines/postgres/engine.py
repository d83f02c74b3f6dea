"""The PostgreSQL engine."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from holdfast.config import PostgresConfig
from holdfast.engines.base import (
    EXCLUSIVE_SECONDS,
    EngineStats,
    Log,
    Row,
    Statement,
    TransactionScope,
)
from holdfast.engines.postgres.batches import Batches
from holdfast.engines.postgres.connection import open_connection
from holdfast.engines.postgres.errors import translate
from holdfast.engines.postgres.follow import Follower
from holdfast.engines.postgres.link import ConnectionLink
from holdfast.engines.postgres.pool import Pool
from holdfast.engines.postgres.runner import Runner
from holdfast.engines.transactions import Kind, begin_on, own, transaction_on
from holdfast.errors import PersistenceConnectionError, PersistenceError, QueryTimeoutError

__all__ = ["PostgresEngine"]

T = TypeVar("T")


class PostgresEngine:
    """See `holdfast.engines.base.Engine`."""

    name = "postgres"

    def __init__(self, config: PostgresConfig) -> None:
        self._config = config
        self._owned: set[asyncio.Task[Any]] = set()
        self._followers: set[Follower] = set()

    async def connect(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pool = Pool(self._config)
        await self._pool.open()
        self._runner = Runner(self._config)
        self._batches = Batches(self._config, self._pool, self._runner)

    async def close(self) -> None:
        for follower in self._followers:
            follower.stop()
        await self._batches.close()
        while self._owned:
            await asyncio.wait(self._owned)
        await self._pool.close()

    async def ping(self) -> bool:
        try:
            async with asyncio.timeout(self._config.pool_timeout_seconds):
                await self._ask("SELECT 1")
        except (PersistenceError, TimeoutError):
            return False
        return True

    # -- statements, each on its own --------------------------------------------------------

    async def get(self, statement: Statement, arguments: tuple[Any, ...]) -> Row | None:
        rows = await self._batches.read(statement, arguments, at_most=1)
        return rows[0] if rows else None

    async def fetch(
        self, statement: Statement, arguments: tuple[Any, ...], *, at_most: int
    ) -> Sequence[Row]:
        return await self._batches.read(statement, arguments, at_most=at_most)

    async def stream(
        self, statement: Statement, arguments: tuple[Any, ...]
    ) -> AsyncIterator[Sequence[Row]]:
        async with (
            self._transaction("BEGIN READ ONLY") as session,
            aclosing(session.stream(statement, arguments)) as pieces,  # type: ignore[type-var]
        ):
            async for rows in pieces:
                yield rows

    async def write(self, statement: Statement, arguments: tuple[Any, ...]) -> None:
        await self._batches.writes.submit(statement, arguments)

    async def execute(self, statement: Statement, arguments: tuple[Any, ...]) -> int:
        touched: int = await self._own(self._single(Kind.EXECUTE, statement, arguments))
        return touched

    async def returning(self, statement: Statement, arguments: tuple[Any, ...]) -> Sequence[Row]:
        rows: Sequence[Row] = await self._own(self._single(Kind.RETURNING, statement, arguments))
        return rows

    @asynccontextmanager
    async def _transaction(self, begin_sql: str) -> AsyncIterator[TransactionScope]:
        deadline = self._loop.time() + self._config.pool_timeout_seconds
        while True:
            connection = await self._pool.acquire(deadline)
            link = ConnectionLink(self._runner, self._pool, connection, begin_sql)
            try:
                await begin_on(link, self._owned)
            except PersistenceConnectionError:
                # The server had ended the connection, idle as it was: another one will do.
                if self._pool.closed or self._loop.time() >= deadline:
                    raise
                await asyncio.sleep(random.uniform(0.005, 0.05))  # noqa: S311
            else:
                break
        async with transaction_on(link, self._owned) as session:
            yield session

    def transaction(self) -> AbstractAsyncContextManager[TransactionScope]:
        return self._transaction("BEGIN")

    # -- what the backend asks ---------------------------------------------------------------

    async def follow(
        self, log: Log, tenant: str, names: str, *, after: int | None, pause: float
    ) -> AsyncIterator[tuple[int, Sequence[Row]]]:
        follower = Follower(self._config, self._runner, log, tenant, names, after)
        self._followers.add(follower)
        try:
            async with aclosing(follower.steps()) as steps:  # type: ignore[type-var]
                async for step in steps:
                    yield step
        finally:
            self._followers.discard(follower)

    async def run_sync(
        self, work: Callable[[sqlalchemy.Connection], T], *, exclusive: bool = False
    ) -> T:
        config = self._config
        engine = create_async_engine(
            "postgresql+asyncpg://",
            poolclass=NullPool,
            async_creator=lambda: open_connection(config, direct=True),
        )
        try:
            async with engine.connect() as connection:
                if exclusive:
                    await _exclude_others(connection)
                result = await connection.run_sync(work)
                await connection.commit()
                return result
        except SQLAlchemyError as error:
            # SQLAlchemy's form of the driver's error has that as its cause.
            driver = getattr(getattr(error, "orig", None), "__cause__", None)
            raise translate(driver or error, None) from error
        finally:
            await engine.dispose()
            # What a migration changed, pooled connections may have planned for.
            self._pool.expire_all()

    async def describe(self) -> Mapping[str, str]:
        version = (await self._ask("SELECT current_setting('server_version')"))[0][0]
        config = self._config
        return {
            "engine": "postgres",
            "version": version.split()[0],
            "database": f"{config.host}:{config.port}/{config.database}",
        }

    async def table_bytes(self) -> Mapping[str, int | None]:
        rows = await self._ask(
            "SELECT relname::text, pg_total_relation_size(oid) FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
        )
        return {row[0]: row[1] for row in rows}

    def stats(self) -> EngineStats:
        writes, reads, pool = self._batches.writes, self._batches.reads, self._pool.stats()
        pool.waiting += writes.waiting + reads.waiting
        return EngineStats(self._runner.commits, writes.stats, reads.stats, pool)

    @property
    def raw(self) -> Pool:
        return self._pool

    # -- inside --------------------------------------------------------------------------------

    async def _single(self, kind: Kind, statement: Statement, arguments: tuple[Any, ...]) -> Any:
        value = await self._batches.repeat_write(kind, statement, arguments)
        self._runner.commits += 1
        return value

    async def _ask(self, sql: str) -> Sequence[Row]:
        async def ask() -> Sequence[Row]:
            connection = await self._pool.acquire()
            try:
                return await self._runner.query(connection, sql)
            finally:
                self._pool.release(connection)

        return await self._own(ask())

    def _own(self, work: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        """Run in a task of the engine: a cancelled caller does not interrupt it."""
        return own(work, self._owned)


async def _exclude_others(connection: AsyncConnection) -> None:
    """Take the advisory lock by asking again and again.

    A blocking wait would hold a snapshot open, and CREATE INDEX CONCURRENTLY of the process that
    has the lock would wait for that snapshot: a deadlock. The session keeps the lock until it is
    closed.
    """
    await connection.execute(sqlalchemy.text("SET lock_timeout = '5s'"))
    for _ in range(int(EXCLUSIVE_SECONDS / 0.1)):
        got = await connection.scalar(
            sqlalchemy.text("SELECT pg_try_advisory_lock(hashtextextended('holdfast', 0))")
        )
        await connection.commit()
        if got:
            return
        await asyncio.sleep(random.uniform(0.05, 0.15))  # noqa: S311
    raise QueryTimeoutError(
        f"another process has been migrating for more than {EXCLUSIVE_SECONDS:g} s"
    )
