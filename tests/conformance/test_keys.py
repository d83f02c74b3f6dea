"""Keys, tenants and indexed texts have one longest length; looking for longer ones does no harm."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Insert, Update
from sqlalchemy.dialects import sqlite

from holdfast import BackupError, InvalidArgumentError, PersistenceBackend, create_backend
from holdfast.engines import widths
from holdfast.engines.compiler import Compiler
from holdfast.engines.widths import ENTRY, LONGEST, LONGEST_TENANT, entry_bytes, limits
from holdfast.extending import STRING, column, index, new_metadata, store_table, unique
from holdfast.schema import metadata
from holdfast.storage.tables import source
from holdfast.testing.suite.widths import wide

from ..shape import things
from .test_records import NOW, cost, message
from .test_work import task
from .test_workflows import definition, execution

LONG = wide(LONGEST + 1, "key")
#: Far beyond what PostgreSQL's indexes hold, and well compressible or not.
LONGER = (LONG, "a" * 3_000, wide(3_000, "longer"), "a" * 100_000)

REFUSED: dict[str, Callable[[PersistenceBackend], Awaitable[Any]]] = {
    "namespace": lambda b: b.settings.set(LONG, "k", "v", "t"),
    "key": lambda b: b.set_setting(LONG, "v"),
    "name": lambda b: b.custom_presets.save(LONG, "{}", "d", "t", "t"),
    "project_id": lambda b: b.project_cost_aggregates.increment(LONG, 1.0, 1, 1),
    "scope": lambda b: b.idempotency_keys.claim(LONG, "k", ttl_seconds=9),
    "username": lambda b: b.lockouts.record_failure(LONG),
    "assigned_to": lambda b: b.tasks.claim(LONG),
    "agent_id": lambda b: b.cost_records.save(cost(LONG, "t", 1.0)),
    "task_id": lambda b: b.cost_records.save(cost("a", LONG, 1.0)),
    "dependencies": lambda b: b.tasks.save(task("t", dependencies=("u", LONG))),
    "channel": lambda b: b.messages.save(message(1, NOW, LONG)),
}


@pytest.mark.alone
async def test_what_no_entity_checks_is_refused(backend: PersistenceBackend) -> None:
    await backend.tasks.save(task("open"))
    for name, call in REFUSED.items():
        with pytest.raises(InvalidArgumentError, match=f"{LONGEST + 1}") as refused:
            await call(backend)
        assert name in str(refused.value).split()
        assert f".{name}" in refused.value.__notes__[0]
        assert not refused.value.is_retryable
    status = await backend.status()
    assert {n: table.rows for n, table in status.tables.items() if table.rows} == {"tasks": 1}
    assert await backend.tasks.get("open") == task("open")


LOOKED_FOR: dict[str, Callable[[PersistenceBackend, str], Awaitable[Any]]] = {
    "get": lambda b, k: b.tasks.get(k),
    "delete": lambda b, k: b.tasks.delete(k),
    "filter": lambda b, k: b.tasks.list_tasks(project=k),
    "count": lambda b, k: b.tasks.count_tasks(assigned_to=k),
    "after": lambda b, k: b.tasks.list_tasks(after="\U00100000" + k),
    "history": lambda b, k: b.messages.get_history(k),
    "sum": lambda b, k: b.cost_records.aggregate(agent_id=k),
    "setting": lambda b, k: b.get_setting(k),
    "namespace": lambda b, k: b.settings.delete_namespace(k),
    "unique text": lambda b, k: b.users.get_by_username(k),
    "tenant": lambda b, k: b.for_tenant(k).tasks.list_tasks(),
    "tenant's sum": lambda b, k: b.for_tenant(k).cost_records.aggregate(),
    "erase": lambda b, k: b.operations.erase_tenant(k),
}


async def test_what_is_too_long_is_not_there(backend: PersistenceBackend) -> None:
    await backend.tasks.save(task("a"))
    for name, call in LOOKED_FOR.items():
        for text in LONGER:
            assert not await call(backend, text), name


async def test_a_place_that_is_too_long_is_none(backend: PersistenceBackend) -> None:
    for text in LONGER:
        with pytest.raises(InvalidArgumentError, match="does not exist"):
            await backend.messages.get_history("c", after=text)


async def test_what_lies_in_json_and_in_an_index(backend: PersistenceBackend) -> None:
    """A task's dependencies, and the task of a workflow's node, of whose execution nothing is
    stored then."""
    waiting = task("waiting", dependencies=(wide(LONGEST, "one"), wide(LONGEST, "other")))
    await backend.tasks.save(waiting)
    assert await backend.tasks.get("waiting") == waiting
    await backend.workflow_definitions.save(definition())
    longest = execution("x", wide(LONGEST, "node"))
    await backend.workflow_executions.save(longest)
    assert await backend.workflow_executions.find_by_task_id(wide(LONGEST, "node")) == longest
    with pytest.raises(InvalidArgumentError, match=rf"task_id .*{LONGEST + 1}"):
        await backend.workflow_executions.save(execution("y", "t", LONG))
    assert await backend.workflow_executions.get("y") is None
    for text in LONGER:
        assert await backend.workflow_executions.find_by_task_id(text) is None


@pytest.mark.alone
async def test_a_tenant_has_a_longest_name(backend: PersistenceBackend) -> None:
    longest = backend.for_tenant(wide(LONGEST_TENANT, "tenant"))
    await longest.tasks.save(task("t"))
    assert await longest.tasks.get("t") == task("t")
    longer = backend.for_tenant(wide(LONGEST_TENANT + 1, "tenant"))
    with pytest.raises(InvalidArgumentError, match=r"tenant .*513"):
        await longer.tasks.save(task("t"))
    async with backend.transaction() as tx:
        with pytest.raises(InvalidArgumentError, match=r"tenant .*513"):
            await tx.for_tenant(longer.tenant).tasks.save(task("t"))
        await tx.tasks.save(task("t"))  # refused before it was sent, which ends no transaction
    assert await backend.tasks.get("t") == task("t")
    assert await longer.tasks.get("t") is None


async def test_only_its_own_caller_is_refused(backend: PersistenceBackend) -> None:
    keys = [LONG if number % 7 == 0 else f"k{number}" for number in range(40)]
    ends = await asyncio.gather(
        *(backend.tasks.save(task(key)) for key in keys), return_exceptions=True
    )
    refused = [key for key, end in zip(keys, ends, strict=True) if end is not None]
    assert set(refused) == {LONG}
    assert await backend.tasks.count_tasks() == len(set(keys)) - 1
    with pytest.raises(InvalidArgumentError):  # all or none
        await backend.settings.set_many([("n", "k", "v", "t"), ("n", LONG, "v", "t")])
    assert await backend.settings.get("n", "k") is None


@pytest.mark.alone
async def test_what_sqlite_took_before_can_be_read_and_deleted(
    tmp_path: Path, sqlite_url: str, backend: PersistenceBackend
) -> None:
    """And leads to a clear error where it cannot go."""
    old = create_backend(sqlite_url)
    await old.connect()
    await old.tasks.save(task("short", project="p"))
    await old.tasks.save(task("other"))
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE tasks SET id = ?, project = ? WHERE id = 'short'", (LONG, LONG))
    connection.close()
    found = await old.tasks.get(LONG)
    assert found == task(LONG, project=LONG)
    assert await old.tasks.list_tasks(project=LONG) == (found,)
    assert await old.tasks.list_tasks(after=found) == ()
    with pytest.raises(InvalidArgumentError, match=f"{LONGEST + 1}"):
        await old.tasks.save(found)
    export = tmp_path / "old.jsonl"
    await old.operations.export_tenant(old.tenant, export)
    with pytest.raises(BackupError, match=rf"line \d+: .* tasks: .*{LONGEST + 1}"):
        await backend.operations.import_tenant(export, tenant="new")
    assert await backend.for_tenant("new").tasks.list_tasks() == ()
    assert await old.tasks.delete(LONG) is True
    assert await old.tasks.list_tasks() == (task("other"),)
    await old.disconnect()


def test_every_entry_of_every_index_fits() -> None:
    for table in metadata.tables.values():
        allowed = dict(limits(table))
        for columns in widths._indexes(table):
            assert entry_bytes(columns, allowed) <= ENTRY, table.name
        assert allowed.pop("tenant") == LONGEST_TENANT
        assert set(allowed.values()) <= {LONGEST}, table.name


def test_an_index_of_many_texts_shares_out_what_there_is() -> None:
    table = store_table(
        "many", *(column(name, STRING) for name in ("id", "a", "b", "c", "d", "e", "free")),
        index("ix_many_a", "a", "b", "c", "id"), index("ix_many_a_alone", "a"),
        unique("uq_many_d", "d"), key=("id",), metadata=new_metadata(),
    )  # fmt: skip
    allowed = limits(table)
    assert set(allowed) == {"tenant", "id", "a", "b", "c", "d"}
    assert allowed["a"] == allowed["b"] == allowed["id"] < allowed["d"] == LONGEST
    for columns in widths._indexes(table):
        assert ENTRY - 4 < entry_bytes(columns, allowed) <= ENTRY or len(columns) < 5


def test_every_write_is_looked_at() -> None:
    """No statement stores an indexed text that is not measured."""
    compiler = Compiler(sqlite.dialect(paramstyle="qmark"))
    updated = 0
    for name, statement in things.STATEMENTS.items():
        expression, columns = statement.expression, statement.table.c
        allowed = {source(columns[column]) for column in limits(statement.table)}
        if isinstance(expression, Insert):
            assert {column for _, column, _ in widths._stored(statement)} == allowed, name
        elif isinstance(expression, Update):
            assignments = compiler(statement).sql.partition(" SET ")[2].partition(" WHERE ")[0]
            given = allowed & set(re.findall(r"(\w+)=\?", assignments))
            assert {column for _, column, _ in widths._stored(statement)} == given, name
            updated += len(given)
    assert updated > 5
