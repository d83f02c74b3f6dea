"""Disconnecting while there is work: it is waited for, and ended honestly when time is up."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from holdfast import (
    OutcomeUnknownError,
    PersistenceBackend,
    PersistenceConnectionError,
    PersistenceError,
    create_backend,
)

from ..conformance.test_work import task


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[PersistenceBackend]:
    joiner = "&" if "?" in url else "?"
    query = "&".join(f"{name}={value}" for name, value in options.items())
    backend = create_backend(f"{url}{joiner}{query}" if query else url)
    await backend.connect()
    try:
        yield backend
    finally:
        await backend.disconnect()


async def stored(url: str) -> set[str]:
    async with opened(url) as backend:
        return {found.id for found in await backend.tasks.list_tasks()}


async def test_what_was_accepted_is_finished(shared_url: str) -> None:
    async with opened(shared_url) as backend:
        tasks = backend.tasks
        saves = [asyncio.ensure_future(tasks.save(task(f"t{n}"))) for n in range(300)]
        reads = [asyncio.ensure_future(tasks.get(f"t{n}")) for n in range(300)]
        lists = [asyncio.ensure_future(tasks.list_tasks()) for _ in range(10)]
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(backend.disconnect())
        await asyncio.sleep(0)
        with pytest.raises(PersistenceConnectionError):
            await tasks.save(task("late"))
        with pytest.raises(PersistenceConnectionError):
            await tasks.get("t0")
        await asyncio.gather(*saves, *reads, *lists)
        await closing
    assert await stored(shared_url) == {f"t{n}" for n in range(300)}


async def test_an_open_transaction_is_waited_for(shared_url: str) -> None:
    async with opened(shared_url) as backend:
        async with backend.transaction() as tx:
            await tx.tasks.save(task("first"))
            closing = asyncio.ensure_future(backend.disconnect())
            await asyncio.sleep(0.05)
            assert not closing.done()
            await tx.tasks.save(task("second"))
            async with tx.transaction() as inner:
                await inner.tasks.save(task("third"))
        await closing
    assert await stored(shared_url) == {"first", "second", "third"}


async def test_a_transaction_that_takes_too_long_is_ended(shared_url: str) -> None:
    async with opened(shared_url, drain_timeout_seconds=0.2) as backend:
        begun = time.perf_counter()
        with pytest.raises(PersistenceConnectionError):
            async with backend.transaction() as tx:
                await tx.tasks.save(task("lost"))
                await backend.disconnect()
                assert 0.15 < time.perf_counter() - begun < 2
                with pytest.raises(PersistenceError):
                    await tx.tasks.save(task("late"))
                raise PersistenceConnectionError("left as an application would")
        # Nothing was sent, so nothing is unknown about a commit that comes too late.
        await backend.connect()
        with pytest.raises(PersistenceConnectionError):
            async with backend.transaction() as tx:
                await tx.tasks.save(task("lost"))
                await backend.disconnect()
    assert await stored(shared_url) == set()


async def test_who_waits_behind_it_is_told(shared_url: str) -> None:
    options = {"drain_timeout_seconds": 0.2}
    if shared_url.startswith("postgres"):
        options["pool_max_size"] = 1
    async with opened(shared_url, **options) as backend:
        inside, go = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            async with backend.transaction() as tx:
                await tx.tasks.save(task("held"))
                inside.set()
                await go.wait()

        holder = asyncio.ensure_future(hold())
        await inside.wait()
        waiting = [asyncio.ensure_future(backend.tasks.save(task(f"t{n}"))) for n in range(3)]
        waiting.append(asyncio.ensure_future(_begin(backend)))
        await asyncio.sleep(0.05)
        async with asyncio.timeout(3):
            await backend.disconnect()
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {PersistenceConnectionError}
        go.set()
        with pytest.raises(PersistenceConnectionError):
            await holder
    assert await stored(shared_url) == set()


async def _begin(backend: PersistenceBackend) -> None:
    async with backend.transaction() as tx:
        await tx.tasks.get("t")


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("holdfast-")}


async def test_a_cancelled_disconnect_ends_all_at_once(shared_url: str) -> None:
    before = _threads()
    async with opened(shared_url) as backend:
        with pytest.raises(PersistenceConnectionError):
            async with backend.transaction() as tx:
                await tx.tasks.save(task("t"))
                closing = asyncio.ensure_future(backend.disconnect())
                await asyncio.sleep(0.05)
                closing.cancel()
                async with asyncio.timeout(10):  # of the 30 s it would have waited
                    with pytest.raises(asyncio.CancelledError):
                        await closing
        assert not backend.is_connected
        await backend.connect()  # and nothing of before is in the way
        await backend.tasks.save(task("next"))
    assert await stored(shared_url) == {"next"}
    for thread in _threads() - before:
        thread.join(5)
        assert not thread.is_alive()


async def test_a_write_in_flight_is_unknown_and_a_read_is_not(postgres_url: str) -> None:
    blocker = await asyncpg.connect(postgres_url)
    async with opened(postgres_url, drain_timeout_seconds=0.2, application_name="v") as backend:
        await backend.tasks.save(task("t"))
        lock = blocker.transaction()
        await lock.start()
        await blocker.execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")
        write = asyncio.ensure_future(backend.tasks.save(task("t", title="other")))
        read = asyncio.ensure_future(backend.tasks.get("t"))
        await asyncio.sleep(0.1)
        async with asyncio.timeout(3):
            await backend.disconnect()
            outcomes = await asyncio.gather(write, read, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [
            OutcomeUnknownError,
            PersistenceConnectionError,
        ]
        await lock.rollback()
        async with asyncio.timeout(5):
            while await blocker.fetchval(
                "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'v'"
            ):
                pass
    await blocker.close()


async def test_a_long_statement_is_interrupted(sqlite_url: str) -> None:
    endless = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    )
    async with opened(sqlite_url, drain_timeout_seconds=0.1) as backend:
        running = backend.get_db().run(lambda connection: connection.execute(endless).fetchall())
        save = asyncio.ensure_future(backend.tasks.save(task("t")))
        await asyncio.sleep(0.05)
        async with asyncio.timeout(3):
            await backend.disconnect()
            with pytest.raises(PersistenceConnectionError):
                await save
            outcome = await asyncio.gather(running, return_exceptions=True)
        assert "interrupted" in str(outcome[0])
    assert await stored(sqlite_url) == set()
