"""The conformance kit itself: what it asks of whom, and what it says when it is told too little."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta, timezone
from typing import Any

import pytest
from pydantic import BaseModel

from holdfast import DecisionRecord, Heartbeat, Task, User, VersionSnapshot, create_backend
from holdfast.config import SQLiteConfig
from holdfast.engines.sqlite.engine import SQLiteEngine
from holdfast.entities import Role
from holdfast.testing import samples
from holdfast.testing.catalogue import SUBJECTS
from holdfast.testing.extended import OWN_FIELDS, extended, extended_entities
from holdfast.testing.subjects import NAMES, Listed, Subject
from holdfast.testing.suite import RecordSuite, RepositorySuite
from holdfast.testing.suite.base import as_stored, same
from holdfast.testing.suite.calls import methods

BY_NAME = {subject.name: subject for subject in SUBJECTS}


_START = """
import asyncio, sys
import holdfast.testing

async def start(url):
    async with holdfast.create_backend(url) as backend:
        await backend.migrate()
        await backend.tasks.count_tasks()

for url in sys.argv[1:]:
    asyncio.run(start(url))
print(*{"alembic", "hypothesis", "pytest"} & sys.modules.keys())
"""


def test_what_a_usual_start_does_not_need_is_not_imported(
    sqlite_url: str, postgres_url: str
) -> None:
    """Nor by the package for tests."""
    command = [sys.executable, "-c", _START, sqlite_url, postgres_url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_what_no_subject_can_be_asked_is_no_test() -> None:
    class Tokens(RepositorySuite):
        subject = BY_NAME["refresh_tokens"]

    class Messages(RepositorySuite):
        subject = BY_NAME["messages"]

    assert Tokens.test_comes_back_whole is None
    assert Messages.test_comes_back_whole is not None
    assert Messages.test_deleting is None
    assert RecordSuite.test_deleting is not None
    assert Messages.subjects == (BY_NAME["messages"],)


@pytest.mark.parametrize("name", BY_NAME)
def test_records_differ_in_their_keys(name: str) -> None:
    subject = BY_NAME[name]
    records = subject.records()
    assert len(records) == len(NAMES)
    assert subject.records() == records
    if subject.key:
        assert len({subject.key_of(record) for record in records}) == len(records)


def test_a_model_of_a_list_filters_and_orders() -> None:
    beats = [samples.required(Heartbeat, execution_id=key) for key in ("b", "c", "a")]
    listed: Listed[Heartbeat] = Listed(
        "list", order=("execution_id",), descending=True, filters={"key": "execution_id"}
    )
    assert listed.expected(beats, {}) == [beats[1], beats[0], beats[2]]
    assert listed.expected(beats, {"key": "a"}) == [beats[2]]


def test_a_field_that_cannot_be_dealt_out_is_named() -> None:
    class Odd(BaseModel):
        id: str
        shape: dict[str, int]

    subject = Subject("odd", Odd, lists=(Listed("list", order=("shape", "id")),))
    with pytest.raises(TypeError, match=r"odd: say in fields= what shape"):
        subject.record(0)


def test_a_lost_field_is_seen() -> None:
    record = samples.full(Task)
    assert same(record.model_copy(), record)
    for fields in ({"source": None}, {"budget_limit": 1}, {"title": "x"}):
        with pytest.raises(AssertionError):
            same(record.model_copy(update=fields), record)


def test_what_is_equal_and_not_the_same_is_seen() -> None:
    task: Any = as_stored(samples.full(Task))
    user: Any = as_stored(samples.full(User))
    one, other = (as_stored(samples.required(DecisionRecord, metadata={"n": n})) for n in (1, 1.0))
    elsewhere = user.created_at.astimezone(timezone(timedelta(hours=1)))
    for stored, record in (
        (task.model_copy(update={"status": task.status.value}), task),
        (user.model_copy(update={"created_at": elsewhere}), user),
        (other, one),
    ):
        assert same(record, record)
        assert stored == record
        with pytest.raises(AssertionError):
            same(stored, record)


def test_an_own_class_has_fields_of_its_own_where_there_is_a_place() -> None:
    assert extended(Task).model_fields.keys() == Task.model_fields.keys() | OWN_FIELDS.keys()
    assert extended(Task) is extended(Task)
    versions: Any = extended(VersionSnapshot[Role])
    assert versions.model_fields["snapshot"].annotation is extended(Role)
    bound = extended_entities()
    assert bound[Role] is extended(Role)
    assert create_backend("sqlite:///:memory:", entities=bound).backend_name == "sqlite"


async def test_an_engine_can_be_handed_to_a_backend() -> None:
    engine = SQLiteEngine(SQLiteConfig(path=":memory:"))
    backend = create_backend(engine, tenant="acme")
    assert (backend.tenant, create_backend(engine).tenant) == ("acme", "default")
    await backend.connect()
    try:
        await backend.migrate()
        names = {method.name for method in methods(backend, BY_NAME["tasks"])}
        assert names >= {"save", "get", "list_tasks", "count_tasks", "delete", "claim"}
    finally:
        await backend.disconnect()
