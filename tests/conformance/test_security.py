"""Overrides that end, violations that are resolved, and circuit breakers."""

from __future__ import annotations

import asyncio
import math
import sys
from datetime import timedelta, timezone
from typing import Any

import pytest

from holdfast import (
    CircuitBreakerStateRecord,
    InvalidArgumentError,
    PersistenceBackend,
    RiskTierOverride,
    SsrfViolation,
)

from .clock import NOW, Clock

HOUR = timedelta(hours=1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch, "security")


def override(key: str, **fields: Any) -> RiskTierOverride:
    defaults = {
        "action_type": "deploy", "original_tier": "high", "override_tier": "low", "reason": "r",
        "created_by": "ada", "created_at": NOW - HOUR, "expires_at": NOW + HOUR,
    }  # fmt: skip
    return RiskTierOverride.model_validate({"id": key, **defaults, **fields})


def violation(key: str, **fields: Any) -> SsrfViolation:
    defaults = {"timestamp": NOW, "url": "http://h/", "hostname": "h", "port": 80}
    return SsrfViolation.model_validate({"id": key, **defaults, **fields})


@pytest.mark.alone
async def test_an_override_is_revoked_once(backend: PersistenceBackend, clock: Clock) -> None:
    overrides = backend.risk_overrides
    await overrides.save(override("o", created_by="someone"))
    await overrides.save(override("expired", expires_at=NOW))
    there = NOW.astimezone(timezone(timedelta(hours=-7)))
    for name in ("o", "expired"):
        assert await overrides.revoke(name, revoked_by="boss", revoked_at=there) is True
        stored = await overrides.get(name)
        assert await overrides.revoke(name, revoked_by="late", revoked_at=NOW + HOUR) is False
        assert stored == await overrides.get(name)
        assert stored is not None
        assert (stored.revoked_by, stored.revoked_at) == ("boss", NOW)
        assert stored.revoked_at is not None
        assert stored.revoked_at.utcoffset() == timedelta(0)
    assert await overrides.revoke("unknown", revoked_by="boss", revoked_at=NOW) is False
    other = backend.for_tenant("other").risk_overrides
    await overrides.save(override("mine"))
    assert await other.revoke("mine", revoked_by="boss", revoked_at=NOW) is False
    for field, value in (("revoked_by", " "), ("revoked_at", NOW.replace(tzinfo=None))):
        given: dict[str, Any] = {"revoked_by": "b", "revoked_at": NOW, field: value}
        with pytest.raises(InvalidArgumentError, match=f"revoke: {field}"):
            await overrides.revoke("mine", **given)
    assert await overrides.get("mine") == override("mine")


async def test_active_overrides(backend: PersistenceBackend, clock: Clock) -> None:
    overrides = backend.risk_overrides
    moment = timedelta(microseconds=1)
    revoked = {"revoked_by": "b", "revoked_at": NOW - HOUR}
    for one in (
        override("ends now", expires_at=NOW),
        override("ends next", expires_at=NOW + moment),
        override("a"),
        override("new", created_at=NOW),
        override("revoked", **revoked),
        override("past", expires_at=NOW - moment),
    ):
        await overrides.save(one)
    assert [one.id for one in await overrides.list_active()] == ["new", "ends next", "a"]
    assert [one.id for one in await overrides.list_active(limit=1, after="new")] == ["ends next"]
    await overrides.revoke("a", revoked_by="b", revoked_at=NOW)
    clock.turn(moment.total_seconds())
    assert [one.id for one in await overrides.list_active()] == ["new"]
    clock.turn(HOUR.total_seconds())
    assert await overrides.list_active() == ()


async def test_a_violation_is_resolved_once(backend: PersistenceBackend) -> None:
    violations = backend.ssrf_violations
    for name in ("a", "d"):
        await violations.save(violation(name))
    given = {"resolved_by": "boss", "resolved_at": NOW}
    assert await violations.update_status("a", status="allowed", **given) is True  # type: ignore[arg-type]
    assert await violations.update_status("d", status="denied", **given) is True  # type: ignore[arg-type]
    expected = {"a": violation("a", status="allowed", **given)}
    expected["d"] = violation("d", status="denied", **given)
    for name in ("a", "d", "unknown"):
        for status in ("allowed", "denied"):
            again = {"status": status, "resolved_by": "late", "resolved_at": NOW + HOUR}
            assert await violations.update_status(name, **again) is False  # type: ignore[arg-type]
        assert await violations.get(name) == expected.get(name)


async def test_of_many_that_resolve_one_does(backend: PersistenceBackend) -> None:
    await backend.ssrf_violations.save(violation("v"))
    answers = await asyncio.gather(
        *(
            backend.ssrf_violations.update_status(
                "v",
                status=("allowed", "denied")[n % 2],  # type: ignore[arg-type]
                resolved_by=f"{n}",
                resolved_at=NOW,
            )
            for n in range(10)
        )
    )
    assert answers.count(True) == 1
    stored = await backend.ssrf_violations.get("v")
    assert stored is not None
    assert stored.resolved_by == f"{answers.index(True)}"


async def test_a_resolution_is_allowed_or_denied(backend: PersistenceBackend) -> None:
    await backend.ssrf_violations.save(violation("v"))
    given = {"status": "allowed", "resolved_by": "b", "resolved_at": NOW}
    for match, fields in (
        ("status must be allowed or denied", {"status": "pending"}),
        ("status must be one of pending, allowed, denied", {"status": "open"}),
        ("resolved_by must not be blank", {"resolved_by": " "}),
        ("resolved_at must carry a time zone", {"resolved_at": NOW.replace(tzinfo=None)}),
    ):
        with pytest.raises(InvalidArgumentError, match=match) as caught:
            await backend.ssrf_violations.update_status("v", **{**given, **fields})  # type: ignore[arg-type]
        assert isinstance(caught.value, ValueError)
    assert await backend.ssrf_violations.get("v") == violation("v")


async def test_violations_are_listed(backend: PersistenceBackend) -> None:
    resolved = {"status": "denied", "resolved_by": "b", "resolved_at": NOW}
    async with backend.transaction() as tx:
        for n in range(101):
            await tx.ssrf_violations.save(violation(f"{n:03}", **(resolved if n % 2 else {})))
    listed = backend.ssrf_violations.list_violations
    names = [f"{n:03}" for n in reversed(range(101))]
    assert [one.id for one in await listed()] == names[:100]
    assert [one.id for one in await listed(limit=None)] == names
    assert [one.id for one in await listed(status="denied", limit=2)] == ["099", "097"]  # type: ignore[arg-type]
    for bad in (0, -1, True):
        with pytest.raises(InvalidArgumentError):
            await listed(limit=bad)


def breaker(a: str, b: str, opened_at: float | None = None, bounces: int = 0) -> Any:
    return CircuitBreakerStateRecord(
        pair_key_a=a, pair_key_b=b, bounce_count=bounces, trip_count=1, opened_at=opened_at
    )


async def test_a_pair_has_an_order(backend: PersistenceBackend) -> None:
    breakers = backend.circuit_breaker_state
    forth, back = breaker("a", "b", bounces=1), breaker("b", "a", bounces=2)
    for one in (back, forth, breaker("a", "B"), breaker("a", "a")):
        await breakers.save(one)
    assert await breakers.load_all() == (breaker("a", "B"), breaker("a", "a"), forth, back)
    assert await breakers.load_all(limit=1, after=("a", "a")) == (forth,)
    await breakers.save(breaker("a", "b", bounces=7))
    assert await breakers.delete("b", "a") is True
    assert await breakers.delete("b", "a") is False
    assert await breakers.delete("B", "a") is False
    assert (await breakers.load_all())[-1] == breaker("a", "b", bounces=7)


async def test_the_moment_of_opening_is_exact(backend: PersistenceBackend) -> None:
    moments = (
        1769850000.123456, 0.1 + 0.2, math.nextafter(1769850000.0, 0), 5e-324,
        sys.float_info.max, -1.5, 0.0, None,
    )  # fmt: skip
    for n, moment in enumerate(moments):
        await backend.circuit_breaker_state.save(breaker("p", f"{n}", moment))
    stored = await backend.circuit_breaker_state.load_all()
    assert [one.opened_at for one in stored] == list(moments)
    await backend.circuit_breaker_state.save(breaker("p", "0"))
    assert (await backend.circuit_breaker_state.load_all())[0].opened_at is None


async def test_no_engine_answers_minus_zero(backend: PersistenceBackend) -> None:
    await backend.circuit_breaker_state.save(breaker("p", "q", -0.0))
    (stored,) = await backend.circuit_breaker_state.load_all()
    assert stored.opened_at is not None
    assert math.copysign(1, stored.opened_at) == 1
