"""Sessions and the tokens that prolong them, once."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from holdfast import (
    ConstraintViolationError,
    DuplicateRecordError,
    InvalidArgumentError,
    MalformedRowError,
    PersistenceBackend,
    RefreshRecord,
    Session,
    User,
)
from holdfast.repositories import access
from holdfast.testing import samples

from .clock import NOW, Clock
from .test_bad_input import run_sql

HOUR = timedelta(hours=1)
MOMENT = timedelta(microseconds=1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch, "access")


async def with_users(backend: Any, *names: str) -> None:
    for name in names:
        await backend.users.save(
            samples.required(User, id=name, username=name, role="manager", password_hash="h")
        )


def session(key: str, **fields: Any) -> Session:
    defaults = {"user_id": "ada", "created_at": NOW, "expires_at": NOW + HOUR}
    return Session.model_validate({"id": key, **defaults, **fields})


async def begin(backend: Any, *sessions: Session) -> None:
    for one in sessions:
        await backend.sessions.create(one)


async def revoked(backend: PersistenceBackend) -> dict[str, bool]:
    return {one.id: one.revoked for one in await backend.sessions.list_all()}


@pytest.mark.alone
async def test_a_session_is_of_a_user(backend: PersistenceBackend) -> None:
    await with_users(backend, "ada")
    await with_users(backend.for_tenant("other"), "eve")
    one = session("s", last_active_at=NOW, ip_address="::1", user_agent="curl 🦑")
    await begin(backend, one)
    with pytest.raises(DuplicateRecordError):
        await backend.sessions.create(session("s", ip_address="other"))
    for unknown in ("nobody", "eve"):
        with pytest.raises(ConstraintViolationError) as caught:
            await backend.sessions.create(session("x", user_id=unknown))
        assert caught.value.constraint == "sessions.user_id"
    assert await backend.sessions.list_all() == (one,)


async def test_lists_hold_what_is_over_too(backend: PersistenceBackend) -> None:
    await with_users(backend, "ada", "bob")
    await begin(
        backend,
        session("expired", created_at=NOW - HOUR, expires_at=NOW),
        session("a", revoked=True),
        session("b"),
        session("bob's", user_id="bob", created_at=NOW + MOMENT),
    )
    everyone = await backend.sessions.list_all()
    assert [one.id for one in everyone] == ["bob's", "b", "a", "expired"]
    assert await backend.sessions.list_by_user("ada") == everyone[1:]
    assert await backend.sessions.list_by_user("ada", limit=1, after="b") == everyone[2:3]
    assert await backend.sessions.list_by_user("nobody") == ()
    assert (await backend.sessions.get("expired")) == everyone[3]


@pytest.mark.alone
async def test_a_session_is_revoked_once(backend: PersistenceBackend, clock: Clock) -> None:
    sessions = backend.sessions
    await with_users(backend, "ada", "bob")
    await begin(backend, *map(session, "abc"), session("bob's", user_id="bob"))
    assert await backend.for_tenant("other").sessions.revoke("a") is False
    assert await sessions.revoke("a") is True
    assert await sessions.revoke("a") is False
    assert await sessions.revoke("unknown") is False
    assert await sessions.get("a") == session("a", revoked=True)
    assert await sessions.revoke_all_for_user("ada") == 2
    assert await sessions.revoke_all_for_user("ada") == 0
    assert await revoked(backend) == {"a": True, "b": True, "c": True, "bob's": False}
    assert [name for name in (*"abc", "bob's", "unknown") if sessions.is_revoked(name)] == [*"abc"]


@pytest.mark.alone
async def test_what_is_known_without_asking(backend: PersistenceBackend, clock: Clock) -> None:
    here, there = backend.sessions, backend.for_tenant("default").sessions
    assert here is not there
    await with_users(backend, "ada")
    await begin(
        backend,
        session("a"),
        session("b"),
        session("before", revoked=True),
        session("expired", created_at=NOW - HOUR, expires_at=NOW, revoked=True),
    )
    assert await there.revoke("a") is True
    assert there.is_revoked("a")
    assert not here.is_revoked("a")
    await here.load_revoked()
    known = [name for name in ("a", "b", "before", "expired") if here.is_revoked(name)]
    assert known == ["a", "before"]
    clock.turn(HOUR.total_seconds())
    assert here.is_revoked("a")
    await here.load_revoked()  # forgets what has expired
    assert not here.is_revoked("a")


async def test_a_revocation_that_is_rolled_back_is_not_known(
    backend: PersistenceBackend,
) -> None:
    await with_users(backend, "ada")
    await begin(backend, session("a"))
    with pytest.raises(ZeroDivisionError):
        async with backend.transaction() as tx:
            assert await tx.sessions.revoke("a") is True
            assert tx.sessions.is_revoked("a")
            raise ZeroDivisionError
    assert not backend.sessions.is_revoked("a")
    assert await revoked(backend) == {"a": False}


async def test_the_newest_sessions_stay(backend: PersistenceBackend, clock: Clock) -> None:
    await with_users(backend, "ada", "bob")
    sessions = backend.sessions
    await begin(
        backend,
        session("oldest", created_at=NOW - 2 * MOMENT),
        session("old", created_at=NOW - MOMENT),
        session("tied a"),
        session("tied b"),
        session("revoked", created_at=NOW + MOMENT, revoked=True),
        session("expired", created_at=NOW - HOUR, expires_at=NOW),
        session("bob's", user_id="bob"),
    )
    enforce = sessions.enforce_session_limit
    assert await enforce("ada", 4) == 0
    assert await enforce("ada", 2**63 - 1) == 0
    assert await enforce("ada", 3) == 1
    assert sessions.is_revoked("oldest")
    assert await enforce("ada", 1) == 2
    assert await enforce("ada", 1) == 0
    names = {name for name, is_ in (await revoked(backend)).items() if not is_}
    assert names == {"tied b", "expired", "bob's"}
    assert await enforce("ada", 0) == 1
    assert await enforce("nobody", 0) == 0
    for bad in (-1, True, 1.0, "1", None, 2**63):
        with pytest.raises(InvalidArgumentError, match="max_sessions"):
            await enforce("bob", bad)  # type: ignore[arg-type]
    assert (await revoked(backend))["bob's"] is False


@pytest.mark.alone
async def test_cleanup_takes_the_tokens_along(backend: PersistenceBackend, clock: Clock) -> None:
    await with_users(backend, "ada")
    await with_users(backend.for_tenant("other"), "ada")
    await begin(backend, session("now", created_at=NOW - HOUR, expires_at=NOW))
    await begin(backend, session("next", created_at=NOW - HOUR, expires_at=NOW + MOMENT))
    await begin(backend.for_tenant("other"), session("s", created_at=NOW - HOUR, expires_at=NOW))
    for name in ("now", "next"):
        await backend.refresh_tokens.create(name, name, "ada", NOW + HOUR)
    assert await backend.sessions.cleanup_expired() == 1
    assert await backend.sessions.cleanup_expired() == 0
    assert await backend.sessions.get("now") is None
    assert await backend.refresh_tokens.consume("now") is None
    assert await backend.refresh_tokens.consume("next") is not None
    assert await backend.for_tenant("other").sessions.get("s") is not None


async def test_a_user_takes_sessions_and_tokens_along(backend: PersistenceBackend) -> None:
    await with_users(backend, "ada", "bob")
    await begin(backend, session("s"), session("bob's", user_id="bob"))
    later = datetime.now(NOW.tzinfo) + HOUR
    await backend.refresh_tokens.create("t", "s", "ada", later)
    await backend.refresh_tokens.create("bob's", "bob's", "bob", later)
    assert await backend.users.delete("ada") is True
    assert [one.id for one in await backend.sessions.list_all()] == ["bob's"]
    await with_users(backend, "ada")
    await begin(backend, session("s"))
    assert await backend.refresh_tokens.consume("t") is None
    await backend.refresh_tokens.create("t", "s", "ada", later)
    assert await backend.refresh_tokens.consume("bob's") is not None


async def with_tokens(backend: PersistenceBackend, *names: str, **fields: Any) -> None:
    """Tokens of a session of ada's."""
    await with_users(backend, "ada", "bob")
    await begin(backend, session("s"), session("bob's", user_id="bob"))
    for name in names:
        await backend.refresh_tokens.create(
            name, **{"session_id": "s", "user_id": "ada", "expires_at": NOW + HOUR, **fields}
        )


@pytest.mark.alone
async def test_a_token_is_used_once(backend: PersistenceBackend, clock: Clock) -> None:
    tokens = backend.refresh_tokens
    await with_tokens(backend, "t")
    assert await backend.for_tenant("other").refresh_tokens.consume("t") is None
    clock.turn(1)
    record = await tokens.consume("t")
    assert record == RefreshRecord(
        token_hash="t", session_id="s", user_id="ada", created_at=NOW, expires_at=NOW + HOUR,
        used_at=clock.now,
    )  # fmt: skip
    assert "token_hash" not in repr(record)
    assert await tokens.consume("t") is None
    assert await tokens.consume("T") is None
    with pytest.raises(DuplicateRecordError):
        await tokens.create("t", "s", "ada", NOW + HOUR)
    assert await tokens.consume("t") is None


async def test_of_many_that_use_a_token_one_gets_it(
    backend: PersistenceBackend, clock: Clock
) -> None:
    await with_tokens(backend, "t")
    answers = await asyncio.gather(*(backend.refresh_tokens.consume("t") for _ in range(12)))
    assert answers.count(None) == 11


async def test_a_token_ends(backend: PersistenceBackend, clock: Clock) -> None:
    await with_tokens(backend, "a", "b")
    clock.turn((HOUR - MOMENT).total_seconds())
    assert await backend.refresh_tokens.consume("a") is not None
    clock.turn(MOMENT.total_seconds())
    assert await backend.refresh_tokens.consume("b") is None


@pytest.mark.alone
async def test_a_token_of_a_revoked_session(backend: PersistenceBackend, clock: Clock) -> None:
    tokens = backend.refresh_tokens
    await with_tokens(backend, "t", "burnt", "kept")
    asked: list[str] = []

    def is_revoked(session_id: str) -> bool:
        asked.append(session_id)
        return True

    assert await tokens.consume("burnt", is_session_revoked=is_revoked) is None
    assert asked == ["s"]
    assert await tokens.consume("burnt") is None  # it was used up all the same
    assert await tokens.consume("burnt", is_session_revoked=is_revoked) is None
    assert asked == ["s"]
    kept = await tokens.consume("kept", is_session_revoked=backend.sessions.is_revoked)
    assert kept is not None
    await backend.for_tenant("default").sessions.revoke("s")
    assert not backend.sessions.is_revoked("s")
    assert await tokens.consume("t", is_session_revoked=backend.sessions.is_revoked) is None


@pytest.mark.alone
async def test_tokens_are_revoked_together(backend: PersistenceBackend, clock: Clock) -> None:
    tokens = backend.refresh_tokens
    await with_tokens(backend, "a", "b", "used")
    for name in ("c", "d"):
        await tokens.create(name, "bob's", "bob", NOW + HOUR)
    await tokens.consume("used")
    assert await backend.for_tenant("other").refresh_tokens.revoke_by_user("ada") == 0
    assert await tokens.revoke_by_session("s") == 2
    assert await tokens.revoke_by_session("s") == 0
    assert await tokens.revoke_by_user("bob") == 2
    assert await tokens.revoke_by_user("bob") == 0
    assert [await tokens.consume(name) for name in "abcd"] == [None] * 4


async def test_tokens_are_cleaned_up(backend: PersistenceBackend, clock: Clock) -> None:
    tokens = backend.refresh_tokens
    await with_tokens(backend, "a", "b", expires_at=NOW + MOMENT)
    await tokens.create("later", "s", "ada", NOW + 2 * MOMENT)
    await tokens.consume("a")
    assert await tokens.cleanup_expired() == 0
    clock.turn(MOMENT.total_seconds())
    assert await tokens.cleanup_expired() == 2
    assert await tokens.cleanup_expired() == 0
    assert await tokens.consume("later") is not None
    await tokens.create("a", "s", "ada", NOW + HOUR)  # its hash is free again


async def test_a_use_that_is_rolled_back_is_none(backend: PersistenceBackend, clock: Clock) -> None:
    await with_tokens(backend, "t")
    with pytest.raises(ZeroDivisionError):
        async with backend.transaction() as tx:
            assert await tx.refresh_tokens.consume("t") is not None
            assert await tx.refresh_tokens.consume("t") is None
            raise ZeroDivisionError
    assert await backend.refresh_tokens.consume("t") is not None


async def test_refused(backend: PersistenceBackend, clock: Clock) -> None:
    await with_tokens(backend)
    tokens = backend.refresh_tokens
    with pytest.raises(ConstraintViolationError) as caught:
        await tokens.create("t", "unknown", "ada", NOW + HOUR)
    assert caught.value.constraint == "refresh_tokens.session_id"
    good = {"token_hash": "t", "session_id": "s", "user_id": "ada", "expires_at": NOW + HOUR}
    for field, value in (
        ("token_hash", " "), ("session_id", ""), ("user_id", "a\0"), ("token_hash", None),
        ("expires_at", NOW.replace(tzinfo=None)), ("expires_at", "2026-01-31"),
    ):  # fmt: skip
        with pytest.raises(InvalidArgumentError, match=f"create: {field}"):
            await tokens.create(**{**good, field: value})  # type: ignore[arg-type]
    assert await tokens.revoke_by_session("s") == 0


async def test_a_revocation_during_a_load_is_known(
    backend: PersistenceBackend, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await with_users(backend, "ada")
    await begin(backend, session("early"), session("late"), session("over"))
    await backend.sessions.revoke("early")
    await backend.sessions.revoke("over")

    class Slow:
        """Read before the revocation, answered after it."""

        async def fetch(self, *arguments: Any) -> Any:
            found = await listing.fetch(*arguments)
            await backend.sessions.revoke("late")
            return tuple(one for one in found if one != "over")

    listing = access._REVOKED
    monkeypatch.setattr(access, "_REVOKED", Slow())
    await backend.sessions.load_revoked()
    known = [backend.sessions.is_revoked(key) for key in ("early", "late", "over")]
    assert known == [True, True, False]


async def test_a_session_that_begins_revoked_is_known(
    backend: PersistenceBackend, clock: Clock
) -> None:
    await with_users(backend, "ada")
    await begin(backend, session("s", revoked=True))
    assert backend.sessions.is_revoked("s")


@pytest.mark.alone
async def test_an_unreadable_token_is_named_without_its_hash(
    backend: PersistenceBackend, clock: Clock
) -> None:
    await with_users(backend, "ada")
    await begin(backend, session("s"))
    await backend.refresh_tokens.create("canary", "s", "ada", NOW + HOUR)
    await run_sql(backend, "UPDATE refresh_tokens SET user_id = ' '")
    with pytest.raises(MalformedRowError, match=r"user_id: .*") as refused:
        await backend.refresh_tokens.consume("canary")
    assert "canary" not in str(refused.value)
    assert refused.value.key == ("canary",)
