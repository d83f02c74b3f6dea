"""No call of one tenant reads, changes, counts or deletes what is another's."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from holdfast import PersistenceBackend, create_backend

from .samples import WHEN, full


async def fill(backend: PersistenceBackend) -> None:
    for name, entity in full().items():
        await getattr(backend, name).save(entity)
    await backend.settings.set("n", "k", "v", "1")


async def everything(backend: PersistenceBackend) -> list[Any]:
    b = backend
    return [
        await b.tasks.list_tasks(), await b.tasks.count_tasks(), await b.projects.list_projects(),
        await b.artifacts.list_artifacts(), await b.cost_records.query(),
        await b.cost_records.aggregate(), await b.messages.get_history("c"),
        await b.checkpoints.get_latest(execution_id="e"), await b.heartbeats.get("e"),
        await b.heartbeats.get_stale(WHEN + timedelta(days=999)),
        await b.parked_contexts.get("p"), await b.parked_contexts.get_by_approval("ap"),
        await b.parked_contexts.get_by_agent("a"), await b.agent_states.get("a"),
        await b.agent_states.get_active(), await b.audit_entries.query(),
        await b.users.list_users(), await b.users.list_users_paginated(after_id=None, limit=9),
        await b.users.get_by_username("ada"), await b.users.count(),
        await b.users.count_by_role("manager"),  # type: ignore[arg-type]
        await b.api_keys.get_by_hash("h"), await b.api_keys.list_by_user("u"),
        await b.settings.get_all(), await b.settings.get_namespace("n"),
    ]  # fmt: skip


async def destroy(backend: PersistenceBackend) -> None:
    b = backend
    await b.tasks.claim("thief")
    await b.tasks.delete(full()["tasks"].id)  # type: ignore[attr-defined]
    await b.projects.delete("p")
    await b.artifacts.delete("a")
    await b.checkpoints.delete_by_execution("e")
    await b.heartbeats.delete("e")
    await b.parked_contexts.delete("p")
    await b.agent_states.delete("a")
    await b.audit_entries.purge_before(WHEN + timedelta(days=999))
    await b.api_keys.delete("k")
    await b.users.delete("u")
    await b.settings.delete("n", "k")
    await b.settings.delete_namespace("n")
    await b.settings.delete_namespace_returning_keys("n")


async def test_tenants_do_not_see_each_other(backend: PersistenceBackend) -> None:
    acme = backend.for_tenant("acme")
    nothing = await everything(acme)
    await fill(backend)
    mine = await everything(backend)
    assert all(mine)
    assert await everything(acme) == nothing

    await destroy(acme)
    assert await everything(backend) == mine

    await fill(acme)  # the same keys, user names and hashes, without a conflict
    assert await everything(acme) == mine
    other = full()["tasks"].model_copy(update={"title": "acme's"})
    await acme.tasks.save(other)  # type: ignore[arg-type]
    assert await everything(backend) == mine


async def test_a_view_shares_the_connection(backend: PersistenceBackend, url: str) -> None:
    acme = backend.for_tenant("acme")
    assert acme.is_connected
    assert acme.tenant == "acme"
    assert backend.tenant == "default"
    assert acme.get_db() is backend.get_db()
    assert create_backend(url, tenant="acme").tenant == "acme"
    await acme.set_setting("k", "v")
    assert await backend.get_setting("k") is None
    assert await backend.for_tenant("acme").get_setting("k") == "v"
