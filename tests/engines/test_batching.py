"""`Batcher` with a flush that does as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import Callable, Hashable
from typing import Any

import pytest

from holdfast.engines.batching import Batcher, Request
from holdfast.errors import (
    OutcomeUnknownError,
    PersistenceConnectionError,
    PoolTimeoutError,
    QueryError,
)
from holdfast.schema.settings import settings
from holdfast.storage.session import Statement

A = Statement("a.save", None, (), settings)
B = Statement("b.save", None, (), settings)


class Gate:
    """A flush that keeps each batch until it is let go, and remembers all."""

    def __init__(self, *, open_: bool = False) -> None:
        self.sent: list[list[Any]] = []
        self.in_flight: dict[str, int] = defaultdict(int)
        self.most: dict[str, int] = defaultdict(int)
        self.opened = asyncio.Event()
        self.errors: list[BaseException] = []
        if open_:
            self.opened.set()

    async def flush(self, batch: list[Request]) -> None:
        self.sent.append([request.arguments[0] for request in batch])
        for name in ("all", batch[0].statement.name):
            self.in_flight[name] += 1
            self.most[name] = max(self.most[name], self.in_flight[name])
        try:
            await self.opened.wait()
            if self.errors:
                raise self.errors.pop(0)
        finally:
            for name in ("all", batch[0].statement.name):
                self.in_flight[name] -= 1
        for request in batch:
            request.succeed(request.arguments[0])


def batcher(gate: Gate, **options: Any) -> Batcher:
    settings_: dict[str, Any] = {
        "group": lambda request: request.statement, "lanes": 4, "width": 1, "largest": 100,
        "patience": 30.0, "busy": lambda: "all is busy",
    }  # fmt: skip
    return Batcher(gate.flush, **{**settings_, **options})


async def settle() -> None:
    """Let every task that can run, run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_comes_in_one_round_travels_together() -> None:
    gate = Gate(open_=True)
    batches = batcher(gate)
    answers = await asyncio.gather(*(batches.submit(A, (n,)) for n in range(10)))
    assert answers == list(range(10))
    assert gate.sent == [list(range(10))]
    assert (batches.stats.batches, batches.stats.items, batches.stats.largest) == (1, 10, 10)


async def test_who_comes_alone_waits_for_nobody() -> None:
    gate = Gate(open_=True)
    batches = batcher(gate)
    for n in range(3):
        assert await batches.submit(A, (n,)) == n
    assert gate.sent == [[0], [1], [2]]
    assert batches.waiting == 0


async def test_a_batch_is_what_queued_while_the_last_was_in_flight() -> None:
    gate = Gate()
    batches = batcher(gate)
    first = batches.submit(A, (0,))
    await settle()
    later = [batches.submit(A, (n,)) for n in range(1, 6)]
    await settle()
    assert gate.sent == [[0]]
    assert batches.waiting == 5
    gate.opened.set()
    await asyncio.gather(first, *later)
    assert gate.sent == [[0], [1, 2, 3, 4, 5]]


async def test_no_batch_is_larger_than_allowed() -> None:
    gate = Gate(open_=True)
    batches = batcher(gate, largest=4)
    await asyncio.gather(*(batches.submit(A, (n,)) for n in range(10)))
    assert gate.sent == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


async def test_groups_do_not_share_batches() -> None:
    gate = Gate(open_=True)
    batches = batcher(gate)
    await asyncio.gather(*(batches.submit((A, B)[n % 2], (n,)) for n in range(6)))
    assert sorted(gate.sent) == [[0, 2, 4], [1, 3, 5]]


async def test_equal_keys_travel_one_after_the_other() -> None:
    """Two saves of one key: never in one batch, and in the order they were made."""
    gate = Gate(open_=True)
    batches = batcher(gate, distinct=lambda request: request.arguments[0][0])
    keys = ["x", "y", "x", "z", "x", "y"]
    await asyncio.gather(*(batches.submit(A, ((key, n),)) for n, key in enumerate(keys)))
    for batch in gate.sent:
        assert len({key for key, _ in batch}) == len(batch)
    assert [n for batch in gate.sent for _, n in batch] == list(range(6))


async def test_lanes_and_width_bound_what_is_in_flight() -> None:
    gate = Gate()
    statements = [Statement(f"{n}.save", None, (), settings) for n in range(5)]
    batches = batcher(gate, lanes=3, width=2, largest=1)
    waiting = [batches.submit(statement, (n,)) for n in range(4) for statement in statements]
    await settle()
    assert gate.in_flight["all"] == 3
    gate.opened.set()
    await asyncio.gather(*waiting)
    assert gate.most["all"] == 3
    assert max(most for name, most in gate.most.items() if name != "all") <= 2


async def test_a_width_above_one_is_used() -> None:
    gate = Gate()
    batches = batcher(gate, lanes=4, width=2, largest=1)
    waiting = [batches.submit(A, (n,)) for n in range(4)]
    await settle()
    # One lane is started for each submit that could be sent, the second width by the first.
    assert 1 <= gate.in_flight["all"] <= 2
    gate.opened.set()
    assert await asyncio.gather(*waiting) == [0, 1, 2, 3]


async def test_who_waits_too_long_is_told_why() -> None:
    gate = Gate()
    batches = batcher(gate, patience=0.05)
    first = batches.submit(A, (0,))
    await settle()
    second = batches.submit(A, (1,))
    with pytest.raises(PoolTimeoutError, match=r"a\.save waited 0\.\d s to be sent: all is busy"):
        await second
    third = batches.submit(A, (2,))  # the alarm is set anew
    with pytest.raises(PoolTimeoutError):
        await third
    gate.opened.set()
    assert await first == 0  # what was sent in time is not given up
    assert gate.sent == [[0]]


async def test_patience_counts_from_each_request() -> None:
    gate = Gate()
    batches = batcher(gate, patience=0.2)
    loop = asyncio.get_running_loop()
    first = batches.submit(A, (0,))
    await settle()
    begun = loop.time()
    waiting = [batches.submit(A, (1,))]
    await asyncio.sleep(0.1)
    waiting.append(batches.submit(A, (2,)))
    ends = []
    for future in waiting:
        with pytest.raises(PoolTimeoutError):
            await future
        ends.append(loop.time() - begun)
    assert 0.2 <= ends[0] < 0.3 <= ends[1]
    gate.opened.set()
    await first


async def test_closing_finishes_what_was_accepted() -> None:
    gate = Gate()
    batches = batcher(gate)
    sent = batches.submit(A, (0,))
    await settle()
    queued = batches.submit(A, (1,))
    closing = asyncio.create_task(batches.close())
    await settle()
    assert not closing.done()
    with pytest.raises(PersistenceConnectionError, match="disconnecting"):
        batches.submit(A, (2,))
    with pytest.raises(PersistenceConnectionError, match="disconnecting"):
        batches.enter_alone(A)
    gate.opened.set()
    await closing
    assert (sent.result(), queued.result()) == (0, 1)


@pytest.mark.parametrize("error", [QueryError("refused"), ValueError("a bug")])
async def test_a_flush_that_raises_fails_its_batch_alone(error: Exception) -> None:
    gate = Gate(open_=True)
    gate.errors.append(error)
    batches = batcher(gate, largest=2)
    results = await asyncio.gather(
        *(batches.submit(A, (n,)) for n in range(4)), return_exceptions=True
    )
    assert results == [error, error, 2, 3]


async def test_a_flush_that_is_cancelled_leaves_the_outcome_unknown() -> None:
    """When the event loop ends: nobody may hear that nothing was written."""
    gate = Gate()
    batches = batcher(gate)
    waiting = batches.submit(A, (0,))
    await settle()
    (lane,) = batches._tasks
    lane.cancel()
    with pytest.raises(OutcomeUnknownError):
        await waiting


async def test_who_is_cancelled_before_it_is_sent_is_not_sent() -> None:
    gate = Gate()
    batches = batcher(gate)
    first = batches.submit(A, (0,))
    await settle()
    gone, stays = batches.submit(A, (1,)), batches.submit(A, (2,))
    gone.cancel()
    gate.opened.set()
    assert await first == 0
    assert await stays == 2
    assert gate.sent == [[0], [2]]


async def test_who_is_cancelled_in_flight_takes_nobody_down() -> None:
    gate = Gate()
    batches = batcher(gate)
    callers = [asyncio.ensure_future(_call(batches, n)) for n in range(3)]
    await settle()
    callers[1].cancel()
    gate.opened.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert results[::2] == [0, 2]
    assert isinstance(results[1], asyncio.CancelledError)
    assert gate.sent == [[0, 1, 2]]


async def _call(batches: Batcher, n: int) -> Any:
    return await batches.submit(A, (n,))


async def test_only_one_enters_alone() -> None:
    gate = Gate(open_=True)
    batches = batcher(gate)
    assert batches.enter_alone(A)
    assert not batches.enter_alone(A)
    assert batches.enter_alone(B)
    queued = batches.submit(A, (1,))
    await settle()
    assert not queued.done()  # the one inside is a batch in flight
    batches.leave(A)
    assert await queued == 1
    assert batches.enter_alone(A)
    batches.leave(A)


async def test_what_enters_alone_can_count_as_a_lane() -> None:
    gate = Gate(open_=True)
    batches = batcher(gate, lanes=1, lanes_alone=True)
    assert batches.enter_alone(A)
    assert not batches.enter_alone(B)
    queued = batches.submit(B, (1,))
    await settle()
    assert gate.sent == []  # the only lane is taken
    batches.leave(A)
    assert await queued == 1
    gate.opened.clear()
    sent = batches.submit(A, (2,))
    await settle()
    assert not batches.enter_alone(B)
    gate.opened.set()
    assert await sent == 2
    assert batches.enter_alone(B)
    batches.leave(B)


async def test_nobody_enters_alone_where_company_was_usual() -> None:
    gate = Gate(open_=True)
    batches = batcher(gate)
    await asyncio.gather(batches.submit(A, (1,)), batches.submit(A, (2,)))
    assert not batches.enter_alone(A)
    await batches.submit(A, (3,))
    assert batches.enter_alone(A)
    batches.leave(A)


async def test_another_event_loop_is_refused() -> None:
    batches = batcher(Gate(open_=True))

    def elsewhere() -> None:
        async def submit() -> None:
            batches.submit(A, (0,))

        with pytest.raises(PersistenceConnectionError, match="another event loop"):
            asyncio.run(submit())

    await asyncio.to_thread(elsewhere)


@pytest.mark.parametrize("seed", range(12))
async def test_nobody_is_forgotten(seed: int) -> None:
    """Callers at random: all are answered once, in order within a key, within the bounds."""
    chance = random.Random(seed)
    lanes, width, largest = chance.randint(1, 4), 1, chance.choice([1, 3, 50])
    statements = [Statement(f"{n}.save", None, (), settings) for n in range(chance.randint(1, 5))]
    order: dict[Hashable, list[int]] = defaultdict(list)
    answered: list[int] = []
    flying = most = 0

    async def flush(batch: list[Request]) -> None:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        assert len(batch) <= largest
        assert len({request.statement for request in batch}) == 1
        assert len({request.arguments[0] for request in batch}) == len(batch)
        for request in batch:
            order[request.statement, request.arguments[0]].append(request.arguments[1])
        for _ in range(chance.choice([0, 0, 1, 3])):
            await asyncio.sleep(0)
        flying -= 1
        if chance.random() < 0.1:
            raise QueryError("refused")
        for request in batch:
            request.succeed(request.arguments[1])

    key: Callable[[Request], Hashable] = lambda request: request.arguments[0]  # noqa: E731
    batches = Batcher(
        flush, group=lambda request: request.statement, lanes=lanes, width=width, largest=largest,
        patience=30.0, busy=lambda: "", distinct=key,
    )  # fmt: skip
    numbers = iter(range(10_000))

    async def caller() -> None:
        for _ in range(40):
            statement = chance.choice(statements)
            if chance.random() < 0.2 and batches.enter_alone(statement):
                await asyncio.sleep(0)
                batches.leave(statement)
                continue
            n = next(numbers)
            future = batches.submit(statement, (chance.randrange(4), n))
            if chance.random() < 0.1:
                future.cancel()
                continue
            with contextlib.suppress(QueryError):
                assert await future == n
            answered.append(n)
            if chance.random() < 0.3:
                await asyncio.sleep(0)

    async with asyncio.timeout(20):
        await asyncio.gather(*(caller() for _ in range(20)))
        await batches.close()
    assert len(set(answered)) == len(answered)
    assert batches.waiting == 0
    assert most <= lanes
    for sent in order.values():
        assert sent == sorted(sent)
