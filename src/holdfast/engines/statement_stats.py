"""What was seen of an engine: figures per statement, errors by class, slow ones in the log."""

from __future__ import annotations

import logging
from asyncio import CancelledError
from bisect import bisect_left
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
from time import perf_counter
from typing import Any, TypeVar

from holdfast.engines.compiler import tenant_of
from holdfast.engines.protocol import EngineStats
from holdfast.engines.stats import BOUNDS, Histogram, SlowStatement, StatementStats
from holdfast.engines.telemetry import Telemetry
from holdfast.engines.transactions import Kind
from holdfast.engines.waiting import FOR, WAITS
from holdfast.storage.session import Statement

__all__ = ["StatsCollector"]

T = TypeVar("T")

logger = logging.getLogger("holdfast.slow")

#: Slow statements that are kept, and those that are logged in a second.
LATEST, LINES = 100, 10


class StatsCollector:
    """What was seen of one engine since it was connected."""

    def __init__(self, slow_seconds: float, telemetry: Telemetry | None) -> None:
        self.commits = Histogram()
        self.telemetry = telemetry
        self._statements: dict[str, StatementStats] = {}
        self._errors: dict[str, int] = {}
        self._cancelled = 0
        self._slow_seconds = slow_seconds or inf
        self._slow = 0
        self._slowest: deque[SlowStatement] = deque(maxlen=LATEST)
        #: When the lines were last counted from nothing, how many came since, and how many did not.
        self._second, self._lines, self._unlogged = -inf, 0, 0

    async def call(
        self,
        statement: Statement,
        arguments: tuple[Any, ...],
        kind: Kind,
        commits: Histogram | None,
        work: Coroutine[Any, Any, T],
    ) -> T:
        """Await ``work``, and see how it goes. On the path of every call, so it makes nothing."""
        telemetry = self.telemetry
        span = None if telemetry is None else telemetry.begin(statement)
        FOR.set(arguments)
        begun = perf_counter()
        try:
            value = await work
        except BaseException as error:
            seconds = perf_counter() - begun
            self.failed(statement.name, seconds, error, statement, arguments)
            if telemetry is not None:
                telemetry.end(span, statement, seconds, error)
            raise
        seconds = perf_counter() - begun
        waited = WAITS.pop(id(arguments), 0.0) if WAITS else 0.0
        figures = self._statements.get(statement.name)
        if figures is None:
            figures = self._statements[statement.name] = StatementStats()
        figures.calls += 1
        figures.seconds += seconds
        if seconds > figures.longest:
            figures.longest = seconds
        if commits is not None:  # `Histogram.observe`, without the call
            commits.counts[bisect_left(BOUNDS, seconds)] += 1
            commits.seconds += seconds
        if seconds >= self._slow_seconds:
            facts = {"rows": _rows(kind, value)}
            self._log(statement.name, seconds, waited, statement, arguments, facts)
        if telemetry is not None:
            telemetry.end(span, statement, seconds, None)
        return value

    def done(
        self,
        name: str,
        seconds: float,
        statement: Statement | None = None,
        arguments: tuple[Any, ...] = (),
        **facts: Any,
    ) -> StatementStats:
        waited = WAITS.pop(id(arguments), 0.0)
        figures = self._statements.setdefault(name, StatementStats())
        figures.calls += 1
        figures.seconds += seconds
        figures.longest = max(figures.longest, seconds)
        if seconds >= self._slow_seconds:
            self._log(name, seconds, waited, statement, arguments, facts)
        return figures

    def failed(
        self,
        name: str,
        seconds: float,
        error: BaseException,
        statement: Statement | None = None,
        arguments: tuple[Any, ...] = (),
    ) -> None:
        kind = type(error).__name__
        figures = self.done(name, seconds, statement, arguments, error=kind)
        if isinstance(error, CancelledError):
            self._cancelled += 1
        else:
            figures.failures += 1
            self._errors[kind] = self._errors.get(kind, 0) + 1

    def added_to(self, stats: EngineStats) -> EngineStats:
        """A copy of the engine's own figures, with these."""
        return replace(
            stats,
            writes=replace(stats.writes),
            reads=replace(stats.reads),
            retries=replace(stats.retries),
            replicas=replace(stats.replicas),
            commit_seconds=Histogram([*self.commits.counts], self.commits.seconds),
            statements={name: replace(each) for name, each in self._statements.items()},
            errors=dict(self._errors),
            cancelled=self._cancelled,
            slow=self._slow,
            slowest=tuple(self._slowest),
        )

    def _log(
        self,
        name: str,
        seconds: float,
        waited: float,
        statement: Statement | None,
        arguments: tuple[Any, ...],
        facts: dict[str, Any],
    ) -> None:
        tenant = None if statement is None else _tenant(statement, arguments)
        waited = min(waited, seconds)  # which are read one after the other, from two clocks
        self._slow += 1
        self._slowest.append(SlowStatement(name, seconds, datetime.now(UTC), tenant, waited))
        # When everything is slow, writing about it must not make it slower.
        if perf_counter() >= self._second + 1:
            self._second, self._lines = perf_counter(), 0
        self._lines += 1
        if self._lines > LINES:
            self._unlogged += 1
            return
        facts |= {"statement": name, "seconds": seconds, "waited": waited, "tenant": tenant}
        facts["unlogged"], self._unlogged = self._unlogged or None, 0
        extra = {fact: value for fact, value in facts.items() if value is not None}
        text = "%s took %.3f s, %.3f s of it waiting to be sent"
        logger.warning(text, name, seconds, waited, extra=extra)


def _tenant(statement: Statement, arguments: tuple[Any, ...]) -> str | None:
    place = tenant_of(statement)
    return None if place is None else str(arguments[place])


def _rows(kind: Kind, value: Any) -> int | None:
    if kind is Kind.GET:
        return 0 if value is None else 1
    if kind is Kind.EXECUTE:
        return int(value)
    return len(value) if isinstance(value, Sequence) else None
