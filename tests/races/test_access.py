"""Sessions end once, and a token lets in once, and nobody after the session has ended."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from holdfast import PersistenceBackend
from holdfast.entities.base import utc_now
from tests.entities.samples import make

from .racers import PROCESSES, Race, Racer, winners

SESSIONS = 24
TOKENS = 60
LIMIT = 3


async def _populate(backend: PersistenceBackend, sessions: int, tokens: int = 0) -> None:
    """Of the user "u" the sessions "s-0" (the oldest), ..., and of "s-0" the tokens "0", ..."""
    now = utc_now()
    await backend.users.save(make("User", id="u"))
    for n in range(sessions):
        await backend.sessions.create(
            make(
                "Session", id=f"s-{n}", created_at=now - timedelta(hours=1, seconds=-n),
                expires_at=now + timedelta(hours=1),
            )
        )  # fmt: skip
    for n in range(tokens):
        await backend.refresh_tokens.create(f"{n}", "s-0", "u", now + timedelta(hours=1))


async def _active(backend: PersistenceBackend) -> list[str]:
    return [one.id for one in await backend.sessions.list_by_user("u") if not one.revoked]


async def _revoke_one_by_one(racer: Racer) -> list[bool]:
    revoked = []
    for n in range(SESSIONS):
        await racer.meet()
        revoked.append(await racer.backend.sessions.revoke(f"s-{n}"))
    return revoked


async def test_a_session_is_revoked_once(race: Race, backend: PersistenceBackend) -> None:
    await _populate(backend, SESSIONS)
    assert len(winners(await race(_revoke_one_by_one))) == SESSIONS
    assert await _active(backend) == []


async def _revoke_in_every_way(racer: Racer) -> int:
    sessions = racer.backend.sessions
    if racer.number % 4 == 0:
        return await sessions.revoke_all_for_user("u")
    if racer.number % 4 == 1:
        return await sessions.enforce_session_limit("u", LIMIT)
    order = range(SESSIONS) if racer.number % 2 else reversed(range(SESSIONS))
    return sum([await sessions.revoke(f"s-{n}") for n in order])


async def test_each_revocation_counts_once(race: Race, backend: PersistenceBackend) -> None:
    await _populate(backend, SESSIONS)
    assert sum(await race(_revoke_in_every_way)) == SESSIONS
    assert await _active(backend) == []


async def _limit(racer: Racer) -> int:
    return await racer.backend.sessions.enforce_session_limit("u", LIMIT)


async def test_the_newest_sessions_stay(race: Race, backend: PersistenceBackend) -> None:
    await _populate(backend, SESSIONS)
    assert sum(await race(_limit)) == SESSIONS - LIMIT
    assert await _active(backend) == [f"s-{SESSIONS - n}" for n in range(1, LIMIT + 1)]


async def _log_in(racer: Racer) -> int:
    sessions, revoked, now = racer.backend.sessions, 0, utc_now()
    for n in range(10):
        session = make(
            "Session", id=f"{racer.name}/{n}", created_at=utc_now(),
            expires_at=now + timedelta(hours=1),
        )  # fmt: skip
        await sessions.create(session)
        revoked += await sessions.enforce_session_limit("u", LIMIT)
    return revoked


async def test_logins_at_once_stay_within_the_limit(
    race: Race, backend: PersistenceBackend
) -> None:
    await _populate(backend, 0)
    assert sum(await race(_log_in)) == PROCESSES * 10 - LIMIT
    newest = await backend.sessions.list_by_user("u", limit=LIMIT)
    assert await _active(backend) == [one.id for one in newest]


async def _consume_one_by_one(racer: Racer) -> list[bool]:
    used = []
    for n in range(TOKENS):
        await racer.meet()
        record = await racer.backend.refresh_tokens.consume(f"{n}")
        assert record is None or record.token_hash == f"{n}"
        used.append(record is not None)
    return used


async def test_a_token_lets_in_once(race: Race, backend: PersistenceBackend) -> None:
    await _populate(backend, 1, TOKENS)
    assert len(winners(await race(_consume_one_by_one))) == TOKENS
    assert await backend.refresh_tokens.revoke_by_session("s-0") == 0  # all are used


async def _consume_until_revoked(
    racer: Racer, way: str
) -> tuple[dict[str, float], float | None, int]:
    """The tokens consumed and when each call began; of process 0 also when it had revoked, and how
    many tokens it revoked."""
    access, used, ended, revoked = racer.backend, dict[str, float](), None, 0
    for n in range(TOKENS):
        if racer.number == 0 and n == TOKENS // 4:
            if way == "session":
                assert await access.sessions.revoke("s-0")
            else:
                revoked = await access.refresh_tokens.revoke_by_session("s-0")
            ended = time.monotonic()
        began = time.monotonic()
        if await access.refresh_tokens.consume(f"{n}") is not None:
            used[f"{n}"] = began
    await racer.meet()
    late = [await access.refresh_tokens.consume(f"{n}") for n in range(TOKENS)]
    assert late == [None] * TOKENS
    return used, ended, revoked


@pytest.mark.parametrize("way", ["session", "tokens"])
async def test_nobody_is_let_in_once_it_is_revoked(
    race: Race, backend: PersistenceBackend, way: str
) -> None:
    await _populate(backend, 1, TOKENS)
    answers = await race(_consume_until_revoked, way)
    _, ended, revoked = answers[0]
    assert ended is not None
    used = [token for used, _, _ in answers for token in used]
    assert len(used) == len(set(used))
    assert {f"{n}" for n in range(TOKENS // 4)} <= set(used)  # those before it was revoked
    # The clock is one for all processes of a machine.
    assert all(began < ended for used, _, _ in answers for began in used.values())
    if way == "tokens":  # each token was used up once, by whoever it was
        assert len(used) + revoked == TOKENS
