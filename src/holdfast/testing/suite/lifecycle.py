"""The life of a backend, and what it offers beside its repositories."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast import migrations
from holdfast.backend import Health, PersistenceBackend
from holdfast.entities import Task
from holdfast.errors import InvalidArgumentError, PersistenceConnectionError
from holdfast.testing.databases import MakeBackend, connected
from holdfast.testing.samples import required
from holdfast.testing.suite.base import Suite, fresh

__all__ = ["LifecycleSuite"]


_NOT_CONNECTED = "the backend is not connected: await backend.connect()"


async def _is_not_connected(backend: PersistenceBackend) -> None:
    """Whatever is asked, it is one error."""
    answers: list[Any] = []
    calls: list[Callable[[], Any]] = [
        backend.get_db, backend.stats, backend.migrate, backend.status, backend.schema_drift,
        backend.recorded_tables, backend.prune_changes, backend.operations.tenants,
        lambda: backend.get_setting("k"), lambda: backend.tasks.get("t"),
        lambda: backend.tasks.save(required(Task)), lambda: backend.tasks.list_tasks(),
        lambda: backend.transaction().__aenter__(), lambda: backend.atomically(_nothing),
        lambda: backend.record_changes(backend.tasks), lambda: backend.downgrade("-1"),
        lambda: backend.watch(backend.tasks).__aenter__(),
        lambda: backend.for_tenant("other").tasks.get("t"),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(PersistenceConnectionError) as caught:
            answer = call()
            answers.append(await answer)
        assert str(caught.value) == _NOT_CONNECTED
        assert type(caught.value) is PersistenceConnectionError
        assert not caught.value.is_retryable
    assert answers == []
    assert await backend.health_check() is False


async def _nothing(_: object) -> None:
    raise AssertionError


class LifecycleSuite(Suite):
    """Backends connect, answer, disconnect, and share nothing."""

    async def test_the_life_of_a_backend(self, holdfast_make_backend: MakeBackend) -> None:
        backend = await holdfast_make_backend()
        assert isinstance(backend, PersistenceBackend)
        assert not backend.is_connected
        assert await backend.health_check() is False
        await backend.disconnect()
        await _is_not_connected(backend)
        early = backend.tasks
        assert backend.tasks is early

        await backend.connect()
        handle = backend.get_db()
        await backend.connect()
        assert backend.get_db() is handle
        assert isinstance(backend, PersistenceBackend)
        assert await backend.health_check() is True
        await backend.migrate()
        tasks = backend.tasks
        assert backend.tasks is tasks
        assert await early.count_tasks() == 0  # taken before, it works
        await backend.disconnect()
        await backend.disconnect()
        assert not backend.is_connected
        await _is_not_connected(backend)
        with pytest.raises(PersistenceConnectionError, match="not connected"):
            await tasks.count_tasks()

        await backend.connect()
        assert backend.tasks is not tasks
        await backend.migrate()
        assert await backend.tasks.count_tasks() == 0
        await backend.disconnect()

    async def test_health_gives_the_reason(self, holdfast_make_backend: MakeBackend) -> None:
        backend = await holdfast_make_backend()
        assert await backend.health() == Health(False, _NOT_CONNECTED)
        assert not await backend.health()
        async with connected(backend):
            assert await backend.health() == Health(ok=True)
            assert await backend.for_tenant("acme").health()
            async with backend.transaction():
                assert await backend.health_check() is True
                assert await backend.health()
        assert not await backend.health()

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

    async def test_async_with_connects_and_disconnects(
        self, holdfast_make_backend: MakeBackend
    ) -> None:
        async with await holdfast_make_backend() as backend:
            assert backend.is_connected
            await backend.connect()
            async with backend.for_tenant("acme") as acme:
                assert acme.is_connected
            assert backend.is_connected
        assert not backend.is_connected

    async def test_a_view_closes_nothing(self, holdfast_make_backend: MakeBackend) -> None:
        backend = await holdfast_make_backend()
        acme = backend.for_tenant("acme")
        with pytest.raises(PersistenceConnectionError, match="does not connect the backend"):
            await acme.connect()
        with pytest.raises(PersistenceConnectionError, match="create_backend"):
            async with acme:
                raise AssertionError
        await acme.disconnect()
        await _is_not_connected(acme)
        early = acme.settings
        async with connected(backend):
            for view in (acme, acme.for_tenant("other"), backend.for_tenant(backend.tenant)):
                async with view as same:
                    assert same is view
                    await view.set_setting("k", view.tenant)
                await view.connect()
                await view.disconnect()
                assert view.is_connected
                assert await view.get_setting("k") == view.tenant
                assert await view.health_check()
                assert await view.health()
                await view.migrate()
            async with backend.transaction() as tx:
                assert not hasattr(tx.for_tenant("acme"), "disconnect")
            assert await early.get("_system", "k") is not None
        assert not acme.is_connected
        await _is_not_connected(acme)
        async with connected(backend):  # a view goes on with its backend
            await acme.set_setting("again", "v")
            assert await early.get("_system", "again") is not None

    async def test_used_on_another_loop_it_says_so(
        self, holdfast_make_backend: MakeBackend
    ) -> None:
        async with connected(await holdfast_make_backend()) as backend:

            def elsewhere() -> None:
                async def use() -> None:
                    calls: list[Callable[[], Awaitable[Any]]] = [
                        lambda: backend.tasks.get("t"), lambda: backend.set_setting("k", "v"),
                        lambda: backend.transaction().__aenter__(),
                        lambda: backend.atomically(_nothing), backend.status,
                        lambda: backend.watch(backend.tasks).__aenter__(),
                        lambda: backend.for_tenant("a").tasks.list_tasks(),
                        lambda: backend.operations.count_tenant("a"),
                    ]  # fmt: skip
                    for call in calls:
                        with pytest.raises(PersistenceConnectionError, match="another event loop"):
                            await call()

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
