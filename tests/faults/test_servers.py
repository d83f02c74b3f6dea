"""Rows 13 and 15: a server that stops answering, and one that ends every idle connection."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import asyncpg

from holdfast import OutcomeUnknownError, PersistenceError, create_backend
from holdfast.testing import PostgresCluster

from ..conformance.test_work import task
from .scorecard import Record, sized

STATEMENT, POOL = 0.5, 1.0
#: Waiting to be sent, then the statement, then once more where the first outcome is in doubt.
BOUND = POOL + 2 * STATEMENT * 1.1


async def test_row_13_the_server_freezes(record: Record) -> None:
    frozen = sized(3, 6)
    with PostgresCluster.create() as cluster:
        backend = create_backend(
            f"{cluster.url()}?pool_timeout_seconds={POOL}"
            f"&statement_timeout_ms={int(STATEMENT * 1000)}"
        )
        await backend.connect()
        await backend.migrate()
        await backend.tasks.save(task("t"))
        longest, errors, number = 0.0, 0, 0
        answered: list[float] = []
        stop = False

        async def caller(write: bool) -> None:
            nonlocal longest, errors, number
            while not stop:
                number += 1
                begun = time.perf_counter()
                try:
                    if write:
                        await backend.tasks.save(task(f"t{number}"))
                    else:
                        await backend.tasks.get("t")
                except PersistenceError:
                    errors += 1
                else:
                    answered.append(time.perf_counter())
                longest = max(longest, time.perf_counter() - begun)
                await asyncio.sleep(0.001)

        callers = [asyncio.create_task(caller(n % 2 == 0)) for n in range(16)]
        await asyncio.sleep(0.5)
        pool = await asyncpg.create_pool(cluster.url(), min_size=1, max_size=1)
        await pool.fetchval("SELECT 1")
        cluster.freeze()
        begun = time.perf_counter()
        bare = asyncio.create_task(_bare(pool))
        await asyncio.sleep(frozen)
        cluster.thaw()
        thawed = time.perf_counter()
        bare_blocked = await bare - begun
        await asyncio.sleep(2)
        recovered = min(moment for moment in answered if moment > thawed) - thawed
        stop = True
        await asyncio.gather(*callers)
        await pool.close()
        await backend.disconnect()
    record(
        13,
        f"server frozen for {frozen} s",
        f"longest call {longest:.2f} s of {BOUND:.2f} s, {errors} told in time, "
        f"first answer {recovered:.2f} s after",
        f"asyncpg.Pool with timeout={STATEMENT} blocked {bare_blocked:.2f} s",
    )
    assert errors > 0
    assert longest <= BOUND + 0.1
    assert recovered <= 2
    assert bare_blocked > frozen * 0.9


async def _bare(pool: Any) -> float:
    with contextlib.suppress(TimeoutError, asyncpg.PostgresError, OSError):
        await pool.fetchval("SELECT pg_sleep(0)", timeout=STATEMENT)
    return time.perf_counter()


async def test_row_15_idle_connections_are_ended(record: Record) -> None:
    rounds, calls = sized(10, 40), 50
    with PostgresCluster.create() as cluster:
        backend = create_backend(f"{cluster.url()}?application_name=victim")
        await backend.connect()
        await backend.migrate()
        pool = await asyncpg.create_pool(
            cluster.url(), min_size=8, max_size=8, server_settings={"application_name": "victim"}
        )
        outcomes: list[Any] = []
        bare: list[Any] = []
        for turn in range(rounds):
            await asyncio.gather(*(_hold(backend) for _ in range(8)))
            _end_all(cluster)  # blocks the loop: nobody has heard of it when the calls begin
            saves = [backend.tasks.save(task(f"{turn}-{n}")) for n in range(calls // 2)]
            reads = [backend.tasks.get(f"{turn}-{n}") for n in range(calls // 2)]
            outcomes += await asyncio.gather(*saves, *reads, return_exceptions=True)
            await asyncio.gather(
                *(pool.fetchval("SELECT 1") for _ in range(8)), return_exceptions=True
            )
            _end_all(cluster)
            bare += await asyncio.gather(
                *(pool.fetchval("SELECT 1") for _ in range(8)), return_exceptions=True
            )
        stored = await backend.tasks.count_tasks()
        await pool.close()
        await backend.disconnect()
    failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    bare_failed = sum(isinstance(outcome, BaseException) for outcome in bare)
    record(
        15,
        "idle connections ended, query at once",
        f"{len(failed)} errors in {len(outcomes):,} calls, {stored} stored",
        f"asyncpg.Pool: {bare_failed} errors in {len(bare)}",
    )
    assert not [error for error in failed if isinstance(error, OutcomeUnknownError)]
    assert not failed
    assert stored == rounds * calls // 2
    assert bare_failed > 0


async def _hold(backend: Any) -> None:
    async with backend.transaction() as tx:
        await tx.tasks.get("t")
        await asyncio.sleep(0.01)


def _end_all(cluster: PostgresCluster) -> None:
    cluster.psql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim'"
    )
