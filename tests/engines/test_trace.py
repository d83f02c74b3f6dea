"""What is seen of every statement: figures, slow statements, spans and metrics."""

from __future__ import annotations

import asyncio
import logging
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client.parser import text_string_to_metric_families

from holdfast import (
    AuditEntry,
    DuplicateRecordError,
    PersistenceBackend,
    QueryError,
    Task,
    create_backend,
)
from holdfast.engines.stats import BOUNDS, EngineStats, Histogram, RetryStats, StatementStats
from holdfast.testing.suite.base import apart

from .. import forked

SECRET = "what only the tenant may read"

_END_OTHERS = """
import asyncio, sys, asyncpg

async def main():
    connection = await asyncpg.connect(sys.argv[1])
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await connection.close()
asyncio.run(main())
"""


def task(key: str, description: str = "To be done") -> Task:
    return Task(
        id=key, title="A task", description=description, type="admin", project="p",
        created_by="ada",
    )  # fmt: skip


def audit_entry(key: str) -> AuditEntry:
    """Of a kind that is saved once."""
    return AuditEntry.model_validate(
        {
            "id": key, "timestamp": datetime(2026, 1, 1, tzinfo=UTC), "tool_name": "sh",
            "tool_category": "terminal", "action_type": "code:run", "arguments_hash": "ab" * 32,
            "verdict": "deny", "risk_level": "high", "reason": SECRET,
            "evaluation_duration_ms": 0.75,
        }
    )  # fmt: skip


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[PersistenceBackend]:
    backend = create_backend(url)
    await backend.connect()
    try:
        yield backend
    finally:
        await backend.disconnect()


def separated(url: str, options: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{options}"


# -- figures -------------------------------------------------------------------------------------


async def test_every_way_to_call_is_counted(backend: PersistenceBackend) -> None:
    before = backend.stats().statements
    await backend.tasks.save(task("one"))
    await backend.tasks.get("one")
    await backend.tasks.list_tasks()
    await backend.tasks.delete("one")
    async with backend.transaction() as tx:
        await tx.tasks.save(task("two"))
        async with tx.transaction() as inner:
            await inner.tasks.get("two")
    stats = backend.stats()

    def calls(name: str) -> int:
        return stats.statements[name].calls - before.get(name, StatementStats()).calls

    assert calls("tasks.save") == 2
    assert calls("tasks.get") == 2
    assert calls("tasks.delete") == 1
    assert calls("transaction") == 1
    assert calls("savepoint") == 1
    assert any(n.startswith("tasks.") and "list" in n for n in stats.statements)
    for each in stats.statements.values():
        assert 0 < each.longest <= each.seconds
    assert "tasks.save" not in before  # it was a copy


async def test_a_commit_is_timed_once(backend: PersistenceBackend) -> None:
    def commits() -> int:
        return sum(backend.stats().commit_seconds.counts)

    before = commits()
    await backend.tasks.save(task("one"))
    assert commits() == before + 1
    async with backend.transaction() as tx:
        await tx.tasks.save(task("two"))
        await tx.tasks.save(task("three"))
    assert commits() == before + 2
    await backend.atomically(lambda tx: tx.tasks.save(task("three")))
    assert commits() == before + 3
    with pytest.raises(ZeroDivisionError):
        async with backend.transaction() as tx:
            await tx.tasks.save(task("four"))
            raise ZeroDivisionError
    await backend.tasks.get("one")
    assert commits() == before + 3
    assert backend.stats().errors == {}
    assert backend.stats().statements["transaction"].calls == 3


async def test_errors_are_counted_once_and_by_class(backend: PersistenceBackend) -> None:
    entry = audit_entry("twice")
    await backend.audit_entries.save(entry)
    with pytest.raises(DuplicateRecordError):
        await backend.audit_entries.save(entry)
    assert backend.stats().errors == {"DuplicateRecordError": 1}
    with pytest.raises(DuplicateRecordError):
        async with backend.transaction() as tx:
            await tx.audit_entries.save(entry)
    assert backend.stats().errors == {"DuplicateRecordError": 2}
    with pytest.raises(QueryError, match="failed"):
        async with backend.transaction() as tx:
            with pytest.raises(DuplicateRecordError):
                await tx.audit_entries.save(entry)
    stats = backend.stats()
    assert stats.errors == {"DuplicateRecordError": 3, "QueryError": 1}
    assert stats.statements["audit_entries.save"].failures == 3
    assert stats.statements["transaction"].failures == 1
    assert stats.outcomes_unknown == 0


async def test_a_cancelled_caller_is_no_failure(backend: PersistenceBackend) -> None:
    async with backend.transaction() as tx:
        await tx.tasks.save(task("one"))
        # Nothing of the save has begun on either engine when its caller is cancelled.
        saving = apart(backend.tasks.save(task("two")))
        await asyncio.sleep(0)
        saving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saving
    stats = backend.stats()
    assert stats.cancelled == 1
    assert stats.errors == {}
    assert stats.statements["tasks.save"].failures == 0


async def test_figures_begin_anew_with_a_connection(backend: PersistenceBackend) -> None:
    await backend.tasks.save(task("one"))
    assert "tasks.save" in backend.stats().statements
    await backend.disconnect()
    await backend.connect()
    assert "tasks.save" not in backend.stats().statements


async def test_a_repeated_read_is_counted(postgres_url: str) -> None:
    async with connected(postgres_url) as backend:
        await backend.tasks.get("one")
        assert backend.stats().retries == RetryStats()
        # The loop stands still meanwhile, so that the pool does not hear of it before the read.
        forked.run("-c", _END_OTHERS, postgres_url).check_returncode()
        for connection in backend.get_db()._idle:  # or the pool would ask whether it is alive
            connection.alive_at = asyncio.get_running_loop().time()
        await backend.tasks.get("one")
        stats = backend.stats()
    assert stats.retries == RetryStats(connection_lost=1)
    assert stats.errors == {}


# -- slow statements -----------------------------------------------------------------------------


async def test_slow_statements_are_kept_and_logged_without_values(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(separated(url, "slow_statement_seconds=0.0000001")) as backend:
        await backend.migrate()
        acme = backend.for_tenant("acme")
        caplog.clear()
        with caplog.at_level(logging.WARNING, "holdfast.slow"):
            await acme.tasks.save(task("one", description=SECRET))
            assert await acme.tasks.get("one") is not None
            await asyncio.sleep(1.01)
            with pytest.raises(DuplicateRecordError):
                for _ in range(2):
                    await acme.audit_entries.save(audit_entry("twice"))
        records: list[Any] = [r for r in caplog.records if r.name == "holdfast.slow"]
        slow = backend.stats().slowest
    facts = [(r.statement, r.tenant, getattr(r, "rows", None)) for r in records]
    assert facts[:2] == [("tasks.save", "acme", None), ("tasks.get", "acme", 1)]
    assert records[-1].error == "DuplicateRecordError"
    assert all(r.levelno == logging.WARNING and r.seconds > 0 for r in records)
    assert [(s.statement, s.tenant) for s in slow[-4:]] == [
        ("tasks.save", "acme"), ("tasks.get", "acme"),
        ("audit_entries.save", "acme"), ("audit_entries.save", "acme"),
    ]  # fmt: skip
    everything = " ".join(f"{r.getMessage()} {vars(r)}" for r in records) + repr(slow)
    assert SECRET not in everything
    assert "A task" not in everything


async def test_a_slow_line_says_how_long_the_call_waited(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """For the writer of SQLite, or the only connection to PostgreSQL; once sent they are fast."""
    server = url.startswith("postgres")
    options = "slow_statement_seconds=0.2" + "&pool_max_size=1" * server
    async with connected(separated(url, options)) as backend:
        await backend.migrate()

        async def hold() -> None:
            async with backend.transaction() as tx:
                await tx.tasks.get("t")
                await asyncio.sleep(0.5)

        calls: list[Callable[[], Coroutine[Any, Any, Any]]] = [
            lambda: backend.tasks.save(task("t")),
            lambda: backend.tasks.delete("t"),
            lambda: backend.atomically(lambda tx: tx.tasks.get("t")),
        ]
        if server:  # SQLite's readers wait for nobody
            calls.append(lambda: backend.tasks.get("t"))
        for call in calls:
            holding = asyncio.create_task(hold())
            await asyncio.sleep(0.1)
            caplog.clear()
            with caplog.at_level(logging.WARNING, "holdfast.slow"):
                await call()
                await holding
            found: list[Any] = [r for r in caplog.records if r.name == "holdfast.slow"]
            waiting = [r for r in found if r.waited > 0.2]
            assert len(waiting) == 1, found
            assert waiting[0].waited <= waiting[0].seconds
            assert "waiting to be sent" in waiting[0].getMessage()
            assert waiting[0].waited in [slow.waited for slow in backend.stats().slowest]
            assert any(r.waited < 0.1 for r in found if r.statement == "transaction")


def test_nothing_is_printed_by_itself(sqlite_url: str) -> None:
    program = f"""
import asyncio
from holdfast import create_backend

async def main():
    async with create_backend({sqlite_url!r} + "?slow_statement_seconds=0.0000001") as backend:
        await backend.tasks.count_tasks()
        assert backend.stats().slow

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("limit", ["0", "30"])
async def test_fast_statements_are_not_slow(
    sqlite_url: str, limit: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(separated(sqlite_url, f"slow_statement_seconds={limit}")) as backend:
        await backend.tasks.save(task("one"))
        assert backend.stats().slow == 0
        assert backend.stats().slowest == ()
    assert not [r for r in caplog.records if r.name == "holdfast.slow"]


async def test_a_storm_of_slow_statements_is_not_all_logged(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(separated(sqlite_url, "slow_statement_seconds=0.0000001")) as backend:
        with caplog.at_level(logging.WARNING, "holdfast.slow"):
            await asyncio.gather(*(backend.tasks.get(f"t{n}") for n in range(300)))
            logged = len(caplog.records)
            await asyncio.sleep(1.01)
            await backend.tasks.get("one more")
        stats = backend.stats()
    last: Any = caplog.records[-1]
    assert stats.slow == 301
    assert len(stats.slowest) == 100
    assert 10 <= logged <= 50
    assert last.unlogged == 301 - len(caplog.records)


# -- Prometheus ----------------------------------------------------------------------------------

_LINE = re.compile(
    r"# (HELP [a-z_]+ .+|TYPE [a-z_]+ (counter|gauge|histogram|summary))"
    r'|[a-z_]+(\{[a-z_]+="([^"\\\n]|\\["\\n])*"(,[a-z_]+="([^"\\\n]|\\["\\n])*")*\})? [0-9.e+-]+'
)


def families(text: str) -> dict[str, Any]:
    assert text.endswith("\n")
    wrong = [line for line in text.splitlines() if not _LINE.fullmatch(line)]
    assert wrong == []
    found = list(text_string_to_metric_families(text))
    assert len({family.name for family in found}) == len(found)
    return {family.name: family for family in found}


def value(families: dict[str, Any], sample: str, **labels: str) -> float:
    found = [
        s.value
        for family in families.values()
        for s in family.samples
        if s.name == sample and labels.items() <= s.labels.items()
    ]
    assert len(found) == 1, (sample, labels, found)
    number: float = found[0]
    return number


async def test_the_figures_as_prometheus_reads_them(backend: PersistenceBackend) -> None:
    await backend.tasks.save(task("one"))
    await backend.audit_entries.save(audit_entry("twice"))
    with pytest.raises(DuplicateRecordError):
        await backend.audit_entries.save(audit_entry("twice"))
    found = families(backend.stats().prometheus())
    assert {family.type for family in found.values()} == {
        "counter", "gauge", "histogram", "summary",
    }  # fmt: skip
    seconds = "holdfast_statement_duration_seconds"
    assert value(found, f"{seconds}_count", statement="tasks.save") == 1
    assert 0 < value(found, f"{seconds}_sum", statement="tasks.save") < 60
    assert value(found, "holdfast_errors_total", error="DuplicateRecordError") == 1
    assert value(found, "holdfast_batched_calls_total", kind="write") >= 2
    assert value(found, "holdfast_commit_duration_seconds_count") == 2
    assert value(found, "holdfast_commit_duration_seconds_bucket", le="+Inf") == 2
    assert value(found, "holdfast_outcomes_unknown_total") == 0
    assert value(found, "holdfast_pool_connections", state="idle") >= 1


def test_a_histogram_counts_up_to_each_bound() -> None:
    histogram = Histogram()
    for seconds in (0.0, BOUNDS[0], BOUNDS[0] * 1.01, BOUNDS[-1] + 1):
        histogram.observe(seconds)
    found = families(EngineStats(commit_seconds=histogram).prometheus())
    (family,) = [f for f in found.values() if f.type == "histogram"]
    buckets = {s.labels["le"]: s.value for s in family.samples if s.name.endswith("_bucket")}
    assert list(buckets.values()) == sorted(buckets.values())
    assert buckets[repr(BOUNDS[0])] == 2
    assert buckets[repr(BOUNDS[-1])] == 3
    assert buckets["+Inf"] == 4


def test_labels_are_escaped() -> None:
    hostile = 'a "quote", a \\ and a\nline'
    text = EngineStats(errors={hostile: 3}).prometheus()
    assert value(families(text), "holdfast_errors_total", error=hostile) == 3


def test_the_strict_reader_refuses_what_is_wrong() -> None:
    with pytest.raises(AssertionError):
        families('# TYPE x counter\nx{error="a"b"} 1\n')
    with pytest.raises(AssertionError):
        families("# TYPE x something\nx 1\n")


# -- OpenTelemetry -------------------------------------------------------------------------------


class Listener:
    """Providers of its own, and what they were told."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self._reader = InMemoryMetricReader()
        self.meters = MeterProvider(metric_readers=[self._reader])

    async def listen_to(self, backend: Any) -> None:
        backend._core.engine._providers = (self.tracers, self.meters)
        await backend.disconnect()
        await backend.connect()

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._spans.get_finished_spans() if span.name == name]

    def everything(self) -> str:
        return "".join(span.to_json() for span in self._spans.get_finished_spans())

    def points(self, name: str) -> list[Any]:
        data = self._reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    yield listener
    listener.tracers.shutdown()
    listener.meters.shutdown()


@pytest.fixture
async def heard(shared_url: str, listener: Listener) -> AsyncIterator[PersistenceBackend]:
    """A backend that tells the listener."""
    async with connected(shared_url) as backend:
        await listener.listen_to(backend)
        yield backend


async def test_a_span_tells_of_a_statement(heard: PersistenceBackend, listener: Listener) -> None:
    await heard.for_tenant("acme").tasks.save(task("one", description=SECRET))
    (span,) = listener.spans("tasks.save")
    about = dict(span.attributes or {})
    assert span.kind is SpanKind.CLIENT
    assert span.status.status_code is StatusCode.UNSET
    assert about["db.system.name"] == {"postgres": "postgresql"}.get(heard.backend_name, "sqlite")
    assert about["db.operation.name"] == "INSERT"
    assert about["db.collection.name"] == "tasks"
    assert about["db.query.summary"] == "tasks.save"
    assert about["db.namespace"]
    assert ("server.address" in about) == (heard.backend_name == "postgres")
    assert "db.query.text" not in about
    assert SECRET not in listener.everything()
    assert "acme" not in listener.everything()


async def test_a_failure_is_told_by_its_class(
    heard: PersistenceBackend, listener: Listener
) -> None:
    await heard.audit_entries.save(audit_entry("twice"))
    with pytest.raises(DuplicateRecordError):
        await heard.audit_entries.save(audit_entry("twice"))
    good, bad = listener.spans("audit_entries.save")
    assert "error.type" not in (good.attributes or {})
    assert (bad.attributes or {})["error.type"] == "DuplicateRecordError"
    assert bad.status.status_code is StatusCode.ERROR
    assert not bad.events  # no exception with its message
    assert "twice" not in listener.everything()


async def test_statements_are_children_of_their_transaction(
    heard: PersistenceBackend, listener: Listener
) -> None:
    with listener.tracers.get_tracer("app").start_as_current_span("request") as request:
        async with heard.transaction() as tx:
            await tx.tasks.save(task("one"))
            async with tx.transaction() as inner:
                await inner.tasks.get("one")
        assert trace.get_current_span() is request
        await heard.tasks.get("one")
    (transaction,), (savepoint,) = listener.spans("transaction"), listener.spans("savepoint")
    (save,), (inside, outside) = listener.spans("tasks.save"), listener.spans("tasks.get")

    def child(span: ReadableSpan, parent: Any) -> bool:
        assert span.parent is not None
        return bool(span.parent.span_id == parent.get_span_context().span_id)

    assert child(transaction, request)
    assert child(save, transaction)
    assert child(savepoint, transaction)
    assert child(inside, savepoint)
    assert child(outside, request)


async def test_a_stream_is_one_span(heard: PersistenceBackend, listener: Listener) -> None:
    await heard.tasks.save(task("one"))
    listener._spans.clear()
    assert len(await heard.tasks.list_tasks()) == 1
    assert len(listener._spans.get_finished_spans()) == 1


async def test_metrics_by_the_conventions(heard: PersistenceBackend, listener: Listener) -> None:
    for _ in range(3):
        await heard.tasks.save(task("one"))
    (point,) = [
        p
        for p in listener.points("db.client.operation.duration")
        if p.attributes["db.query.summary"] == "tasks.save"
    ]
    assert point.count == 3
    assert point.explicit_bounds == (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
    states = {
        p.attributes["db.client.connection.state"]: p.value
        for p in listener.points("db.client.connection.count")
    }
    pool = heard.stats().pool
    assert states == {"used": pool.busy, "idle": pool.idle}
    (waiting,) = listener.points("db.client.connection.pending_requests")
    assert waiting.value == 0
    assert waiting.attributes["db.client.connection.pool.name"]
    await heard.disconnect()
    assert listener.points("db.client.connection.count") == []


async def test_pools_of_one_name_are_added_up(shared_url: str, listener: Listener) -> None:
    async with connected(shared_url) as one, connected(shared_url) as two:
        await listener.listen_to(one)
        await listener.listen_to(two)
        points = listener.points("db.client.connection.count")
        sizes = [backend.stats().pool.size for backend in (one, two)]
    assert len(points) == 2
    assert sum(point.value for point in points) == sum(sizes)


async def test_without_a_provider_nothing_is_told(backend: Any) -> None:
    assert backend._core.engine._stats.telemetry is None


def _run(code: str, directory: Path) -> str:
    done = forked.run("-W", "error", "-c", code, cwd=directory)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_process_own_providers_are_used_as_the_page_says(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "observability.md"
    (code,) = re.findall(r"```py\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    printed = _run(code, tmp_path)
    assert '"name": "tasks.get"' in printed
    assert '"db.system.name": "sqlite"' in printed


def test_the_extra_may_be_missing(tmp_path: Path) -> None:
    code = (
        "import sys, asyncio; sys.modules['opentelemetry'] = None\n"
        "from holdfast import create_backend\n"
        "async def main():\n"
        "    async with create_backend('sqlite:///:memory:') as backend:\n"
        "        await backend.migrate()\n"
        "        await backend.tasks.get('one')\n"
        "        print(backend.stats().statements['tasks.get'].calls)\n"
        "asyncio.run(main())"
    )
    assert _run(code, tmp_path) == "1\n"
