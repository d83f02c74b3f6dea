"""Failed logins: how many within which time lock an account, and for how long."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from holdfast import InvalidArgumentError, LockoutConfig, PersistenceBackend
from holdfast.repositories import LockoutRepository
from holdfast.repositories import lockouts as module

from .clock import Clock

#: Three failures within a minute lock for ten.
LIMITS = LockoutConfig(max_attempts=3, window_seconds=60, lockout_seconds=600)
A_MOMENT = 0.000_001


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch, "lockouts")


@pytest.fixture
def lockouts(backend: PersistenceBackend, clock: Clock) -> LockoutRepository:
    return backend.build_lockouts(LIMITS)


async def fail(lockouts: LockoutRepository, times: int, name: str = "ada") -> list[bool]:
    return [await lockouts.record_failure(name, "::1") for _ in range(times)]


async def test_the_last_attempt_locks(lockouts: LockoutRepository, clock: Clock) -> None:
    assert await fail(lockouts, 2) == [False, False]
    assert not lockouts.is_locked("ada")
    assert await fail(lockouts, 2) == [True, True]
    assert lockouts.is_locked("ada")
    assert not lockouts.is_locked("Ada")
    assert not lockouts.is_locked("unknown")
    assert await fail(lockouts, 2, "Ada") == [False, False]


async def test_the_default_limits(backend: PersistenceBackend, clock: Clock) -> None:
    lockouts = backend.lockouts
    assert lockouts.lockout_duration_seconds == 900.0
    assert await fail(lockouts, 5) == [False] * 4 + [True]
    clock.turn(900 - A_MOMENT)
    assert lockouts.is_locked("ada")
    clock.turn(A_MOMENT)
    assert not lockouts.is_locked("ada")


async def test_limits_of_ones_own(backend: PersistenceBackend, clock: Clock) -> None:
    strict = backend.build_lockouts(LockoutConfig(max_attempts=1, lockout_seconds=0.5))
    assert strict.lockout_duration_seconds == 0.5
    assert isinstance(strict, LockoutRepository)
    assert backend.build_lockouts(LIMITS) is not backend.build_lockouts(LIMITS)
    assert backend.lockouts.lockout_duration_seconds == 900.0
    assert await fail(strict, 1) == [True]
    clock.turn(0.5)
    assert not strict.is_locked("ada")
    assert await fail(strict, 1) == [True]
    async with backend.transaction() as tx:
        assert await fail(tx.build_lockouts(LIMITS), 3, "bob") == [False, False, True]


async def test_a_failure_behind_the_window_begins_anew(
    lockouts: LockoutRepository, clock: Clock
) -> None:
    assert await fail(lockouts, 2) == [False, False]
    clock.turn(60)
    assert await fail(lockouts, 2) == [False, False]  # the window began with the first of these
    clock.turn(60 - A_MOMENT)
    assert await fail(lockouts, 1) == [True]


async def test_a_lock_outlives_the_window(lockouts: LockoutRepository, clock: Clock) -> None:
    await fail(lockouts, 3)
    clock.turn(599)
    assert await fail(lockouts, 1) == [True]
    assert lockouts.is_locked("ada")
    clock.turn(1)  # not prolonged by the failure within it
    assert not lockouts.is_locked("ada")


async def test_behind_a_lock_a_new_count_begins(lockouts: LockoutRepository, clock: Clock) -> None:
    await fail(lockouts, 7)
    clock.turn(600)
    assert await fail(lockouts, 2) == [False, False]
    assert not lockouts.is_locked("ada")
    assert await fail(lockouts, 1) == [True]


async def test_a_new_count_begins_even_within_a_window_longer_than_the_lock(
    backend: PersistenceBackend, clock: Clock
) -> None:
    limits = LockoutConfig(max_attempts=2, window_seconds=3600, lockout_seconds=10)
    lockouts = backend.build_lockouts(limits)
    assert await fail(lockouts, 2) == [False, True]
    clock.turn(10)
    assert await fail(lockouts, 2) == [False, True]


async def test_success_forgets(lockouts: LockoutRepository) -> None:
    await fail(lockouts, 2)
    await lockouts.record_success("ada")
    assert await fail(lockouts, 3) == [False, False, True]
    await lockouts.record_success("ada")
    assert not lockouts.is_locked("ada")
    assert await fail(lockouts, 1) == [False]
    await lockouts.record_success("unknown")


async def test_what_is_known_without_asking(
    backend: PersistenceBackend, lockouts: LockoutRepository, clock: Clock
) -> None:
    other = backend.build_lockouts(LIMITS)
    await fail(lockouts, 3)
    await fail(lockouts, 2, "bob")
    assert not other.is_locked("ada")
    await other.load_locked()
    assert other.is_locked("ada")
    assert not other.is_locked("bob")
    await lockouts.record_success("ada")
    assert other.is_locked("ada")  # not loaded again
    await other.load_locked()
    assert not other.is_locked("ada")
    await fail(lockouts, 1, "bob")
    clock.turn(600)
    await other.load_locked()
    assert not other.is_locked("bob")


@pytest.mark.alone
async def test_tenants_lock_their_own(
    backend: PersistenceBackend, lockouts: LockoutRepository
) -> None:
    theirs = backend.for_tenant("other").build_lockouts(LIMITS)
    await fail(lockouts, 3)
    assert await fail(theirs, 2) == [False, False]
    await theirs.load_locked()
    assert not theirs.is_locked("ada")
    await theirs.record_success("ada")
    assert await fail(lockouts, 1) == [True]


async def test_of_many_failures_none_is_lost(lockouts: LockoutRepository) -> None:
    answers = await asyncio.gather(*(lockouts.record_failure("ada", f"{n}") for n in range(12)))
    assert answers.count(False) == 2
    assert lockouts.is_locked("ada")


async def test_a_failure_that_is_rolled_back_does_not_count(
    backend: PersistenceBackend, lockouts: LockoutRepository
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with backend.transaction() as tx:
            assert await fail(tx.build_lockouts(LIMITS), 3) == [False, False, True]
            raise ZeroDivisionError
    assert await fail(lockouts, 3) == [False, False, True]


async def test_cleanup(lockouts: LockoutRepository, clock: Clock) -> None:
    await fail(lockouts, 3, "locked")
    await fail(lockouts, 1, "old")
    clock.turn(1)
    await fail(lockouts, 1, "new")
    assert await lockouts.cleanup_expired() == 0
    clock.turn(59)
    assert await lockouts.cleanup_expired() == 1  # the old one
    await lockouts.load_locked()
    assert lockouts.is_locked("locked")
    clock.turn(1)
    assert await lockouts.cleanup_expired() == 1
    clock.turn(539 - A_MOMENT)
    assert await lockouts.cleanup_expired() == 0
    clock.turn(A_MOMENT)
    assert await lockouts.cleanup_expired() == 1
    assert await lockouts.cleanup_expired() == 0


async def test_for_ever_is_long_but_no_error(backend: PersistenceBackend, clock: Clock) -> None:
    longest = LockoutConfig(max_attempts=2, window_seconds=1e300, lockout_seconds=1e300)
    lockouts = backend.build_lockouts(longest)
    assert await fail(lockouts, 1) == [False]
    clock.turn(1e9)
    assert await lockouts.cleanup_expired() == 0
    assert await fail(lockouts, 2) == [True, True]
    clock.turn(1e11)
    assert await fail(lockouts, 1) == [True]
    await lockouts.load_locked()
    assert lockouts.is_locked("ada")


async def test_refused(lockouts: LockoutRepository) -> None:
    for name in ("", " ", "a\0b", "\ud800", None, 7):
        with pytest.raises(InvalidArgumentError, match="record_failure: username"):
            await lockouts.record_failure(name)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match="record_success: username"):
            await lockouts.record_success(name)  # type: ignore[arg-type]
    for ip in ("a\0b", None, 7):
        with pytest.raises(InvalidArgumentError, match="record_failure: ip"):
            await lockouts.record_failure("ada", ip)  # type: ignore[arg-type]
    assert await fail(lockouts, 3) == [False, False, True]


async def test_a_failure_during_a_load_is_known(
    lockouts: LockoutRepository, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fail(lockouts, 3, "early")

    class Slow:
        """Read before the failures, answered after them."""

        async def fetch(self, *arguments: Any) -> Any:
            found = await listing.fetch(*arguments)
            await fail(lockouts, 3, "late")
            return found

    listing = module._LOCKED
    monkeypatch.setattr(module, "_LOCKED", Slow())
    await lockouts.load_locked()
    assert [lockouts.is_locked(name) for name in ("early", "late")] == [True, True]


async def test_a_late_answer_does_not_unlock(
    lockouts: LockoutRepository, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two failures at once, the one that was counted first may be answered last."""
    made: Any = lockouts
    session = made._session

    class Overtaken:
        async def returning(self, *arguments: Any) -> Any:
            rows = await session.returning(*arguments)
            monkeypatch.setattr(made, "_session", session)
            await fail(lockouts, 2)
            return rows

    monkeypatch.setattr(made, "_session", Overtaken())
    assert await fail(lockouts, 1) == [False]
    assert lockouts.is_locked("ada")


async def test_what_is_over_takes_no_memory(lockouts: LockoutRepository, clock: Clock) -> None:
    made: Any = lockouts
    for name in ("asked", "cleaned"):
        await fail(lockouts, 3, name)
    clock.turn(601)
    assert not lockouts.is_locked("asked")
    assert set(made._ends) == {"cleaned"}
    assert await lockouts.cleanup_expired() == 2
    assert made._ends == {}
