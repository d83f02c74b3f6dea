"""Entities made without validation (`model_copy`): refused alike, or stored and read alike."""

from __future__ import annotations

import math
import sqlite3
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from pydantic import ValidationError

from holdfast import (
    AcceptanceCriterion,
    DataPart,
    InvalidArgumentError,
    MalformedRowError,
    Message,
    OrgFact,
    OrgFactAuthor,
    PersistenceBackend,
    Role,
    VersionSnapshot,
)
from holdfast.schema import metadata
from holdfast.storage.types import REAL
from holdfast.testing.catalogue import SUBJECTS
from holdfast.testing.samples import required
from holdfast.testing.suite.base import fresh

from .samples import full
from .test_bad_input import run_sql

SUBJECT = {subject.name: subject for subject in SUBJECTS}


def changed(name: str, **fields: Any) -> Any:
    return full()[name].model_copy(update=fields)


async def save(backend: PersistenceBackend, name: str, **fields: Any) -> None:
    await getattr(backend, name).save(changed(name, **fields))


FLOATS = [
    (subject, column.name)
    for subject in SUBJECTS
    if subject.save is not None and subject.name in metadata.tables
    for column in metadata.tables[subject.name].columns
    if column.type is REAL
]


@pytest.mark.alone
async def test_numbers_are_finite(backend: PersistenceBackend) -> None:
    for subject, field in FLOATS:
        for number in (math.nan, math.inf, -math.inf):
            record = subject.full().model_copy(update={field: number})
            with pytest.raises(InvalidArgumentError, match=f"{subject}.+{field}"):
                await subject.put(backend, record)
    assert not any(table.rows for table in (await backend.status()).tables.values())
    assert len(FLOATS) > 10


WRONG: list[tuple[str, str, Any]] = [
    ("tasks", "budget_limit", "much"),
    ("tasks", "budget_limit", "1"),
    ("tasks", "max_retries", 1.5),
    ("tasks", "max_retries", True),
    ("tasks", "priority", "urgent"),
    ("users", "must_change_password", "yes"),
    ("users", "must_change_password", 7),
    ("cost_records", "cache_hit", "no"),
    ("heartbeats", "last_heartbeat_at", "2026-01-31"),
    ("heartbeats", "last_heartbeat_at", datetime(2026, 1, 31)),  # noqa: DTZ001 - the point
    ("heartbeats", "agent_id", 7),
    ("checkpoints", "context_json", '{"a": "\\u0000'),
    ("checkpoints", "context_json", {"a": 1}),
]


@pytest.mark.alone
async def test_a_value_of_another_type_is_refused_or_read_as_the_model_reads_it(
    backend: PersistenceBackend, subtests: pytest.Subtests
) -> None:
    async def rows() -> int:
        return sum(table.rows for table in (await backend.status()).tables.values())

    for name, field, value in WRONG:
        tenant, stored = fresh(backend), await rows()
        with subtests.test(f"{name}.{field} = {value!r}"):
            entity = changed(name, **{field: value})
            try:
                await getattr(tenant, name).save(entity)
            except InvalidArgumentError:
                assert await rows() == stored
            else:
                valid = type(entity).model_validate(dict(entity))
                assert await SUBJECT[name].read(tenant, full()[name]) == valid


BROKEN: list[tuple[str, dict[str, Any]]] = [
    ("tasks", {"title": None}),
    ("tasks", {"title": " "}),
    ("tasks", {"reviewers": None}),
    ("tasks", {"reviewers": ("a", "a")}),
    ("tasks", {"status": "done"}),
    ("tasks", {"status": "created"}),
    ("tasks", {"deadline": "tomorrow"}),
    ("users", {"created_at": None}),
    ("users", {"org_roles": ("king",)}),
    ("users", {"scoped_departments": ()}),
    ("messages", {"parts": ()}),
    ("messages", {"id": "7"}),
    ("audit_entries", {"arguments_hash": "short"}),
    ("audit_entries", {"verdict": "maybe"}),
    ("artifacts", {"size_bytes": -1}),
    ("artifacts", {"path": None}),
    ("checkpoints", {"turn_number": -1}),
    ("checkpoints", {"context_json": "[]"}),
    ("projects", {"budget": -1.0}),
    ("cost_records", {"cost_usd": -0.5}),
    ("agent_states", {"turn_count": -1}),
    ("agent_states", {"accumulated_cost_usd": -0.5}),
    ("agent_states", {"started_at": None}),
    ("agent_states", {"execution_id": None}),
    ("agent_states", {"status": "idle"}),
]


@pytest.mark.alone
async def test_what_could_not_be_read_back_is_not_stored(backend: PersistenceBackend) -> None:
    for name, fields in BROKEN:
        with pytest.raises(InvalidArgumentError, match=name) as caught:
            await save(backend, name, **fields)
        assert caught.value.is_retryable is False
    assert not any(table.rows for table in (await backend.status()).tables.values())


RULES = {
    "artifacts": "size_bytes = -1",
    "checkpoints": "turn_number = -1",
    "projects": "budget = -1",
    "agent_states": "turn_count = -1",
    "agent_states ": "status = 'idle'",
    "agent_states  ": "started_at = NULL",
    "tasks": "title = NULL",
}


@pytest.mark.alone
@pytest.mark.parametrize("name", RULES)
async def test_rules_of_a_row_are_the_databases_too(backend: PersistenceBackend, name: str) -> None:
    table = name.strip()
    await save(backend, table)
    with pytest.raises((sqlite3.IntegrityError, asyncpg.IntegrityConstraintViolationError)):
        await run_sql(backend, f"UPDATE {table} SET {RULES[name]}")
    assert await SUBJECT[table].read(backend, full()[table]) == full()[table]


HIDDEN = [
    '{"a": "\\u0000", "a": 1}',
    '{"\\u0000": 1}',
    '{"a": {"b": ["\\ud800"]}, "a": 0}',
    '{"a": "\\udc00\\ud800"}',
    '{"a": "\\uD83E\\u0041"}',
]


@pytest.mark.parametrize("text", HIDDEN)
async def test_what_is_no_text_is_found_wherever_it_hides(
    backend: PersistenceBackend, text: str
) -> None:
    with pytest.raises(InvalidArgumentError):
        await save(backend, "checkpoints", context_json=text)
    with pytest.raises(InvalidArgumentError):
        await save(backend, "parked_contexts", context_json=text)


ODD_DATA: dict[str, Any] = {
    "nan": {"k": math.nan},
    "infinity": {"k": [-math.inf]},
    "bytes": {"k": b"a"},
    "moment": {"k": datetime(2026, 1, 31, tzinfo=UTC)},
    "number as key": {"k": {1: 2}},
    "very long integer": {"k": 10**5000},
    "long integer": {"k": 10**400},
    "empty": {},
    "empty key": {"": {"": []}},
}


@pytest.mark.parametrize("name", ODD_DATA)
async def test_data_is_refused_or_comes_back(backend: PersistenceBackend, name: str) -> None:
    try:
        part = DataPart(data=ODD_DATA[name])
        message: Message = changed("messages", parts=(part,))
        await backend.messages.save(message)
    except (ValidationError, InvalidArgumentError):
        assert await backend.messages.get_history("c") == ()
    else:
        assert await backend.messages.get_history("c") == (message,)


async def test_what_is_nested_is_checked_as_well(backend: PersistenceBackend) -> None:
    """What is stored can be read: a list would fail as a whole, and a version could never be."""
    criterion = AcceptanceCriterion(description="fast").model_copy(update={"description": " "})
    with pytest.raises(InvalidArgumentError, match=r"acceptance_criteria\.0\.description"):
        await save(backend, "tasks", acceptance_criteria=(criterion,))
    role = required(Role).model_copy(update={"authority_level": "canary"})
    snapshot = required(VersionSnapshot[Role]).model_copy(update={"snapshot": role})
    with pytest.raises(InvalidArgumentError, match=r"snapshot\.authority_level") as refused:
        await backend.role_versions.save_version(snapshot)
    assert "canary" not in str(refused.value)
    author = OrgFactAuthor(is_human=True).model_copy(update={"seniority": "canary"})
    fact = required(OrgFact)
    with pytest.raises(InvalidArgumentError, match=r"author\.seniority") as refused:
        await backend.org_facts.save(fact.model_copy(update={"author": author}))
    await backend.org_facts.save(fact)
    with pytest.raises(InvalidArgumentError, match="author: seniority") as refused:
        await backend.org_facts.delete(fact.id, author=author)
    assert "canary" not in str(refused.value)
    assert await backend.org_facts.get(fact.id) == fact


@pytest.mark.parametrize("name", ["approvals", "lifecycle_events", "parked_contexts"])
async def test_what_was_changed_in_place_is_checked_again(
    backend: PersistenceBackend, name: str
) -> None:
    """A dictionary among its fields can be changed in an entity that validation made."""
    subject = SUBJECT[name]
    record: Any = subject.rival(subject.full())  # one of its own: the full one is everybody's
    record.metadata["count"] = 5
    with pytest.raises(InvalidArgumentError, match=rf"{name}: metadata"):
        await subject.put(backend, record)
    record.metadata["count"] = "5"
    await subject.put(backend, record)


@pytest.mark.alone
async def test_errors_of_rows_show_no_value(backend: PersistenceBackend) -> None:
    message, parked = full()["messages"], full()["parked_contexts"]
    await backend.messages.save(message)  # type: ignore[arg-type]
    await backend.parked_contexts.save(parked)  # type: ignore[arg-type]
    parts = '[{"type": "canary"}]'
    await run_sql(backend, f"UPDATE messages SET parts = '{parts}'")
    await run_sql(backend, """UPDATE parked_contexts SET metadata = '{"canary": 5}'""")
    with pytest.raises(MalformedRowError, match=r"parts\.0") as refused:
        await backend.messages.get_history("c")
    assert "canary" not in str(refused.value)
    with pytest.raises(MalformedRowError, match=r"metadata\.…") as refused:
        await backend.parked_contexts.get("p")
    assert "canary" not in str(refused.value)


async def test_set_many_takes_what_can_be_read_once(backend: PersistenceBackend) -> None:
    items: Any = (("n", key, "v", "1") for key in "ab")
    assert await backend.settings.set_many(items)
    assert len(await backend.settings.get_namespace("n")) == 2
