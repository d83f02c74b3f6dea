"""What can happen once happens once, and what is stored is what the one who did it said."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from holdfast import PersistenceBackend
from holdfast.entities import IdempotencyOutcome, LockoutConfig
from tests.entities.samples import LATER, NOW, make

from .racers import PROCESSES, Race, Racer, winners

ROUNDS = 25


#: What becomes of an approval, by the number of the process.
STATUS: Any = ("rejected", "expired", "approved", "expired") * 2


async def _decide(racer: Racer) -> list[bool]:
    won, approvals, status = [], racer.backend.approvals, STATUS[racer.number]
    when = NOW + timedelta(seconds=racer.number)
    for n in range(ROUNDS):
        await racer.meet()
        if status == "expired":
            won.append(await approvals.expire_if_pending(f"{n}", expired_at=when))
        else:
            won.append(
                await approvals.decide(
                    f"{n}", status=status, decided_by=racer.name, decided_at=when, reason="so"
                )
            )
    return won


async def test_an_approval_is_decided_once(race: Race, backend: PersistenceBackend) -> None:
    for n in range(ROUNDS):
        await backend.approvals.save(make("ApprovalItem", id=f"{n}"))
    for n, winner in enumerate(winners(await race(_decide))):
        stored = await backend.approvals.get(f"{n}")
        assert stored is not None
        number = int(winner[-1])
        assert stored.status == STATUS[number]
        assert stored.decided_at == NOW + timedelta(seconds=number)
        assert stored.decided_by == (None if stored.status == "expired" else winner)


async def _revoke_overrides(racer: Racer) -> list[bool]:
    won = []
    for n in range(ROUNDS):
        await racer.meet()
        won.append(
            await racer.backend.risk_overrides.revoke(
                f"{n}", revoked_by=racer.name, revoked_at=LATER
            )
        )
    return won


async def test_an_override_is_revoked_once(race: Race, backend: PersistenceBackend) -> None:
    for n in range(ROUNDS):
        await backend.risk_overrides.save(make("RiskTierOverride", id=f"{n}"))
    for n, winner in enumerate(winners(await race(_revoke_overrides))):
        stored = await backend.risk_overrides.get(f"{n}")
        assert stored is not None
        assert stored.revoked_by == winner


async def _resolve(racer: Racer) -> list[bool]:
    won = []
    status: Any = "denied" if racer.number % 2 else "allowed"
    for n in range(ROUNDS):
        await racer.meet()
        won.append(
            await racer.backend.ssrf_violations.update_status(
                f"{n}", status=status, resolved_by=racer.name, resolved_at=LATER
            )
        )
    return won


async def test_a_violation_is_resolved_once(race: Race, backend: PersistenceBackend) -> None:
    for n in range(ROUNDS):
        await backend.ssrf_violations.save(make("SsrfViolation", id=f"{n}"))
    for n, winner in enumerate(winners(await race(_resolve))):
        stored = await backend.ssrf_violations.get(f"{n}")
        assert stored is not None
        assert stored.resolved_by == winner
        assert stored.status == ("denied" if int(winner[-1]) % 2 else "allowed")


TTL = 60.0


async def _claim(racer: Racer, after: float) -> list[tuple[str, str | None]]:
    """Outcome and token of each round's key, claimed ``after`` so many seconds."""
    claims = []
    for n in range(ROUNDS):
        await racer.meet()
        claim = await racer.backend.idempotency_keys.claim(
            "s", f"{n}", TTL, now=NOW + timedelta(seconds=after)
        )
        claims.append((claim.outcome.value, claim.claim_token))
    return claims


def _tokens(answers: list[list[tuple[str, str | None]]]) -> list[str]:
    """The only token of each round; the others were told that the work is under way."""
    tokens = []
    for round_ in zip(*answers, strict=True):
        (token,) = [token for outcome, token in round_ if outcome == IdempotencyOutcome.FRESH]
        assert token is not None
        assert all(t is None for outcome, t in round_ if outcome == IdempotencyOutcome.IN_FLIGHT)
        assert [outcome for outcome, _ in round_].count("in_flight") == PROCESSES - 1
        tokens.append(token)
    return tokens


async def _finish(racer: Racer, tokens: list[str]) -> list[bool]:
    """Half complete, half fail."""
    won, keys = [], racer.backend.idempotency_keys
    for n, token in enumerate(tokens):
        await racer.meet()
        if racer.number % 2:
            won.append(await keys.complete("s", f"{n}", token, response=racer.name, now=NOW))
        else:
            won.append(await keys.fail("s", f"{n}", token, error=racer.name, now=NOW))
    return won


async def test_work_is_claimed_once_in_a_lifetime_and_ended_once(
    race: Race, backend: PersistenceBackend
) -> None:
    first = _tokens(await race(_claim, 0.0))
    second = _tokens(await race(_claim, TTL))  # the lifetime is over, nobody had finished
    assert not set(first) & set(second)
    assert await race(_finish, first) == [[False] * ROUNDS] * PROCESSES
    for n, winner in enumerate(winners(await race(_finish, second))):
        record = await backend.idempotency_keys.get("s", f"{n}", now=NOW)
        assert record is not None
        assert record.claim_token == second[n]
        assert (record.response if int(winner[-1]) % 2 else record.error) == winner
    outcomes = {outcome for claims in await race(_claim, TTL + 1) for outcome, _ in claims}
    assert outcomes <= {"completed", "failed"}


async def _fail(racer: Racer, attempts: int) -> list[bool]:
    lockouts = racer.backend.build_lockouts(LockoutConfig(max_attempts=attempts))
    return [await lockouts.record_failure("ada", racer.name) for _ in range(ROUNDS)]


async def test_exactly_the_last_failures_lock(race: Race, backend: PersistenceBackend) -> None:
    calls = PROCESSES * ROUNDS
    for attempts in (calls, 10, 1):  # the first counts exactly: the very last call locks
        locked = [answer for answers in await race(_fail, attempts) for answer in answers]
        assert locked.count(True) == calls - attempts + 1
        await backend.lockouts.load_locked()
        assert backend.lockouts.is_locked("ada")
        await backend.lockouts.record_success("ada")
