"""The SQLite engine: one writer thread, readers beside it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from holdfast.config import SQLiteConfig
from holdfast.engines.base import (
    EXCLUSIVE_SECONDS,
    EngineStats,
    Log,
    PoolStats,
    Row,
    Statement,
    TransactionScope,
)
from holdfast.engines.batching import Batcher, Request
from holdfast.engines.compiler import Compiler
from holdfast.engines.home import Home
from holdfast.engines.sqlite.errors import translate
from holdfast.engines.sqlite.files import Database
from holdfast.engines.sqlite.follow import follow
from holdfast.engines.sqlite.link import WriterLink, stream_on
from holdfast.engines.sqlite.thread import ConnectionThread
from holdfast.engines.sqlite.writer import Call, Writer, insist, run
from holdfast.engines.transactions import Kind, begin_on, transaction_on
from holdfast.errors import PersistenceConnectionError, PoolTimeoutError

__all__ = ["SQLiteEngine"]

T = TypeVar("T")

#: Requests of one batch. Bounds how long a commit, and with it every caller in it, can take.
LARGEST_BATCH = 512


class SQLiteEngine:
    """See `holdfast.engines.base.Engine`. Writes of every kind and table share commits."""

    name = "sqlite"

    def __init__(self, config: SQLiteConfig) -> None:
        self._config = config
        self._database = Database(config)
        self._compile = Compiler(sqlite.dialect(paramstyle="qmark"))
        self._patience = config.pool_timeout_seconds
        self._owned: set[asyncio.Task[Any]] = set()
        self._threads: list[ConnectionThread] = []
        self._idle_readers: list[ConnectionThread] = []
        self._idle_streamers: list[ConnectionThread] = []

    async def connect(self) -> None:
        database = self._database
        try:
            database.check()
            database.create()
            self._writer = Writer(database, self._compile)
            self._writer_thread = await self._start("writer", database.open_writer)
            self._idle_readers = [
                await self._start(f"reader-{n}", database.open_reader)
                for n in range(self._config.readers)
            ]
        except BaseException as error:
            await self._stop_threads()
            database.discard()
            if isinstance(error, sqlite3.Error):
                raise PersistenceConnectionError(
                    f"cannot open {self._config.path}: {translate(error, None)}"
                ) from error
            raise
        self._home = Home()
        # The writer is one; batches and transactions take turns on it, first come first served.
        self._turn = asyncio.Lock()
        self._writes = Batcher(
            self._flush_writes, group=_one_group, lanes=1, width=1, largest=LARGEST_BATCH,
            patience=self._patience, busy=self._why_busy,
        )  # fmt: skip
        readers = self._config.readers
        self._reads = Batcher(
            self._flush_reads, group=_kind, lanes=readers, width=readers, largest=LARGEST_BATCH,
            patience=self._patience, busy=self._why_busy,
        )  # fmt: skip

    async def close(self) -> None:
        await self._writes.close()
        await self._reads.close()
        while self._owned:
            await asyncio.wait(self._owned)
        await self._stop_threads()
        self._database.discard()

    async def ping(self) -> bool:
        try:
            async with asyncio.timeout(self._patience):
                await self._writer_thread.run(lambda c: c.execute("SELECT 1").fetchall())
        except (sqlite3.Error, TimeoutError):
            return False
        return True

    # -- statements, each on its own --------------------------------------------------------

    async def get(self, statement: Statement, arguments: tuple[Any, ...]) -> Row | None:
        row: Row | None = await self._reads.submit(statement, arguments, Kind.GET)
        return row

    async def fetch(
        self, statement: Statement, arguments: tuple[Any, ...], *, at_most: int
    ) -> Sequence[Row]:
        rows: Sequence[Row] = await self._reads.submit(statement, arguments, Kind.FETCH)
        return rows

    async def stream(
        self, statement: Statement, arguments: tuple[Any, ...]
    ) -> AsyncIterator[Sequence[Row]]:
        thread = self._idle_streamers.pop() if self._idle_streamers else None
        if thread is None:
            thread = await self._start("streamer", self._database.open_reader)
        try:
            pieces = stream_on(thread, self._compile(statement), statement, arguments)
            async with aclosing(pieces):  # type: ignore[type-var]
                async for rows in pieces:
                    yield rows
        finally:
            self._idle_streamers.append(thread)

    async def write(self, statement: Statement, arguments: tuple[Any, ...]) -> None:
        await self._writes.submit(statement, arguments, Kind.WRITE)

    async def execute(self, statement: Statement, arguments: tuple[Any, ...]) -> int:
        touched: int = await self._writes.submit(statement, arguments, Kind.EXECUTE)
        return touched

    async def returning(self, statement: Statement, arguments: tuple[Any, ...]) -> Sequence[Row]:
        rows: Sequence[Row] = await self._writes.submit(statement, arguments, Kind.RETURNING)
        return rows

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[TransactionScope]:
        await self._take_turn()
        link = WriterLink(self._writer_thread, self._writer, self._compile, self._turn.release)
        await begin_on(link, self._owned)
        async with transaction_on(link, self._owned) as session:
            yield session

    def transaction(self) -> AbstractAsyncContextManager[TransactionScope]:
        return self._transaction()

    # -- what the backend asks ---------------------------------------------------------------

    def follow(
        self, log: Log, tenant: str, names: str, *, after: int | None, pause: float
    ) -> AsyncIterator[tuple[int, Sequence[Row]]]:
        return follow(self, log, tenant, names, after, pause)

    async def run_sync(
        self, work: Callable[[sqlalchemy.Connection], T], *, exclusive: bool = False
    ) -> T:
        def on_connection(connection: sqlite3.Connection) -> T:
            engine = sqlalchemy.create_engine(
                "sqlite://", creator=lambda: connection, poolclass=StaticPool
            )
            with engine.connect() as wrapped:
                # Not before: SQLAlchemy rolls back when it has looked at a new connection.
                if exclusive:
                    insist(connection, "BEGIN IMMEDIATE", EXCLUSIVE_SECONDS)
                result = work(wrapped)
                wrapped.commit()
                return result

        thread = ConnectionThread("holdfast-sqlite-direct", self._database.open_direct)
        try:
            await thread.start()
            try:
                return await thread.run(on_connection)
            finally:
                await thread.stop()
        except (sqlite3.Error, SQLAlchemyError) as error:
            raise translate(getattr(error, "orig", None) or error, None) from error

    async def describe(self) -> Mapping[str, str]:
        return {
            "engine": "sqlite",
            "version": sqlite3.sqlite_version,
            "database": ":memory:" if self._database.in_memory else str(self._database.path),
        }

    async def table_bytes(self) -> Mapping[str, int | None]:
        def measure(connection: sqlite3.Connection) -> Mapping[str, int | None]:
            tables = [
                row[0]
                for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
            ]
            try:
                sizes = dict(
                    connection.execute(
                        "SELECT s.tbl_name, sum(b.pgsize) FROM dbstat b"
                        " JOIN sqlite_schema s ON s.name = b.name WHERE b.aggregate = TRUE"
                        " GROUP BY 1"
                    )
                )
            except sqlite3.OperationalError:  # built without dbstat, as most are on macOS
                return dict.fromkeys(tables)
            return {table: sizes.get(table, 0) for table in tables}

        return await self._writer_thread.run(measure)

    def stats(self) -> EngineStats:
        size = len(self._threads)
        idle = len(self._idle_readers) + len(self._idle_streamers) + (not self._turn.locked())
        waiting = self._writes.waiting + self._reads.waiting
        return EngineStats(
            commits=self._writer.commits,
            writes=self._writes.stats,
            reads=self._reads.stats,
            pool=PoolStats(size, size - idle, idle, waiting, opened=size),
        )

    @property
    def raw(self) -> ConnectionThread:
        return self._writer_thread

    # -- inside --------------------------------------------------------------------------------

    async def _start(
        self, name: str, connect: Callable[[], sqlite3.Connection]
    ) -> ConnectionThread:
        thread = ConnectionThread(f"holdfast-sqlite-{name}", connect)
        await thread.start()
        self._threads.append(thread)
        return thread

    async def _stop_threads(self) -> None:
        # The writer was started first and stops last: it cleans up the log when it closes.
        while self._threads:
            await self._threads.pop().stop()
        self._idle_readers.clear()
        self._idle_streamers.clear()

    async def _take_turn(self) -> None:
        self._home.check()
        try:
            async with asyncio.timeout(self._patience):
                await self._turn.acquire()
        except TimeoutError:
            raise PoolTimeoutError(
                f"no turn on the SQLite writer within {self._patience:g} s: {self._why_busy()}"
            ) from None

    async def _flush_writes(self, batch: list[Request]) -> None:
        calls: list[Call] = [(r.kind, r.statement, r.arguments) for r in batch]
        await self._take_turn()
        try:
            outcomes = await self._writer_thread.run(
                lambda connection: self._writer.commit_batch(connection, calls)
            )
        except sqlite3.Error as error:
            raise translate(error, None) from error
        finally:
            self._turn.release()
        for request, (value, problem) in zip(batch, outcomes, strict=True):
            if problem is None:
                request.succeed(value)
            else:
                request.fail(problem)

    async def _flush_reads(self, batch: list[Request]) -> None:
        compile_ = self._compile

        def read(connection: sqlite3.Connection) -> list[tuple[Any, Exception | None]]:
            outcomes: list[tuple[Any, Exception | None]] = []
            for request in batch:
                statement = request.statement
                try:
                    value = run(connection, compile_(statement), request.kind, request.arguments)
                    outcomes.append((value, None))
                except Exception as error:
                    problem = translate(error, statement)
                    problem.__cause__ = error
                    outcomes.append((None, problem))
            return outcomes

        thread = self._idle_readers.pop()
        try:
            outcomes = await thread.run(read)
        finally:
            self._idle_readers.append(thread)
        for request, (value, problem) in zip(batch, outcomes, strict=True):
            if problem is None:
                request.succeed(value)
            else:
                request.fail(problem)

    def _why_busy(self) -> str:
        if self._turn.locked():
            return "a transaction or a batch of writes has the writer"
        return "every reader is busy"


def _one_group(_: Request) -> str:
    return "writes"


def _kind(request: Request) -> Kind:
    kind: Kind = request.kind
    return kind
