"""Transactions: all or nothing, seen by nobody before, and left cleanly in every way."""

from __future__ import annotations

import asyncio

import pytest

from holdfast import (
    ConstraintViolationError,
    DuplicateRecordError,
    PersistenceBackend,
    Project,
    QueryError,
    create_backend,
)

from .test_records import NOW, message, user
from .test_work import task


class _StopError(Exception):
    pass


async def test_commit_and_rollback(backend: PersistenceBackend) -> None:
    async with backend.transaction() as tx:
        await tx.tasks.save(task("kept"))
        await tx.settings.set("n", "k", "v", "1")
        assert await tx.tasks.get("kept") == task("kept")
        assert [t.id for t in await tx.tasks.list_tasks()] == ["kept"]
    with pytest.raises(_StopError):
        async with backend.transaction() as tx:
            await tx.tasks.save(task("lost"))
            await tx.tasks.delete("kept")
            raise _StopError
    assert [t.id for t in await backend.tasks.list_tasks()] == ["kept"]
    assert await backend.settings.get("n", "k") == ("v", "1")


async def test_nobody_sees_it_before_the_commit(backend: PersistenceBackend) -> None:
    async with backend.transaction() as tx:
        await tx.tasks.save(task("t"))
        assert await backend.tasks.get("t") is None
        assert await backend.tasks.count_tasks() == 0
    assert await backend.tasks.get("t") is not None


async def test_a_savepoint_is_undone_alone(backend: PersistenceBackend) -> None:
    async with backend.transaction() as tx:
        await tx.tasks.save(task("outer"))
        with pytest.raises(_StopError):
            async with tx.transaction() as inner:
                await inner.tasks.save(task("inner"))
                async with inner.transaction() as innermost:
                    await innermost.tasks.save(task("innermost"))
                raise _StopError
        async with tx.transaction() as inner:
            await inner.tasks.save(task("second"))
    assert [t.id for t in await backend.tasks.list_tasks()] == ["outer", "second"]


async def test_a_failure_in_a_savepoint_can_be_survived(backend: PersistenceBackend) -> None:
    await backend.messages.save(message(1, NOW))
    async with backend.transaction() as tx:
        await tx.tasks.save(task("before"))
        with pytest.raises(DuplicateRecordError):
            async with tx.transaction() as inner:
                await inner.messages.save(message(1, NOW))
        await tx.tasks.save(task("after"))
    assert await backend.tasks.count_tasks() == 2


async def test_a_failed_statement_ends_the_transaction(backend: PersistenceBackend) -> None:
    await backend.users.save(user("boss", role="ceo"))
    with pytest.raises(QueryError, match="failed"):
        async with backend.transaction() as tx:
            await tx.tasks.save(task("t"))
            with pytest.raises(ConstraintViolationError):
                await tx.users.save(user("other", role="ceo"))
            with pytest.raises(QueryError, match="failed"):
                await tx.tasks.get("t")
    assert await backend.tasks.get("t") is None


async def test_a_transaction_ends_with_its_block(backend: PersistenceBackend) -> None:
    async with backend.transaction() as tx:
        await tx.tasks.save(task("t"))
        async with tx.transaction() as inner:
            pass
        with pytest.raises(QueryError, match="over"):
            await inner.tasks.get("t")
    with pytest.raises(QueryError, match="over"):
        await tx.tasks.get("t")


async def test_a_cancelled_transaction_is_rolled_back(backend: PersistenceBackend) -> None:
    begun = asyncio.Event()

    async def work() -> None:
        async with backend.transaction() as tx:
            await tx.tasks.save(task("t"))
            begun.set()
            await asyncio.sleep(60)

    running = asyncio.create_task(work())
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    async with asyncio.timeout(10):
        await backend.tasks.save(task("next"))
    assert [t.id for t in await backend.tasks.list_tasks()] == ["next"]


async def test_calls_in_one_transaction_take_turns(backend: PersistenceBackend) -> None:
    async with backend.transaction() as tx:
        await asyncio.gather(*(tx.tasks.save(task(f"t{n}")) for n in range(20)))
        assert len(await asyncio.gather(*(tx.tasks.get(f"t{n}") for n in range(20)))) == 20
    assert await backend.tasks.count_tasks() == 20


async def test_several_tenants_in_one_transaction(backend: PersistenceBackend) -> None:
    async with backend.transaction() as tx:
        await tx.projects.create(Project(id="p", name="n"))
        await tx.for_tenant("acme").projects.create(Project(id="p", name="acme's"))
    found = await backend.for_tenant("acme").projects.get("p")
    assert found is not None
    assert found.name == "acme's"


async def test_a_list_is_read_in_pieces_inside_too(backend: PersistenceBackend) -> None:
    async with backend.transaction() as tx:
        for number in range(2_100):
            await tx.tasks.save(task(f"{number:05}"))
        assert len(await tx.tasks.list_tasks()) == 2_100
        assert len(await tx.tasks.list_tasks()) == 2_100


async def test_an_open_transaction_delays_but_does_not_fail_others(shared_url: str) -> None:
    first, second = create_backend(shared_url), create_backend(shared_url)
    await first.connect()
    await second.connect()
    async with first.transaction() as tx:
        await tx.tasks.save(task("held"))
        waiting = asyncio.create_task(second.tasks.save(task("held", title="later")))
        await asyncio.sleep(0.2)
        assert not waiting.done()
    await waiting
    stored = await first.tasks.get("held")
    assert stored is not None
    assert stored.title == "later"
    await first.disconnect()
    await second.disconnect()
