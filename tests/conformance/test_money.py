"""What projects have spent: additions that are never lost and never wrong."""

from __future__ import annotations

import asyncio
import math
import random
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from holdfast import (
    CostRecord,
    InvalidArgumentError,
    MalformedRowError,
    PersistenceBackend,
    ProjectCostAggregate,
)
from holdfast.repositories.nanos import NANOS, as_amount, in_nanos
from holdfast.testing import samples

from ..migrations.conftest import run_sql
from .clock import NOW, Clock

LARGEST, MOST = float(2**53), 2**63 - 1


def total(
    cost: float, tokens_in: int, tokens_out: int, records: int, when: datetime = NOW
) -> ProjectCostAggregate:
    return ProjectCostAggregate(
        project_id="p", total_cost=cost, total_input_tokens=tokens_in,
        total_output_tokens=tokens_out, record_count=records, last_updated=when,
    )  # fmt: skip


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch, "costs")


@pytest.mark.alone
async def test_additions_are_answered_and_kept(backend: PersistenceBackend, clock: Clock) -> None:
    totals = backend.project_cost_aggregates
    assert await totals.get("p") is None
    assert await totals.increment("p", 0.1, 1, 0) == total(0.1, 1, 0, 1)
    later = clock.turn(0.000_001)
    assert await totals.increment("p", 0.2, 0, 2) == total(0.3, 1, 2, 2, later)
    later = clock.turn(-60)  # another process's clock may be behind
    third = await totals.increment("p", 3, 0, 0)
    assert third == total(3.3, 1, 2, 3, later)
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
        ((LARGEST, 0, 0), (1.0, 0, 0)),
        ((1.0, 0, 0), (math.nextafter(LARGEST, math.inf), 0, 0)),
        ((1.0, 0, 0), (sys.float_info.max, 0, 0)),
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
    assert await increment("p", -0.0, 0, 0) == total(LARGEST, MOST, MOST, 3)


def spent(amount: float, agent: str = "a", task: str = "t") -> CostRecord:
    return samples.required(
        CostRecord, agent_id=agent, task_id=task, cost_usd=amount, input_tokens=1
    )


async def test_a_sum_past_the_largest_float_is_an_error(backend: PersistenceBackend) -> None:
    for _ in range(2):
        await backend.cost_records.save(spent(1e308))
    with pytest.raises(InvalidArgumentError, match=r"cost_records\.aggregate"):
        await backend.cost_records.aggregate(agent_id="a")


#: Ties and what lies beside them, what a float can hardly tell apart, where a part of the
#: arithmetic changes its place, and what does not fit into 64 bits.
HARD = [
    0.0, -0.0, 5e-324, 1e-10, 4.9e-10, 5e-10, 5.1e-10, 0.5e-9, 1e-9, 1.5e-9, 2.5e-9, 0.1, 0.2, 0.7,
    1 / 3, 0.999999999, 0.9999999995, 1.0000000005, math.nextafter(1, 0), 1e6 + 1e-9, 2**23 + 1e-9,
    1e9 + 0.1, math.nextafter(2**32, 0), float(2**32), 2**32 + 0.25, 1e12 + 0.01, 1e15,
    1e15 + 0.125, math.nextafter(2**53, 0), float(2**53), float(2**63), 1e19, 1e22 + 2**22, 1e300,
]  # fmt: skip


@pytest.mark.alone
async def test_an_amount_is_rounded_as_the_library_does(backend: PersistenceBackend) -> None:
    """SQL and Python compute the same nanos of each amount."""
    for number, amount in enumerate(HARD):
        for records in backend.cost_records, backend.for_tenant("doubled").cost_records:
            await records.save(spent(amount, f"{number}"))
        # Two of them, so that what both would hide by rounding to a float is seen.
        await backend.for_tenant("doubled").cost_records.save(spent(0.123456789, f"{number}"))
        nanos = in_nanos(amount)
        assert abs(Fraction(amount) * NANOS - nanos) <= Fraction(1, 2) + Fraction(1, 10**6)
        one = await backend.cost_records.aggregate(agent_id=f"{number}")
        assert (one, math.copysign(1, one)) == (nanos / NANOS, 1.0), amount
        two = await backend.for_tenant("doubled").cost_records.aggregate(agent_id=f"{number}")
        assert two == (nanos + 123_456_789) / NANOS, amount
        if amount <= LARGEST:
            increment = backend.project_cost_aggregates.increment
            assert (await increment(f"{number}", amount, 0, 0)).total_cost == one
            assert (await increment(f"{number}", 0.123456789, 0, 0)).total_cost == two


@hypothesis.given(st.floats(min_value=0, allow_infinity=False))
def test_an_amount_is_rounded_to_the_nearest_nano(amount: float) -> None:
    nanos = in_nanos(amount)
    assert abs(Fraction(amount) * NANOS - nanos) <= Fraction(1, 2) + Fraction(1, 10**6)
    assert as_amount(nanos) == pytest.approx(amount, abs=6e-10, rel=1e-15)


@hypothesis.given(st.integers(0, 2**50))
def test_an_amount_of_nine_digits_is_kept(nanos: int) -> None:
    assert in_nanos(nanos / NANOS) == nanos
    assert in_nanos(float(Decimal(nanos).scaleb(-9))) == nanos


@pytest.mark.alone
async def test_sums_depend_on_no_order(backend: PersistenceBackend) -> None:
    chance = random.Random(7)
    amounts = [chance.random() * 10.0 ** chance.randrange(-9, 9) for _ in range(300)] + HARD[:-6]
    exact = sum(map(in_nanos, amounts))
    for tenant in map(backend.for_tenant, ("one", "other")):
        chance.shuffle(amounts)
        await asyncio.gather(*(tenant.cost_records.save(spent(amount)) for amount in amounts))
        assert await tenant.cost_records.aggregate() == exact / NANOS
        assert await tenant.cost_records.aggregate(agent_id="a", task_id="t") == exact / NANOS
        for amount in amounts:
            if amount <= 1e12:
                await tenant.project_cost_aggregates.increment("p", amount, 0, 0)
        found = await tenant.project_cost_aggregates.get("p")
        assert found is not None
        assert found.total_cost == sum(in_nanos(one) for one in amounts if one <= 1e12) / NANOS
    assert await backend.cost_records.aggregate(agent_id="nobody") == 0.0


async def test_a_budget_is_spent(backend: PersistenceBackend) -> None:
    """1,000 times 0.1 is 100, whoever adds it up."""
    await asyncio.gather(*(backend.cost_records.save(spent(0.1)) for _ in range(1_000)))
    assert await backend.cost_records.aggregate(agent_id="a") == 100.0
    increment = backend.project_cost_aggregates.increment
    for _ in range(10):
        answers = await asyncio.gather(*(increment("p", 0.1, 1, 1) for _ in range(100)))
    assert max(one.total_cost for one in answers) == 100.0
    assert {one.total_cost for one in answers} == {n / 10 for n in range(901, 1_001)}
    async with backend.transaction() as tx:
        assert (await tx.project_cost_aggregates.increment("p", 0.1, 0, 0)).total_cost == 100.1
        assert await tx.cost_records.aggregate() == 100.0


@pytest.mark.alone
@pytest.mark.owner
async def test_totals_go_on_where_other_code_adds(backend: PersistenceBackend) -> None:
    """What was there before, and what code adds that knows the float alone, is in the total."""
    increment = backend.project_cost_aggregates.increment
    for _ in range(3):
        await increment("p", 0.1, 0, 0)
    before = "UPDATE project_cost_aggregates SET total_cost = total_cost + 0.1"
    for _ in range(7):
        await run_sql(backend, before)
    assert (await increment("p", 0.0, 0, 0)).total_cost == 1.0
    await run_sql(backend, "UPDATE project_cost_aggregates SET total_cost = 1e300")
    found = await backend.project_cost_aggregates.get("p")
    assert found is not None
    assert found.total_cost == 1e300
    with pytest.raises(InvalidArgumentError, match="would not fit"):
        await increment("p", 0.0, 0, 0)


@pytest.mark.alone
@pytest.mark.owner
async def test_an_amount_that_is_none_is_named(backend: PersistenceBackend) -> None:
    await backend.cost_records.save(spent(1.0))
    await backend.cost_records.save(spent(5.0))
    damages = {
        "postgres": ["'Infinity'", "'-Infinity'", "'NaN'", "-0.25", "-1e-9", "-1e300"],
        "sqlite": ["'a lot'", "9e999", "-9e999", "-0.25", "-1e-9", "-1e300", "-1"],
    }
    for damage in damages[backend.backend_name]:
        await run_sql(backend, f"UPDATE cost_records SET cost_usd = {damage} WHERE cost_usd <> 5")
        with pytest.raises(MalformedRowError, match=r"record_id=.* is no amount") as caught:
            await backend.cost_records.aggregate()
        assert caught.value.table == "cost_records"
        assert [row.key async for row in backend.operations.malformed_rows()] == [caught.value.key]
    await run_sql(backend, "UPDATE cost_records SET cost_usd = -0.0 WHERE cost_usd <> 5")
    assert await backend.cost_records.aggregate() == 5.0
