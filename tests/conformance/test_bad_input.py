"""Every bad input is refused with the same error on every engine, and nothing is half-written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from holdfast import (
    Checkpoint,
    InvalidArgumentError,
    MalformedRowError,
    Message,
    PersistenceBackend,
    Task,
    TextPart,
    create_backend,
)
from holdfast.errors import QueryError
from holdfast.testing import databases

from .samples import full
from .test_records import NOW, message
from .test_work import task

Call = Callable[[PersistenceBackend], Awaitable[Any]]
NAIVE = datetime(2026, 1, 31)  # noqa: DTZ001 - the point
SURROGATE = "a\ud800b"


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def with_data(data: dict[str, Any]) -> Message:
    return Message.model_validate(
        {**message(1, NOW).model_dump(), "parts": [{"type": "data", "data": data}]}
    )


def checkpoint(text: str) -> Checkpoint:
    return full()["checkpoints"].model_copy(update={"context_json": text})  # type: ignore[return-value]


REFUSED: dict[str, Call] = {
    "NUL in text": lambda b: b.tasks.save(task("t", title="a\0b")),
    "surrogate in text": lambda b: b.tasks.save(task("t").model_copy(update={"title": SURROGATE})),
    "NUL in JSON": lambda b: b.messages.save(with_data({"k": "a\0b"})),
    "NUL in a JSON key": lambda b: b.messages.save(with_data({"a\0b": 1})),
    "surrogate in JSON": lambda b: b.messages.save(with_data({"k": SURROGATE})),
    "NUL in a tuple": lambda b: b.tasks.save(task("t", reviewers=("a\0b",))),
    "escaped NUL": lambda b: b.checkpoints.save(checkpoint('{"a": "\\u0000"}')),
    "escaped surrogate": lambda b: b.checkpoints.save(checkpoint('{"a": "\\ud800"}')),
    "deep JSON": lambda b: b.messages.save(with_data({"k": deep(300)})),
    "JSON nobody knows": lambda b: b.messages.save(with_data({"k": object()})),
    "integer past 64 bits": lambda b: b.tasks.save(
        task("t").model_copy(update={"max_retries": 2**63})
    ),
    "text that is none": lambda b: b.tasks.save(task("t").model_copy(update={"title": 7})),
    "another entity": lambda b: b.tasks.save(full()["projects"]),  # type: ignore[arg-type]
    "NUL in a key": lambda b: b.tasks.get("a\0b"),
    "surrogate in a key": lambda b: b.tasks.get(SURROGATE),
    "blank key": lambda b: b.tasks.get(" \t"),
    "key that is no text": lambda b: b.tasks.get(7),  # type: ignore[arg-type]
    "blank agent": lambda b: b.tasks.claim(""),
    "NUL in a filter": lambda b: b.tasks.list_tasks(project="\0"),
    "NUL in a setting": lambda b: b.settings.set("n", "k", "\0", "x"),
    "blank namespace": lambda b: b.settings.get_namespace(""),
    "naive threshold": lambda b: b.heartbeats.get_stale(NAIVE),
    "naive cutoff": lambda b: b.audit_entries.purge_before(NAIVE),
    "naive since": lambda b: b.audit_entries.query(since=NAIVE),
    "a date that is none": lambda b: b.audit_entries.query(until="2026"),  # type: ignore[arg-type]
    "until before since": lambda b: b.audit_entries.query(since=NOW, until=NOW.replace(hour=1)),
    "unknown status": lambda b: b.tasks.list_tasks(status="done"),  # type: ignore[arg-type]
    "unknown verdict": lambda b: b.audit_entries.query(verdict="maybe"),  # type: ignore[arg-type]
    "unknown role": lambda b: b.users.count_by_role("king"),  # type: ignore[arg-type]
    "limit 0": lambda b: b.messages.get_history("c", limit=0),
    "limit -1": lambda b: b.tasks.list_tasks(limit=-1),
    "limit True": lambda b: b.tasks.list_tasks(limit=True),
    "limit text": lambda b: b.audit_entries.query(limit="5"),  # type: ignore[arg-type]
    "limit 1.5": lambda b: b.cost_records.query(limit=1.5),  # type: ignore[arg-type]
    "limit past 64 bits": lambda b: b.tasks.list_tasks(limit=2**63),
    "limit None where needed": lambda b: b.users.list_users_paginated(after_id=None, limit=None),  # type: ignore[arg-type]
    "offset -1": lambda b: b.tasks.list_tasks(offset=-1),
    "after nobody": lambda b: b.messages.get_history("c", after="nobody"),
    "after a number": lambda b: b.users.list_users(after=3),  # type: ignore[arg-type]
    "no checkpoint named": lambda b: b.checkpoints.get_latest(),
}


@pytest.mark.alone
async def test_is_refused_before_anything_is_sent(
    backend: PersistenceBackend, subtests: pytest.Subtests
) -> None:
    before = backend.stats()
    sent = before.writes.items, before.commits
    for name, call in REFUSED.items():
        with subtests.test(name):
            with pytest.raises(InvalidArgumentError) as caught:
                await call(backend)
            assert isinstance(caught.value, ValueError)
            assert isinstance(caught.value, QueryError)
            assert caught.value.is_retryable is False
            after = backend.stats()
            assert (after.writes.items, after.commits) == sent
            status = await backend.status()
            assert not any(table.rows for table in status.tables.values())


async def test_the_message_names_the_place(backend: PersistenceBackend) -> None:
    with pytest.raises(InvalidArgumentError, match=r"tasks\.title holds a NUL character"):
        await backend.tasks.save(task("t", title="a\0b"))
    with pytest.raises(InvalidArgumentError, match=r"heartbeats\.get_stale: threshold"):
        await backend.heartbeats.get_stale(NAIVE)
    with pytest.raises(InvalidArgumentError, match=r"messages\.parts"):
        await backend.messages.save(with_data({"k": "\0"}))


@pytest.mark.parametrize("tenant", ["", " ", "a\0b", SURROGATE])
def test_a_tenant_has_a_name(tenant: str) -> None:
    with pytest.raises(InvalidArgumentError):
        create_backend("sqlite:///:memory:", tenant=tenant)


async def test_what_looks_bad_but_is_not(backend: PersistenceBackend) -> None:
    literal = '{"a": "\\\\u0000 is not an escape", "b": "\\ud83e\\udd91"}'
    await backend.checkpoints.save(checkpoint(literal))
    latest = await backend.checkpoints.get_latest(execution_id="e")
    assert latest is not None
    assert latest.context_json == literal
    quoted = message(1, NOW).model_copy(update={"parts": (TextPart(text="\\u0000 '; DROP--"),)})
    await backend.messages.save(quoted)
    assert await backend.messages.get_history("c") == (quoted,)
    # Within a part, within the parts: 200 in all.
    shallow = with_data({"k": deep(197), "brackets": "[" * 1000}).model_copy(
        update={"channel": "shallow", "id": UUID(int=9)}
    )
    await backend.messages.save(shallow)
    assert await backend.messages.get_history("shallow") == (shallow,)


async def run_sql(backend: PersistenceBackend, sql: str) -> None:
    """As an administrator, who may do what the application's role may not."""
    if backend.backend_name == "sqlite":
        await backend.get_db().run(lambda connection: connection.execute(sql))
        return
    inside: Any = backend
    name = (await inside._core.engine.describe())["database"].rpartition("/")[2]
    await databases.run_sql(databases.ADMINISTERED[name], sql)


@pytest.mark.alone
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE tasks SET status = 'done'",
        "UPDATE tasks SET max_retries = -1",
        "UPDATE tasks SET reviewers = '{}'",
        "UPDATE tasks SET title = ' '",
    ],
)
async def test_a_damaged_row_is_named_and_never_skipped(
    backend: PersistenceBackend, damage: str
) -> None:
    await backend.tasks.save(Task.model_validate(task("fine")))
    await backend.tasks.save(Task.model_validate(task("hurt")))
    await run_sql(backend, f"{damage} WHERE id = 'hurt'")
    for call in (backend.tasks.get("hurt"), backend.tasks.list_tasks()):
        with pytest.raises(MalformedRowError) as caught:
            await call
        assert caught.value.table == "tasks"
        assert caught.value.key == ("hurt",)
    assert await backend.tasks.get("fine") == task("fine")
