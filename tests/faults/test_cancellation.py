"""Rows 9, 11 and 12: cancelled callers lose nobody's write, leak nothing and are told no lie."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import Any

import asyncpg
import pytest

from holdfast import PersistenceBackend, Task, create_backend

from ..conformance.test_work import task
from .scorecard import SEED, Ledger, Record, sized


async def test_row_9_cancelled_is_unknown_never_failed(
    backend: PersistenceBackend, engine_name: str, record: Record
) -> None:
    chance = random.Random(SEED)
    total = sized(1_000, 10_000)
    ledger = Ledger()

    async def one(number: int) -> None:
        key = f"t{number}"
        call = asyncio.create_task(backend.tasks.save(task(key)))
        await asyncio.sleep(chance.uniform(0, 0.03))
        call.cancel()
        try:
            await call
        except asyncio.CancelledError:
            ledger.unknown.add(key)
        except Exception:
            ledger.refused.add(key)
        else:
            ledger.acked.add(key)

    for start in range(0, total, 100):
        await asyncio.gather(*(one(number) for number in range(start, start + 100)))
    stored = [found.id for found in await backend.tasks.list_tasks()]
    verdict = ledger.verdict(stored)
    # Whoever took "cancelled" for "not written" would be wrong about these.
    wrong = len(ledger.unknown & set(stored))
    await asyncio.gather(*(backend.tasks.save(task(key)) for key in sorted(ledger.unknown)))
    assert await backend.tasks.count_tasks() == total  # repeated by key: exactly once
    record(
        9,
        f"cancelled writes, {engine_name}",
        f"{total:,} cancels: {len(ledger.acked)} acked, {len(ledger.unknown)} unknown, {verdict}",
        f"calling cancelled 'failed' is wrong for {wrong}",
    )
    assert not ledger.refused
    assert set(verdict.values()) == {0}
    assert wrong > 0


async def _storm(backend: PersistenceBackend, cancels: int) -> int:
    """In every phase cancel so many callers; the number of cancellations that were swallowed."""
    chance = random.Random(SEED)

    async def query(number: int) -> None:
        await backend.tasks.get(f"t{number}")
        await backend.tasks.list_tasks(limit=100)

    async def commit(number: int) -> None:
        async with backend.transaction() as tx:
            await tx.tasks.save(task(f"c{number}"))

    async def acquire(number: int) -> None:
        async with backend.transaction() as tx:  # more of these than connections
            await tx.tasks.get("t")
            await asyncio.sleep(0.002)

    async def release(number: int) -> None:
        async with backend.transaction() as tx, tx.transaction() as inner:
            await inner.tasks.list_tasks(limit=1)

    swallowed = 0
    for phase in (acquire, query, commit, release):
        cancelled: list[asyncio.Task[None]] = []
        begun = itertools.count()
        while len(cancelled) < cancels:
            # A few at a time: of many, most would be done before it is their turn.
            calls = [asyncio.create_task(phase(next(begun))) for _ in range(10)]
            for call in calls:
                await asyncio.sleep(chance.uniform(0, 0.0005))
                if call.cancel():  # else it was done
                    cancelled.append(call)
            await asyncio.wait(calls, timeout=30)
            assert all(call.done() for call in calls)
        swallowed += sum(not call.cancelled() for call in cancelled)
    return swallowed


async def test_row_11_cancel_storm(postgres_url: str, record: Record) -> None:
    size = 5
    backend = create_backend(f"{postgres_url}?pool_max_size={size}&application_name=storm")
    await backend.connect()
    cancels = sized(250, 1_000)
    swallowed = await _storm(backend, cancels)
    await asyncio.sleep(2 if sized(0, 1) else 1)
    pool = backend.stats().pool
    watcher = await asyncpg.connect(postgres_url)
    sessions = await watcher.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'storm'"
    )
    in_transaction = await watcher.fetchval(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'storm' AND state LIKE 'idle in transaction%'"
    )
    locks = await watcher.fetchval(
        "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE application_name = 'storm'"
    )
    async with asyncio.timeout(10):  # every place of the pool can be used
        await asyncio.gather(*(_hold(backend) for _ in range(size)))

    # The control gives a connection back only if nothing happens in between.
    leaky = backend.get_db()

    async def careless() -> None:
        connection = await leaky.acquire()
        await connection.raw.fetch("SELECT pg_sleep(0.2)")
        leaky.release(connection)

    calls = [asyncio.create_task(careless()) for _ in range(size)]
    await asyncio.sleep(0.1)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    leaked = backend.stats().pool.busy
    await watcher.close()
    await backend.disconnect()
    record(
        11,
        "cancel storm, 4 phases",
        f"{4 * cancels:,} cancels: {pool.busy} busy after, {sessions} sessions of {size}, "
        f"{in_transaction} in transaction, {locks} locks, {swallowed} swallowed",
        f"without a finally {leaked} connections leak",
    )
    assert pool.busy == pool.waiting == 0
    assert sessions <= size
    assert in_transaction == locks == 0
    assert swallowed == 0
    assert leaked > 0


async def _hold(backend: PersistenceBackend) -> None:
    async with backend.transaction() as tx:
        await tx.tasks.get("t")
        await asyncio.sleep(0.05)


class _LeaderBatcher:
    """The control: the first caller's own task commits for all who wait."""

    def __init__(self, backend: PersistenceBackend) -> None:
        self._backend = backend
        self._waiting: list[tuple[Task, asyncio.Future[None]]] = []

    async def save(self, one: Task) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((one, future))
        if len(self._waiting) == 1:
            await asyncio.sleep(0)
            batch, self._waiting = self._waiting, []
            async with self._backend.transaction() as tx:
                for each, _ in batch:
                    await tx.tasks.save(each)
            for _, waiting in batch:
                waiting.set_result(None)
        await future


async def _cancel_the_first(save: Any, callers: int) -> int:
    """How many of the others are acknowledged."""
    calls = [asyncio.create_task(save(task(f"t{number}"))) for number in range(callers)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    calls[0].cancel()
    done, pending = await asyncio.wait(calls[1:], timeout=2)
    for call in pending:
        call.cancel()
    return sum(call.exception() is None for call in done)


@pytest.mark.parametrize("callers", [50])
async def test_row_12_the_caller_that_began_the_batch_is_cancelled(
    backend: PersistenceBackend, engine_name: str, callers: int, record: Record
) -> None:
    rounds = sized(10, 100)
    acked = [await _cancel_the_first(backend.tasks.save, callers) for _ in range(rounds)]
    control = await _cancel_the_first(_LeaderBatcher(backend).save, callers)
    record(
        12,
        f"batch leader cancelled, {engine_name}",
        f"{sum(acked):,} of {rounds * (callers - 1):,} others acked",
        f"a leader-owned flush acked {control} of {callers - 1}",
    )
    assert acked == [callers - 1] * rounds
    assert control < callers - 1
