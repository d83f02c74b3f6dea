"""The one place every statement passes: timed, counted, told to OpenTelemetry, logged when slow.

Around an engine, of whatever make, and around the transactions it begins. Seconds are those the
caller waits: for a turn, for the company in a batch and for retries as well.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    aclosing,
    asynccontextmanager,
    nullcontext,
)
from time import perf_counter
from typing import Any, TypeVar, cast

from holdfast.engines.inside import INSIDE
from holdfast.engines.statement_stats import StatsCollector
from holdfast.engines.stats import Histogram
from holdfast.engines.transactions import Kind
from holdfast.engines.waiting import FOR
from holdfast.engines.widths import check_widths
from holdfast.storage.session import Row, Session, Statement, TransactionScope

__all__ = ["InstrumentedSession"]

T = TypeVar("T")


class InstrumentedSession:
    """A session whose statements are watched."""

    _block_name = "transaction"

    def __init__(self, inner: Session, tally: StatsCollector, commits: Histogram | None) -> None:
        self._inner: Any = inner
        self._stats = tally
        #: Where a write's seconds are those of its commit as well.
        self._commits = commits

    def __getattr__(self, name: str) -> Any:
        """What is not a statement is the inner one's own."""
        return getattr(self.__dict__["_inner"], name)

    def _check(self, what: str) -> None:
        """Refuse a call that must not be made from where this code runs."""

    def _inside(self) -> AbstractContextManager[None]:
        """What runs within a block of this session."""
        return nullcontext()

    # Not `async`: one coroutine less on the way of every call.

    def get(
        self, statement: Statement, arguments: tuple[Any, ...]
    ) -> Coroutine[Any, Any, Row | None]:
        if INSIDE.get() is not None:
            self._check(statement.name)
        work = self._inner.get(statement, arguments)
        return self._stats.call(statement, arguments, Kind.GET, None, work)

    def fetch(
        self, statement: Statement, arguments: tuple[Any, ...], *, at_most: int
    ) -> Coroutine[Any, Any, Sequence[Row]]:
        if INSIDE.get() is not None:
            self._check(statement.name)
        work = self._inner.fetch(statement, arguments, at_most=at_most)
        return self._stats.call(statement, arguments, Kind.FETCH, None, work)

    def write(self, statement: Statement, arguments: tuple[Any, ...]) -> Coroutine[Any, Any, None]:
        if INSIDE.get() is not None:
            self._check(statement.name)
        check_widths(statement, arguments)
        work = self._inner.write(statement, arguments)
        return self._stats.call(statement, arguments, Kind.WRITE, self._commits, work)

    def execute(self, statement: Statement, arguments: tuple[Any, ...]) -> Coroutine[Any, Any, int]:
        if INSIDE.get() is not None:
            self._check(statement.name)
        check_widths(statement, arguments)
        work = self._inner.execute(statement, arguments)
        return self._stats.call(statement, arguments, Kind.EXECUTE, self._commits, work)

    def returning(
        self, statement: Statement, arguments: tuple[Any, ...], *reading: Any
    ) -> Coroutine[Any, Any, Any]:
        if INSIDE.get() is not None:
            self._check(statement.name)
        check_widths(statement, arguments)
        work = self._inner.returning(statement, arguments, *reading)
        return self._stats.call(statement, arguments, Kind.RETURNING, self._commits, work)

    async def stream(
        self, statement: Statement, arguments: tuple[Any, ...]
    ) -> AsyncIterator[Sequence[Row]]:
        """Timed from the first piece that is asked for to the end, the reader's own time with it:
        for so long it keeps its snapshot."""
        self._check(statement.name)
        FOR.set(arguments)
        tally, count = self._stats, 0
        span = None if tally.telemetry is None else tally.telemetry.begin(statement)
        problem: BaseException | None = None
        begun = perf_counter()
        try:
            async with aclosing(self._inner.stream(statement, arguments)) as pieces:
                async for rows in pieces:
                    count += len(rows)
                    yield rows
        except GeneratorExit:  # the reader had enough
            raise
        except BaseException as error:
            problem = error
            raise
        finally:
            seconds = perf_counter() - begun
            if problem is None:
                tally.done(statement.name, seconds, statement, arguments, rows=count)
            else:
                tally.failed(statement.name, seconds, problem, statement, arguments)
            if tally.telemetry is not None:
                tally.telemetry.end(span, statement, seconds, problem)

    async def atomically(self, work: Callable[[TransactionScope], Awaitable[T]]) -> T:
        return await self._attempt(self._inner.atomically, work)

    async def _attempt(self, run: Any, work: Callable[[TransactionScope], Awaitable[T]]) -> T:
        """Its statements are watched one by one, its attempts as one block."""
        tally, name = self._stats, self._block_name
        self._check(name)
        raised: BaseException | None = None
        this = (object(),)
        FOR.set(this)
        begun = left = perf_counter()
        inner: _InstrumentedTransaction | None = None

        async def watched(session: TransactionScope) -> T:
            nonlocal raised, left, inner
            inner = _InstrumentedTransaction(session, tally)
            try:
                with self._inside():
                    value = await work(cast("TransactionScope", inner))
            except BaseException as error:
                raised = error
                raise
            left = perf_counter()
            return value

        with nullcontext() if tally.telemetry is None else tally.telemetry.block(name):
            try:
                value = cast("T", await run(watched))
            except BaseException as error:
                seconds = perf_counter() - begun
                if error is raised:
                    tally.done(name, seconds, None, this)
                else:
                    tally.failed(name, seconds, error, None, this)
                raise
            ended = perf_counter()
            tally.done(name, ended - begun, None, this)
            if self._commits is not None and not (inner and inner.abandoned):
                self._commits.observe(ended - left)
            return value

    def transaction(self) -> AbstractAsyncContextManager[TransactionScope]:
        return self._block(self._block_name, self._inner.transaction())

    @asynccontextmanager
    async def _block(
        self, name: str, scope: AbstractAsyncContextManager[TransactionScope]
    ) -> AsyncIterator[TransactionScope]:
        """What fails inside a block was counted there; its own failures are those of its ends."""
        tally = self._stats
        self._check(name)
        this = (object(),)
        FOR.set(this)
        span = nullcontext() if tally.telemetry is None else tally.telemetry.block(name)
        with span:
            begun = left = perf_counter()
            within = False
            try:
                async with scope as session:
                    inner = _InstrumentedTransaction(session, tally)
                    within = True
                    with self._inside():
                        yield cast("TransactionScope", inner)
                    within = False
                    left = perf_counter()
            except BaseException as error:
                seconds = perf_counter() - begun
                if within:
                    tally.done(name, seconds, None, this)
                else:
                    tally.failed(name, seconds, error, None, this)
                raise
            ended = perf_counter()
            tally.done(name, ended - begun, None, this)
            if self._commits is not None and not inner.abandoned:
                self._commits.observe(ended - left)


class _InstrumentedTransaction(InstrumentedSession):
    """A `TransactionScope`; inside it nothing is durable yet."""

    _block_name = "savepoint"

    def __init__(self, inner: TransactionScope, tally: StatsCollector) -> None:
        super().__init__(inner, tally, None)
        self.abandoned = False

    def abandon(self) -> None:
        self.abandoned = True
        self._inner.abandon()
