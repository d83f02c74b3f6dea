"""The same calls on both engines have the same answers and the same errors.

Hypothesis makes sequences of calls over few keys, so that they meet; every answer of one engine is
compared with the other's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from holdfast import PersistenceBackend, PersistenceError, create_backend

from .samples import full, required

KEYS = ("a", "B", "b", "é", "🦑", "\uffee")
NASTY_KEYS = ("", " ", "a\0", "\ud800", 7)
NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)
MOMENTS = [NOW + timedelta(seconds=n) for n in (0, 0.5, 1, 1)]
MOMENTS[3] = MOMENTS[3].astimezone(timezone(timedelta(hours=-7)))

keys = st.sampled_from(KEYS)
agents = st.sampled_from(("ada", "bob", "🦑"))
moments = st.sampled_from(MOMENTS)


@dataclass(frozen=True)
class Call:
    """A call of a repository's method."""

    repository: str
    method: str
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Together:
    """Saves at the same time."""

    calls: list[Call]


@dataclass(frozen=True)
class Transaction:
    """Calls in one transaction, some of them in a savepoint; rolled back if it ``fails``."""

    calls: list[Call]
    nested: list[Call]
    nested_fails: bool
    fails: bool
    tenant: str | None


Step = Call | Together | Transaction


def entity(name: str, /, **fields: Any) -> BaseModel:
    sample = required()[name]
    given_ = {n: getattr(sample, n) for n in sample.model_fields_set}
    return type(sample).model_validate({**given_, **fields})


def built(name: str, /, **fields: Any) -> st.SearchStrategy[BaseModel]:
    def fit(values: dict[str, Any]) -> BaseModel:
        if "dependencies" in values:
            values["dependencies"] = tuple(d for d in values["dependencies"] if d != values["id"])
        return entity(name, **values)

    return st.fixed_dictionaries(fields).map(fit)


def call(
    repository: str, method: str, /, *arguments: Any, **options: Any
) -> st.SearchStrategy[Call]:
    return st.builds(
        Call,
        st.just(repository),
        st.just(method),
        st.tuples(*arguments),
        st.fixed_dictionaries({}, optional=options),
    )


# Rarely something that is refused, to compare how.
key_arguments = st.one_of(*[keys] * 6, st.sampled_from(NASTY_KEYS))
limits = st.one_of(*[st.integers(1, 4)] * 4, st.sampled_from((0, -1, True, "5", 1.5, 2**63)))
offsets = st.one_of(*[st.integers(0, 3)] * 4, st.sampled_from((-1, False, "1", None)))
afters = st.one_of(*[keys] * 4, st.sampled_from(("nobody", "a\0", 3)))
bounds = st.one_of(*[moments] * 5, st.sampled_from((NOW.replace(tzinfo=None), "2026", 5)))

statuses = st.sampled_from(("created", "assigned", "completed", "blocked", "done", ""))
tasks = st.one_of(
    built(
        "tasks", id=keys, title=agents, project=agents, dependencies=st.sampled_from(
            ((), (), ("é",), ("é", "🦑"), ("missing",), ('"\\', "'"))
        ), priority=st.sampled_from(("critical", "high", "medium", "low")),
        delegation_chain=st.sampled_from(((), (), ("ada",), ("ada", "🦑"))),
    ),
    built(
        "tasks", id=keys, project=agents, assigned_to=agents,
        status=st.sampled_from(("assigned", "completed", "blocked")),
    ),
)  # fmt: skip
users = built(
    "users", id=st.one_of(keys, st.just("system")), username=keys,
    role=st.sampled_from(("ceo", "manager", "system")),
    org_roles=st.sampled_from(((), (), ("owner",), ("viewer",))), created_at=moments,
)  # fmt: skip
api_keys = built("api_keys", id=keys, key_hash=keys, user_id=keys, created_at=moments)
messages = built(
    "messages", id=st.integers(0, 5).map(lambda n: f"00000000-0000-0000-0000-{n:012}"),
    timestamp=moments, channel=agents,
)  # fmt: skip
audit_entries = built(
    "audit_entries", id=keys, timestamp=moments, agent_id=agents,
    verdict=st.sampled_from(("allow", "deny")), risk_level=st.sampled_from(("low", "high")),
    action_type=agents,
)  # fmt: skip
costs = built(
    "cost_records", agent_id=agents, task_id=keys, input_tokens=st.just(1),
    cost_usd=st.integers(0, 20).map(lambda n: n / 4),
)  # fmt: skip
checkpoints = built(
    "checkpoints", id=keys, execution_id=agents, task_id=agents, turn_number=st.integers(0, 2),
    created_at=moments,
)  # fmt: skip
heartbeats = built("heartbeats", execution_id=keys, agent_id=agents, last_heartbeat_at=moments)
parked = built(
    "parked_contexts", id=keys, agent_id=agents, approval_id=agents, parked_at=moments
)  # fmt: skip
states = st.one_of(
    built("agent_states", agent_id=keys, last_activity_at=moments),
    built(
        "agent_states", agent_id=keys, last_activity_at=moments, status=st.just("executing"),
        execution_id=agents, started_at=moments,
    ),
)  # fmt: skip
artifacts = built(
    "artifacts", id=keys, task_id=agents, created_by=agents,
    type=st.sampled_from(("code", "tests")),
)  # fmt: skip
projects = built(
    "projects", id=keys, name=agents, lead=agents, status=st.sampled_from(("active", "planning"))
)
roles = st.sampled_from(("ceo", "manager", "system", "king", None))
namespaces = st.one_of(*[st.sampled_from(("n", "m"))] * 5, st.sampled_from(("", "n\0")))
stamps = st.sampled_from(("1", "2", ""))
items = st.lists(st.tuples(namespaces, keys, agents, stamps), max_size=3)
expectations = st.dictionaries(st.tuples(st.just("n"), keys), stamps, max_size=2)
page = {"limit": limits, "after": afters}
task_filters = {"status": statuses, "assigned_to": agents, "project": agents}

SAVES: dict[str, list[st.SearchStrategy[Call]]] = {
    "tasks": [call("tasks", "save", tasks)],
    "projects": [call("projects", verb, projects) for verb in ("save", "create", "update")],
    "artifacts": [call("artifacts", "save", artifacts)],
    "cost_records": [call("cost_records", "save", costs)],
    "messages": [call("messages", "save", messages)],
    "checkpoints": [call("checkpoints", "save", checkpoints)],
    "heartbeats": [call("heartbeats", "save", heartbeats)],
    "parked_contexts": [call("parked_contexts", "save", parked)],
    "agent_states": [call("agent_states", "save", states)],
    "audit_entries": [call("audit_entries", "save", audit_entries)],
    "users": [call("users", "save", users)],
    "api_keys": [call("api_keys", "save", api_keys)],
    "settings": [
        call("settings", "set", namespaces, keys, agents, stamps, expected_updated_at=stamps),
        call("settings", "set_many", items, expected_updated_at_map=expectations),
    ],
}
OTHERS: dict[str, list[st.SearchStrategy[Call]]] = {
    "tasks": [
        call("tasks", "list_tasks", **task_filters, **page, offset=offsets),
        call("tasks", "count_tasks", **task_filters),
        call("tasks", "claim", agents, project=agents),
    ],
    "projects": [
        call("projects", "list_projects", status=st.just("active"), lead=agents, **page),
    ],
    "artifacts": [
        call(
            "artifacts", "list_artifacts", task_id=agents, created_by=agents,
            artifact_type=st.sampled_from(("code", "tests", "film")), **page,
        ),
    ],
    "cost_records": [
        call("cost_records", "query", agent_id=agents, task_id=keys, limit=limits),
        call("cost_records", "aggregate", agent_id=agents, task_id=keys),
    ],
    "messages": [call("messages", "get_history", agents, limit=limits)],
    "checkpoints": [
        call("checkpoints", "get_latest", execution_id=agents, task_id=agents),
        call("checkpoints", "delete_by_execution", agents),
    ],
    "heartbeats": [call("heartbeats", "get_stale", bounds, **page)],
    "parked_contexts": [
        call("parked_contexts", "get_by_approval", agents),
        call("parked_contexts", "get_by_agent", agents, **page),
    ],
    "agent_states": [call("agent_states", "get_active", **page)],
    "audit_entries": [
        call(
            "audit_entries", "query", agent_id=agents, action_type=agents, since=bounds,
            until=bounds, verdict=st.sampled_from(("allow", "maybe")),
            risk_level=st.sampled_from(("low", "?")), **page,
        ),
        call("audit_entries", "purge_before", bounds),
    ],
    "users": [
        call("users", "get_by_username", key_arguments),
        call("users", "list_users", **page),
        st.builds(
            lambda after, limit: Call(
                "users", "list_users_paginated", (), {"after_id": after, "limit": limit}
            ),
            st.none() | afters,
            limits,
        ),
        call("users", "count"),
        call("users", "count_by_role", roles),
    ],
    "api_keys": [
        call("api_keys", "get_by_hash", key_arguments),
        call("api_keys", "list_by_user", key_arguments, **page),
    ],
    "settings": [
        call("settings", "get", namespaces, key_arguments),
        call("settings", "get_all", limit=limits),
        call("settings", "get_namespace", namespaces, **page),
        call("settings", "delete", namespaces, key_arguments),
        call("settings", "delete_namespace", namespaces),
        call("settings", "delete_namespace_returning_keys", namespaces),
    ],
}  # fmt: skip
for _name in ("tasks", "projects", "artifacts", "heartbeats", "parked_contexts", "agent_states",
              "users", "api_keys"):  # fmt: skip
    OTHERS[_name] += [call(_name, verb, key_arguments) for verb in ("get", "delete")]


def saves(*repositories: str) -> st.SearchStrategy[Call]:
    return st.one_of(*(one for name in repositories for one in SAVES[name]))


#: Saves that have an order even at the same time: of one key the last submitted stays, and none is
#: refused because of another one.
ORDERED = (
    "tasks", "projects", "cost_records", "checkpoints", "heartbeats", "parked_contexts",
    "agent_states",
)  # fmt: skip


def calls(*repositories: str) -> st.SearchStrategy[Call]:
    some = [one for name in repositories for one in OTHERS[name]]
    return st.one_of(saves(*repositories), st.one_of(*some))


def steps(*repositories: str) -> st.SearchStrategy[Step]:
    some = calls(*repositories)
    ordered = [SAVES[name][0] for name in repositories if name in ORDERED]
    together = st.builds(Together, st.lists(st.one_of(*ordered), min_size=2, max_size=5))
    transactions = st.builds(
        Transaction,
        st.lists(some, max_size=4),
        st.lists(some, max_size=3),
        st.booleans(),
        st.booleans(),
        st.sampled_from((None, None, "other")),
    )
    return st.one_of(*[some] * 6, transactions, *([together] if ordered else []))


class _StopError(Exception):
    pass


#: Rules that one save can break at the same time; engines look at them in orders of their own.
TWINS = {
    "users.username": "users.unique", "users.single_ceo": "users.unique",
    "users.ceo_minimum": "users.minimum", "users.owner_minimum": "users.minimum",
}  # fmt: skip


def answered(error: Exception) -> Any:
    constraint = getattr(error, "constraint", None)
    return type(error), TWINS.get(str(constraint), constraint)


async def make(owner: Any, one: Call) -> Any:
    try:
        method = getattr(getattr(owner, one.repository), one.method)
        return await method(*one.arguments, **one.options)
    except PersistenceError as error:
        return answered(error)


async def take(backend: PersistenceBackend, step: Step) -> Any:
    if isinstance(step, Call):
        return await make(backend, step)
    if isinstance(step, Together):
        return await asyncio.gather(*(make(backend, one) for one in step.calls))
    answers: list[Any] = []
    try:
        async with backend.transaction() as tx:
            view = tx if step.tenant is None else tx.for_tenant(step.tenant)
            answers += [await make(view, one) for one in step.calls]
            try:
                async with view.transaction() as inner:
                    answers += [await make(inner, one) for one in step.nested]
                    if step.nested_fails:
                        raise _StopError
            except (_StopError, PersistenceError) as error:
                answers.append(answered(error))
            if step.fails:
                raise _StopError
    except (_StopError, PersistenceError) as error:
        answers.append(answered(error))
    return answers


async def contents(backend: PersistenceBackend) -> list[Any]:
    """Everything a tenant has."""
    b = backend
    histories = [await b.messages.get_history(agent) for agent in ("ada", "bob", "🦑")]
    owned = [await b.api_keys.list_by_user(key) for key in (*KEYS, "system")]
    latest = [await b.checkpoints.get_latest(task_id=agent) for agent in ("ada", "bob", "🦑")]
    parked_ = [await b.parked_contexts.get_by_agent(agent) for agent in ("ada", "bob", "🦑")]
    return [
        await b.tasks.list_tasks(), await b.projects.list_projects(),
        await b.artifacts.list_artifacts(), await b.cost_records.query(), histories, latest,
        await b.heartbeats.get_stale(NOW + timedelta(days=1)), parked_,
        await b.agent_states.get_active(), await b.audit_entries.query(limit=None),
        await b.users.list_users_paginated(after_id=None, limit=99), await b.users.get("system"),
        await b.users.list_users(), owned, await b.settings.get_all(),
    ]  # fmt: skip


async def paged(backend: PersistenceBackend, size: int) -> list[Any]:
    """Every list in pages, each from behind the last entity of the one before."""
    b = backend
    lists: list[tuple[Any, tuple[Any, ...]]] = [
        (b.tasks.list_tasks, ()), (b.projects.list_projects, ()),
        (b.artifacts.list_artifacts, ()), (b.cost_records.query, ()),
        (b.messages.get_history, ("ada",)), (b.heartbeats.get_stale, (NOW + timedelta(days=1),)),
        (b.parked_contexts.get_by_agent, ("ada",)), (b.agent_states.get_active, ()),
        (b.audit_entries.query, ()), (b.users.list_users, ()), (b.api_keys.list_by_user, ("a",)),
        (b.settings.get_all, ()), (b.settings.get_namespace, ("n",)),
    ]  # fmt: skip
    pages: list[Any] = []
    for method, arguments in lists:
        seen: list[Any] = []
        while got := await method(*arguments, limit=size, after=seen[-1] if seen else None):
            seen += got
        assert tuple(seen) == await method(*arguments)
        pages.append(seen)
    return pages


class Pair:
    """Both engines on one loop; each example is a tenant of its own."""

    def __init__(self, runner: asyncio.Runner, backends: list[PersistenceBackend]) -> None:
        self._runner = runner
        self._backends = backends
        self._tenants = count()

    def play(self, script: list[Step]) -> None:
        self._runner.run(self._play(script))

    async def _play(self, script: list[Step]) -> None:
        number = next(self._tenants)
        one, other = (backend.for_tenant(f"t{number}") for backend in self._backends)
        for step in script:
            answers = await take(one, step), await take(other, step)
            assert answers[0] == answers[1], step
        assert await contents(one) == await contents(other)
        assert await paged(one, 2) == await paged(other, 2)


@pytest.fixture
def pair(sqlite_url: str, postgres_url: str) -> Iterator[Pair]:
    with asyncio.Runner() as runner:
        backends = [create_backend(url) for url in (sqlite_url, postgres_url)]
        for backend in backends:
            runner.run(backend.connect())
        yield Pair(runner, backends)
        for backend in backends:
            runner.run(backend.disconnect())


def limited(examples: int) -> settings:
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # shrinking plays hundreds of scripts; a script is short enough
        suppress_health_check=list(HealthCheck),
    )


GROUPS = [
    tuple(SAVES),
    ("tasks",),
    ("users", "api_keys"),
    ("settings",),
    ("messages", "audit_entries", "cost_records"),
    ("checkpoints", "heartbeats", "parked_contexts", "agent_states"),
    ("projects", "artifacts"),
]


@pytest.mark.parametrize("group", GROUPS, ids="+".join)
def test_both_engines_answer_alike(pair: Pair, group: tuple[str, ...]) -> None:
    @limited(40)
    @given(st.lists(steps(*group), min_size=8, max_size=30))
    def check(script: list[Step]) -> None:
        pair.play(script)

    check()


def test_samples_are_stored_alike(pair: Pair) -> None:
    samples = full()
    owner = samples["users"].model_copy(update={"id": "u"})
    script: list[Step] = [Call("users", "save", (owner,))]
    script += [Call(name, "save", (samples[name],)) for name in samples]
    pair.play([*script, *script])
