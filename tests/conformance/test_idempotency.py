"""Idempotency keys: one caller does the work, and the others learn how it ended."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta, timezone
from typing import Any

import pytest

from holdfast import (
    IdempotencyClaim,
    IdempotencyOutcome,
    IdempotencyRecord,
    IdempotencyStatus,
    InvalidArgumentError,
    PersistenceBackend,
    create_backend,
)

from .clock import NOW, Clock

TEXT = '{ "b":1,"a" : [1.0, -0.0, "\\u00e9"], "b": 2 }\n🦑 \ufeff %s $1 :x'
MINUTE = timedelta(minutes=1)
MOMENT = timedelta(microseconds=1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch, "idempotency")


async def claim(backend: Any, key: str = "k", ttl: float = 60, **now: Any) -> IdempotencyClaim:
    made: IdempotencyClaim = await backend.idempotency_keys.claim("s", key, ttl, **now)
    return made


async def fresh(backend: Any, key: str = "k", ttl: float = 60, **now: Any) -> str:
    made = await claim(backend, key, ttl, **now)
    assert made.outcome is IdempotencyOutcome.FRESH
    assert made.claim_token is not None
    return made.claim_token


async def test_the_life_of_a_key(backend: PersistenceBackend, clock: Clock) -> None:
    keys = backend.idempotency_keys
    assert await keys.get("s", "k") is None
    outcome, token, record = await claim(backend)
    assert outcome is IdempotencyOutcome.FRESH
    assert token == record.claim_token
    assert record.status is IdempotencyStatus.IN_FLIGHT
    assert (record.scope, record.key) == ("s", "k")
    assert (record.claimed_at, record.expires_at) == (NOW, NOW + MINUTE)
    assert token not in repr(record)
    assert record == await keys.get("s", "k")
    assert await claim(backend) == (IdempotencyOutcome.IN_FLIGHT, None, record)

    clock.turn(1)
    assert await keys.complete("s", "k", token, response=TEXT) is True
    done = await keys.get("s", "k")
    assert done is not None
    assert (done.status, done.response, done.error) == (IdempotencyStatus.COMPLETED, TEXT, None)
    assert (done.claimed_at, done.finished_at) == (NOW, clock.now)
    assert await claim(backend, ttl=9999) == (IdempotencyOutcome.COMPLETED, None, done)
    assert await keys.get("s", "k") == done


async def test_a_failure_is_remembered(backend: PersistenceBackend, clock: Clock) -> None:
    token = await fresh(backend)
    assert await backend.idempotency_keys.fail("s", "k", token, error=TEXT) is True
    made = await claim(backend)
    assert made.outcome is IdempotencyOutcome.FAILED
    assert made.claim_token is None
    assert (made.record.error, made.record.response) == (TEXT, None)
    assert made.record.finished_at == NOW


async def test_an_answer_may_be_empty_or_none(backend: PersistenceBackend, clock: Clock) -> None:
    for key, response in (("none", None), ("empty", "")):
        token = await fresh(backend, key)
        assert await backend.idempotency_keys.complete("s", key, token, response=response) is True
        assert (await claim(backend, key)).record.response == response


@pytest.mark.alone
async def test_only_the_claimant_ends_it_and_once(
    backend: PersistenceBackend, clock: Clock
) -> None:
    keys = backend.idempotency_keys
    token = await fresh(backend)
    other = await fresh(backend, "other")
    theirs = backend.for_tenant("other").idempotency_keys
    for ends in (keys, theirs):
        for scope, key, wrong in (
            ("s", "k", other), ("s", "k", token.upper() + "x"), ("S", "k", token),
            ("s", "K", token), ("s", "unknown", token),
        ):  # fmt: skip
            assert await ends.complete(scope, key, wrong, response="wrong") is False
            assert await ends.fail(scope, key, wrong, error="wrong") is False
    assert await theirs.complete("s", "k", token) is False
    assert (await claim(backend)).outcome is IdempotencyOutcome.IN_FLIGHT
    assert await keys.complete("s", "k", token, response="first") is True
    assert await keys.complete("s", "k", token, response="second") is False
    assert await keys.fail("s", "k", token, error="late") is False
    record = (await claim(backend)).record
    assert (record.status, record.response) == (IdempotencyStatus.COMPLETED, "first")


@pytest.mark.parametrize("ended", ["in flight", "completed", "failed"])
async def test_when_its_time_is_over_a_key_is_free(
    backend: PersistenceBackend, clock: Clock, ended: str
) -> None:
    keys = backend.idempotency_keys
    token = await fresh(backend)
    if ended == "completed":
        await keys.complete("s", "k", token, response="old")
    elif ended == "failed":
        await keys.fail("s", "k", token, error="old")
    clock.turn((MINUTE - MOMENT).total_seconds())
    assert (await claim(backend)).outcome is not IdempotencyOutcome.FRESH
    assert await keys.get("s", "k") is not None
    clock.turn(MOMENT.total_seconds())
    assert await keys.get("s", "k") is None
    made = await claim(backend, ttl=1)
    assert made.outcome is IdempotencyOutcome.FRESH
    assert made.claim_token != token
    assert made.record.status is IdempotencyStatus.IN_FLIGHT
    assert made.record.finished_at is None
    assert made.record.response is made.record.error is None
    assert made.record.claimed_at == clock.now
    # Whoever held it before is told.
    assert await keys.complete("s", "k", token, response="late") is False
    assert await keys.fail("s", "k", token, error="late") is False
    assert await keys.complete("s", "k", made.claim_token or "", response="new") is True
    assert (await claim(backend)).record.response == "new"


async def test_a_time_that_is_passed_counts(backend: PersistenceBackend) -> None:
    keys = backend.idempotency_keys
    there = NOW.astimezone(timezone(timedelta(hours=-7)))
    token = await fresh(backend, now=there)
    assert await keys.get("s", "k", now=NOW + MINUTE - MOMENT) is not None
    assert await keys.get("s", "k", now=NOW + MINUTE) is None
    assert await keys.complete("s", "k", token, now=NOW + MOMENT) is True
    made = await claim(backend, now=NOW)
    assert made.record.finished_at == NOW + MOMENT
    await fresh(backend, now=NOW + MINUTE)


async def test_of_many_callers_one_does_the_work(backend: PersistenceBackend) -> None:
    for minutes in range(3):  # a new key, and twice one whose time is over
        now = NOW + minutes * MINUTE
        answers = await asyncio.gather(*(claim(backend, now=now) for _ in range(12)))
        assert [one.outcome for one in answers].count(IdempotencyOutcome.FRESH) == 1
        (winner,) = [one for one in answers if one.claim_token is not None]
        assert winner.record.claimed_at == now
        assert {one.record for one in answers} == {winner.record}


async def test_claims_within_transactions(backend: PersistenceBackend, clock: Clock) -> None:
    with pytest.raises(ZeroDivisionError):
        async with backend.transaction() as tx:
            await fresh(tx)
            assert (await claim(tx)).outcome is IdempotencyOutcome.IN_FLIGHT
            raise ZeroDivisionError
    async with backend.transaction() as tx:  # the work and its record, both or neither
        token = await fresh(tx)
        await tx.settings.set("n", "k", "v", "1")
        assert await tx.idempotency_keys.complete("s", "k", token, response="r") is True
    assert (await claim(backend)).record.response == "r"


@pytest.mark.alone
async def test_cleanup(backend: PersistenceBackend, clock: Clock) -> None:
    keys = backend.idempotency_keys
    for key, ttl in (("a", 1.0), ("b", 2.0), ("c", 2.000_001)):
        await fresh(backend, key, ttl)
    await fresh(backend.for_tenant("other"), "a", 1)
    assert await keys.cleanup_expired() == 0
    clock.turn(2)
    assert await keys.cleanup_expired() == 2
    assert await keys.cleanup_expired() == 0
    assert await keys.get("s", "c") is not None
    assert await keys.cleanup_expired(now=NOW + MINUTE) == 1
    clock.turn(-2)
    assert await backend.for_tenant("other").idempotency_keys.get("s", "a") is not None


async def test_refused(backend: PersistenceBackend, clock: Clock) -> None:
    keys = backend.idempotency_keys
    for ttl in (0, -1, 0.0, math.nan, math.inf, 1e300, 10**400, 300e9, True, "60", None):
        with pytest.raises(InvalidArgumentError, match="claim: ttl_seconds"):
            await keys.claim("s", "k", ttl)  # type: ignore[arg-type]
    for name in ("scope", "key"):
        for bad in ("", " ", "a\0b", None):
            given: dict[str, Any] = {"scope": "s", "key": "k", name: bad}
            with pytest.raises(InvalidArgumentError, match=f"claim: {name}"):
                await keys.claim(**given, ttl_seconds=1)
            with pytest.raises(InvalidArgumentError, match=f"complete: {name}"):
                await keys.complete(**given, claim_token="c")
            with pytest.raises(InvalidArgumentError, match=f"fail: {name}"):
                await keys.fail(**given, claim_token="c", error="e")
    assert await keys.get("s", "k") is None
    token = await fresh(backend)
    naive = NOW.replace(tzinfo=None)
    for match, call in (
        ("complete: claim_token", keys.complete("s", "k", " ")),
        ("complete: response", keys.complete("s", "k", token, response="a\0b")),
        ("complete: response", keys.complete("s", "k", token, response=b"r")),  # type: ignore[arg-type]
        ("complete: now", keys.complete("s", "k", token, now=naive)),
        ("fail: error", keys.fail("s", "k", token, error=" ")),
        ("fail: error", keys.fail("s", "k", token, error=None)),  # type: ignore[arg-type]
        ("cleanup_expired: now", keys.cleanup_expired(now=naive)),
        ("get: now", keys.get("s", "k", now=naive)),
        ("claim: now", keys.claim("s", "k", 1, now=naive)),
    ):
        with pytest.raises(InvalidArgumentError, match=match):
            await call
    assert (await claim(backend)).outcome is IdempotencyOutcome.IN_FLIGHT


async def test_a_claim_shows_no_token(backend: PersistenceBackend) -> None:
    claim = await backend.idempotency_keys.claim("s", "k", 60)
    assert claim.claim_token is not None
    assert claim.claim_token not in repr(claim)
    assert "fresh" in repr(claim)


async def test_a_claim_answers_the_own_class(url: str) -> None:
    class Key(IdempotencyRecord):
        pass

    backend = create_backend(url, entities={IdempotencyRecord: Key})
    await backend.connect()
    try:
        await backend.migrate()
        for _ in range(2):
            assert type((await backend.idempotency_keys.claim("s", "k", 60)).record) is Key
    finally:
        await backend.disconnect()
