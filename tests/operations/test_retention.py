"""Pruning takes what is old enough, nothing else, and keeps nobody waiting."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import delete
from sqlalchemy.dialects import sqlite

from holdfast import (
    InvalidArgumentError,
    PersistenceBackend,
    Session,
    SsrfViolation,
    create_backend,
)
from holdfast.engines.compiler import Compiler
from holdfast.engines.protocol import Engine
from holdfast.operations import RetentionPolicy, parse_age
from holdfast.operations.ranges import BATCH, old_rows
from holdfast.schema import metadata
from holdfast.storage.retention import retention_of
from holdfast.storage.session import Statement
from holdfast.storage.statements import parameter
from holdfast.testing import samples
from holdfast.testing.databases import connected

from ..cli.test_commands import run
from ..conformance.test_records import entry, message, user
from ..conformance.test_work import task

DAY = timedelta(days=1)
HISTORIES = {
    "audit_entries", "changes", "collaboration_metrics", "cost_records", "lifecycle_events",
    "messages", "ssrf_violations", "task_metrics",
}  # fmt: skip
EXPIRING = {"idempotency_keys", "refresh_tokens", "sessions"}


def ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


async def audits(backend: PersistenceBackend, *days: float) -> None:
    await asyncio.gather(
        *(backend.audit_entries.save(entry(f"e{n:05}", ago(d))) for n, d in enumerate(days))
    )


async def left(backend: PersistenceBackend) -> list[str]:
    return sorted(e.id for e in await backend.audit_entries.query(limit=None))


def brief(pruned: Any) -> dict[tuple[str, str], int]:
    return {(item.table, item.tenant): item.rows for item in pruned}


def test_which_tables_lose_rows_by_age() -> None:
    """A new table that does has to be thought about: live state never does."""
    found = {t.name: r for t in metadata.tables.values() if (r := retention_of(t)) is not None}
    assert {name for name, item in found.items() if not item.expires} == HISTORIES
    assert {name for name, item in found.items() if item.expires} == EXPIRING


@pytest.mark.parametrize("name", sorted((HISTORIES | EXPIRING) - {"changes"}))
def test_an_index_finds_the_old_rows(name: str) -> None:
    table = metadata.tables[name]
    retention = retention_of(table)
    assert retention is not None
    wanted = ["tenant", retention.column]
    assert any(index.columns.keys()[:2] == wanted for index in table.indexes)


async def test_a_batch_is_a_range_of_the_index(sqlite_url: str) -> None:
    """Entered at both ends: with the limit beside its end, SQLite reads on to the limit."""
    table = metadata.tables["audit_entries"]
    batch = old_rows(table)._deletes[True, True]
    beyond = Statement(
        "beyond",
        delete(table).where(
            table.c.timestamp < parameter(table.c.timestamp, "before"),
            batch.expression.whereclause,
        ),
        (*batch.parameters, "before"),
        table,
    )
    compiler = Compiler(sqlite.dialect(paramstyle="qmark"))

    async def plan(statement: Statement) -> str:
        sql = f"EXPLAIN QUERY PLAN {compiler(statement).sql}"
        async with connected(create_backend(sqlite_url)) as backend:
            rows = await backend.get_db().run(
                lambda c: c.execute(sql, (1,) * sql.count("?")).fetchall()
            )
        return str(rows[0][3])

    ends = "(timestamp,saved_order,id)>(?,?,?) AND (timestamp,saved_order,id)<(?,?,?)"
    assert ends in await plan(batch)
    assert ends not in await plan(beyond)


async def test_a_policy_says_what_goes(backend: PersistenceBackend) -> None:
    other = backend.for_tenant("other")
    for one in (backend, other):
        await audits(one, 1, 10, 100)
        await one.messages.save(message(1, ago(10)))
    name, operations = backend.tenant, backend.operations
    assert await operations.prune() == ()  # a history for which nothing was said is kept
    policy = RetentionPolicy.model_validate(
        {
            "keep": "50d",
            "tables": {"messages": "forever"},
            "tenants": {"other": {"tables": {"audit_entries": "5d"}}},
        }
    )
    wanted = {("audit_entries", name): 1, ("audit_entries", "other"): 2}
    assert brief(await operations.prune(policy, dry_run=True)) == wanted
    assert len(await left(other)) == 3
    assert brief(await operations.prune(policy)) == wanted
    assert (await left(backend), await left(other)) == (["e00000", "e00001"], ["e00000"])
    assert await operations.prune(policy) == ()
    one_tenant = await operations.prune(DAY * 2, tenants=["other"])
    assert brief(one_tenant) == {("messages", "other"): 1}
    one_table = await operations.prune(DAY * 2, tables=["messages"])
    assert brief(one_table) == {("messages", name): 1}
    assert await left(backend) == ["e00000", "e00001"]


async def test_what_has_expired_goes_and_what_is_waited_for_stays(
    backend: PersistenceBackend,
) -> None:
    await backend.users.save(user("u"))
    for key, days in (("on", -1), ("over", 1)):
        await backend.sessions.create(
            Session(id=key, user_id="u", created_at=ago(9), expires_at=ago(days))
        )
        await backend.refresh_tokens.create(f"token-{key}", "on", "u", ago(days))
        await backend.idempotency_keys.claim("s", key, 60, now=ago(days))
    for status, more in (("pending", {}), ("denied", {"resolved_by": "a", "resolved_at": ago(1)})):
        await backend.ssrf_violations.save(
            samples.required(SsrfViolation, id=status, timestamp=ago(99), status=status, **more)
        )
    name = backend.tenant
    wanted = {(table, name): 1 for table in EXPIRING}
    assert brief(await backend.operations.prune(dry_run=True)) == wanted
    assert brief(await backend.operations.prune()) == wanted
    assert await backend.sessions.get("on") is not None
    assert await backend.sessions.get("over") is None
    # How long histories are kept says nothing about what has expired, and the other way round.
    assert brief(await backend.operations.prune(DAY)) == {("ssrf_violations", name): 1}
    assert await backend.ssrf_violations.get("pending") is not None


async def test_the_log_of_changes_keeps_its_note(backend: PersistenceBackend) -> None:
    await backend.record_changes(backend.settings)
    for n in range(3):
        await backend.set_setting(f"k{n}", "v")
    found = await backend.operations.prune(timedelta(0), tables=["changes"])
    assert brief(found) == {("changes", backend.tenant): 3}
    async with backend.watch(backend.settings) as changes:
        await backend.set_setting("after", "v")
        assert (await anext(changes)).key == ("_system", "after")


async def test_batches_end_where_they_should(backend: PersistenceBackend) -> None:
    """Equal times, ends on and beside a batch's, and what is just young enough."""
    for count in (BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 1):
        when = ago(10)
        await asyncio.gather(
            *(backend.audit_entries.save(entry(f"e{n:05}", when)) for n in range(count)),
            backend.audit_entries.save(entry("young", ago(0.9))),
        )
        found = await backend.operations.prune(DAY)
        assert brief(found) == {("audit_entries", backend.tenant): count}
        assert await left(backend) == ["young"]
        await backend.audit_entries.purge_before(ago(0))


async def test_a_prune_that_was_stopped_goes_on(
    backend: PersistenceBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    await audits(backend, *[9] * (2 * BATCH + 5))
    engine: Engine = backend._engine()  # type: ignore[attr-defined]
    execute, calls = engine.execute, iter(range(9))

    async def once(*arguments: Any) -> int:
        if next(calls):
            raise ConnectionResetError
        return await execute(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "execute", once, raising=False)
        with pytest.raises(ConnectionResetError):
            await backend.operations.prune(DAY)
    assert len(await left(backend)) == BATCH + 5
    assert brief(await backend.operations.prune(DAY)) == {
        ("audit_entries", backend.tenant): BATCH + 5
    }


async def slowest(backend: PersistenceBackend, until: asyncio.Event) -> float:
    """The longest of saves that go on for as long as they are wanted."""
    longest, number = 0.0, 0
    while not until.is_set():
        began = time.perf_counter()
        await backend.tasks.save(task(f"t{number}"))
        longest, number = max(longest, time.perf_counter() - began), number + 1
        await asyncio.sleep(0.001)
    return longest


async def beside(backend: PersistenceBackend, work: Any) -> tuple[float, float]:
    """The slowest save beside some work, and how long that took."""
    over = asyncio.Event()
    writer = asyncio.create_task(slowest(backend, over))
    began = time.perf_counter()
    await work
    took = time.perf_counter() - began
    over.set()
    return await writer, took


async def test_writers_wait_for_a_batch_and_not_for_the_prune(shared_url: str) -> None:
    """From another connection, of another tenant; the control deletes all in one statement."""
    rows = 5 * BATCH
    async with (
        connected(create_backend(shared_url)) as house,
        connected(create_backend(shared_url, tenant="other")) as other,
    ):
        await audits(house, *[9] * rows)
        worst, took = await beside(other, house.operations.prune(DAY))
        assert await left(house) == []
        await audits(house, *[9] * rows)
        if house.backend_name == "sqlite":  # there, one statement keeps every writer waiting
            at_once, whole = await beside(other, house.audit_entries.purge_before(ago(1)))
            assert at_once > whole / 2
    assert worst < max(took / 4, 0.25), (worst, took)


async def test_wrong_arguments(backend: PersistenceBackend) -> None:
    operations = backend.operations
    with pytest.raises(InvalidArgumentError, match="'tasks' have no age"):
        await operations.prune(DAY, tables=["tasks"])
    with pytest.raises(InvalidArgumentError, match="'tasks' have no age"):
        await operations.prune(RetentionPolicy(tables={"tasks": DAY}))
    await audits(backend, 9)
    with pytest.raises(InvalidArgumentError, match="say for how long rows of audit_entries"):
        await operations.prune(tables=["audit_entries"])
    with pytest.raises(InvalidArgumentError, match="not int"):
        await operations.prune(90)  # type: ignore[arg-type]
    for wrong in ("90", "d", "-1d", "1y", 90, None, timedelta(days=-1)):
        with pytest.raises(InvalidArgumentError):
            parse_age(wrong)
        with pytest.raises(ValidationError):
            RetentionPolicy.model_validate({"tables": {"messages": wrong}})
    assert parse_age("2w") == DAY * 14
    for ever in ("forever", "999999999w", "9999999d", "100000000d"):
        assert await operations.prune(parse_age(ever)) == ()
    assert await operations.prune(DAY, tenants=[]) == ()  # nobody, and not everybody
    assert await left(backend) == ["e00000"]


async def test_the_command(shared_url: str, tmp_path: Path) -> None:
    async with connected(create_backend(shared_url, tenant="acme")) as backend:
        await audits(backend, 1, 10, 100)
    loop = asyncio.get_running_loop()

    async def command(*arguments: str, code: int = 0) -> str:
        call = lambda: run("prune", *arguments, url=shared_url, code=code)  # noqa: E731
        return await loop.run_in_executor(None, call)

    assert await command() == "0 rows deleted\n"
    assert "2 rows would be deleted" in await command("--keep", "5d", "--dry-run")
    done = json.loads(await command("--keep", "50d", "--table", "audit_entries", "--json"))
    assert [(p["table"], p["tenant"], p["rows"]) for p in done["pruned"]] == [
        ("audit_entries", "acme", 1)
    ]
    file = tmp_path / "policy.yaml"
    file.write_text("tenants:\n  acme:\n    keep: 5d\n")
    assert "0 rows deleted" in await command("--policy", str(file), "--tenant", "other")
    assert "audit_entries  acme  1" in await command("--policy", str(file))
    for text in ("keep: soon", "kept: 5d", "- a", "a: [", "keep: 5"):
        file.write_text(text)
        assert "--policy" in await command("--policy", str(file), code=1)
    assert "no age" in await command("--keep", "soon", code=1)
    assert "not both" in await command("--keep", "5d", "--policy", str(file), code=2)
