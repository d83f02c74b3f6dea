"""Transactions, shared by both engines: savepoints, failed states and leaving in every way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager
from enum import Enum, auto
from typing import Any, Protocol, TypeVar

from holdfast.engines.retry import in_transaction
from holdfast.errors import PersistenceError, QueryError, SerializationFailureError
from holdfast.storage.session import Row, Statement, TransactionScope

__all__ = ["Kind", "LentSession", "TransactionSession", "begin_on", "own", "transaction_on"]

T = TypeVar("T")


class Kind(Enum):
    """What a statement answers."""

    GET = auto()
    FETCH = auto()
    WRITE = auto()
    EXECUTE = auto()
    RETURNING = auto()


class LentSession(Protocol):
    """One connection of an engine, lent to one transaction."""

    begin_sql: str

    async def run(self, kind: Kind, statement: Statement, arguments: tuple[Any, ...]) -> Any: ...

    async def command(self, sql: str) -> None:
        """BEGIN, COMMIT, ...; returns when the server confirmed this very command."""

    def stream(
        self, statement: Statement, arguments: tuple[Any, ...]
    ) -> AsyncIterator[Sequence[Row]]: ...

    async def rollback(self) -> None:
        """Undo everything within a deadline, even if a statement is still running; never raises."""

    def release(self) -> None:
        """Give the connection back."""


class TransactionSession:
    """A `Session` on one connection. Calls made at the same time take turns."""

    def __init__(self, lent: LentSession, turn: asyncio.Lock, depth: int = 0) -> None:
        self._lent = lent
        self._turn = turn
        self._depth = depth
        self._failed: BaseException | None = None
        self._over = False
        self._abandoned = False

    @property
    def failed(self) -> BaseException | None:
        return self._failed

    @property
    def abandoned(self) -> bool:
        return self._abandoned

    def abandon(self) -> None:
        self._abandoned = True

    def leave(self) -> None:
        """From here on, every use is an error."""
        self._over = True

    async def get(self, statement: Statement, arguments: tuple[Any, ...]) -> Row | None:
        row: Row | None = await self._run(Kind.GET, statement, arguments)
        return row

    async def fetch(
        self, statement: Statement, arguments: tuple[Any, ...], *, at_most: int
    ) -> Sequence[Row]:
        rows: Sequence[Row] = await self._run(Kind.FETCH, statement, arguments)
        return rows

    async def stream(
        self, statement: Statement, arguments: tuple[Any, ...]
    ) -> AsyncIterator[Sequence[Row]]:
        async with self._turn:
            self._check()
            try:
                # Closed here and now: left to the garbage collector, it would speak on a
                # connection that is somebody else's by then.
                async with aclosing(self._lent.stream(statement, arguments)) as pieces:  # type: ignore[type-var]
                    async for rows in pieces:
                        yield rows
            except GeneratorExit:
                raise
            except BaseException as error:
                self._failed = error
                raise

    async def write(self, statement: Statement, arguments: tuple[Any, ...]) -> None:
        await self._run(Kind.WRITE, statement, arguments)

    async def execute(self, statement: Statement, arguments: tuple[Any, ...]) -> int:
        touched: int = await self._run(Kind.EXECUTE, statement, arguments)
        return touched

    async def returning(
        self,
        statement: Statement,
        arguments: tuple[Any, ...],
        read: Callable[[Sequence[Row]], Any] | None = None,
        give_back: object = None,
    ) -> Any:
        if read is None:
            return await self._run(Kind.RETURNING, statement, arguments)
        async with self.transaction() as inner:
            value = read(await inner._run(Kind.RETURNING, statement, arguments))
            if isinstance(value, PersistenceError):
                inner.abandon()
        return value

    async def atomically(self, work: Callable[[TransactionScope], Awaitable[T]]) -> T:
        return await in_transaction(self.transaction(), work)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[TransactionSession]:
        name = f"holdfast_{self._depth + 1}"
        async with self._turn:
            self._check()
            try:
                await self._lent.command(f"SAVEPOINT {name}")
            except BaseException as error:
                self._failed = error
                raise
        inner = TransactionSession(self._lent, self._turn, self._depth + 1)
        try:
            yield inner
        except BaseException as error:
            inner.leave()
            if isinstance(error, Exception):
                await self._leave(f"ROLLBACK TO SAVEPOINT {name}", f"RELEASE SAVEPOINT {name}")
            else:  # cancelled: the outer transaction ends as well, and rolls back everything
                self._failed = error
            raise
        inner.leave()
        if inner.failed is not None or inner.abandoned:
            await self._leave(f"ROLLBACK TO SAVEPOINT {name}", f"RELEASE SAVEPOINT {name}")
            if inner.failed is not None:
                raise _failed_before(inner.failed)
            return
        await self._leave(f"RELEASE SAVEPOINT {name}")

    async def _leave(self, *commands: str) -> None:
        async with self._turn:
            try:
                for command in commands:
                    await self._lent.command(command)
            except BaseException as error:
                self._failed = error
                raise

    async def _run(self, kind: Kind, statement: Statement, arguments: tuple[Any, ...]) -> Any:
        async with self._turn:
            self._check()
            try:
                return await self._lent.run(kind, statement, arguments)
            except BaseException as error:
                self._failed = error
                raise

    def _check(self) -> None:
        if self._over:
            raise QueryError("the transaction is over: its block was left", is_retryable=False)
        if self._failed is not None:
            raise _failed_before(self._failed)


def _failed_before(error: BaseException) -> QueryError:
    # PostgreSQL refuses everything after a failed statement; so do we on every engine, or code
    # that works on one would lose writes on the other.
    # Who lost against another transaction has to run this one again, whoever caught the error.
    kind = SerializationFailureError if isinstance(error, SerializationFailureError) else QueryError
    failed = kind(
        "a statement of this transaction failed, so nothing of it can be committed; "
        "to survive a failure, put the statement into a nested `async with tx.transaction()`",
        is_retryable=getattr(error, "is_retryable", False),
    )
    failed.__cause__ = error
    return failed


def own(work: Coroutine[Any, Any, T], owned: set[asyncio.Task[Any]]) -> asyncio.Future[T]:
    """Run ``work`` in a task of the engine, kept in ``owned``; cancelling only ends the wait."""
    task = asyncio.get_running_loop().create_task(work)
    owned.add(task)

    def done(task: asyncio.Task[T]) -> None:
        owned.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: nobody may be waiting for it any more

    task.add_done_callback(done)
    return asyncio.shield(task)


async def begin_on(lent: LentSession, owned: set[asyncio.Task[Any]]) -> None:
    """Begin a transaction on ``lent``, or release it."""
    try:
        await lent.command(lent.begin_sql)
    except BaseException:
        await own(_undo(lent), owned)
        raise


async def _undo(lent: LentSession) -> None:
    try:
        await lent.rollback()
    finally:
        lent.release()


@asynccontextmanager
async def transaction_on(
    lent: LentSession, owned: set[asyncio.Task[Any]]
) -> AsyncIterator[TransactionSession]:
    """Run a transaction that was begun on ``lent`` and release it, whatever happens.

    Its end runs in a task of the engine: a caller that is cancelled while leaving does not leave
    the connection half-way.
    """

    async def commit() -> None:
        try:
            await lent.command("COMMIT")
        except PersistenceError:
            await lent.rollback()
            raise
        finally:
            lent.release()

    session = TransactionSession(lent, asyncio.Lock())
    try:
        yield session
    except BaseException:
        session.leave()
        await own(_undo(lent), owned)
        raise
    session.leave()
    if session.failed is None and not session.abandoned:
        await own(commit(), owned)
        return
    await own(_undo(lent), owned)
    if session.failed is not None:
        raise _failed_before(session.failed)
