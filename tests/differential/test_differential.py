"""The same calls on both engines have the same answers, the same errors, and leave the same.

Hypothesis makes sequences of calls over few keys, so that they meet; every answer of one engine is
compared with the other's. ``HOLDFAST_DIFFERENTIAL=500`` plays as many sequences of each group, from
``HOLDFAST_SEED`` on.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from inspect import isfunction
from typing import Any, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from holdfast import DuplicateRecordError, User, WorkflowDefinition, create_backend
from holdfast.repositories import Repositories
from holdfast.storage.mapping import MAPPERS
from holdfast.testing.samples import full

from ..faults.scorecard import sized
from .calls import OFFERS
from .player import Pair
from .steps import Call, Offer, Step, Together, Transaction, Wait, chosen
from .views import MADE
from .world import World

EXAMPLES = int(os.environ.get("HOLDFAST_DIFFERENTIAL", "0"))
SEED = int(os.environ.get("HOLDFAST_SEED", "7"))

#: What belongs together, or is alike enough for one test.
GROUPS = [
    ("tasks",),
    ("projects", "artifacts", "project_cost_aggregates"),
    ("workflow_definitions", "workflow_executions"),
    ("checkpoints", "heartbeats", "parked_contexts", "agent_states"),
    ("messages", "audit_entries", "cost_records"),
    ("lifecycle_events", "task_metrics", "collaboration_metrics"),
    ("users", "api_keys"),
    ("users", "sessions", "refresh_tokens"),
    ("lockouts", "strict_lockouts"),
    ("settings", "custom_presets"),
    ("idempotency_keys",),
    ("tasks", "decision_records"),
    ("approvals",),
    ("risk_overrides", "ssrf_violations", "circuit_breaker_state"),
    ("workflow_versions", "identity_versions", "evaluation_config_versions"),
    ("budget_config_versions", "company_versions", "role_versions"),
    ("company_versioning", "company_versions", "role_versioning", "role_versions"),
    ("org_facts",),
]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(engines=2)
    made.install(monkeypatch)
    return made


@pytest.fixture
def connected(sqlite_url: str, postgres_url: str) -> Iterator[tuple[asyncio.Runner, list[Any]]]:
    with asyncio.Runner() as runner:
        backends = [create_backend(url) for url in (sqlite_url, postgres_url)]
        for backend in backends:
            runner.run(backend.connect())
        yield runner, backends
        for backend in backends:
            runner.run(backend.disconnect())


@pytest.fixture
def pair(connected: tuple[asyncio.Runner, list[Any]], world: World) -> Pair:
    return Pair(*connected, world)


def steps(offers: Sequence[Offer]) -> st.SearchStrategy[Step]:
    some = chosen(*(offer.all() for offer in offers))
    ordered = [offer.changes()[0] for offer in offers if offer.ordered]
    transactions = st.builds(
        Transaction,
        st.lists(some, max_size=4),
        st.lists(some, max_size=3),
        st.booleans(),
        st.booleans(),
        st.sampled_from((False, False, True)),
    )
    waits = st.builds(Wait, st.sampled_from((-2.5, 0.5, 4, 1000)))
    if ordered:
        together = st.builds(Together, st.lists(chosen(*ordered), min_size=2, max_size=5))
        return chosen(*[some] * 7, transactions, waits, together)
    return chosen(*[some] * 7, transactions, waits)


def check(pair: Pair, names: Sequence[str], examples: int, first: int = SEED) -> None:
    offers = [OFFERS[name] for name in names]
    before = [one for offer in offers for one in offer.before]

    @seed(first)
    @settings(
        max_examples=EXAMPLES or examples,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        phases=[Phase.generate],  # shrinking plays hundreds of scripts; a script is short enough
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(steps(offers), min_size=8, max_size=30))
    def play(script: list[Step]) -> None:
        pair.play([*before, *script], offers)

    play()


def members(protocol: Any) -> set[str]:
    """The methods, and the properties."""
    return {
        name for name, member in vars(get_origin(protocol) or protocol).items()
        if not name.startswith("_") and (isfunction(member) or isinstance(member, property))
    }  # fmt: skip


def promised() -> set[tuple[str, str]]:
    """Every method of every repository."""
    return {
        (name, method)
        for protocol in Repositories.__mro__
        for name, member in vars(protocol).items()
        if isinstance(member, property) and member.fget is not None
        for method in members(get_type_hints(member.fget)["return"])
    }


@pytest.mark.parametrize("names", GROUPS, ids="+".join)
def test_both_engines_answer_alike(pair: Pair, names: tuple[str, ...]) -> None:
    earlier = {name for group in GROUPS[: GROUPS.index(names)] for name in group}
    wanted = {one for one in promised() if one[0] in {*names} - earlier}
    for more in range(10):  # mostly one is enough to call everything
        check(pair, names, sized(20, 40), SEED + more)
        if wanted <= pair.answered:
            return
    pytest.fail(f"never called, or refused each time: {sorted(wanted - pair.answered)}")


def test_both_engines_answer_alike_whatever_is_mixed(pair: Pair) -> None:
    check(pair, tuple(OFFERS), 6)


def test_that_every_repository_is_in_a_group() -> None:
    grouped = {name for names in GROUPS for name in names}
    assert grouped - MADE.keys() == {name for name, _ in promised()}
    assert grouped == OFFERS.keys()
    some = {("tasks", "claim"), ("role_versions", "list_versions"), ("lockouts", "is_locked")}
    assert some <= promised()


def test_samples_are_stored_alike(pair: Pair, connected: tuple[asyncio.Runner, list[Any]]) -> None:
    kinds = {mapper.table: mapper.entity for mapper in reversed(MAPPERS)}
    refers = {
        "user_id": full(User).id, "definition_id": full(WorkflowDefinition).id, "version": 1,
    }  # fmt: skip
    script: list[Call] = []
    for name in OFFERS:
        if name in MADE or name == "refresh_tokens":  # which are made from arguments
            continue
        repository = getattr(connected[1][0], name)
        saves = [verb for verb in ("save", "create", "save_version") if hasattr(repository, verb)]
        if saves and repository.table in kinds:
            kind = kinds[repository.table]
            fields = {field: refers[field] for field in refers.keys() & kind.model_fields.keys()}
            script.append(Call(name, saves[0], (full(kind, **fields),)))
    script.sort(key=lambda one: one.repository not in ("users", "workflow_definitions"))
    pair.play([*script, *script], list(OFFERS.values()))
    assert {(one.repository, one.method) for one in script} <= pair.answered


class Deviant:
    """A backend one method of which is another's."""

    def __init__(self, backend: Any, repository: str, method: str, other: Any) -> None:
        self._backend = backend
        self._other = (repository, method, other)

    def __getattr__(self, name: str) -> Any:
        repository, method, other = self._other
        found = getattr(self._backend, name)
        if name == "for_tenant":
            return lambda tenant: Deviant(found(tenant), repository, method, other)
        return Changed(found, method, other) if name == repository else found


class Changed:
    def __init__(self, repository: Any, method: str, other: Any) -> None:
        self._repository = repository
        self._method = method
        self._other = other

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._repository, name)
        return found if name != self._method else lambda *a, **k: self._other(found, *a, **k)


async def lose(method: Any, *arguments: Any, **options: Any) -> None:
    """Answers like a save and saves nothing."""


async def repeat(method: Any, *arguments: Any, **options: Any) -> Any:
    """Answers what is there already."""
    try:
        return await method(*arguments, **options)
    except DuplicateRecordError:
        return None


async def number(method: Any, *arguments: Any, **options: Any) -> int:
    """A driver's truth."""
    return int(await method(*arguments, **options))


async def turn(method: Any, *arguments: Any, **options: Any) -> Any:
    """Another order."""
    return (await method(*arguments, **options))[::-1]


@pytest.mark.parametrize(
    ("names", "method", "other"),
    [
        (("tasks",), "save", lose),
        (("approvals",), "delete", number),
        (("lifecycle_events",), "save", repeat),
        (("org_facts",), "snapshot_at", turn),
        (("role_versions",), "list_versions", turn),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_that_a_deviation_is_found(
    connected: tuple[asyncio.Runner, list[Any]],
    world: World,
    names: tuple[str, ...],
    method: str,
    other: Any,
) -> None:
    runner, (one, two) = connected
    pair = Pair(runner, [one, Deviant(two, names[0], method, other)], world)
    with pytest.raises(AssertionError):
        check(pair, names, 40)
