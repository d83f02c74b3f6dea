"""JSON comes back equal, or is refused before anything is written, with its place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from holdfast import (
    AgentLifecycleEvent,
    ApprovalItem,
    Checkpoint,
    DecisionRecord,
    InvalidArgumentError,
    ParkedContext,
    PersistenceBackend,
    Task,
    WorkflowDefinition,
)
from holdfast.testing import samples
from holdfast.testing.suite.base import fresh
from holdfast.validation.jsontext import DEEPEST

from .test_bad_input import deep, run_sql, with_data

NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)
SURROGATE = b"caf\xe9".decode("utf-8", "surrogateescape")


def nested(levels: int) -> dict[str, Any]:
    """Objects within each other."""
    value: Any = 1
    for _ in range(levels):
        value = {"k": value}
    made: dict[str, Any] = value
    return made


async def _message(backend: PersistenceBackend, levels: int) -> tuple[Any, Any]:
    saved = with_data(nested(levels - 2))  # within a part, within the parts
    await backend.messages.save(saved)
    return saved, (await backend.messages.get_history("c"))[0]


async def _checkpoint(backend: PersistenceBackend, levels: int) -> tuple[Any, Any]:
    saved = samples.required(Checkpoint, context_json=json.dumps(nested(levels)))
    await backend.checkpoints.save(saved)
    return saved, await backend.checkpoints.get_latest(execution_id=saved.execution_id)


async def _parked(backend: PersistenceBackend, levels: int) -> tuple[Any, Any]:
    saved = samples.required(ParkedContext, context_json=json.dumps(deep(levels)))
    await backend.parked_contexts.save(saved)
    return saved, await backend.parked_contexts.get(saved.id)


async def _decision(backend: PersistenceBackend, levels: int) -> tuple[Any, Any]:
    saved = samples.required(DecisionRecord, metadata=nested(levels))
    await backend.tasks.save(samples.required(Task, id=saved.task_id))
    fields = {n: getattr(saved, n) for n in DecisionRecord.model_fields if n != "version"}
    made = await backend.decision_records.append_with_next_version(
        record_id=fields.pop("id"), **fields
    )
    return made, await backend.decision_records.get(made.id)


async def _workflow(backend: PersistenceBackend, levels: int) -> tuple[Any, Any]:
    saved = samples.required(WorkflowDefinition)
    node = saved.nodes[0].model_copy(update={"config": nested(levels - 2)})
    saved = saved.model_copy(update={"nodes": (node, *saved.nodes[1:])})
    await backend.workflow_definitions.save(saved)
    return saved, await backend.workflow_definitions.get(saved.id)


PLACES: dict[str, Callable[..., Any]] = {
    "messages.parts": _message,
    "checkpoints.context_json": _checkpoint,
    "parked_contexts.context_json": _parked,
    "decision_records.metadata": _decision,
    "workflow_definitions.nodes": _workflow,
}


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("place", PLACES)
async def test_one_limit_of_depth_for_writers_and_readers(
    holdfast_shared: PersistenceBackend, place: str
) -> None:
    backend = fresh(holdfast_shared)
    with pytest.raises(InvalidArgumentError, match=rf"{place}.* deeper than {DEEPEST} levels"):
        await PLACES[place](backend, DEEPEST + 1)
    saved, stored = await PLACES[place](backend, DEEPEST)
    assert stored == saved


async def test_too_deep_alone_in_company_and_in_a_transaction(backend: PersistenceBackend) -> None:
    good = [with_data({"k": n}) for n in range(5)]
    good = [one.model_copy(update={"id": UUID(int=n)}) for n, one in enumerate(good)]
    calls = [backend.messages.save(one) for one in good]
    calls.insert(2, backend.messages.save(with_data(nested(220))))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(one) for one in outcomes if one is not None] == [InvalidArgumentError]
    assert len(await backend.messages.get_history("c")) == 5
    async with backend.transaction() as tx:
        with pytest.raises(InvalidArgumentError):
            await tx.messages.save(with_data(nested(220)))
        await tx.settings.set("n", "k", "v", "1")  # nothing was sent, so nothing failed
    assert await backend.settings.get("n", "k") == ("v", "1")


@pytest.mark.alone
async def test_what_was_stored_deeper_can_still_be_read(backend: PersistenceBackend) -> None:
    """By a release whose limit was another one."""
    message = with_data({"k": 1})
    await backend.messages.save(message)
    point = samples.required(Checkpoint, context_json="{}")
    await backend.checkpoints.save(point)
    parts = json.dumps([{"type": "data", "data": nested(240)}])
    await run_sql(backend, f"UPDATE messages SET parts = '{parts}'")
    await run_sql(backend, f"UPDATE checkpoints SET context_json = '{json.dumps(nested(250))}'")
    (found,) = await backend.messages.get_history("c")
    assert found.model_dump()["parts"][0]["data"] == nested(240)
    latest = await backend.checkpoints.get_latest(execution_id=point.execution_id)
    assert latest is not None
    assert latest.context_json == json.dumps(nested(250))
    with pytest.raises(InvalidArgumentError, match="deeper than"):
        await backend.messages.save(found.model_copy(update={"id": UUID(int=9)}))


#: In text keys and values of `dict[str, str]`, at each place that has one.
NO_TEXT: dict[str, dict[str, str]] = {
    "a surrogate as key": {SURROGATE: "1"},
    "two that would be one": {SURROGATE: "1", b"caf\xe8".decode("utf-8", "surrogateescape"): "2"},
    "a surrogate behind a replacement character": {"\ufffd": "1", SURROGATE: "2"},
    "a surrogate as value": {"k": SURROGATE},
    "half of a pair": {"\ud83e": "1"},
    "NUL as key": {"\0": "1"},
    "NUL as value": {"k": "a\0"},
}


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("name", NO_TEXT)
async def test_what_is_no_text_is_refused_in_keys_as_in_values(
    holdfast_shared: PersistenceBackend, name: str
) -> None:
    backend = fresh(holdfast_shared)
    odd = NO_TEXT[name]
    given: list[tuple[str, Any, Any]] = [
        ("approvals", backend.approvals.save, (ApprovalItem, {"metadata": odd})),
        ("parked_contexts", backend.parked_contexts.save, (ParkedContext, {"metadata": odd})),
        ("lifecycle_events", backend.lifecycle_events.save,
         (AgentLifecycleEvent, {"metadata": odd})),
    ]  # fmt: skip
    for table, save, (kind, fields) in given:
        record = samples.required(kind).model_copy(update=fields)
        with pytest.raises(InvalidArgumentError, match=rf"^{table}\.metadata\.<key \d> holds"):
            await save(record)
    with pytest.raises(InvalidArgumentError, match=r"^messages\.parts\.0\.data\.<key 1>.* holds"):
        await backend.messages.save(with_data({"deep": [odd]}))
    assert await backend.operations.count_tenant(backend.tenant) == {}


async def test_a_replacement_character_is_a_character(backend: PersistenceBackend) -> None:
    item = samples.required(ApprovalItem, metadata={"\ufffd": "\ufffd\ufffd", "é": "\\u0000"})
    await backend.approvals.save(item)
    assert await backend.approvals.get(item.id) == item


LOOP: list[Any] = []
LOOP.append(LOOP)

ODD: dict[str, Any] = {
    "a set": {"a", "b"},
    "an empty set": set(),
    "a date": NOW.date(),
    "bytes": b"a",
    "NaN": float("nan"),
    "infinity": float("1e400"),
    "an integer of 5000 digits": 10**5000,
    "a number as key": {1: 2},
    "None as key": {None: 2},
    "True as key": {True: 2},
    "a tuple as key": {(1, 2): 2},
    "keys that become one": {1: 2, "1": 3},
    "an object": object(),
    "a generator": (n for n in "ab"),
    "a lock": asyncio.Lock(),
    "what holds itself": LOOP,
}


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("name", ODD)
async def test_what_json_does_not_know_is_refused_with_its_place(
    holdfast_shared: PersistenceBackend, name: str
) -> None:
    backend = fresh(holdfast_shared)
    try:
        odd = with_data({"fine": 1, "list": [0, {"odd": ODD[name]}]})
    except ValidationError:
        pass  # refused when it was made
    else:
        place = r"messages\.parts\.0\.data\.<key 2>\.1\.<key 1>"
        with pytest.raises(InvalidArgumentError, match=place):
            await backend.messages.save(odd)
    assert await backend.messages.get_history("c") == ()


async def test_numbers_at_the_edges_come_back(backend: PersistenceBackend) -> None:
    numbers = [0, -0.0, 1e16, 5e-324, 1.7976931348623157e308, 2**63, -(2**64), 10**3000, 1, 1.0,
               True, None]  # fmt: skip
    message = with_data({"numbers": numbers, "": {"": []}})
    await backend.messages.save(message)
    (stored,) = await backend.messages.get_history("c")
    assert stored == message
    assert repr(stored.parts) == repr(message.parts)  # the sign of zero, 1 and 1.0 and True


NO_TEXTS: list[Any] = [SURROGATE, "a\0", 7, b"x", ["a"]]
TAKE_TEXT: dict[str, Callable[[PersistenceBackend, Any], Any]] = {
    "a tenant": lambda b, text: b.for_tenant(text),
    "a key": lambda b, text: b.tasks.get(text),
    "a key to delete": lambda b, text: b.tasks.delete(text),
    "a filter": lambda b, text: b.tasks.list_tasks(project=text),
    "a page": lambda b, text: b.tasks.list_tasks(after=text),
    "a page of settings": lambda b, text: b.settings.get_all(after=(text, "k")),
    "a channel": lambda b, text: b.messages.get_history(text),
    "a system setting": lambda b, text: b.set_setting("k", text),
    "its key": lambda b, text: b.get_setting(text),
    "many settings": lambda b, text: b.settings.set_many([("n", text, "v", "1")]),
    "an expected time": lambda b, text: b.settings.set_many(
        [("n", "k", "v", "1")], expected_updated_at_map={("n", "k"): text}
    ),
    "a preset": lambda b, text: b.custom_presets.save("n", text, "", "1", "1"),
    "a search": lambda b, text: b.org_facts.query(text=text),
    "a username": lambda b, text: b.users.get_by_username(text),
    "a worker": lambda b, text: b.tasks.claim(text),
    "a sum": lambda b, text: b.cost_records.aggregate(agent_id=text),
    "an addition": lambda b, text: b.project_cost_aggregates.increment(text, 1.0, 1, 1),
    "an execution": lambda b, text: b.checkpoints.get_latest(execution_id=text),
    "a tenant to count": lambda b, text: b.operations.count_tenant(text),
    "a tenant to erase": lambda b, text: b.operations.erase_tenant(text),
}


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("name", TAKE_TEXT)
async def test_what_is_no_text_is_refused_wherever_a_text_is_taken(
    holdfast_shared: PersistenceBackend, name: str
) -> None:
    tenant = fresh(holdfast_shared)
    for text in NO_TEXTS:
        with pytest.raises(InvalidArgumentError):
            await TAKE_TEXT[name](tenant, text)
    assert await tenant.operations.count_tenant(tenant.tenant) == {}
