"""The SQLite engine: one writer thread, readers beside it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import SQLAlchemyError

from holdfast.config import SQLiteConfig
from holdfast.engines.affinity import Affinity, disconnected, forget
from holdfast.engines.batching import Batcher, Request, answer
from holdfast.engines.compiler import Compiler
from holdfast.engines.drain import Drain
from holdfast.engines.handover import Handing, Taking
from holdfast.engines.protocol import EXCLUSIVE_SECONDS, EngineStats, PoolStats, RetryStats
from holdfast.engines.retry import in_transaction, repeat
from holdfast.engines.sqlite.admin.upkeep import SQLiteUpkeep
from holdfast.engines.sqlite.checkpoint import RETRY_SECONDS
from holdfast.engines.sqlite.errors import cannot_open, translate
from holdfast.engines.sqlite.files import Database
from holdfast.engines.sqlite.follow import follow
from holdfast.engines.sqlite.reader import check_files, read_batch
from holdfast.engines.sqlite.session import SnapshotSession, WriterSession, stream_on
from holdfast.engines.sqlite.thread import ConnectionThread
from holdfast.engines.sqlite.threads import Threads
from holdfast.engines.sqlite.wal_watermark import WalWatermark
from holdfast.engines.sqlite.wrapping import for_sqlalchemy
from holdfast.engines.sqlite.writer import Writer, insist
from holdfast.engines.transactions import Kind, begin_on, transaction_on
from holdfast.engines.waiting import waited
from holdfast.errors import DatabaseGoneError, PersistenceError, PoolTimeoutError
from holdfast.storage.session import Isolation, Log, Row, Statement, TransactionScope

__all__ = ["SQLiteEngine"]

T = TypeVar("T")

#: What compiles for every engine of the process.
_COMPILER = Compiler(sqlite.dialect(paramstyle="qmark"))

#: Of a request whose caller waits for its batch.
_NO_FUTURE: Any = None

#: Requests of one batch. Bounds how long a commit, and with it every caller in it, can take.
LARGEST_BATCH = 512


class SQLiteEngine(Handing, SQLiteUpkeep):
    """See `holdfast.engines.protocol.Engine`. Writes of every kind and table share commits."""

    name = "sqlite"

    def __init__(self, config: SQLiteConfig) -> None:
        self._config = config
        self._database = Database(config)
        self._compile = _COMPILER
        self._patience = config.pool_timeout_seconds

    async def connect(self) -> None:
        database = self._database
        self._owned: set[asyncio.Task[Any]] = set()
        self._threads = Threads(self._owned)
        try:
            database.check()
            self._watermark = WalWatermark(
                database.path, kept=database.keeps_commits, read_only=database.read_only
            )
            await asyncio.to_thread(self._watermark.check)
            database.create()
            self._writer_thread = await self._threads.start("writer", database.open_writer)
            renew = self._writer_thread.renew
            self._writer = Writer(database, self._compile, self._watermark, renew)
            for n in range(self._config.readers):
                reader = await self._threads.start(f"reader-{n}", database.open_reader)
                self._threads.idle.append(reader)
        except BaseException as error:
            await self._threads.stop()
            database.discard()
            if isinstance(error, sqlite3.Error):
                raise cannot_open(self._config.path, error) from error
            raise
        self._affinity = Affinity()
        self._drain = Drain()
        self._retries = RetryStats()
        self._waits: set[asyncio.Timeout] = set()
        # The writer is one; batches and transactions take turns on it, first come first served.
        self._turn = asyncio.Lock()
        self._checkpoint_alarm: asyncio.TimerHandle | None = None
        self._writes = Batcher(
            self._flush_writes, group=lambda _: "writes", lanes=1, width=1, largest=LARGEST_BATCH,
            patience=self._patience, busy=self._why_busy,
        )  # fmt: skip
        readers = self._config.readers
        self._reads = Batcher(
            self._flush_reads, group=_is_get, lanes=readers, width=readers, largest=LARGEST_BATCH,
            patience=self._patience, busy=self._why_busy, lanes_alone=True,
        )  # fmt: skip

    async def close(self) -> None:
        await self._drain.see_out(self._config.drain_timeout_seconds, self._finish, self._end)

    def let_go(self) -> None:
        self._drain.shut()
        self._threads.leave()

    async def abandon(self) -> None:
        self.let_go()
        forget({*self._owned, *self._writes.tasks, *self._reads.tasks})
        if await self._threads.abandon(self._config.drain_timeout_seconds):
            self._watermark.close()
            self._database.discard()

    async def _finish(self) -> None:
        await self._writes.close()
        await self._reads.close()
        while self._owned:
            await asyncio.wait(self._owned)

    async def _end(self) -> None:
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(0)
        # An open transaction ends with its connection: nothing of it is kept.
        await self._threads.stop()
        await self._finish()
        if self._checkpoint_alarm is not None:
            self._checkpoint_alarm.cancel()
        self._watermark.close()
        self._database.discard()

    async def ping(self) -> bool:
        try:
            async with asyncio.timeout(self._patience):
                await self._writer_thread.run(lambda c: check_files(c, self._database))
        except DatabaseGoneError:
            raise
        except (sqlite3.Error, PersistenceError, TimeoutError):
            return False
        return True

    async def get(self, statement: Statement, arguments: tuple[Any, ...]) -> Row | None:
        with self._drain:
            row: Row | None = await self._read(statement, arguments, Kind.GET)
        return row

    async def fetch(
        self, statement: Statement, arguments: tuple[Any, ...], *, at_most: int
    ) -> Sequence[Row]:
        with self._drain:
            rows: Sequence[Row] = await self._read(statement, arguments, Kind.FETCH)
        return rows

    def _read(self, statement: Statement, arguments: tuple[Any, ...], kind: Kind) -> Awaitable[Any]:
        # In company the first look is enough, and costs less than the second.
        if self._drain.inside == 1 and self._reads.enter_alone(kind is Kind.GET):
            return self._read_alone(statement, arguments, kind)
        return self._reads.submit(statement, arguments, kind)

    async def _read_alone(
        self, statement: Statement, arguments: tuple[Any, ...], kind: Kind
    ) -> Any:
        """Read in the caller's own task, as no others wait: that saves one of the engine's.

        A caller that is cancelled leaves a reader that still works; what comes next waits for it.
        """
        request = Request(statement, arguments, kind, _NO_FUTURE, 0.0)
        try:
            ((value, error),) = await self._read_batch([request])
        finally:
            self._reads.leave(kind is Kind.GET)
        if error is not None:
            raise error
        return value

    async def stream(
        self, statement: Statement, arguments: tuple[Any, ...]
    ) -> AsyncIterator[Sequence[Row]]:
        with self._drain:
            thread, give_back = await self._streamer()
            try:
                compiled = self._compile(statement)
                pieces = stream_on(thread, compiled, statement, arguments, self._database)
                async with aclosing(pieces):  # type: ignore[type-var]
                    async for rows in pieces:
                        yield rows
            finally:
                give_back()

    async def write(self, statement: Statement, arguments: tuple[Any, ...]) -> None:
        with self._drain:
            self._database.check_writable()
            await self._writes.submit(statement, arguments, Kind.WRITE)

    async def execute(self, statement: Statement, arguments: tuple[Any, ...]) -> int:
        with self._drain:
            self._database.check_writable()
            touched: int = await self._writes.submit(statement, arguments, Kind.EXECUTE)
        return touched

    def _take(
        self, statement: Statement, arguments: tuple[Any, ...], taking: Taking
    ) -> asyncio.Future[Any]:
        self._database.check_writable()
        taking.withdraw = self._writes.withdraw
        return self._writes.submit(statement, arguments, Kind.RETURNING, taking.reader)

    async def atomically(
        self,
        work: Callable[[TransactionScope], Awaitable[T]],
        *,
        isolation: Isolation = "read committed",
    ) -> T:
        with self._drain:
            return await self._atomically(work)

    async def _atomically(self, work: Callable[[TransactionScope], Awaitable[T]]) -> T:
        deadline = asyncio.get_running_loop().time() + self._patience
        return await repeat(
            lambda: in_transaction(self._transaction(), work), deadline, self._retries
        )

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[TransactionScope]:
        if self._database.read_only:  # which a snapshot is enough for
            async with self._snapshot() as session:
                yield session
            return
        turn = await self._take_turn()
        lent = WriterSession(
            self._writer_thread,
            self._writer,
            self._compile,
            self._database,
            lambda: self._give_turn(turn),
        )
        await begin_on(lent, self._owned)
        async with transaction_on(lent, self._owned) as session:
            yield session

    @asynccontextmanager
    async def transaction(
        self, *, isolation: Isolation = "read committed"
    ) -> AsyncIterator[TransactionScope]:
        # Serializable whatever is asked for: transactions are one after the other.
        with self._drain:
            async with self._transaction() as session:
                yield session

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[TransactionScope]:
        with self._drain:
            async with self._snapshot() as session:
                yield session

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[TransactionScope]:
        thread, give_back = await self._streamer()
        lent = SnapshotSession(thread, self._compile, self._database, give_back)
        await begin_on(lent, self._owned)
        async with transaction_on(lent, self._owned) as session:
            yield session

    async def _streamer(self) -> tuple[ConnectionThread, Callable[[], None]]:
        try:
            return await self._threads.streamer(self._database.open_reader)
        except sqlite3.Error as error:
            raise translate(error, None) from error

    def follow(
        self, log: Log, tenant: str, names: str, *, after: int | None, pause: float
    ) -> AsyncIterator[tuple[int, Sequence[Row]]]:
        return follow(self, log, tenant, names, after, pause)

    async def run_sync(
        self, work: Callable[[sqlalchemy.Connection], T], *, exclusive: bool = False
    ) -> T:
        def on_connection(connection: sqlite3.Connection) -> T:
            with for_sqlalchemy(connection).connect() as wrapped:
                # Not before: SQLAlchemy rolls back when it has looked at a new connection.
                if exclusive:
                    insist(connection, "BEGIN IMMEDIATE", EXCLUSIVE_SECONDS)
                result = work(wrapped)
                wrapped.commit()
                self._database.check_opened()
                return result

        if exclusive:
            self._database.check_writable()
        thread = ConnectionThread("holdfast-sqlite-direct", self._database.open_direct)
        try:
            try:
                await thread.start()
                return await thread.run(on_connection)
            finally:
                await thread.stop()
        except (sqlite3.Error, SQLAlchemyError) as error:
            raise translate(getattr(error, "orig", None) or error, None) from error

    def stats(self) -> EngineStats:
        size = len(self._threads)
        idle = self._threads.unused + (not self._turn.locked())
        waiting = self._writes.waiting + self._reads.waiting
        return EngineStats(
            commits=self._writer.commits,
            writes=self._writes.stats,
            reads=self._reads.stats,
            pool=PoolStats(size, size - idle, idle, waiting, opened=size),
            retries=self._retries,
        )

    @property
    def raw(self) -> ConnectionThread:
        return self._writer_thread

    async def _take_turn(self) -> asyncio.Lock:
        """The lock that was taken: who gives it back may do so when there is another one."""
        self._affinity.check()
        turn = self._turn
        if self._drain.cut.is_set():
            raise disconnected()
        if not turn.locked() and not self._waits:  # taken at once
            await turn.acquire()
            return turn
        begun, wait = self._affinity.loop.time(), asyncio.timeout(self._patience)
        self._waits.add(wait)
        try:
            async with wait:
                await turn.acquire()
        except TimeoutError:
            if self._drain.cut.is_set():
                raise disconnected() from None
            raise PoolTimeoutError(
                f"no turn on the SQLite writer within {self._patience:g} s: {self._why_busy()}"
            ) from None
        finally:
            self._waits.discard(wait)
            waited(self._affinity.loop.time() - begun)
        return turn

    def _give_turn(self, turn: asyncio.Lock) -> None:
        turn.release()
        self._watch_log()

    def _watch_log(self) -> None:
        """Come back to a checkpoint that was in vain, also when nobody writes any more."""
        overdue = self._writer.checkpoints.overdue and not self._drain.cut.is_set()
        if overdue and self._checkpoint_alarm is None:
            loop = asyncio.get_running_loop()
            self._checkpoint_alarm = loop.call_later(RETRY_SECONDS, self._repeat_checkpoint)

    def _repeat_checkpoint(self) -> None:
        def again(_: object) -> None:
            self._checkpoint_alarm = None
            self._watch_log()

        self._writer_thread.run(self._writer.repeat_checkpoint).add_done_callback(again)

    async def _flush_writes(self, batch: list[Request]) -> None:
        turn = await self._take_turn()
        try:
            outcomes = await self._writer_thread.run(
                lambda connection: self._writer.commit_batch(connection, batch)
            )
        except (sqlite3.Error, MemoryError) as error:
            raise translate(error, None) from error
        finally:
            self._give_turn(turn)
        answer(batch, outcomes)

    async def _flush_reads(self, batch: list[Request]) -> None:
        answer(batch, await self._read_batch(batch))

    async def _read_batch(self, batch: list[Request]) -> Sequence[tuple[Any, Exception | None]]:
        self._affinity.check()
        idle = self._threads.idle
        if not idle:  # only after the last of them was stopped
            raise disconnected()
        thread = idle.pop()
        try:
            return await thread.run(
                lambda connection: read_batch(connection, self._database, self._compile, batch)
            )
        finally:
            idle.append(thread)

    def _why_busy(self) -> str:
        if self._turn.locked():
            return "a transaction or a batch of writes has the writer"
        return "every reader is busy"


def _is_get(request: Request) -> bool:
    return request.kind is Kind.GET
