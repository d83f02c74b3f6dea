"""The PostgreSQL engine."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from holdfast.config import PostgresConfig
from holdfast.engines.affinity import forget
from holdfast.engines.drain import Drain
from holdfast.engines.handover import Handing, Taking
from holdfast.engines.postgres.admin.exclusive import exclude_others, giving_way
from holdfast.engines.postgres.admin.upkeep import PostgresUpkeep
from holdfast.engines.postgres.connection import Known, open_connection
from holdfast.engines.postgres.errors import translate
from holdfast.engines.postgres.executor import Executor
from holdfast.engines.postgres.follow import Follower
from holdfast.engines.postgres.group_commit import GroupCommit
from holdfast.engines.postgres.namespace import LOOK, OURS, path_to, quoted, schema_in
from holdfast.engines.postgres.pool import Pool
from holdfast.engines.postgres.replication.lsn import Position
from holdfast.engines.postgres.replication.recent_writes import Pending, RecentWrites
from holdfast.engines.postgres.replication.replicas import Replicas
from holdfast.engines.postgres.replication.timeline import Timelines
from holdfast.engines.postgres.row_level_security import CONFINED, PROBLEMS, refusal
from holdfast.engines.postgres.session import SNAPSHOT, ConnectionSession
from holdfast.engines.protocol import EngineStats, ReplicaStats
from holdfast.engines.retry import in_transaction, repeat
from holdfast.engines.transactions import Kind, begin_on, own, transaction_on
from holdfast.engines.upkeep import Accept
from holdfast.errors import (
    PersistenceConnectionError,
    PersistenceError,
    TenantIsolationError,
)
from holdfast.storage.session import Isolation, Log, Row, Statement, TransactionScope

__all__ = ["PostgresEngine"]

T = TypeVar("T")

_BEGIN: dict[Isolation, str] = {
    "read committed": "BEGIN",
    "repeatable read": "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "serializable": "BEGIN ISOLATION LEVEL SERIALIZABLE",
}


class PostgresEngine(Handing, PostgresUpkeep):
    """See `holdfast.engines.protocol.Engine`."""

    name = "postgres"

    def __init__(self, config: PostgresConfig) -> None:
        self._given = self._config = config
        self._known = Known()

    async def connect(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._known = Known(self._known.last, self._known.poolers)
        self._owned: set[asyncio.Task[Any]] = set()
        self._followers: set[Follower] = set()
        self._replicas: Replicas | None = None
        self._acknowledged = RecentWrites()
        self._timelines = Timelines(
            self._acknowledged,
            lambda statement, key: self._batches.read(statement, key, at_most=1),
            self._move_on,
        )
        self._pool = Pool(
            self._config,
            partial(open_connection, known=self._known, look=self._timelines.look),
        )
        await self._pool.open()
        self._executor = Executor(self._config)
        await self._settle()
        self._batches = GroupCommit(self._config, self._pool, self._executor, self._acknowledged)
        if self._config.replicas:
            position = Position(self._ask, lambda: self._executor.commits)
            self._replicas = Replicas(
                self._config, self._executor, position, lambda: self._timelines.current,
                self._known.opened,
            )  # fmt: skip
        self._drain = Drain()

    async def close(self) -> None:
        for follower in self._followers:
            follower.stop()
        await self._drain.see_out(self._config.drain_timeout_seconds, self._finish, self._end)

    def let_go(self) -> None:
        self._drain.shut()
        self._pool.shut()
        self._known.opened.sever()

    async def abandon(self) -> None:
        self.let_go()
        lanes = (*self._batches.writes.tasks, *self._batches.reads.tasks)
        forget({*self._owned, *self._pool.tasks, *lanes})

    async def _finish(self) -> None:
        await self._batches.close()
        while self._owned:
            await asyncio.wait(self._owned)

    async def _end(self) -> None:
        # Statements in flight fail with their connections, and their callers are told. What the
        # replicas have asked the primary is among them.
        await self._pool.close()
        if self._replicas is not None:
            await self._replicas.close()
        await self._finish()

    async def ping(self) -> bool:
        try:
            async with asyncio.timeout(self._config.pool_timeout_seconds):
                await self._ask("SELECT 1")
        except (PersistenceError, TimeoutError):
            return False
        return True

    # -- statements, each on its own --------------------------------------------------------

    async def get(self, statement: Statement, arguments: tuple[Any, ...]) -> Row | None:
        with self._drain:
            rows = await self._batches.read(statement, arguments, at_most=1)
        return rows[0] if rows else None

    async def fetch(
        self, statement: Statement, arguments: tuple[Any, ...], *, at_most: int
    ) -> Sequence[Row]:
        with self._drain:
            if statement.replica and self._replicas is not None:
                rows = await self._replicas.fetch(statement, arguments)
                if rows is not None:
                    return rows
            return await self._batches.read(statement, arguments, at_most=at_most)

    async def stream(
        self, statement: Statement, arguments: tuple[Any, ...]
    ) -> AsyncIterator[Sequence[Row]]:
        if statement.replica and self._replicas is not None:
            with self._drain:
                answer = await self._replicas.stream(statement, arguments)
            if answer is not None:
                for rows in answer:
                    yield rows
                return
        async with (
            self._entered(SNAPSHOT) as session,
            aclosing(session.stream(statement, arguments)) as pieces,  # type: ignore[type-var]
        ):
            async for rows in pieces:
                yield rows

    async def write(self, statement: Statement, arguments: tuple[Any, ...]) -> None:
        with self._drain:
            await self._batches.writes.submit(statement, arguments)

    async def execute(self, statement: Statement, arguments: tuple[Any, ...]) -> int:
        with self._drain:
            touched: int = await self._own(self._single(Kind.EXECUTE, statement, arguments))
        return touched

    def _take(
        self, statement: Statement, arguments: tuple[Any, ...], taking: Taking
    ) -> asyncio.Future[Any]:
        if taking.give_back is None:
            return self._own(self._single(Kind.RETURNING, statement, arguments, taking.reader))
        return self._own(taking.read_or_undo(self._single(Kind.RETURNING, statement, arguments)))

    async def atomically(
        self,
        work: Callable[[TransactionScope], Awaitable[T]],
        *,
        isolation: Isolation = "read committed",
    ) -> T:
        with self._drain:
            return await self._atomically(work, isolation)

    async def _atomically(
        self,
        work: Callable[[TransactionScope], Awaitable[T]],
        isolation: Isolation = "read committed",
    ) -> T:
        return await repeat(
            lambda: in_transaction(self._transaction(_BEGIN[isolation]), work),
            self._loop.time() + self._config.pool_timeout_seconds,
            self._executor.retries,
        )

    @asynccontextmanager
    async def _transaction(self, begin_sql: str) -> AsyncIterator[TransactionScope]:
        deadline = self._loop.time() + self._config.pool_timeout_seconds
        while True:
            connection = await self._pool.acquire(deadline)
            lent = ConnectionSession(
                self._executor, self._pool, connection, begin_sql, Pending(self._acknowledged)
            )
            try:
                await begin_on(lent, self._owned)
            except PersistenceConnectionError:
                # The server had ended the connection, idle as it was: another one will do.
                if self._pool.closed or self._loop.time() >= deadline:
                    raise
                self._executor.retries.connection_lost += 1
                await asyncio.sleep(random.uniform(0.005, 0.05))  # noqa: S311
            else:
                break
        async with transaction_on(lent, self._owned) as session:
            yield session

    @asynccontextmanager
    async def _entered(self, begin_sql: str) -> AsyncIterator[TransactionScope]:
        with self._drain:
            async with self._transaction(begin_sql) as session:
                yield session

    def transaction(
        self, *, isolation: Isolation = "read committed"
    ) -> AbstractAsyncContextManager[TransactionScope]:
        return self._entered(_BEGIN[isolation])

    def snapshot(self) -> AbstractAsyncContextManager[TransactionScope]:
        return self._entered(SNAPSHOT)

    # -- what the backend asks ---------------------------------------------------------------

    async def follow(
        self, log: Log, tenant: str, names: str, *, after: int | None, pause: float
    ) -> AsyncIterator[tuple[int, Sequence[Row]]]:
        follower = Follower(self._config, self._known, self._executor, log, tenant, names, after)
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
        return await giving_way(lambda: self._run_sync(work, exclusive))

    async def _run_sync(self, work: Callable[[sqlalchemy.Connection], T], exclusive: bool) -> T:
        config, schema = self._config, str(self._config.schema_name)
        engine = create_async_engine(
            "postgresql+asyncpg://",
            poolclass=NullPool,
            async_creator=lambda: open_connection(
                config, self._known, direct=True, session=exclusive
            ),
        )
        try:
            async with (
                engine.connect() as connection,
                exclude_others(connection, engine, schema) if exclusive else nullcontext(),
            ):
                # Revisions name tables without a schema. Of a session only where it is our own.
                path = sqlalchemy.func.set_config("search_path", path_to(schema), not exclusive)
                await connection.execute(sqlalchemy.select(path))
                if exclusive:
                    await connection.commit()
                result = await connection.run_sync(work)
                await connection.commit()
                # It may have made the tables, or given them to another role.
                told = await connection.exec_driver_sql(CONFINED, (schema,))
                self._executor.name_tenants(bool(told.scalar()))
                return result
        except SQLAlchemyError as error:
            # SQLAlchemy's form of the driver's error has that as its cause.
            driver = getattr(getattr(error, "orig", None), "__cause__", None)
            raise translate(driver or error, None) from error
        finally:
            await engine.dispose()
            # What a migration changed, pooled connections may have planned for.
            self._pool.expire_all()
            self._forget_position()

    async def restore(self, source: Path, accept: Accept) -> None:
        try:
            await super().restore(source, accept)
        finally:
            self._forget_position()

    async def describe(self) -> Mapping[str, str]:
        version = (await self._ask("SELECT current_setting('server_version')"))[0][0]
        config = self._config
        return {
            "engine": "postgres",
            "version": version.split()[0],
            "database": f"{config.host}:{config.port}/{config.database}",
        }

    async def look_up(self, table: str, column: str) -> str | None:
        there = await self._ask(
            f"SELECT FROM pg_class WHERE relnamespace = {OURS} AND relname = $2",
            self._config.schema_name,
            table,
        )
        place = f"{quoted(str(self._config.schema_name))}.{table}"
        rows = await self._ask(f"SELECT {column} FROM {place}") if there else ()  # noqa: S608
        return rows[0][0] if rows else None

    async def table_bytes(self) -> Mapping[str, int | None]:
        rows = await self._ask(
            "SELECT relname::text, pg_total_relation_size(oid) FROM pg_class"  # noqa: S608
            f" WHERE relkind IN ('r', 'p') AND relnamespace = {OURS}",
            self._config.schema_name,
        )
        return {row[0]: row[1] for row in rows}

    def stats(self) -> EngineStats:
        writes, reads, pool = self._batches.writes, self._batches.reads, self._pool.stats()
        pool.waiting += writes.waiting + reads.waiting
        return EngineStats(
            self._executor.commits, writes.stats, reads.stats, pool, self._executor.retries,
            replicas=ReplicaStats() if self._replicas is None else self._replicas.stats,
            failovers=tuple(self._timelines.failovers),
        )  # fmt: skip

    @property
    def raw(self) -> Pool:
        return self._pool

    # -- inside --------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Find out which schema is ours, and whether its policies are for this role."""
        try:
            told = await self._ask(LOOK, self._given.schema_name)
            schema = schema_in(self._given, told[0])
            self._config = self._given.model_copy(update={"schema_name": schema})
            self._executor.qualify(schema)
            self._executor.name_tenants(bool((await self._ask(CONFINED, schema))[0][0]))
            if self._config.row_security == "required":
                found = [row[0] for row in await self._ask(PROBLEMS, schema)]
                if found:
                    raise TenantIsolationError(refusal(found))
        except BaseException:
            await self._pool.close()
            raise

    async def _single(
        self,
        kind: Kind,
        statement: Statement,
        arguments: tuple[Any, ...],
        read: Callable[[Sequence[Row]], Any] | None = None,
    ) -> Any:
        value = await self._batches.repeat_write(kind, statement, arguments, read=read)
        self._executor.commits += read is None
        self._acknowledged.add(statement, (arguments,))
        return value

    def _move_on(self, audit: Coroutine[Any, Any, None]) -> None:
        """There is a new primary: use nothing of the old one's, and see what is missing."""
        self._pool.expire_all()
        if self._replicas is not None:
            self._replicas.lapse()
        self._own(audit)

    def _forget_position(self) -> None:
        """Something was written past the executor; replicas must have that as well."""
        if self._replicas is not None:
            self._replicas.position.forget()

    async def _ask(self, sql: str, *values: Any) -> Sequence[Row]:
        async def ask() -> Sequence[Row]:
            connection = await self._pool.acquire()
            try:
                return await self._executor.query(connection, sql, values)
            finally:
                self._pool.release(connection)

        return await self._own(ask())

    def _own(self, work: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        """Run in a task of the engine: a cancelled caller does not interrupt it."""
        return own(work, self._owned)
