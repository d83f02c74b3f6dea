"""What projects have spent: additions that are never lost and never wrong."""

from __future__ import annotations

import asyncio
import math
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast import CostRecord, InvalidArgumentError, PersistenceBackend, ProjectCostAggregate
from holdfast.testing import samples

from .clock import NOW, Clock

LARGEST, MOST = sys.float_info.max, 2**63 - 1


def total(
    cost: float, tokens_in: int, tokens_out: int, records: int, when: datetime = NOW
) -> ProjectCostAggregate:
    return ProjectCostAggregate(
        project_id="p", total_cost=cost, total_input_tokens=tokens_in,
        total_output_tokens=tokens_out, record_count=records, last_updated=when,
    )  # fmt: skip


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch, "money")


async def test_additions_are_answered_and_kept(backend: PersistenceBackend, clock: Clock) -> None:
    totals = backend.project_cost_aggregates
    assert await totals.get("p") is None
    assert await totals.increment("p", 0.1, 1, 0) == total(0.1, 1, 0, 1)
    later = clock.turn(0.000_001)
    assert await totals.increment("p", 0.2, 0, 2) == total(0.1 + 0.2, 1, 2, 2, later)
    later = clock.turn(-60)  # another process's clock may be behind
    third = await totals.increment("p", 3, 0, 0)
    assert third == total(0.1 + 0.2 + 3, 1, 2, 3, later)
    assert type(third.total_cost) is float
    assert await totals.get("p") == third
    assert third.last_updated.utcoffset() == timedelta(0)
    assert await totals.increment("q", 0, 0, 0) == third.model_copy(
        update={
            "project_id": "q", "total_cost": 0.0, "total_input_tokens": 0,
            "total_output_tokens": 0, "record_count": 1,
        }
    )  # fmt: skip
    other = await backend.for_tenant("other").project_cost_aggregates.increment("p", 1.0, 1, 1)
    assert other == total(1.0, 1, 1, 1, later)
    assert await totals.get("p") == third


async def test_the_time_is_now(backend: PersistenceBackend) -> None:
    before = datetime.now(UTC)
    made = await backend.project_cost_aggregates.increment("p", 1.0, 1, 1)
    assert before <= made.last_updated <= datetime.now(UTC)


async def test_of_many_additions_none_is_lost(backend: PersistenceBackend, clock: Clock) -> None:
    answers = await asyncio.gather(
        *(backend.project_cost_aggregates.increment("p", 0.5, n, 1) for n in range(40))
    )
    assert sorted(one.record_count for one in answers) == list(range(1, 41))
    last = max(answers, key=lambda one: one.record_count)
    assert last == total(20.0, sum(range(40)), 40, 40)
    assert await backend.project_cost_aggregates.get("p") == last


async def test_additions_within_transactions(backend: PersistenceBackend, clock: Clock) -> None:
    async with backend.transaction() as tx:
        await tx.project_cost_aggregates.increment("p", 1.0, 1, 1)
        with pytest.raises(ZeroDivisionError):
            async with tx.transaction() as inner:
                added = await inner.project_cost_aggregates.increment("p", 1.0, 1, 1)
                assert added == total(2.0, 2, 2, 2)
                raise ZeroDivisionError
        assert await tx.project_cost_aggregates.get("p") == total(1.0, 1, 1, 1)
    with pytest.raises(ZeroDivisionError):
        async with backend.transaction() as tx:
            await tx.project_cost_aggregates.increment("p", 1.0, 1, 1)
            raise ZeroDivisionError
    assert await backend.project_cost_aggregates.get("p") == total(1.0, 1, 1, 1)


REFUSED: list[tuple[str, tuple[Any, ...]]] = [
    ("cost", (-0.01, 0, 0)),
    ("cost", (-5e-324, 0, 0)),
    ("cost", (math.nan, 0, 0)),
    ("cost", (math.inf, 0, 0)),
    ("cost", (-math.inf, 0, 0)),
    ("cost", (10**400, 0, 0)),
    ("cost", (True, 0, 0)),
    ("cost", ("1", 0, 0)),
    ("cost", (None, 0, 0)),
    ("input_tokens", (1.0, -1, 0)),
    ("input_tokens", (1.0, 2**63, 0)),
    ("input_tokens", (1.0, True, 0)),
    ("input_tokens", (1.0, 1.0, 0)),
    ("output_tokens", (1.0, 0, -1)),
    ("output_tokens", (1.0, 0, 2**63)),
    ("output_tokens", (1.0, 0, False)),
    ("output_tokens", (1.0, 0, "1")),
]


async def test_what_is_no_amount_is_refused(backend: PersistenceBackend, clock: Clock) -> None:
    increment = backend.project_cost_aggregates.increment
    for place, given in REFUSED:
        with pytest.raises(InvalidArgumentError, match=f"increment: {place}") as caught:
            await increment("p", *given)
        assert isinstance(caught.value, ValueError)
    with pytest.raises(InvalidArgumentError, match="increment: project_id"):
        await increment(" ", 1.0, 1, 1)
    assert await backend.project_cost_aggregates.get("p") is None
    stored = await increment("p", 1.0, 1, 1)
    for _, given in REFUSED:
        with pytest.raises(InvalidArgumentError):
            await increment("p", *given)
    assert await backend.project_cost_aggregates.get("p") == stored


@pytest.mark.parametrize(
    ("full", "more"),
    [
        ((LARGEST, 0, 0), (1e300, 0, 0)),
        ((LARGEST / 2, 0, 0), (LARGEST, 0, 0)),
        ((0.0, MOST, 0), (0.0, 1, 0)),
        ((0.0, 1, 0), (0.0, MOST, 0)),
        ((0.0, 0, MOST), (1.0, 0, MOST)),
        ((LARGEST, MOST, MOST), (LARGEST, MOST, MOST)),
    ],
)
async def test_a_total_that_does_not_fit_is_refused(
    backend: PersistenceBackend,
    clock: Clock,
    full: tuple[float, int, int],
    more: tuple[float, int, int],
) -> None:
    increment = backend.project_cost_aggregates.increment
    stored = await increment("p", *full)
    assert stored == total(*full, 1)
    with pytest.raises(InvalidArgumentError, match="would not fit") as caught:
        await increment("p", *more)
    assert caught.value.is_retryable is False
    assert await backend.project_cost_aggregates.get("p") == stored
    assert await increment("p", 0.0, 0, 0) == total(*full, 2)
    async with backend.transaction() as tx:  # refused by a condition, which ends no transaction
        with pytest.raises(InvalidArgumentError):
            await tx.project_cost_aggregates.increment("p", *more)
        await tx.project_cost_aggregates.increment("p", 0.0, 0, 0)
    assert await backend.project_cost_aggregates.get("p") == total(*full, 3)


async def test_a_total_may_become_the_largest(backend: PersistenceBackend, clock: Clock) -> None:
    increment = backend.project_cost_aggregates.increment
    await increment("p", LARGEST / 2, MOST - 1, 1)
    assert await increment("p", LARGEST / 2, 1, MOST - 1) == total(LARGEST, MOST, MOST, 2)
    assert await increment("p", 1.0, 0, 0) == total(LARGEST, MOST, MOST, 3)


async def test_a_sum_past_the_largest_float_is_an_error(backend: PersistenceBackend) -> None:
    for _ in range(2):
        await backend.cost_records.save(
            samples.required(CostRecord, agent_id="a", cost_usd=1e308, input_tokens=1)
        )
    with pytest.raises(InvalidArgumentError, match=r"cost_records\.aggregate"):
        await backend.cost_records.aggregate(agent_id="a")
