"""Rows 9 and 14: a network that cuts between a commit and its reply, and one that falls silent."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from holdfast import OutcomeUnknownError, PersistenceBackend, PersistenceError, create_backend
from holdfast.testing.proxy import Proxy, is_commit, is_execute

from ..conformance.test_work import task
from .scorecard import SEED, Ledger, Record, sized


@contextlib.asynccontextmanager
async def _through(proxy: Proxy, url: str, options: str) -> AsyncIterator[PersistenceBackend]:
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    backend = create_backend(
        f"postgresql://{user}@127.0.0.1:{proxy.port}{parts.path}?ssl_mode=disable&{options}"
    )
    await backend.connect()
    try:
        yield backend
    finally:
        await backend.disconnect()


def _sometimes(matches: Callable[[Any], bool], chance: random.Random) -> Callable[[Any], bool]:
    return lambda message: matches(message) and chance.random() < 0.1


async def _stats(ledger: Ledger, key: str, work: Awaitable[Any], unknown: Any) -> None:
    try:
        await work
    except unknown:
        ledger.unknown.add(key)
    except (PersistenceError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        ledger.refused.add(key)
    else:
        ledger.acked.add(key)


async def _in_transaction(backend: PersistenceBackend, key: str) -> None:
    async with backend.transaction() as tx:
        await tx.tasks.save(task(key))


async def test_row_9_the_network_cuts_between_commit_and_reply(
    postgres_url: str, record: Record
) -> None:
    total = sized(240, 4_000)
    chance = random.Random(SEED)
    ledger, bare = Ledger(), Ledger()
    port = urlsplit(postgres_url).port
    assert port is not None
    async with Proxy(port) as proxy, _through(proxy, postgres_url, "pool_max_size=4") as backend:
        # Commits of transactions, which nobody can repeat, and inserts that share a batch.
        for matches, work in ((is_commit, _in_transaction), (is_execute, _save)):
            proxy.cut_at(_sometimes(matches, chance))
            for start in range(0, total // 2, 20):
                keys = [f"{work.__name__}-{start + n}" for n in range(20)]
                await asyncio.gather(
                    *(_stats(ledger, key, work(backend, key), OutcomeUnknownError) for key in keys)
                )
        cuts, proxy.cuts = proxy.cuts, 0
        proxy.cut_at(None)
        stored = [found.id for found in await backend.tasks.list_tasks()]
        unknown_stored = len(ledger.unknown & set(stored))
        # Repeated by id, everything is there exactly once.
        for key in sorted(ledger.unknown | ledger.refused):
            await backend.tasks.save(task(key))
        assert await backend.tasks.count_tasks() == total

        # The bare driver's caller is told that the connection was lost, and takes it for a failure.
        pool = await asyncpg.create_pool(
            f"postgresql://{urlsplit(postgres_url).netloc.rpartition('@')[0]}"
            f"@127.0.0.1:{proxy.port}{urlsplit(postgres_url).path}",
            ssl=False, min_size=1, max_size=4,
        )  # fmt: skip
        async with pool:
            await pool.execute("CREATE TABLE bare (id text PRIMARY KEY)")
            proxy.cut_at(_sometimes(is_execute, chance))
            for start in range(0, total // 2, 4):
                keys = [f"bare-{start + n}" for n in range(4)]
                await asyncio.gather(
                    *(
                        _stats(bare, key, pool.execute("INSERT INTO bare VALUES ($1)", key), ())
                        for key in keys
                    )
                )
            proxy.cut_at(None)
            bare_stored = [
                row[0] for row in await _insist(lambda: pool.fetch("SELECT id FROM bare"))
            ]
    verdict, bare_verdict = ledger.verdict(stored), bare.verdict(bare_stored)
    record(
        9,
        "cut between commit and reply",
        f"{cuts} cuts in {total:,} writes: {len(ledger.acked)} acked, {len(ledger.unknown)} "
        f"unknown ({unknown_stored} stored), {len(ledger.refused)} refused, {verdict}",
        f"calling the unknown 'failed' is wrong for {unknown_stored}",
        f"asyncpg.Pool: {proxy.cuts} cuts, wrong for {bare_verdict['refused but stored']}",
    )
    assert cuts > 0
    assert set(verdict.values()) == {0}
    assert unknown_stored > 0
    assert bare_verdict["refused but stored"] > 0


async def _save(backend: PersistenceBackend, key: str) -> None:
    await backend.tasks.save(task(key))


async def _insist(work: Callable[[], Awaitable[Any]]) -> Any:
    """Once more for each connection of a bare pool that does not know that it was cut."""
    while True:
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            return await work()


async def test_row_14_connections_fall_silent(
    postgres_url: str, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds, size, statement = sized(1, 5), 4, 0.5
    port = urlsplit(postgres_url).port
    assert port is not None
    options = f"pool_max_size={size}&statement_timeout_ms={int(statement * 1000)}"
    failed, busy_failed, recoveries = [], [], []
    async with Proxy(port) as proxy:
        async with _through(proxy, postgres_url, options) as backend:
            await backend.tasks.save(task("t"))
            for _ in range(rounds):
                failures, seconds = await _silence(proxy, backend, size, idle=True)
                failed.append(failures)
                recoveries.append(seconds)
                failures, seconds = await _silence(proxy, backend, size, idle=False)
                busy_failed.append(failures)
                recoveries.append(seconds)
        # The control trusts every connection, however long nothing was heard from it.
        monkeypatch.setattr("holdfast.engines.postgres.pool.FRESH_SECONDS", float("inf"))
        async with _through(proxy, postgres_url, options) as trusting:
            await trusting.tasks.get("t")
            control, _ = await _silence(proxy, trusting, size, idle=True)
        parts = urlsplit(postgres_url)
        pool = await asyncpg.create_pool(
            f"postgresql://{parts.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}{parts.path}",
            ssl=False, min_size=size, max_size=size, command_timeout=statement,
        )  # fmt: skip
        proxy.stall(new=False)
        begun = time.perf_counter()
        results = await asyncio.gather(
            *(pool.fetchval("SELECT 1") for _ in range(size)), return_exceptions=True
        )
        bare_seconds = time.perf_counter() - begun
        proxy.resume()
        pool.terminate()
    bare = sum(isinstance(result, BaseException) for result in results)
    record(
        14,
        "connections fall silent, no FIN",
        f"{size} idle: {max(failed)} failed calls; {size} busy: {max(busy_failed)}; "
        f"all answered again within {max(recoveries):.2f} s",
        f"without a check on checkout {control} calls fail with idle connections",
        f"asyncpg.Pool: {bare} of {size} calls failed after {bare_seconds:.2f} s",
    )
    assert max(failed) == 0
    assert max(busy_failed) <= size
    assert max(recoveries) <= 5
    assert control > 0
    assert bare > 0


async def _silence(
    proxy: Proxy, backend: PersistenceBackend, size: int, *, idle: bool
) -> tuple[int, float]:
    """How many calls fail when all connections fall silent, and when the last one answers."""

    async def hold() -> None:
        async with backend.transaction() as tx:
            await tx.tasks.get("t")
            await asyncio.sleep(0.05)

    await asyncio.gather(*(hold() for _ in range(size)))
    failures, stop = 0, False

    async def caller() -> None:
        nonlocal failures
        answered = 0
        while answered < 3 and not stop:
            try:
                await hold()
            except PersistenceError:
                failures += 1
            else:
                answered += 1

    callers: list[asyncio.Task[None]] = []
    if idle:
        await asyncio.sleep(0.6)
    else:
        callers = [asyncio.create_task(caller()) for _ in range(size)]
        await asyncio.sleep(0.02)
    proxy.stall(new=False)
    begun = time.perf_counter()
    if idle:
        callers = [asyncio.create_task(caller()) for _ in range(size)]
    _, late = await asyncio.wait(callers, timeout=10)
    stop = True
    seconds = time.perf_counter() - begun
    proxy.resume()
    for each in late:
        each.cancel()
    return failures, seconds
