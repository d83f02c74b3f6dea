"""Every list against a model of it: filters alone and combined, order, limits, pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from itertools import product
from typing import Any

import pytest

from holdfast import PersistenceBackend

from .test_differential import entity

NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)
#: By code point, which is neither the order of UTF-16 nor that of a dictionary.
NAMES = ("10", "9", "B", "Z", "_", "a", "b", "z", "ß", "é", "\uffee", "🦑")


def moment(number: int) -> datetime:
    """One of few moments, so that there are ties, each said in a time zone of its own."""
    zone = timezone(timedelta(hours=number % 11 - 5))
    return (NOW + timedelta(seconds=number * 7 % 4)).astimezone(zone)


@dataclass(frozen=True)
class Listed:
    """A list method and what it should answer."""

    repository: str
    method: str
    #: The n-th entity.
    make: Callable[[int], Any]
    #: What the list is ordered by, ending in the key.
    order: Callable[[Any], tuple[Any, ...]]
    key: str
    descending: bool = False
    arguments: tuple[Any, ...] = ()
    #: Which entities the method looks at without filters.
    scope: Callable[[Any], bool] = lambda entity: True
    #: By parameter: whether an entity passes, and values to try.
    filters: dict[str, tuple[Callable[[Any, Any], bool], tuple[Any, ...]]] = field(
        default_factory=dict
    )


def equal(name: str, *values: Any) -> tuple[Callable[[Any, Any], bool], tuple[Any, ...]]:
    return lambda one, value: getattr(one, name) == value, values


def pick(number: int, *values: Any) -> Any:
    return values[number % len(values)]


def _task(n: int) -> Any:
    status = pick(n // 2, "created", "assigned", "blocked")
    return entity(
        "tasks", id=NAMES[n], project=pick(n, "p", "q"), status=status,
        assigned_to=None if status == "created" else pick(n, "ada", "bob", "ada"),
    )  # fmt: skip


def _state(n: int) -> Any:
    busy = {"execution_id": "e", "started_at": NOW, "status": pick(n, "executing", "paused")}
    return entity(
        "agent_states", agent_id=NAMES[n], last_activity_at=moment(n), **(busy if n % 4 else {})
    )


LISTS = {
    one.method if one.repository != "audit_entries" else "audit": one
    for one in (
        Listed(
            "tasks", "list_tasks", _task, lambda e: (e.id,), "id",
            filters={
                "status": equal("status", "created", "assigned", "failed"),
                "assigned_to": equal("assigned_to", "ada", "nobody"),
                "project": equal("project", "p", "P"),
            },
        ),
        Listed(
            "projects", "list_projects",
            lambda n: entity(
                "projects", id=NAMES[n], lead=pick(n, "ada", None, "bob"),
                status=pick(n, "active", "planning"),
            ),
            lambda e: (e.id,), "id",
            filters={
                "status": equal("status", "active", "cancelled"),
                "lead": equal("lead", "ada", "bob"),
            },
        ),
        Listed(
            "artifacts", "list_artifacts",
            lambda n: entity(
                "artifacts", id=NAMES[n], task_id=pick(n, "t", "u"), type=pick(n, "code", "tests"),
                created_by=pick(n, "ada", "bob", "eve"),
            ),
            lambda e: (e.id,), "id",
            filters={
                "task_id": equal("task_id", "t", "T"),
                "created_by": equal("created_by", "ada"),
                "artifact_type": equal("type", "code", "documentation"),
            },
        ),
        Listed(
            "messages", "get_history",
            lambda n: entity(
                "messages", id=f"{n:08}-0000-0000-0000-000000000000", timestamp=moment(n),
                channel=pick(n, "c", "c", "d"),
            ),
            lambda e: (e.timestamp, str(e.id)), "id", descending=True, arguments=("c",),
            scope=lambda e: e.channel == "c",
        ),
        Listed(
            "heartbeats", "get_stale",
            lambda n: entity("heartbeats", execution_id=NAMES[n], last_heartbeat_at=moment(n)),
            lambda e: (e.last_heartbeat_at, e.execution_id), "execution_id",
            arguments=(NOW + timedelta(seconds=3),),
            scope=lambda e: e.last_heartbeat_at < NOW + timedelta(seconds=3),
        ),
        Listed(
            "parked_contexts", "get_by_agent",
            lambda n: entity(
                "parked_contexts", id=NAMES[n], parked_at=moment(n), agent_id=pick(n, "a", "b", "a")
            ),
            lambda e: (e.parked_at, e.id), "id", descending=True, arguments=("a",),
            scope=lambda e: e.agent_id == "a",
        ),
        Listed(
            "agent_states", "get_active", _state, lambda e: (e.last_activity_at, e.agent_id),
            "agent_id", descending=True, scope=lambda e: e.status != "idle",
        ),
        Listed(
            "audit_entries", "query",
            lambda n: entity(
                "audit_entries", id=NAMES[n], timestamp=moment(n),
                agent_id=pick(n, "ada", None, "bob"), action_type=pick(n, "web:read", "", "x"),
                verdict=pick(n, "allow", "deny"), risk_level=pick(n // 3, "low", "high"),
            ),
            lambda e: (e.timestamp, e.id), "id", descending=True,
            filters={
                "agent_id": equal("agent_id", "ada"),
                "action_type": equal("action_type", "web:read", ""),
                "verdict": equal("verdict", "allow", "escalate"),
                "risk_level": equal("risk_level", "high"),
                "since": (lambda e, v: e.timestamp >= v, (NOW + timedelta(seconds=1),)),
                "until": (lambda e, v: e.timestamp <= v, (NOW + timedelta(seconds=2),)),
            },
        ),
        Listed(
            "users", "list_users",
            lambda n: entity(
                "users", id=NAMES[n], username=NAMES[-n], created_at=moment(n),
                role=pick(n, "manager", "observer", "system"),
            ),
            lambda e: (e.created_at, e.id), "id", scope=lambda e: e.role != "system",
        ),
        Listed(
            "api_keys", "list_by_user",
            lambda n: entity(
                "api_keys", id=NAMES[n], key_hash=NAMES[-n], created_at=moment(n),
                user_id=pick(n, "u", "u", "v"),
            ),
            lambda e: (e.created_at, e.id), "id", arguments=("u",),
            scope=lambda e: e.user_id == "u",
        ),
    )
}  # fmt: skip


async def fill(backend: PersistenceBackend, listed: Listed) -> list[Any]:
    """Save the entities, in no particular order, and answer the list they should make."""
    if listed.repository == "api_keys":
        for owner in ("u", "v"):
            await backend.users.save(entity("users", id=owner, username=owner))  # type: ignore[arg-type]
    made = [listed.make(number) for number in range(len(NAMES))]
    for one in made[1::2] + made[::2]:
        await getattr(backend, listed.repository).save(one)
    found = [one for one in made if listed.scope(one)]
    return sorted(found, key=listed.order, reverse=listed.descending)


def method(backend: PersistenceBackend, listed: Listed) -> Any:
    whole = getattr(getattr(backend, listed.repository), listed.method)
    return lambda **options: whole(*listed.arguments, **options)


@pytest.mark.parametrize("name", LISTS)
async def test_is_ordered_and_filtered(backend: PersistenceBackend, name: str) -> None:
    listed = LISTS[name]
    expected = await fill(backend, listed)
    call = method(backend, listed)
    assert len(expected) >= 6
    assert await call() == tuple(expected)
    choices = [(None, *values) for _, values in listed.filters.values()]
    for values in product(*choices):
        given = dict(zip(listed.filters, values, strict=True))
        found = [
            one
            for one in expected
            if all(v is None or listed.filters[k][0](one, v) for k, v in given.items())
        ]
        assert await call(**given) == tuple(found), given
        assert await call(**given, limit=2) == tuple(found[:2]), given
        if name == "list_tasks":
            assert await backend.tasks.count_tasks(**given) == len(found)


@pytest.mark.parametrize("name", LISTS)
async def test_pages_make_up_the_list(backend: PersistenceBackend, name: str) -> None:
    listed = LISTS[name]
    expected = await fill(backend, listed)
    call = method(backend, listed)
    for size in (1, 2, 3, len(expected), 100):
        for by_key in (False, True):
            seen: list[Any] = []
            after: Any = None
            while page := await call(limit=size, after=after):
                assert len(page) <= size
                seen += page
                after = str(getattr(page[-1], listed.key)) if by_key else page[-1]
            assert seen == expected
    for place, one in enumerate(expected):  # without a limit as well
        assert await call(after=one) == tuple(expected[place + 1 :])


@pytest.mark.parametrize("name", LISTS)
async def test_an_empty_list_is_a_tuple(backend: PersistenceBackend, name: str) -> None:
    assert await method(backend, LISTS[name])() == ()
    assert await method(backend, LISTS[name])(limit=1) == ()


@pytest.mark.parametrize("name", LISTS)
async def test_a_page_begins_where_a_deleted_entity_was(
    backend: PersistenceBackend, name: str
) -> None:
    listed = LISTS[name]
    expected = await fill(backend, listed)
    repository = getattr(backend, listed.repository)
    if not hasattr(repository, "delete"):
        return  # append-only
    await repository.delete(getattr(expected[2], listed.key))
    assert await method(backend, listed)(after=expected[2]) == tuple(expected[3:])


async def test_users_in_pages_by_id(backend: PersistenceBackend) -> None:
    everybody = await fill(backend, LISTS["list_users"])
    expected = sorted(everybody, key=lambda user: user.id)
    for size in (1, 2, 3, 50):
        seen: list[Any] = []
        after: str | None = None
        while page := await backend.users.list_users_paginated(after_id=after, limit=size):
            seen += page
            after = page[-1].id
        assert seen == expected
    assert await backend.users.count() == len(expected)


async def test_tasks_past_an_offset(backend: PersistenceBackend) -> None:
    expected = tuple(await fill(backend, LISTS["list_tasks"]))
    listing = backend.tasks.list_tasks
    for offset in range(len(expected) + 2):
        assert await listing(offset=offset) == expected[offset:]
        assert await listing(offset=offset, limit=2) == expected[offset : offset + 2]
        assert await listing(offset=offset, after=expected[1]) == expected[2 + offset :]


async def test_costs_in_the_order_of_saving(backend: PersistenceBackend) -> None:
    made = [
        entity(
            "cost_records", agent_id=pick(n, "a", "b"), task_id=pick(n // 2, "t", "u", "v"),
            timestamp=moment(n), cost_usd=n / 4, input_tokens=1,
        )
        for n in range(20)
    ]  # fmt: skip
    for one in made:
        await backend.cost_records.save(one)  # type: ignore[arg-type]
    costs = backend.cost_records
    for agent, task in product((None, "a", "A"), (None, "t", "v")):
        expected = [
            one
            for one in made
            if agent in (None, one.agent_id) and task in (None, one.task_id)  # type: ignore[attr-defined]
        ]
        given: dict[str, Any] = {"agent_id": agent, "task_id": task}
        assert await costs.query(**given) == tuple(expected)
        assert await costs.aggregate(**given) == sum(one.cost_usd for one in expected)  # type: ignore[attr-defined]
        seen: list[Any] = []
        while page := await costs.query(**given, limit=3, after=seen[-1] if seen else None):
            seen += page
        assert seen == expected


async def test_settings_in_pages(backend: PersistenceBackend) -> None:
    items = [(space, key, f"{space}{key}", "1") for space in ("n", "m", "é") for key in NAMES]
    assert await backend.settings.set_many(list(reversed(items)))
    expected = sorted(items)
    for size in (1, 5, 36, 40):
        seen: list[Any] = []
        while page := await backend.settings.get_all(limit=size, after=seen[-1] if seen else None):
            seen += page
        assert seen == expected
    for space in ("n", "é"):
        rows = tuple(item[1:] for item in expected if item[0] == space)
        assert await backend.settings.get_namespace(space) == rows
        one = await backend.settings.get_namespace(space, limit=2)
        two = await backend.settings.get_namespace(space, after=one[-1])
        assert one + two == rows
        assert await backend.settings.get_namespace(space, after="aa") == rows[6:]
    assert await backend.settings.delete_namespace_returning_keys("é") == tuple(sorted(NAMES))
    assert await backend.settings.delete_namespace("n") == len(NAMES)


@pytest.mark.parametrize("rows", [0, 1, 999, 1000, 1001, 2000])
async def test_lists_of_every_length_inside_a_transaction(
    backend: PersistenceBackend, rows: int
) -> None:
    """Long lists are read in pieces; twice, since a piece may leave something open."""
    await asyncio.gather(
        *(backend.settings.set("n", f"{number:05}", "v", "1") for number in range(rows))
    )
    async with backend.transaction() as tx:
        for _ in range(3):
            assert len(await tx.settings.get_namespace("n")) == rows
        async with tx.transaction() as inner:
            assert len(await inner.settings.get_all()) == rows
        assert await tx.settings.set("n", "later", "v", "1")
    assert len(await backend.settings.get_namespace("n")) == rows + 1
