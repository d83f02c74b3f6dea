"""Versions: numbered without gaps or repeats, and each somebody's own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from holdfast import (
    DuplicateRecordError,
    PersistenceBackend,
    VersionConflictError,
    VersioningService,
    VersionSnapshot,
)
from holdfast.entities import DecisionOutcome, DecisionRecord, Role
from tests.entities.samples import NOW, make

from .racers import PROCESSES, Race, Racer, winners

CALLS = 10
ROUNDS = 20


async def review(racer: Racer, record_id: str, task_id: str) -> DecisionRecord:
    return await racer.backend.decision_records.append_with_next_version(
        record_id=record_id, task_id=task_id, approval_id=None, executing_agent_id="ada",
        reviewer_agent_id=racer.name, decision=DecisionOutcome.APPROVED, reason=None,
        criteria_snapshot=(), recorded_at=NOW,
    )  # fmt: skip


async def _review(racer: Racer) -> list[tuple[str, str, int]]:
    """Of two tasks in turn, half of the processes beginning with the other one."""
    made = []
    for n in range(2 * CALLS):
        record = await review(racer, f"{racer.name}/{n}", f"t{(n + racer.number) % 2}")
        made.append((record.task_id, record.id, record.version))
    return made


async def test_reviews_are_numbered_per_task(race: Race, backend: PersistenceBackend) -> None:
    for task_id in ("t0", "t1"):
        await backend.tasks.save(make("Task", id=task_id))
    made = [record for records in await race(_review) for record in records]
    for task_id in ("t0", "t1"):
        stored = await backend.decision_records.list_by_task(task_id)
        assert [record.version for record in stored] == list(range(1, PROCESSES * CALLS + 1))
        assert {(task_id, record.id, record.version) for record in stored} == {
            record for record in made if record[0] == task_id
        }


async def _define(racer: Racer) -> list[tuple[bool, bool]]:
    """Who created it if it was absent, and who saved version 1."""
    definitions, won = racer.backend.workflow_definitions, []
    for n in range(ROUNDS):
        await racer.meet()
        created = await definitions.create_if_absent(
            make("WorkflowDefinition", id=f"a{n}", created_by=racer.name)
        )
        try:
            await definitions.save(make("WorkflowDefinition", id=f"b{n}", created_by=racer.name))
            won.append((created, True))
        except VersionConflictError:
            won.append((created, False))
    return won


async def test_one_creates_a_definition(race: Race, backend: PersistenceBackend) -> None:
    answers = await race(_define)
    for place, kind in enumerate("ab"):
        for n, winner in enumerate(winners([[pair[place] for pair in won] for won in answers])):
            stored = await backend.workflow_definitions.get(f"{kind}{n}")
            assert stored is not None
            assert stored.created_by == winner


async def _revise(racer: Racer) -> tuple[list[int], int]:
    """Versions made, and how often somebody was faster."""
    definitions, made, lost = racer.backend.workflow_definitions, list[int](), 0
    while len(made) < CALLS:
        stored = await definitions.get("w")
        assert stored is not None
        mine = stored.model_copy(update={"version": stored.version + 1, "description": racer.name})
        try:
            if racer.number % 2:
                await definitions.save(mine)
            else:
                assert await definitions.update_if_exists(mine)
            made.append(mine.version)
        except VersionConflictError:
            lost += 1
    return made, lost


async def test_each_version_of_a_definition_has_one_author(
    race: Race, backend: PersistenceBackend
) -> None:
    await backend.workflow_definitions.save(make("WorkflowDefinition", id="w"))
    answers = await race(_revise)
    last = 1 + PROCESSES * CALLS
    assert sorted(v for made, _ in answers for v in made) == list(range(2, last + 1))
    assert sum(lost for _, lost in answers) > 0  # they did compete
    stored = await backend.workflow_definitions.get("w")
    assert stored is not None
    assert stored.version == last
    (author,) = [number for number, (made, _) in enumerate(answers) if last in made]
    assert stored.description == f"racer-{author}"


def _execution(version: int, task_id: str, **fields: Any) -> Any:
    node = {
        "node_id": "n", "node_type": "task", "status": "task_created", "task_id": task_id,
    }  # fmt: skip
    return make(
        "WorkflowExecution", version=version, status="running", node_executions=(node,), **fields
    )


async def _start(racer: Racer) -> list[bool]:
    won = []
    for n in range(ROUNDS):
        await racer.meet()
        try:
            await racer.backend.workflow_executions.save(
                _execution(1, f"{racer.name}/{n}", id=f"x{n}", activated_by=racer.name)
            )
            won.append(True)
        except DuplicateRecordError:
            won.append(False)
    return won


async def test_one_starts_an_execution(race: Race, backend: PersistenceBackend) -> None:
    await backend.workflow_definitions.save(make("WorkflowDefinition", id="w"))
    executions = backend.workflow_executions
    for n, winner in enumerate(winners(await race(_start))):
        stored = await executions.get(f"x{n}")
        assert stored is not None
        assert stored.activated_by == winner
        for name in (f"racer-{number}" for number in range(PROCESSES)):
            found = await executions.find_by_task_id(f"{name}/{n}")
            assert found == (stored if name == winner else None)


async def _go_on(racer: Racer) -> list[int]:
    executions, made = racer.backend.workflow_executions, list[int]()
    while len(made) < CALLS:
        stored = await executions.get("x")
        assert stored is not None
        version = stored.version + 1
        task_id = f"{racer.name}/{version}"
        try:
            await executions.save(_execution(version, task_id, id="x"))
        except VersionConflictError:
            continue
        made.append(version)
        found = await executions.find_by_task_id(task_id)
        assert found is None or found.node_executions[0].task_id == task_id
    return made


async def test_an_execution_is_found_by_the_tasks_of_its_last_version(
    race: Race, backend: PersistenceBackend
) -> None:
    await backend.workflow_definitions.save(make("WorkflowDefinition", id="w"))
    executions = backend.workflow_executions
    await executions.save(_execution(1, "first", id="x"))
    answers = await race(_go_on)
    last = 1 + PROCESSES * CALLS
    assert sorted(v for made in answers for v in made) == list(range(2, last + 1))
    stored = await executions.get("x")
    assert stored is not None
    assert stored.version == last
    for number, made in enumerate(answers):
        for version in made:
            found = await executions.find_by_task_id(f"racer-{number}/{version}")
            assert found == (stored if version == last else None)
    assert await executions.find_by_task_id("first") is None


HISTORIES = {
    "workflow_versions": "WorkflowDefinition",
    "identity_versions": "AgentIdentity",
    "evaluation_config_versions": "EvaluationConfig",
    "budget_config_versions": "BudgetConfig",
    "company_versions": "Company",
    "role_versions": "Role",
}


async def _save_versions(racer: Racer) -> dict[str, list[bool]]:
    won: dict[str, list[bool]] = {history: [] for history in HISTORIES}
    for version in range(1, ROUNDS + 1):
        await racer.meet()
        for history, kind in HISTORIES.items():
            snapshot = make(
                "VersionSnapshot", version=version, saved_by=racer.name, snapshot=make(kind)
            )
            repository = getattr(racer.backend, history)
            won[history].append(await repository.save_version(snapshot))
    return won


async def test_each_version_of_a_history_has_one_author(
    race: Race, backend: PersistenceBackend
) -> None:
    answers = await race(_save_versions)
    for history in HISTORIES:
        stored = await getattr(backend, history).list_versions("e")
        assert [one.version for one in stored] == list(range(ROUNDS, 0, -1))
        authors = winners([won[history] for won in answers])
        assert [one.saved_by for one in reversed(stored)] == authors


def _facts(snapshot: VersionSnapshot[Role]) -> tuple[int, str, str]:
    return snapshot.version, snapshot.saved_by, snapshot.snapshot.name


Answers = list[tuple[int, str, str] | None]


async def _take(racer: Racer, names: Sequence[str], *, together: bool) -> Answers:
    service, answers = VersioningService(racer.backend.role_versions), Answers()
    for n, name in enumerate(names):
        if together:
            await racer.meet()
        role = make("Role", name=name)
        made = await service.snapshot_if_changed("e", role, f"{racer.name}/{n}")
        answers.append(None if made is None else _facts(made))
    return answers


async def _take_the_same(racer: Racer) -> Answers:
    return await _take(racer, [f"{n}" for n in range(ROUNDS)], together=True)


async def test_the_same_content_is_one_version(race: Race, backend: PersistenceBackend) -> None:
    answers = await race(_take_the_same)
    stored = [_facts(one) for one in await backend.role_versions.list_versions("e")][::-1]
    assert [(version, name) for version, _, name in stored] == [
        (n + 1, f"{n}") for n in range(ROUNDS)
    ]
    for n, one in enumerate(stored):
        assert {given[n] for given in answers} - {None} == {one}


async def _take_others(racer: Racer) -> Answers:
    """Contents that three processes have in common."""
    names = [f"{(racer.number + n) % 3}" for n in range(ROUNDS)]
    return await _take(racer, names, together=False)


async def test_versions_of_other_contents_have_no_gaps(
    race: Race, backend: PersistenceBackend
) -> None:
    answers = await race(_take_others)
    found = await backend.role_versions.list_versions("e", limit=None)
    stored = [_facts(one) for one in found][::-1]
    assert [version for version, _, _ in stored] == list(range(1, len(stored) + 1))
    assert all(a[2] != b[2] for a, b in pairwise(stored))  # each changed something
    made = {
        f"racer-{number}/{n}": answer
        for number, given in enumerate(answers)
        for n, answer in enumerate(given)
    }
    # Whoever is answered a version finds it stored, and what is stored was answered its author.
    assert all(one == stored[one[0] - 1] for one in made.values() if one is not None)
    assert all(made[one[1]] == one for one in stored)
    assert len({author.split("/")[0] for _, author, _ in stored}) > 1  # they did compete
