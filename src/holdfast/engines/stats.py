"""What an engine has done since `connect`, in figures; also as Prometheus reads them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from itertools import accumulate

__all__ = [
    "BOUNDS",
    "BatchStats",
    "EngineStats",
    "Failover",
    "Histogram",
    "PoolStats",
    "ReplicaStats",
    "RetryStats",
    "SlowStatement",
    "StatementStats",
]

#: Upper ends of the places of a `Histogram`, in seconds.
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(slots=True)
class Histogram:
    """``counts[i]`` took up to ``BOUNDS[i]`` seconds and more than the bound before; the last, more
    than every bound."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds


@dataclass(slots=True)
class BatchStats:
    """``items`` went out in ``batches``; the ratio is what group commit or coalescing saved."""

    batches: int = 0
    items: int = 0
    largest: int = 0

    def count(self, size: int) -> None:
        self.batches += 1
        self.items += size
        self.largest = max(self.largest, size)


@dataclass(slots=True)
class PoolStats:
    """Connections of this process. Waits are callers that found none free."""

    size: int = 0
    busy: int = 0
    idle: int = 0
    waiting: int = 0
    opened: int = 0
    lost: int = 0


@dataclass(slots=True)
class RetryStats:
    """What was sent again by itself, by the reason."""

    connection_lost: int = 0
    """A read, or the begin of a transaction."""
    serialization_failure: int = 0
    """A write, or a transaction, that had lost against another one."""
    outcome_unknown: int = 0
    """A batch of writes that may be repeated, after its connection was lost."""


@dataclass(slots=True)
class ReplicaStats:
    """Reads that replicas ``answered``, and those the primary had to, by the reason."""

    answered: int = 0
    away: int = 0
    """No replica could be reached, or what was reached is no standby of the primary."""
    behind: int = 0
    """None had caught up with what this process wrote within ``replica_wait_seconds``."""
    refused: int = 0
    """The read failed there, such as for a conflict with what was being applied."""


@dataclass(frozen=True, slots=True)
class Failover:
    """Another server, on another timeline, became the primary.

    ``before`` and ``after`` name the histories. Of the rows whose storing this process was told in
    the ``seconds`` before, and which it did not delete, ``checked`` were looked up of
    ``acknowledged``; ``missing`` are the table, tenant and key of each that is not there any more.
    Updates cannot be told from rows that were saved earlier, nor can deletes, which came back.

    Fewer ``checked`` than ``acknowledged``: the look-up was broken off, ``broken_off`` says by
    what, and nothing is known of the others. It is empty when all were looked up.
    """

    at: datetime
    before: str
    after: str
    seconds: float
    acknowledged: int
    checked: int
    missing: tuple[tuple[object, ...], ...]
    broken_off: str = ""

    def __repr__(self) -> str:
        """With how many rows are missing; which ones would put names of tenants into a log."""
        shown = {each.name: repr(getattr(self, each.name)) for each in fields(self)}
        shown["missing"] = f"<{len(self.missing)} rows>"
        return f"Failover({', '.join(f'{name}={value}' for name, value in shown.items())})"


@dataclass(slots=True)
class StatementStats:
    """Calls of one statement. ``seconds``, in all, are those its callers waited.

    Failed calls count as well; a call that was cancelled is no failure.
    """

    calls: int = 0
    seconds: float = 0.0
    longest: float = 0.0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class SlowStatement:
    """A call that took longer than ``slow_statement_seconds``, and when it ended."""

    statement: str
    seconds: float
    at: datetime
    tenant: str | None
    """``None`` for a transaction and for what concerns all tenants."""
    waited: float = 0.0
    """Seconds of these before it was sent: in a queue, for a connection, for the writer."""


@dataclass(slots=True)
class EngineStats:
    """Since ``connect``: ``commits`` that carried ``writes``, and how reads travelled."""

    commits: int = 0
    writes: BatchStats = field(default_factory=BatchStats)
    reads: BatchStats = field(default_factory=BatchStats)
    pool: PoolStats = field(default_factory=PoolStats)
    retries: RetryStats = field(default_factory=RetryStats)
    replicas: ReplicaStats = field(default_factory=ReplicaStats)
    failovers: tuple[Failover, ...] = ()

    # From here on counted around the engine, for every engine alike.

    commit_seconds: Histogram = field(default_factory=Histogram)
    """How long callers waited until what they wrote was durable: for a write of its own from the
    call to the answer, for a transaction from the end of its block."""
    statements: Mapping[str, StatementStats] = field(default_factory=dict)
    """By name. ``transaction`` and ``snapshot`` are whole blocks."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """By the name of the error's class, as callers got them."""
    cancelled: int = 0
    """Calls whose callers were cancelled; what they wrote may have been committed."""
    slow: int = 0
    slowest: tuple[SlowStatement, ...] = ()
    """The latest of the slow ones, at most a hundred, in the order in which they ended."""

    @property
    def outcomes_unknown(self) -> int:
        return self.errors.get("OutcomeUnknownError", 0)

    def prometheus(self) -> str:
        """The figures in Prometheus' text format, version 0.0.4."""
        return "".join(f"{line}\n" for line in _exposition(self))


_Sample = tuple[Mapping[str, str], float]


def _exposition(stats: EngineStats) -> Iterator[str]:
    batched = {"write": stats.writes, "read": stats.reads}
    pool, named = stats.pool, stats.statements
    yield from _metric("commits_total", "counter", "Commits.", stats.commits)
    yield from _metric(
        "batches_total", "counter", "Batches that were sent.",
        *(({"kind": kind}, batch.batches) for kind, batch in batched.items()),
    )  # fmt: skip
    yield from _metric(
        "batched_calls_total", "counter", "Calls that travelled in batches.",
        *(({"kind": kind}, batch.items) for kind, batch in batched.items()),
    )  # fmt: skip
    yield from _metric(
        "batch_size_max", "gauge", "Calls in the largest batch.",
        *(({"kind": kind}, batch.largest) for kind, batch in batched.items()),
    )  # fmt: skip
    yield from _metric(
        "pool_connections", "gauge", "Open connections.",
        ({"state": "busy"}, pool.busy), ({"state": "idle"}, pool.idle),
    )  # fmt: skip
    yield from _metric("pool_waiting_callers", "gauge", "Callers in a queue.", pool.waiting)
    yield from _metric("pool_opened_total", "counter", "Connections opened.", pool.opened)
    yield from _metric("pool_lost_total", "counter", "Connections lost.", pool.lost)
    yield from _metric(
        "retries_total", "counter", "What was sent again by itself.",
        *(({"reason": reason}, getattr(stats.retries, reason)) for reason in RetryStats.__slots__),
    )  # fmt: skip
    yield from _metric(
        "replica_reads_total", "counter", "Reads for replicas, and who answered them or why not.",
        *(({"outcome": name}, getattr(stats.replicas, name)) for name in ReplicaStats.__slots__),
    )  # fmt: skip
    yield from _metric("failovers_total", "counter", "New primaries.", len(stats.failovers))
    yield from _metric(
        "failover_missing_rows_total", "counter", "Acknowledged rows a new primary did not have.",
        sum(len(failover.missing) for failover in stats.failovers),
    )  # fmt: skip
    yield from _metric(
        "failover_unchecked_rows_total", "counter", "Acknowledged rows nobody could look up.",
        sum(failover.acknowledged - failover.checked for failover in stats.failovers),
    )  # fmt: skip
    yield from _metric(
        "errors_total", "counter", "Errors that callers got, by class.",
        *(({"error": name}, count) for name, count in stats.errors.items()),
    )  # fmt: skip
    yield from _metric(
        "outcomes_unknown_total", "counter", "Writes that may or may not be committed.",
        stats.outcomes_unknown,
    )  # fmt: skip
    yield from _metric("cancelled_total", "counter", "Calls that were cancelled.", stats.cancelled)
    yield from _metric(
        "slow_statements_total", "counter", "Statements over the limit of the configuration.",
        stats.slow,
    )  # fmt: skip
    yield from _histogram(
        "commit_duration_seconds", "What callers waited for a commit.", stats.commit_seconds
    )
    yield from _head("statement_duration_seconds", "summary", "Calls of a statement.")
    for name, each in named.items():
        yield _sample("statement_duration_seconds_sum", {"statement": name}, each.seconds)
        yield _sample("statement_duration_seconds_count", {"statement": name}, each.calls)
    yield from _metric(
        "statement_duration_max_seconds", "gauge", "The longest call of a statement.",
        *(({"statement": name}, each.longest) for name, each in named.items()),
    )  # fmt: skip
    yield from _metric(
        "statement_failures_total", "counter", "Calls of a statement that failed.",
        *(({"statement": name}, each.failures) for name, each in named.items()),
    )  # fmt: skip


def _metric(name: str, kind: str, help_: str, *samples: _Sample | float) -> Iterator[str]:
    yield from _head(name, kind, help_)
    for sample in samples:
        labels, value = sample if isinstance(sample, tuple) else ({}, sample)
        yield _sample(name, labels, value)


def _histogram(name: str, help_: str, histogram: Histogram) -> Iterator[str]:
    yield from _head(name, "histogram", help_)
    bounds: Iterable[str] = (*map(repr, BOUNDS), "+Inf")
    total = 0
    for bound, total in zip(bounds, accumulate(histogram.counts), strict=True):
        yield _sample(f"{name}_bucket", {"le": bound}, total)
    yield _sample(f"{name}_sum", {}, histogram.seconds)
    yield _sample(f"{name}_count", {}, total)


def _head(name: str, kind: str, help_: str) -> Iterator[str]:
    yield f"# HELP holdfast_{name} {help_}"
    yield f"# TYPE holdfast_{name} {kind}"


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    inner = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"holdfast_{name}{{{inner}}} {value!r}" if inner else f"holdfast_{name} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
