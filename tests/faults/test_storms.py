"""Rows 19, 20 and 21: everybody at once, on a server that is away, full, or slow."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import deque
from typing import Any

import asyncpg
import pytest

from holdfast import PersistenceConnectionError, PoolTimeoutError, PostgresConfig, create_backend
from holdfast.engines.postgres.connection import open_connection
from holdfast.testing import PostgresCluster, Proxy

from ..forked import Child
from .scorecard import Record, sized

_WORKERS = """
import asyncio, sys, time
import asyncpg
from holdfast import PersistenceError, create_backend
from holdfast.engines.postgres.circuit_breaker import CircuitBreaker

async def main(url, mode, workers):
    if mode == "bare":
        pool = await asyncpg.create_pool(url, ssl=False, min_size=1, max_size=10)
        call = lambda: pool.fetchval("SELECT 1")
        problems = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)
    else:
        if mode == "control":  # every caller asks for itself, as often as it likes
            CircuitBreaker.width = property(lambda self: 10)
            CircuitBreaker.next_pause = lambda self: 0.0
        backend = create_backend(url + "?ssl_mode=disable&outage_patience_seconds=1")
        await backend.connect()
        problems = PersistenceError
        call = lambda: backend.tasks.list_tasks(limit=1)
    stop = asyncio.Event()
    answered = {}
    async def worker(number):
        while not stop.is_set():
            try:
                await call()
                answered[number] = time.time()
            except problems:
                pass
            await asyncio.sleep(0.02)
    tasks = [asyncio.create_task(worker(number)) for number in range(workers)]
    await asyncio.sleep(0.2)
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    began = float(await loop.run_in_executor(None, sys.stdin.readline))
    while min(answered.values(), default=0.0) < began or len(answered) < workers:
        await asyncio.sleep(0.01)
    print(time.time() - began, flush=True)
    stop.set()
    await asyncio.gather(*tasks)
    if mode == "bare":
        await pool.close()
    else:
        await backend.disconnect()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


async def _workers(port: int, mode: str, workers: int) -> Child:
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    return await Child.start(_WORKERS, url, mode, str(workers))


async def test_row_19_a_storm_of_reconnects(record: Record) -> None:
    processes, workers, seconds = sized(1, 4), 64, sized(1, 10)
    modes = [*["holdfast"] * processes, "control", "bare"]
    with PostgresCluster.create() as cluster:
        backend = create_backend(cluster.url())
        await backend.connect()
        await backend.migrate()
        await backend.disconnect()
        # A proxy for each process: it answers while the server is down, and counts who asks.
        proxies = [await Proxy(cluster.port).start() for _ in modes]
        running = [
            await _workers(proxy.port, mode, workers)
            for proxy, mode in zip(proxies, modes, strict=True)
        ]
        for process in running:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        cluster.kill()
        await asyncio.sleep(0.05)  # who is connected has noticed
        before = [proxy.accepted for proxy in proxies]
        begun = time.perf_counter()
        await asyncio.sleep(seconds)
        down = time.perf_counter() - begun
        rates = [
            (proxy.accepted - asked) / down for proxy, asked in zip(proxies, before, strict=True)
        ]
        await asyncio.to_thread(cluster.start)
        back = time.time()
        recovered = []
        for process in running:
            process.tell(str(back))
            recovered.append(float(await process.stdout.readline()))
        for process in running:
            await process.wait()
        for proxy in proxies:
            await proxy.close()
    record(
        19,
        f"server down {seconds} s, {processes} x {workers} workers",
        f"{max(rates[:processes]):.1f} attempts/s and process; all workers answered "
        f"{max(recovered[:processes]):.2f} s after",
        f"without the prober {rates[-2]:.0f} attempts/s",
        f"asyncpg.Pool: {rates[-1]:.0f} attempts/s",
    )
    assert max(rates[:processes]) <= 5
    assert max(recovered[:processes]) <= 5
    assert rates[-2] > 5
    assert rates[-1] > 5


async def test_row_20_pools_that_ask_for_more_than_there_is(record: Record) -> None:
    limit, pools, size, callers = 20, 4, 10, 400

    with PostgresCluster.create(settings={"max_connections": str(limit)}) as cluster:
        config = f"{cluster.url()}?pool_max_size={size}"
        backends = [create_backend(config) for _ in range(pools)]
        for backend in backends:
            await backend.connect()
        await backends[0].migrate()

        async def call(number: int) -> None:
            async with backends[number % pools].transaction() as tx:
                await tx.tasks.get("t")
                await asyncio.sleep(0.005)

        begun = time.perf_counter()
        results = await asyncio.gather(*map(call, range(callers)), return_exceptions=True)
        seconds = time.perf_counter() - begun
        opened = sum(backend.stats().pool.size for backend in backends)
        for backend in backends:
            await backend.disconnect()

        # Where not even one is left, connecting says so.
        held = [await asyncpg.connect(cluster.url()) for _ in range(limit)]
        with pytest.raises(PersistenceConnectionError, match=r"no connection left.*53300"):
            await backends[0].connect()
        for connection in held:
            await connection.close()

        # The control: callers that open a connection when they need one.
        alone = PostgresConfig(
            host="127.0.0.1", port=cluster.port, database="postgres", username="postgres",
            password="none",
        )  # fmt: skip

        async def ask() -> None:
            connection = await open_connection(alone)
            await asyncio.sleep(0.005)
            await connection.close()

        control = await asyncio.gather(*(ask() for _ in range(callers)), return_exceptions=True)

        bare_pools = [
            await asyncpg.create_pool(cluster.url(), min_size=1, max_size=size)
            for _ in range(pools)
        ]

        async def bare_call(number: int) -> None:
            async with bare_pools[number % pools].acquire() as connection, connection.transaction():
                await connection.fetchval("SELECT 1")
                await asyncio.sleep(0.005)

        bare = await asyncio.gather(*map(bare_call, range(callers)), return_exceptions=True)
        for pool in bare_pools:
            await pool.close()
    failed, control_failed, bare_failed = (
        sum(isinstance(result, BaseException) for result in each)
        for each in (results, control, bare)
    )
    record(
        20,
        f"{pools} pools of {size}, {limit} connections",
        f"{failed} errors to {callers} callers in {seconds:.2f} s, {opened} connections",
        f"callers that connect for themselves: {control_failed} errors",
        f"asyncpg.Pool: {bare_failed} errors",
    )
    assert failed == 0
    assert opened <= limit
    assert control_failed > 0
    assert bare_failed > 0


class _LatestFirst(deque[Any]):
    """The control: who came last is served first."""

    def popleft(self) -> Any:
        return self.pop()


async def _taking_turns(acquire: Any, release: Any, workers: int, turns: int) -> list[float]:
    """The waits of workers that come back as soon as they were served."""
    waits: list[float] = []

    async def worker() -> None:
        for _ in range(turns):
            begun = time.perf_counter()
            connection = await acquire()
            waits.append(time.perf_counter() - begun)
            await asyncio.sleep(0.005)
            await release(connection)

    await asyncio.gather(*(worker() for _ in range(workers)))
    return waits


async def _flood(
    acquire: Any, release: Any, rate: int, seconds: float
) -> tuple[list[float], int, float]:
    """The waits of those served, and how many were shed, of ``rate`` callers per second.

    And how long this process was kept from running at a time, which no deadline can prevent.
    """
    waits: list[float] = []
    shed = 0

    async def caller() -> None:
        nonlocal shed
        begun = time.perf_counter()
        try:
            connection = await acquire()
        except PoolTimeoutError:
            shed += 1
            return
        waits.append(time.perf_counter() - begun)
        await asyncio.sleep(0.02)
        await release(connection)

    calls: list[asyncio.Task[None]] = []
    begun = time.perf_counter()
    late, before = 0.0, begun
    while (passed := (now := time.perf_counter()) - begun) < seconds:
        late, before = max(late, now - before), now
        calls += [asyncio.create_task(caller()) for _ in range(int(passed * rate) - len(calls))]
        await asyncio.sleep(0.002)
    await asyncio.gather(*calls)
    return waits, shed, late


async def test_row_21_more_callers_than_connections(postgres_url: str, record: Record) -> None:
    size, workers, patience = 10, 100, 0.3
    turns, seconds = sized(10, 100), sized(1, 5)
    rate = 3 * size * 50  # three times what connections that are kept for 20 ms can serve
    backend = create_backend(f"{postgres_url}?pool_max_size={size}&pool_timeout_seconds={patience}")
    await backend.connect()
    pool = backend.get_db()

    async def release(connection: Any) -> None:
        pool.release(connection)

    for connection in [await pool.acquire() for _ in range(size)]:
        pool.release(connection)

    async def acquire() -> Any:
        return await pool.acquire(asyncio.get_running_loop().time() + 60)

    waits = await _taking_turns(acquire, release, workers, turns)
    served, shed, late = await _flood(pool.acquire, release, rate, seconds)
    pool._callers._queue = _LatestFirst()
    unfair = await _taking_turns(acquire, release, workers, turns)
    await backend.disconnect()

    bare = await asyncpg.create_pool(postgres_url, min_size=size, max_size=size)
    bare_waits, bare_shed, _ = await _flood(bare.acquire, bare.release, rate, seconds)
    await bare.close()
    ratio, unfair_ratio = (max(each) / statistics.mean(each) for each in (waits, unfair))
    record(
        21,
        f"{workers} workers, {size} connections; 3x load",
        f"longest wait {ratio:.2f} x mean of {statistics.mean(waits) * 1000:.0f} ms; of "
        f"{len(served) + shed:,} callers {shed:,} shed, the others waited <= {max(served):.2f} s",
        f"latest first: {unfair_ratio:.1f} x mean",
        f"asyncpg.Pool: {bare_shed} shed, waits up to {max(bare_waits):.2f} s",
    )
    assert ratio <= 3
    assert shed > 0
    assert max(served) <= patience + 0.2 + late
    assert unfair_ratio > 3
    assert max(bare_waits) > max(served)
