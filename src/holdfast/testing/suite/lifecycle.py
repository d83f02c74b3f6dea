"""The life of a backend, and what it offers beside its repositories."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from holdfast import migrations
from holdfast.backend import PersistenceBackend
from holdfast.errors import InvalidArgumentError, PersistenceConnectionError
from holdfast.testing.databases import MakeBackend, connected
from holdfast.testing.suite.base import Suite, fresh

__all__ = ["LifecycleSuite"]


class LifecycleSuite(Suite):
    """Backends connect, answer, disconnect, and share nothing."""

    async def test_the_life_of_a_backend(self, holdfast_make_backend: MakeBackend) -> None:
        backend = await holdfast_make_backend()
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

    async def test_status_and_stats(self, holdfast_make_backend: MakeBackend) -> None:
        async with connected(await holdfast_make_backend()) as backend:
            await backend.set_setting("k", "v")
            status = await backend.status()
            assert status.revision == status.newest_revision == migrations.head()
            assert status.tables["settings"].rows == 1
            assert not any(t.rows for name, t in status.tables.items() if name != "settings")
            assert status.engine
            assert status.stats.commits >= 1
            assert status.stats.writes.items == status.stats.writes.batches == 1
            assert await backend.schema_drift() == []

    async def test_backends_share_nothing(self, holdfast_make_backend: MakeBackend) -> None:
        first, second = await holdfast_make_backend(), await holdfast_make_backend()
        async with connected(first):
            assert not second.is_connected
            async with connected(second):
                await first.set_setting("k", "v")
                assert await second.get_setting("k") is None

    async def test_used_on_another_loop_it_says_so(
        self, holdfast_make_backend: MakeBackend
    ) -> None:
        async with connected(await holdfast_make_backend()) as backend:

            def elsewhere() -> None:
                async def use() -> None:
                    with pytest.raises(PersistenceConnectionError, match="another event loop"):
                        await backend.tasks.get("t")

                asyncio.run(use())

            await asyncio.to_thread(elsewhere)

    async def test_settings_of_the_system(self, holdfast_shared: PersistenceBackend) -> None:
        backend = fresh(holdfast_shared)
        assert await backend.get_setting("k") is None
        await backend.set_setting("k", "v")
        assert await backend.get_setting("k") == "v"
        assert (await backend.settings.get("_system", "k") or ("",))[0] == "v"

    async def test_a_tenants_view_shares_the_connection(
        self, holdfast_shared: PersistenceBackend
    ) -> None:
        mine, theirs = fresh(holdfast_shared), fresh(holdfast_shared)
        assert theirs.is_connected
        assert theirs.tenant != mine.tenant
        assert theirs.get_db() is mine.get_db()
        await theirs.set_setting("k", "v")
        assert await mine.get_setting("k") is None
        assert await mine.for_tenant(theirs.tenant).get_setting("k") == "v"

    @pytest.mark.parametrize("tenant", ["", " ", "a\0b", "a\ud800b"])
    async def test_a_tenant_has_a_name(
        self, holdfast_shared: PersistenceBackend, tenant: str
    ) -> None:
        with pytest.raises(InvalidArgumentError):
            holdfast_shared.for_tenant(tenant)
        async with holdfast_shared.transaction() as tx:
            with pytest.raises(InvalidArgumentError):
                tx.for_tenant(tenant)
