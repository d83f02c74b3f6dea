"""No field of any entity is lost or changed, on any engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from holdfast import PersistenceBackend, User
from holdfast.schema import metadata

from .samples import JSON, TEXT, full, required

Read = Callable[[PersistenceBackend, Any], Awaitable[Any]]


async def _only(found: Awaitable[tuple[Any, ...]]) -> Any:
    (entity,) = await found
    return entity


READ: dict[str, Read] = {
    "tasks": lambda b, e: b.tasks.get(e.id),
    "projects": lambda b, e: b.projects.get(e.id),
    "artifacts": lambda b, e: b.artifacts.get(e.id),
    "cost_records": lambda b, e: _only(b.cost_records.query()),
    "messages": lambda b, e: _only(b.messages.get_history(e.channel)),
    "checkpoints": lambda b, e: b.checkpoints.get_latest(execution_id=e.execution_id),
    "heartbeats": lambda b, e: b.heartbeats.get(e.execution_id),
    "parked_contexts": lambda b, e: b.parked_contexts.get(e.id),
    "agent_states": lambda b, e: b.agent_states.get(e.agent_id),
    "audit_entries": lambda b, e: _only(b.audit_entries.query()),
    "users": lambda b, e: b.users.get(e.id),
    "api_keys": lambda b, e: b.api_keys.get(e.id),
}


def test_the_samples_leave_nothing_out() -> None:
    assert full().keys() == READ.keys() == metadata.tables.keys() - {"settings"}
    for entity in full().values():
        for name, field in type(entity).model_fields.items():
            if not field.is_required():
                assert getattr(entity, name) != field.get_default(call_default_factory=True)


async def _store(backend: PersistenceBackend, name: str, entity: BaseModel) -> Any:
    if name == "api_keys":
        owner = User.model_validate({**full()["users"].model_dump(), "id": "u"})
        await backend.users.save(owner)
    await getattr(backend, name).save(entity)
    return await READ[name](backend, entity)


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("samples", [full, required], ids=["full", "required"])
async def test_comes_back_whole(
    backend: PersistenceBackend, name: str, samples: Callable[[], dict[str, BaseModel]]
) -> None:
    entity = samples()[name]
    stored = await _store(backend, name, entity)
    assert stored == entity
    assert type(stored) is type(entity)
    for field in type(entity).model_fields:
        value, expected = getattr(stored, field), getattr(entity, field)
        assert type(value) is type(expected)
        if isinstance(value, datetime):
            assert value.utcoffset() == UTC.utcoffset(None)


async def test_text_promised_as_text_is_kept_to_the_letter(backend: PersistenceBackend) -> None:
    samples = full()
    for name, field in (
        ("checkpoints", "context_json"),
        ("parked_contexts", "context_json"),
    ):
        stored = await _store(backend, name, samples[name])
        assert getattr(stored, field) == JSON
    for deadline in ("2026-01-31", "2026-01-31T10:00:00+02:00", "2026-W05-6", "20260131T100000Z"):
        task = samples["tasks"].model_copy(update={"deadline": deadline})
        assert (await _store(backend, "tasks", task)).deadline == deadline
    for moment in ("", "yesterday", "2026-01-31T10:00:00Z", TEXT):
        await backend.settings.set("n", "k", "v", moment)
        assert await backend.settings.get("n", "k") == ("v", moment)


async def test_a_second_save_replaces_every_field(backend: PersistenceBackend) -> None:
    replaced = {"tasks", "projects", "artifacts", "checkpoints", "heartbeats", "parked_contexts"}
    for name in sorted(replaced):
        key = metadata.tables[name].info["key"][0]
        first = full()[name]
        second = required()[name].model_copy(update={key: getattr(first, key)})
        await _store(backend, name, first)
        assert await _store(backend, name, second) == second
