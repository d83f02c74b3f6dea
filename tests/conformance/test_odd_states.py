"""Blocks entered twice, functions that are none: a Holdfast error, and the backend goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from holdfast import InvalidArgumentError, PersistenceBackend, PersistenceConnectionError

from .test_work import task


async def test_a_transaction_is_begun_once(backend: PersistenceBackend) -> None:
    block = backend.transaction()
    async with block as tx:
        await tx.tasks.save(task("kept"))
    with pytest.raises(InvalidArgumentError, match=r"backend\.transaction\(\)"):
        async with block as tx:
            await tx.tasks.save(task("lost"))
    assert await backend.tasks.count_tasks() == 1


async def test_a_transaction_is_not_begun_within_itself(backend: PersistenceBackend) -> None:
    block = backend.transaction()
    with pytest.raises(InvalidArgumentError, match="begun already"):
        async with block as tx:
            await tx.tasks.save(task("lost"))
            async with block:
                pass
    assert await backend.tasks.count_tasks() == 0


async def test_a_transaction_is_not_begun_by_two_tasks(backend: PersistenceBackend) -> None:
    block = backend.transaction()

    async def enter() -> None:
        async with block as tx:
            await tx.tasks.save(task("once"))

    found = await asyncio.gather(enter(), enter(), return_exceptions=True)
    assert [type(each) for each in found] == [type(None), InvalidArgumentError]
    assert await backend.tasks.count_tasks() == 1


async def test_a_savepoint_is_begun_once(backend: PersistenceBackend) -> None:
    async with backend.transaction() as tx:
        point = tx.transaction()
        async with point as inner:
            await inner.tasks.save(task("kept"))
        with pytest.raises(InvalidArgumentError, match=r"tx\.transaction\(\)"):
            async with point:
                pass
        await tx.tasks.save(task("too"))
    assert await backend.tasks.count_tasks() == 2


@pytest.mark.alone
async def test_the_last_block_of_a_backend_disconnects_it(backend: PersistenceBackend) -> None:
    await backend.disconnect()
    async with backend:
        async with backend:
            await backend.migrate()  # one in memory is empty again
            await backend.tasks.save(task("t"))
        async with backend.for_tenant("other") as other:
            await other.tasks.save(task("t"))
        assert await backend.tasks.get("t") is not None
    assert not backend.is_connected
    async with backend:
        await backend.disconnect()
        with pytest.raises(PersistenceConnectionError):
            await backend.tasks.get("t")
    assert not backend.is_connected
    await backend.connect()


@pytest.mark.alone
async def test_blocks_of_several_tasks_end_in_any_order(backend: PersistenceBackend) -> None:
    await backend.disconnect()
    entered, left = asyncio.Event(), asyncio.Event()

    async def brief() -> None:
        await entered.wait()
        async with backend:
            await backend.migrate()
            await backend.tasks.save(task("brief"))
        left.set()

    async def long() -> object:
        async with backend:
            entered.set()
            await left.wait()
            return await backend.tasks.get("brief")

    _, found = await asyncio.gather(brief(), long())
    assert found is not None
    assert not backend.is_connected
    await backend.connect()


async def _nothing(_: object) -> None:
    return None


@pytest.mark.parametrize("work", [None, 3, "work", lambda _: 3, lambda _: None, _nothing(None)])
async def test_what_atomically_is_given(backend: PersistenceBackend, work: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="atomically: work must be an async function"):
        await backend.atomically(work)
    async with backend.transaction() as tx:
        await tx.tasks.save(task("kept"))
        with pytest.raises(InvalidArgumentError, match="atomically: work must be an async"):
            await tx.atomically(work)
    assert await backend.tasks.count_tasks() == 1
    if hasattr(work, "close"):
        work.close()


@pytest.mark.parametrize("text", ["\ud800", "t\udfff", " \ud800"])
async def test_a_lone_surrogate_is_named(backend: PersistenceBackend, text: str) -> None:
    broken = task("t").model_copy(update={"id": text})
    calls = [backend.tasks.save(broken), backend.tasks.get(text), backend.set_setting(text, "v")]
    for call in calls:
        with pytest.raises(InvalidArgumentError, match="lone surrogate"):
            await call
