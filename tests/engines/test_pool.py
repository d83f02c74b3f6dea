"""The PostgreSQL pool, with connections that are only told to be some."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from holdfast import (
    CircuitOpenError,
    PersistenceConnectionError,
    PoolTimeoutError,
    PostgresConfig,
)
from holdfast.engines.postgres.connection import PooledConnection
from holdfast.engines.postgres.pool import Pool


class Raw:
    """What the pool needs of a connection."""

    def __init__(self) -> None:
        self.closed = ""
        self.asked = 0
        self.answers = asyncio.Event()
        self.answers.set()

    def is_closed(self) -> bool:
        return bool(self.closed)

    async def execute(self, _: str) -> None:
        self.asked += 1
        await self.answers.wait()
        if self.closed:
            raise ConnectionResetError

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.closed = "closed"

    def terminate(self) -> None:
        self.closed = "terminated"
        self.answers.set()


class Server:
    """Opens connections, or is away."""

    def __init__(self) -> None:
        self.connections: list[Raw] = []
        self.asked = 0
        self.away = False
        self.why: Exception | None = None
        self.opened = self.opening = 0
        #: With each attempt: how many were under way, and how many had succeeded.
        self.at_once: list[tuple[int, int]] = []
        self.back = asyncio.Event()
        self.slow = asyncio.Event()
        self.slow.set()

    async def connect(self, _: PostgresConfig) -> Any:
        self.asked += 1
        self.opening += 1
        self.at_once.append((self.opening, self.opened))
        try:
            await asyncio.sleep(0)
            await self.slow.wait()
        finally:
            self.opening -= 1
        if self.away:
            gone = PersistenceConnectionError("cannot connect to PostgreSQL at far: gone")
            raise gone from self.why
        self.opened += 1
        self.back.set()
        self.connections.append(Raw())
        return self.connections[-1]

    @property
    def open(self) -> int:
        return sum(not raw.closed for raw in self.connections)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def pools(server: Server) -> AsyncIterator[Any]:
    made: list[Pool] = []

    async def make(**options: Any) -> Pool:
        settings = {"pool_max_size": 3, "pool_timeout_seconds": 0.2, **options}
        config = PostgresConfig(database="d", username="u", password="secret", **settings)
        made.append(Pool(config, server.connect))
        await made[-1].open()
        return made[-1]

    yield make
    for pool in made:
        await pool.close()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_it_opens_the_smallest_number_at_first(pools: Any, server: Server) -> None:
    pool = await pools(pool_min_size=2)
    await settle()
    assert server.open == 2
    stats = pool.stats()
    assert (stats.size, stats.busy, stats.idle, stats.opened) == (2, 0, 2, 2)


async def test_it_grows_when_needed_and_never_beyond(pools: Any, server: Server) -> None:
    pool = await pools()
    taken = [await pool.acquire() for _ in range(3)]
    assert len({id(connection) for connection in taken}) == 3
    waiting = [asyncio.ensure_future(pool.acquire()) for _ in range(5)]
    await settle()
    assert server.open == 3
    assert pool.stats().waiting == 5
    for connection in taken:
        pool.release(connection)
    done, _ = await asyncio.wait(waiting, timeout=0.05)
    assert len(done) == 3
    for future in waiting:
        pool.release(await future)
    assert server.open == 3


async def test_who_came_first_is_served_first(pools: Any) -> None:
    pool = await pools(pool_max_size=1)
    held = await pool.acquire()
    served = []

    async def caller(n: int) -> None:
        connection = await pool.acquire()
        served.append(n)
        await asyncio.sleep(0)
        pool.release(connection)

    callers = []
    for n in range(6):
        callers.append(asyncio.ensure_future(caller(n)))
        await asyncio.sleep(0)
    callers[2].cancel()
    pool.release(held)
    await asyncio.gather(*callers, return_exceptions=True)
    assert served == [0, 1, 3, 4, 5]
    assert pool.stats().busy == 0


async def test_the_latest_returned_is_used_again(pools: Any, server: Server) -> None:
    pool = await pools()
    for _ in range(5):
        pool.release(await pool.acquire())
    assert server.asked == 1


async def test_who_gets_none_in_time_is_told_how_many_are_busy(pools: Any) -> None:
    pool = await pools(pool_max_size=2)
    held = [await pool.acquire(), await pool.acquire()]
    says = r"no connection within 0\.2.* s: 2 of 2 connections are busy, the longest for 0\.\d s"
    with pytest.raises(PoolTimeoutError, match=says):
        await pool.acquire()
    for connection in held:
        pool.release(connection)
    pool.release(await pool.acquire())
    assert pool.stats().waiting == 0


async def test_a_deadline_of_the_callers_own(pools: Any) -> None:
    pool = await pools(pool_max_size=1, pool_timeout_seconds=60)
    held = await pool.acquire()
    async with asyncio.timeout(30):
        with pytest.raises(PoolTimeoutError):
            await pool.acquire(asyncio.get_running_loop().time() + 0.05)
    pool.release(held)


async def test_a_connection_that_came_too_late_is_not_lost(pools: Any) -> None:
    """Handed over in the very moment in which the caller is cancelled."""
    pool = await pools(pool_max_size=1)
    held = await pool.acquire()
    waiting = asyncio.ensure_future(pool.acquire())
    await settle()
    pool.release(held)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert pool.stats().busy == 0
    pool.release(await pool.acquire())


async def test_a_lost_connection_is_replaced(pools: Any, server: Server) -> None:
    pool = await pools(pool_max_size=1)
    held = await pool.acquire()
    waiting = asyncio.ensure_future(pool.acquire())
    await settle()
    held.raw.terminate()
    pool.release(held)
    fresh = await waiting
    assert fresh is not held
    pool.release(fresh)
    server.connections[-1].terminate()  # while it was idle
    pool.release(await pool.acquire())
    stats = pool.stats()
    assert (stats.lost, stats.opened, stats.size) == (2, 3, 1)


async def test_connections_retire(pools: Any, server: Server) -> None:
    pool = await pools(max_connection_age_seconds=0.05, pool_min_size=2, pool_max_size=2)
    await settle()
    first, other = await pool.acquire(), await pool.acquire()
    await asyncio.sleep(0.06)
    other.retire_at = math.inf
    pool.release(first)  # past its age, and no room beside it: closed on return
    assert first.raw not in [connection.raw for connection in pool._idle]
    await settle()
    assert first.raw.closed == "closed"
    second = await pool.acquire()
    assert second is not first
    pool.release(second)
    await asyncio.sleep(0.06)
    third = await pool.acquire()  # past its age: not lent again
    assert third is not second
    pool.release(third)
    pool.release(other)
    assert server.open <= 2
    assert pool.stats().lost == 0


@pytest.mark.parametrize("largest", [1, 3])
async def test_the_successor_is_opened_first(pools: Any, server: Server, largest: int) -> None:
    pool = await pools(max_connection_age_seconds=0.05, pool_max_size=largest)
    first = await pool.acquire()
    await asyncio.sleep(0.06)
    server.slow.clear()
    for _ in range(3):
        pool.release(first)
        assert await pool.acquire() is first  # there is no other yet
        await settle()
    assert server.opening == 1
    queue = [asyncio.ensure_future(pool.acquire()) for _ in range(2 if largest == 1 else 0)]
    await settle()
    assert server.opening == 1  # and none for who waits
    server.slow.set()
    await settle()
    for waiting in queue:
        pool.release(await waiting)
    second = await pool.acquire()
    assert second is not first
    assert not first.raw.closed  # somebody has it
    pool.release(first)
    pool.release(second)
    await settle()
    assert first.raw.closed == "closed"
    assert server.open == 1
    await asyncio.sleep(0.06)
    pool.release(await pool.acquire())  # an idle one goes when the next has come
    await settle()
    assert [bool(raw.closed) for raw in server.connections] == [True, True, False]


@pytest.mark.parametrize(("size", "largest"), [(1, 1), (1, 3), (3, 3)])
async def test_no_connection_is_given_up_when_no_other_is_to_be_had(
    pools: Any,
    server: Server,
    size: int,
    largest: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("holdfast.engines.postgres.pool._AGAIN_SECONDS", 0.05)
    pool = await pools(
        pool_min_size=size, pool_max_size=largest,
        max_connection_age_seconds=0.05, outage_patience_seconds=0.1,
    )  # fmt: skip
    await settle()
    server.away, server.why = True, asyncpg.InvalidPasswordError("changed")
    await asyncio.sleep(0.06)
    for _ in range(20):  # for longer than callers wait
        pool.release(await pool.acquire())
        await asyncio.sleep(0.01)
    # With as many as there may be there was no room to try it first.
    assert server.open == max(1, size - 1)
    assert "gone" in caplog.text
    assert "calls are refused" not in caplog.text
    server.away = False
    old = lent = set(server.connections)
    async with asyncio.timeout(20):
        while lent & old:
            held: list[Any] = []
            # While one is replaced there may be too few, on a busy machine for longer than a wait.
            with contextlib.suppress(PoolTimeoutError):
                while len(held) < size:
                    held.append(await pool.acquire())
                lent = {connection.raw for connection in held}
            for connection in held:
                pool.release(connection)
            await asyncio.sleep(0.1)


async def test_connections_that_opened_together_do_not_retire_together(pools: Any) -> None:
    pool = await pools(pool_min_size=3, max_connection_age_seconds=1000)
    await settle()
    ages = {connection.retire_at - asyncio.get_running_loop().time() for connection in pool._idle}
    assert len(ages) == 3
    assert all(799 < age <= 1000 for age in ages)


async def test_all_can_be_made_to_retire(pools: Any, server: Server) -> None:
    pool = await pools(pool_min_size=2)
    await settle()
    busy = await pool.acquire()
    pool.expire_all()
    pool.release(busy)
    fresh = await pool.acquire()
    pool.release(fresh)
    await settle()
    assert [raw.closed for raw in server.connections[:2]] == ["closed", "closed"]
    assert not fresh.raw.closed


async def test_the_smallest_number_is_kept(pools: Any, server: Server) -> None:
    pool = await pools(pool_min_size=2)
    await settle()
    held: PooledConnection = await pool.acquire()
    held.raw.terminate()
    pool.release(held)
    await settle()
    assert server.open == 2


async def test_a_server_that_is_gone(
    pools: Any, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    pool = await pools()
    held = await pool.acquire()
    server.away = True
    held.raw.terminate()
    pool.release(held)
    asked = server.asked
    with caplog.at_level(logging.INFO, "holdfast.postgres"):
        results = await asyncio.gather(*(pool.acquire() for _ in range(20)), return_exceptions=True)
        assert {type(error) for error in results} == {PersistenceConnectionError}
        assert {str(error) for error in results} == {"cannot connect to PostgreSQL at far: gone"}
        # Some asked at first; then one asks for all, with pauses.
        assert server.asked - asked <= 3 + 6
        server.away = False
        pool.release(await pool.acquire())
    assert [r.levelname for r in caplog.records] == ["WARNING", "INFO"]
    assert server.open >= 1


async def test_a_server_that_comes_back_in_time_is_not_noticed(pools: Any, server: Server) -> None:
    pool = await pools(pool_timeout_seconds=5)
    held = await pool.acquire()
    server.away = True
    held.raw.terminate()
    pool.release(held)
    waiting = asyncio.ensure_future(pool.acquire())
    await asyncio.sleep(0.1)
    assert not waiting.done()
    server.away = False
    pool.release(await waiting)


async def test_the_first_connection_must_be_had(server: Server) -> None:
    server.away = True
    config = PostgresConfig(database="d", username="u", password="secret")
    with pytest.raises(PersistenceConnectionError, match="gone"):
        await Pool(config, server.connect).open()


async def test_an_impatient_caller_does_not_stop_the_opening(pools: Any, server: Server) -> None:
    pool = await pools(pool_max_size=2)
    held = await pool.acquire()
    server.slow.clear()
    with pytest.raises(PoolTimeoutError):
        await pool.acquire()
    server.slow.set()
    pool.release(await pool.acquire())
    pool.release(held)
    assert server.asked == 2


async def test_closing_ends_all_at_once(pools: Any, server: Server) -> None:
    """Whoever is to be waited for, the engine has waited for before."""
    pool = await pools(pool_min_size=2, pool_max_size=2)
    await settle()
    first, second = await pool.acquire(), await pool.acquire()
    pool.release(first)
    again = await pool.acquire()
    waiting = asyncio.ensure_future(pool.acquire())
    await settle()
    async with asyncio.timeout(1):
        await pool.close()
    with pytest.raises(PersistenceConnectionError, match="disconnected"):
        await waiting
    assert [raw.closed for raw in server.connections] == ["terminated", "terminated"]
    pool.release(second)  # which comes late and harms nobody
    pool.release(again)
    assert server.open == pool.stats().size == 0
    with pytest.raises(PersistenceConnectionError, match="disconnecting"):
        await pool.acquire()


# -- a server that is away -----------------------------------------------------------------------


async def away(pool: Pool, server: Server) -> None:
    """The server goes, and all connections with it."""
    server.away = True
    held = await pool.acquire()
    held.raw.terminate()
    pool.release(held)


async def test_the_circuit_opens_and_closes_by_itself(
    pools: Any, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    pool = await pools(pool_timeout_seconds=5, outage_patience_seconds=0.3)
    loop = asyncio.get_running_loop()
    with caplog.at_level(logging.INFO, "holdfast.postgres"):
        await away(pool, server)
        begun = loop.time()
        with pytest.raises(CircuitOpenError, match=r"has been away for 0\.\d s .* far: gone$"):
            await pool.acquire()
        assert 0.25 < loop.time() - begun < 4  # from the start of the outage, and not five seconds
        asked = server.asked
        for _ in range(100):
            with pytest.raises(CircuitOpenError):
                pool.acquire().send(None)  # waits for nothing
        assert server.asked == asked  # nobody asks but the prober
        await asyncio.sleep(0.8)
        assert server.asked > asked  # which goes on although nobody waits
        server.back.clear()
        server.away = False
        async with asyncio.timeout(2):
            await server.back.wait()
        pool.release(await pool.acquire())
    said = [record.getMessage() for record in caplog.records]
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "INFO"], said


async def test_a_server_that_is_away_is_asked_a_few_times_a_second(
    pools: Any, server: Server
) -> None:
    pool = await pools(pool_max_size=10, pool_timeout_seconds=0.05)
    taken = [await pool.acquire() for _ in range(10)]
    server.away = True
    asked = server.asked
    for connection in taken:
        connection.raw.terminate()
    for connection in taken:
        pool.release(connection)
    loop = asyncio.get_running_loop()
    until = loop.time() + 1
    while loop.time() < until:
        await asyncio.gather(*(pool.acquire() for _ in range(20)), return_exceptions=True)
    assert 2 <= server.asked - asked <= 5


async def test_connections_come_back_a_few_at_first(pools: Any, server: Server) -> None:
    pool = await pools(pool_max_size=10, pool_timeout_seconds=5)
    await away(pool, server)
    waiting = [asyncio.ensure_future(pool.acquire()) for _ in range(10)]
    await asyncio.sleep(0.05)
    server.away = False
    back, asked = server.opened, len(server.at_once)
    for connection in await asyncio.gather(*waiting):
        pool.release(connection)
    # One, two, four, ...: never more under way than have come back, and one.
    under_way = server.at_once[asked:]
    assert len(under_way) == 10
    assert all(at_once <= opened - back + 1 for at_once, opened in under_way)
    assert max(at_once for at_once, _ in under_way) > 2


async def test_a_refused_password_is_told_at_once(pools: Any, server: Server) -> None:
    """Waiting does not mend it; who has a connection goes on with it."""
    pool = await pools(pool_timeout_seconds=5)
    held = await pool.acquire()
    server.away = True
    server.why = asyncpg.InvalidPasswordError("no")
    waiting = asyncio.ensure_future(pool.acquire())
    await asyncio.sleep(0.05)
    assert not waiting.done()  # the one that works will come back
    pool.release(held)
    held = await waiting
    held.raw.terminate()
    waiting = asyncio.ensure_future(pool.acquire())
    await settle()
    pool.release(held)
    with pytest.raises(PersistenceConnectionError, match="gone") as caught:
        async with asyncio.timeout(0.5):
            await waiting
    assert not isinstance(caught.value, CircuitOpenError)
    with pytest.raises(PersistenceConnectionError, match="gone"):
        async with asyncio.timeout(0.5):
            await pool.acquire()
    server.back.clear()
    server.away = False
    async with asyncio.timeout(2):
        await server.back.wait()
    pool.release(await pool.acquire())


async def test_a_full_server_makes_callers_queue(pools: Any, server: Server) -> None:
    pool = await pools(pool_max_size=10, pool_timeout_seconds=5, outage_patience_seconds=0.05)
    server.away = True
    server.why = asyncpg.TooManyConnectionsError("full")

    async def call() -> None:
        connection = await pool.acquire()
        await asyncio.sleep(0.002)
        pool.release(connection)

    asked = server.asked
    async with asyncio.timeout(3):
        await asyncio.gather(*(call() for _ in range(100)))
    assert server.open == 1
    assert server.asked - asked <= 5
    # Nobody waits: there is nobody to go on asking for.
    await asyncio.sleep(0.6)
    asked = server.asked
    await asyncio.sleep(0.6)
    assert server.asked == asked


class Scripted(Server):
    """Keeps some attempts waiting, so that they end in the same step of the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[asyncio.Future[Any]] = []
        self.keep = False

    async def connect(self, config: PostgresConfig) -> Any:
        if not self.keep:
            return await super().connect(config)
        self.kept.append(asyncio.get_running_loop().create_future())
        return await self.kept[-1]


@pytest.mark.parametrize("outcomes", ["-+", "+-", "-+-", "--+", "-++"])
async def test_attempts_that_end_together_leave_nothing_behind(outcomes: str) -> None:
    server = Scripted()
    config = PostgresConfig(database="d", username="u", password="secret", pool_max_size=6)
    pool = Pool(config, server.connect)
    await pool.open()
    taken = [await pool.acquire()]
    taken += await asyncio.gather(*(pool.acquire() for _ in range(2)))
    server.keep = True
    calls = [asyncio.ensure_future(pool.acquire()) for _ in outcomes]
    await settle()
    assert len(server.kept) == len(outcomes)
    server.keep = False
    for attempt, outcome in zip(server.kept, outcomes, strict=True):
        if outcome == "+":
            attempt.set_result(Raw())
        else:
            attempt.set_exception(PersistenceConnectionError("gone"))
    async with asyncio.timeout(3):
        taken += await asyncio.gather(*calls)
        taken += [await pool.acquire() for _ in range(6 - len(taken))]
    assert pool.stats().size == 6
    for connection in taken:
        connection.raw.terminate()
        pool.release(connection)
    async with asyncio.timeout(3):  # whoever comes alone is served as well
        pool.release(await pool.acquire())
    await pool.close()


@pytest.mark.parametrize("full", [True, False])
async def test_an_idle_connection_is_asked_also_while_no_other_can_be_had(
    pools: Any, server: Server, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    pool = await pools(pool_timeout_seconds=1)
    held = await pool.acquire()
    if full:
        server.away, server.why = True, asyncpg.TooManyConnectionsError("full")
    else:
        server.slow.clear()
    waiting = asyncio.ensure_future(pool.acquire())
    await settle()
    pool.release(held)
    pool.release(await waiting)
    monkeypatch.setattr("holdfast.engines.postgres.pool.FRESH_SECONDS", -1.0)
    async with asyncio.timeout(0.1):
        connection = await pool.acquire()
    assert connection is held
    assert server.connections[0].asked == 1
    pool.release(connection)


# -- idle connections ----------------------------------------------------------------------------


async def test_an_idle_connection_is_asked_before_it_is_lent(
    pools: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = await pools()
    pool.release(await pool.acquire())
    assert server.connections[0].asked == 0
    monkeypatch.setattr("holdfast.engines.postgres.pool.FRESH_SECONDS", -1.0)
    pool.release(await pool.acquire())
    assert server.connections[0].asked == 1
    assert server.asked == 1


async def test_a_silent_connection_gives_the_others_away(
    pools: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.engines.postgres.pool.FRESH_SECONDS", 0.02)
    monkeypatch.setattr("holdfast.engines.postgres.pool.CHECK_SECONDS", 0.05)
    pool = await pools(pool_min_size=3, pool_timeout_seconds=5)
    await settle()
    await asyncio.sleep(0.05)
    for raw in server.connections:
        raw.answers.clear()
    connection = await pool.acquire()
    assert connection.raw is not server.connections[0]
    await asyncio.sleep(0.1)
    assert [raw.closed for raw in server.connections[:3]] == ["terminated"] * 3
    assert pool.stats().lost == 3
    pool.release(connection)


async def test_a_cancelled_caller_leaves_the_check_to_the_next(
    pools: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.engines.postgres.pool.FRESH_SECONDS", -1.0)
    pool = await pools(pool_max_size=1)
    server.connections[0].answers.clear()
    first = asyncio.ensure_future(pool.acquire())
    await settle()
    second = asyncio.ensure_future(pool.acquire())
    await settle()
    first.cancel()
    await settle()
    server.connections[0].answers.set()
    pool.release(await second)
    stats = pool.stats()
    assert (stats.busy, stats.idle, stats.waiting, server.asked) == (0, 1, 0, 1)


async def test_a_server_that_is_going_ends_all(pools: Any, server: Server) -> None:
    pool = await pools(pool_min_size=3)
    await settle()
    first, second = await pool.acquire(), await pool.acquire()
    first.moved = True
    first.raw.terminate()
    pool.release(first)
    await settle()
    assert sum(raw.closed == "closed" for raw in server.connections) == 1  # the idle one
    pool.release(second)
    await settle()
    assert all(raw.closed for raw in server.connections[:3])
