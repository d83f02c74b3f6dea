"""Rules over several rows: who wins when many try at once, and what a refusal leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast import (
    ApiKey,
    ConstraintViolationError,
    Heartbeat,
    PersistenceBackend,
    Project,
    QueryError,
    User,
)
from holdfast.testing.samples import required

from .test_bad_input import run_sql


def user(key: str, **fields: Any) -> Any:
    return required(User, **{"id": key, "username": key, "role": "manager", **fields})


def api_key(key: str, **fields: Any) -> Any:
    return required(ApiKey, **{"id": key, "key_hash": key, "user_id": "u", **fields})


async def outcomes(*calls: Awaitable[Any]) -> list[Any]:
    """Answers, and the tokens of the rules that refused."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    unexpected = [a for a in answers if isinstance(a, Exception) and not hasattr(a, "constraint")]
    assert unexpected == []
    return [getattr(answer, "constraint", answer) for answer in answers]


@pytest.mark.parametrize("seats", [2, 7])
async def test_of_many_that_leave_at_once_one_owner_stays(
    backend: PersistenceBackend, seats: int
) -> None:
    names = [f"u{n}" for n in range(seats)]
    for name in names:
        await backend.users.save(user(name, org_roles=("owner",)))
    answers = await outcomes(
        *(
            backend.users.delete(name) if n % 2 else backend.users.save(user(name))
            for n, name in enumerate(names)
        )
    )
    assert answers.count("users.owner_minimum") == 1
    left = [one for one in await backend.users.list_users() if "owner" in one.org_roles]
    assert len(left) == 1


async def test_of_many_that_would_be_ceo_one_is(backend: PersistenceBackend) -> None:
    answers = await outcomes(*(backend.users.save(user(f"u{n}", role="ceo")) for n in range(10)))
    assert answers.count(None) == 1
    assert answers.count("users.single_ceo") == 9
    assert await backend.users.count() == await backend.users.count_by_role("ceo") == 1  # type: ignore[arg-type]


async def test_of_many_that_take_a_name_one_has_it(backend: PersistenceBackend) -> None:
    answers = await outcomes(
        *(backend.users.save(user(f"u{n}", username="ada")) for n in range(10))
    )
    assert answers.count(None) == 1
    assert answers.count("users.username") == 9
    (stored,) = await backend.users.list_users()
    assert await backend.users.get_by_username("ada") == stored


@pytest.mark.alone
async def test_the_ceo_keeps_the_seat_until_there_can_be_another(
    backend: PersistenceBackend,
) -> None:
    await backend.users.save(user("boss", role="ceo"))
    await backend.users.save(user("next"))
    with pytest.raises(ConstraintViolationError) as caught:
        async with backend.transaction() as tx:
            await tx.users.save(user("boss"))
            await tx.users.save(user("next", role="ceo"))
    assert caught.value.constraint == "users.ceo_minimum"
    assert await backend.users.get("boss") == user("boss", role="ceo")
    assert await backend.users.get("next") == user("next")
    await backend.users.save(user("boss", role="ceo", password_hash="new"))
    other = backend.for_tenant("other")
    await other.users.save(user("boss", role="ceo"))
    with pytest.raises(ConstraintViolationError):  # each organisation has its own
        await other.users.delete("boss")


@pytest.mark.alone
async def test_keys_go_with_their_user_and_no_other(backend: PersistenceBackend) -> None:
    other = backend.for_tenant("other")
    for tenant in (backend, other):
        for name in ("u", "v"):
            await tenant.users.save(user(name))
            for n in range(3):
                await tenant.api_keys.save(api_key(f"{name}{n}", user_id=name))
    await backend.api_keys.save(api_key("v2", user_id="u"))  # handed over
    assert [one.id for one in await backend.api_keys.list_by_user("v")] == ["v0", "v1"]
    assert await backend.users.delete("u") is True
    assert await backend.api_keys.list_by_user("u") == ()
    assert await backend.api_keys.get_by_hash("v2") is None
    assert [one.id for one in await backend.api_keys.list_by_user("v")] == ["v0", "v1"]
    assert len(await other.api_keys.list_by_user("u")) == 3
    with pytest.raises(ConstraintViolationError) as caught:
        await backend.api_keys.save(api_key("x", user_id="u"))
    assert caught.value.constraint == "api_keys.user_id"


@pytest.mark.alone
async def test_a_user_of_another_tenant_owns_no_keys_here(backend: PersistenceBackend) -> None:
    await backend.for_tenant("other").users.save(user("u"))
    with pytest.raises(ConstraintViolationError) as caught:
        await backend.api_keys.save(api_key("k"))
    assert caught.value.constraint == "api_keys.user_id"
    assert await backend.for_tenant("other").api_keys.get("k") is None


async def test_the_first_created_at_stays(backend: PersistenceBackend) -> None:
    first, later = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 2, tzinfo=UTC)
    await backend.users.save(user("u", created_at=first))
    await backend.api_keys.save(api_key("k", created_at=first))
    await backend.users.save(user("u", created_at=later, updated_at=later, role="observer"))
    await backend.api_keys.save(api_key("k", created_at=later, name="new", key_hash="other"))
    stored = user("u", created_at=first, updated_at=later, role="observer")
    assert await backend.users.get("u") == stored
    assert await backend.api_keys.get_by_hash("other") == api_key(
        "k", created_at=first, name="new", key_hash="other"
    )
    assert await backend.api_keys.get_by_hash("k") is None


async def test_of_many_swaps_one_succeeds(backend: PersistenceBackend) -> None:
    put = backend.settings.set
    first = await asyncio.gather(
        *(put("n", "k", f"{n}", f"{n}", expected_updated_at="") for n in range(12))
    )
    assert first.count(True) == 1
    stored = f"{first.index(True)}"
    assert await backend.settings.get("n", "k") == (stored, stored)
    second = await asyncio.gather(
        *(put("n", "k", f"{n}", f"new {n}", expected_updated_at=stored) for n in range(12))
    )
    assert second.count(True) == 1
    assert await backend.settings.get("n", "k") == (
        f"{second.index(True)}", f"new {second.index(True)}"
    )  # fmt: skip


async def test_a_counter_of_swaps_loses_nothing(backend: PersistenceBackend) -> None:
    await backend.settings.set("n", "k", "0", "0")

    async def count() -> None:
        while True:
            found = await backend.settings.get("n", "k")
            assert found is not None
            value = f"{int(found[0]) + 1}"
            if await backend.settings.set("n", "k", value, value, expected_updated_at=found[1]):
                return

    await asyncio.gather(*(count() for _ in range(8)))
    assert await backend.settings.get("n", "k") == ("8", "8")


async def test_the_text_is_compared_not_the_moment(backend: PersistenceBackend) -> None:
    put = backend.settings.set
    await put("n", "k", "v", "2026-01-31T09:00:00Z")
    for other in ("2026-01-31T09:00:00+00:00", "2026-01-31T09:00:00z", "2026-01-31T09:00:00Z "):
        assert await put("n", "k", "w", "x", expected_updated_at=other) is False
    assert await put("n", "k", "w", "", expected_updated_at="2026-01-31T09:00:00Z") is True
    # "" asks for nothing to be stored, even if the stored text is "".
    assert await put("n", "k", "x", "1", expected_updated_at="") is False
    assert await backend.settings.get("n", "k") == ("w", "")


async def test_set_many_side_by_side_is_never_mixed(backend: PersistenceBackend) -> None:
    async def put(n: int) -> bool:
        rows = [("n", key, f"{n}", f"{n}") for key in ("c", "a", "b")]
        return await backend.settings.set_many(rows[n % 3 :] + rows[: n % 3])

    assert all(await asyncio.gather(*(put(n) for n in range(12))))
    rows = await backend.settings.get_namespace("n")
    assert [row[0] for row in rows] == ["a", "b", "c"]
    assert len({row[1] for row in rows}) == 1


async def test_set_many_takes_a_key_twice(backend: PersistenceBackend) -> None:
    twice = [("n", "k", "1", "1"), ("n", "k", "2", "2")]
    assert await backend.settings.set_many(twice) is True
    assert await backend.settings.get("n", "k") == ("2", "2")


@pytest.mark.alone
async def test_a_failed_list_ends_the_transaction_as_well(backend: PersistenceBackend) -> None:
    """A list that is read in pieces fails like any other statement."""
    await run_sql(backend, "ALTER TABLE projects RENAME TO hidden")
    with pytest.raises(QueryError, match="failed"):
        async with backend.transaction() as tx:
            await tx.settings.set("n", "k", "v", "1")
            with pytest.raises(QueryError):
                await tx.projects.list_projects()
            with pytest.raises(QueryError, match="a statement of this transaction failed"):
                await tx.settings.get("n", "k")
    assert await backend.settings.get("n", "k") is None
    async with backend.transaction() as tx:
        with pytest.raises(QueryError):
            async with tx.transaction() as inner:
                await inner.settings.set("n", "lost", "v", "1")
                await inner.projects.list_projects()
        await tx.settings.set("n", "kept", "v", "1")
    assert [row[0] for row in await backend.settings.get_namespace("n")] == ["kept"]
    await run_sql(backend, "ALTER TABLE hidden RENAME TO projects")
    await backend.projects.save(Project(id="p", name="n"))


async def test_the_threshold_itself_is_not_stale(backend: PersistenceBackend) -> None:
    when = datetime(2026, 1, 31, 9, 0, 0, 999_999, tzinfo=UTC)
    beat = Heartbeat(execution_id="e", agent_id="a", task_id="t", last_heartbeat_at=when)
    await backend.heartbeats.save(beat)
    assert await backend.heartbeats.get_stale(when) == ()
    assert await backend.heartbeats.get_stale(when + timedelta(microseconds=1)) == (beat,)
