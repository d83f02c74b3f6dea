"""The life cycle, and what a backend offers beside its repositories."""

from __future__ import annotations

from typing import Any

import pytest

import holdfast
from holdfast import (
    PersistenceBackend,
    PersistenceConnectionError,
    PostgresPersistenceBackend,
    SQLitePersistenceBackend,
    create_backend,
    migrations,
)

PROTOCOLS = {
    "tasks": "TaskRepository", "projects": "ProjectRepository", "artifacts": "ArtifactRepository",
    "cost_records": "CostRecordRepository", "messages": "MessageRepository",
    "checkpoints": "CheckpointRepository", "heartbeats": "HeartbeatRepository",
    "parked_contexts": "ParkedContextRepository", "agent_states": "AgentStateRepository",
    "audit_entries": "AuditRepository", "users": "UserRepository",
    "api_keys": "ApiKeyRepository", "settings": "SettingsRepository",
}  # fmt: skip


async def test_the_life_of_a_backend(url: str) -> None:
    backend = create_backend(url)
    assert isinstance(backend, PersistenceBackend)
    assert not backend.is_connected
    assert await backend.health_check() is False
    await backend.disconnect()
    calls: list[Any] = [lambda: backend.tasks, backend.get_db, backend.stats]
    for call in calls:
        with pytest.raises(PersistenceConnectionError, match="not connected"):
            call()
    for refused in (backend.migrate, backend.status, lambda: backend.get_setting("k")):
        with pytest.raises(PersistenceConnectionError, match="not connected"):
            await refused()

    await backend.connect()
    handle = backend.get_db()
    await backend.connect()
    assert backend.get_db() is handle
    assert isinstance(backend, PersistenceBackend)
    assert await backend.health_check() is True
    await backend.migrate()
    tasks = backend.tasks
    assert backend.tasks is tasks
    await backend.disconnect()
    await backend.disconnect()
    assert not backend.is_connected

    await backend.connect()
    assert backend.tasks is not tasks
    await backend.migrate()
    assert await backend.tasks.count_tasks() == 0
    await backend.disconnect()


async def test_each_repository_keeps_its_protocol(backend: PersistenceBackend) -> None:
    for name, protocol in PROTOCOLS.items():
        assert isinstance(getattr(backend, name), getattr(holdfast, protocol))
        async with backend.transaction() as tx:
            assert isinstance(getattr(tx, name), getattr(holdfast, protocol))


async def test_names(backend: PersistenceBackend, engine_name: str) -> None:
    assert backend.backend_name == engine_name.split("-")[0]
    kind = SQLitePersistenceBackend if "sqlite" in engine_name else PostgresPersistenceBackend
    assert isinstance(backend, kind)


async def test_settings_of_the_system(backend: PersistenceBackend) -> None:
    assert await backend.get_setting("k") is None
    await backend.set_setting("k", "v")
    assert await backend.get_setting("k") == "v"
    assert (await backend.settings.get("_system", "k") or ("",))[0] == "v"


async def test_status_and_stats(backend: PersistenceBackend) -> None:
    await backend.set_setting("k", "v")
    status = await backend.status()
    assert status.revision == status.newest_revision == migrations.head()
    assert status.tables.keys() == set(PROTOCOLS)
    assert status.tables["settings"].rows == 1
    assert status.engine == backend.backend_name
    assert status.stats.commits >= 1
    assert status.stats.writes.items == status.stats.writes.batches == 1
    assert await backend.schema_drift() == []


async def test_backends_share_nothing(url: str) -> None:
    first, second = create_backend(url), create_backend(url)
    await first.connect()
    assert not second.is_connected
    await first.disconnect()


async def test_used_on_another_loop_it_says_so(url: str) -> None:
    import asyncio

    backend = create_backend(url)
    await backend.connect()
    await backend.migrate()

    def elsewhere() -> None:
        async def use() -> None:
            with pytest.raises(PersistenceConnectionError, match="another event loop"):
                await backend.tasks.get("t")

        asyncio.run(use())

    await asyncio.to_thread(elsewhere)
    await backend.disconnect()
