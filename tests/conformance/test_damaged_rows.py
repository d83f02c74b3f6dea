"""A row that no longer fits its entity is named, never skipped, and hurts nothing else."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from holdfast import MalformedRowError, PersistenceBackend, QueryError

from .samples import full
from .test_bad_input import run_sql
from .test_whole_objects import READ

#: Damage both engines let happen, with the key of the sample's row.
DAMAGE: dict[str, tuple[str, tuple[str, ...] | None]] = {
    "tasks": ("source = 'nobody'", None),
    "projects": ('team = \'["a", "a"]\'', ("p",)),
    "artifacts": ("type = 'film'", ("a",)),
    "cost_records": ("finish_reason = ''", None),
    "messages": ('parts = \'[{"type": "video"}]\'', ("00000000-0000-0000-0000-000000000007",)),
    "checkpoints": ("context_json = '['", ("c",)),
    "heartbeats": ("task_id = ''", ("e",)),
    "parked_contexts": ("metadata = '{\"a\": 1}'", ("p",)),
    "agent_states": ("status = 'asleep'", ("a",)),
    "audit_entries": ("arguments_hash = 'short'", ("e",)),
    "users": ("org_roles = '[\"king\"]'", ("u",)),
    "api_keys": ("role = 'king'", ("k",)),
}


async def fill(backend: PersistenceBackend) -> None:
    for name, entity in full().items():
        await getattr(backend, name).save(entity)


@pytest.mark.parametrize("name", DAMAGE)
async def test_a_damaged_row_is_named(backend: PersistenceBackend, name: str) -> None:
    await fill(backend)
    damage, key = DAMAGE[name]
    await run_sql(backend, f"UPDATE {name} SET {damage}")
    with pytest.raises(MalformedRowError) as caught:
        await READ[name](backend, full()[name])
    assert isinstance(caught.value, QueryError)
    assert caught.value.is_retryable is False
    assert caught.value.table == name
    if key is not None:
        assert caught.value.key == key
        assert repr(key[0]) in str(caught.value)
    assert caught.value.key != (None,)
    for other in READ.keys() - {name}:
        assert await READ[other](backend, full()[other]) == full()[other]


LISTS: dict[str, Any] = {
    "tasks": lambda b: b.tasks.list_tasks(),
    "projects": lambda b: b.projects.list_projects(),
    "artifacts": lambda b: b.artifacts.list_artifacts(),
    "cost_records": lambda b: b.cost_records.query(),
    "messages": lambda b: b.messages.get_history("c"),
    "parked_contexts": lambda b: b.parked_contexts.get_by_agent("a"),
    "agent_states": lambda b: b.agent_states.get_active(),
    "audit_entries": lambda b: b.audit_entries.query(limit=None),
    "users": lambda b: b.users.list_users(),
    "api_keys": lambda b: b.api_keys.list_by_user("u"),
}


@pytest.mark.parametrize("name", LISTS)
async def test_a_list_over_a_damaged_row_leaves_nothing_behind(
    backend: PersistenceBackend, name: str
) -> None:
    """Neither a connection half-way through an answer, nor an error that nobody waits for."""
    await fill(backend)
    await run_sql(backend, f"UPDATE {name} SET {DAMAGE[name][0]}")
    unheard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    for _ in range(3):
        with pytest.raises(MalformedRowError):
            await LISTS[name](backend)
        await backend.set_setting("k", "v")
    async with backend.transaction() as tx:
        with pytest.raises(MalformedRowError):
            await LISTS[name](tx)
        await tx.settings.set("n", "k", "v", "1")
    gc.collect()
    await asyncio.sleep(0.05)
    assert unheard == []
    assert backend.stats().pool.lost == 0
    assert await backend.settings.get("n", "k") == ("v", "1")


UNREADABLE = {
    "sqlite": [
        "last_heartbeat_at = 'yesterday'",
        "last_heartbeat_at = 5",
        "last_heartbeat_at = '2026-01-31'",
        "agent_id = x'ff'",
        "agent_id = CAST(x'ff' AS TEXT)",
    ],
    "postgres": [
        "last_heartbeat_at = 'infinity'",
        "last_heartbeat_at = '-infinity'",
        "last_heartbeat_at = '20000-01-01'",
        "last_heartbeat_at = '0044-03-15 BC'",
    ],
}
