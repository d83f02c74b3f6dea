"""Workflows: optimistic concurrency, and which execution a task belongs to."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast import (
    ConstraintViolationError,
    DuplicateRecordError,
    InvalidArgumentError,
    PersistenceBackend,
    QueryError,
    VersionConflictError,
    WorkflowDefinition,
    WorkflowExecution,
)

NOW = datetime(2026, 1, 31, 9, 0, 0, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
START = {"id": "s", "type": "start", "label": "Start"}
END = {"id": "e", "type": "end", "label": "End"}


def definition(key: str = "w", **fields: Any) -> WorkflowDefinition:
    defaults = {
        "name": "n", "nodes": [START, END], "created_by": "ada", "created_at": NOW,
        "updated_at": NOW,
    }  # fmt: skip
    return WorkflowDefinition.model_validate({"id": key, **defaults, **fields})


def execution(key: str, *tasks: str, **fields: Any) -> WorkflowExecution:
    """A running one, whose nodes have these tasks."""
    nodes = [
        {"node_id": f"n{n}", "node_type": "task", "status": "task_created", "task_id": task}
        for n, task in enumerate(tasks)
    ]
    defaults = {
        "definition_id": "w", "definition_version": 1, "status": "running", "activated_by": "ada",
        "project": "p", "created_at": NOW, "updated_at": NOW,
        "node_executions": [{"node_id": "s", "node_type": "start"}, *nodes],
    }  # fmt: skip
    return WorkflowExecution.model_validate({"id": key, **defaults, **fields})


def over(key: str, *tasks: str, **fields: Any) -> WorkflowExecution:
    return execution(key, *tasks, status="completed", completed_at=LATER, **fields)


async def test_a_definition_is_created_once(backend: PersistenceBackend) -> None:
    definitions = backend.workflow_definitions
    await definitions.save(definition())
    for again in (definition(), definition(name="other")):
        with pytest.raises(VersionConflictError, match="version 1 of what exists already"):
            await definitions.save(again)
    assert await definitions.get("w") == definition()


async def test_what_is_not_there_is_not_updated(backend: PersistenceBackend) -> None:
    for version in (2, 7):
        with pytest.raises(VersionConflictError, match=f"needs version {version - 1} stored"):
            await backend.workflow_definitions.save(definition(version=version))
    assert await backend.workflow_definitions.list_definitions() == ()


async def test_only_the_version_before_is_updated(backend: PersistenceBackend) -> None:
    definitions = backend.workflow_definitions
    await definitions.save(definition())
    await definitions.save(definition(version=2, name="two", created_by="eve", created_at=LATER))
    second = definition(version=2, name="two")
    assert await definitions.get("w") == second
    for stale in (2, 4, 2**63 - 1):
        with pytest.raises(VersionConflictError) as caught:
            await definitions.save(definition(version=stale, name="stale"))
        assert isinstance(caught.value, QueryError)
        assert caught.value.is_retryable is False
        assert await definitions.get("w") == second
    nodes = [START, {"id": "t", "type": "task", "label": "T", "config": {"deep": [1, {}]}}, END]
    edges = [{"id": "1", "source_node_id": "s", "target_node_id": "t"}]
    third = definition(version=3, nodes=nodes, edges=edges, workflow_type="kanban", description="d")
    await definitions.save(third)
    assert await definitions.get("w") == third


@pytest.mark.alone
async def test_create_if_absent_and_update_if_exists(backend: PersistenceBackend) -> None:
    definitions = backend.workflow_definitions
    assert await definitions.update_if_exists(definition(version=2)) is False
    assert await definitions.update_if_exists(definition()) is False
    assert await definitions.get("w") is None
    assert await definitions.create_if_absent(definition(version=4)) is True
    assert await definitions.create_if_absent(definition(version=4)) is False
    assert await definitions.create_if_absent(definition(version=5, name="other")) is False
    assert await definitions.get("w") == definition(version=4)
    changed = definition(version=5, name="five", created_by="eve", created_at=LATER)
    assert await definitions.update_if_exists(changed) is True
    fifth = definition(version=5, name="five")
    assert await definitions.get("w") == fifth
    for stale in (1, 4, 5, 7):
        with pytest.raises(VersionConflictError):
            await definitions.update_if_exists(definition(version=stale))
    assert await definitions.get("w") == fifth
    other = backend.for_tenant("other").workflow_definitions
    assert await other.update_if_exists(definition(version=6)) is False
    assert await other.create_if_absent(definition()) is True


async def test_a_naive_time_is_read_as_utc(backend: PersistenceBackend) -> None:
    naive = NOW.replace(tzinfo=None)
    one = definition(created_at=naive, updated_at=naive)
    await backend.workflow_definitions.save(one)
    await backend.workflow_executions.save(over("x", updated_at=naive, created_at=naive))
    stored = await backend.workflow_definitions.get("w")
    assert stored is not None
    assert stored.created_at == stored.updated_at == NOW
    assert await backend.workflow_executions.get("x") == over("x")


async def test_of_many_updates_of_one_version_one_is_written(backend: PersistenceBackend) -> None:
    await backend.workflow_definitions.save(definition())
    await backend.workflow_executions.save(execution("x", "t"))
    rivals: tuple[tuple[Any, list[Any]], ...] = (
        (backend.workflow_definitions.save, [definition(version=2, name=f"{n}") for n in range(8)]),
        (
            backend.workflow_executions.save,
            [execution("x", f"t{n}", version=2, project=f"{n}") for n in range(8)],
        ),
    )
    for save, made in rivals:
        answers = await asyncio.gather(*(save(one) for one in made), return_exceptions=True)
        assert answers.count(None) == 1
        assert sum(isinstance(answer, VersionConflictError) for answer in answers) == 7
    stored = await backend.workflow_executions.get("x")
    assert stored is not None
    for n in range(8):
        found = await backend.workflow_executions.find_by_task_id(f"t{n}")
        assert found == (stored if stored.project == f"{n}" else None)
    assert await backend.workflow_executions.find_by_task_id("t") is None


async def test_an_execution_is_written_as_it_is_counted(backend: PersistenceBackend) -> None:
    executions = backend.workflow_executions
    await backend.workflow_definitions.save(definition())
    for absent in (execution("x", version=2), execution("x", "t", version=2)):
        with pytest.raises(VersionConflictError):
            await executions.save(absent)
    for first, again in ((execution("x"), execution("x", "t")), (execution("y", "t"), over("y"))):
        await executions.save(first)
        with pytest.raises(DuplicateRecordError):
            await executions.save(first)
        with pytest.raises(DuplicateRecordError):
            await executions.save(again)
        assert await executions.get(first.id) == first
    assert await executions.find_by_task_id("t") == execution("y", "t")
    failed = execution("y", "t", version=2, status="failed", error="e", completed_at=LATER)
    await executions.save(failed)
    for stale in (2, 4):
        with pytest.raises(VersionConflictError, match="load it again"):
            await executions.save(execution("y", "t", version=stale))
    assert await executions.get("y") == failed
    assert await executions.find_by_task_id("t") is None


@pytest.mark.alone
async def test_executions_belong_to_a_definition(backend: PersistenceBackend) -> None:
    await backend.for_tenant("other").workflow_definitions.save(definition())
    for unknown in (execution("x"), execution("x", "t")):
        with pytest.raises(ConstraintViolationError) as caught:
            await backend.workflow_executions.save(unknown)
        assert caught.value.constraint == "workflow_executions.definition_id"
    assert await backend.workflow_executions.get("x") is None
    await backend.workflow_definitions.save(definition())
    await backend.workflow_executions.save(over("x"))
    with pytest.raises(ConstraintViolationError) as caught:
        await backend.workflow_definitions.delete("w")
    assert caught.value.constraint == "workflow_executions.definition_id"
    assert await backend.workflow_definitions.get("w") == definition()
    assert await backend.for_tenant("other").workflow_definitions.delete("w") is True
    assert await backend.workflow_executions.delete("x") is True
    assert await backend.workflow_definitions.delete("w") is True


@pytest.mark.alone
async def test_a_task_finds_its_execution_while_that_runs(backend: PersistenceBackend) -> None:
    executions = backend.workflow_executions
    await backend.workflow_definitions.save(definition())
    await executions.save(execution("x", "t", "u", "t"))
    await executions.save(execution("paused", "p", status="pending"))
    await executions.save(over("done", "d"))
    for task in ("t", "u"):
        assert await executions.find_by_task_id(task) == execution("x", "t", "u", "t")
    for task in ("p", "d", "T", "t%", "n0", "nobody's"):
        assert await executions.find_by_task_id(task) is None
    other = backend.for_tenant("other")
    assert await other.workflow_executions.find_by_task_id("t") is None
    await other.workflow_definitions.save(definition())
    await other.workflow_executions.save(execution("x", "theirs"))
    assert await executions.find_by_task_id("theirs") is None
    assert await other.workflow_executions.find_by_task_id("theirs") == execution("x", "theirs")

    await executions.save(execution("x", "u", "v", version=2))
    assert await executions.find_by_task_id("t") is None
    assert await executions.find_by_task_id("v") == execution("x", "u", "v", version=2)
    await executions.save(over("x", "u", "v", version=3))
    assert await executions.find_by_task_id("u") is None
    await executions.save(execution("x", "u", version=4))  # begun anew
    assert await executions.find_by_task_id("u") == execution("x", "u", version=4)
    assert await executions.delete("x") is True
    assert await executions.find_by_task_id("u") is None
    await executions.save(execution("x", "new"))
    assert await executions.find_by_task_id("u") is None


async def test_of_several_executions_the_latest_is_found(backend: PersistenceBackend) -> None:
    executions = backend.workflow_executions
    await backend.workflow_definitions.save(definition())
    for key, updated_at in (("b", NOW), ("z", NOW - timedelta(microseconds=1)), ("a", NOW)):
        await executions.save(execution(key, "t", key, updated_at=updated_at))
    found = []
    while (one := await executions.find_by_task_id("t")) is not None:
        found.append(one.id)
        await executions.delete(one.id)
    assert found == ["b", "a", "z"]


async def test_the_tasks_of_an_execution_change_with_it(backend: PersistenceBackend) -> None:
    await backend.workflow_definitions.save(definition())
    await backend.workflow_executions.save(execution("x", "old"))
    with pytest.raises(ZeroDivisionError):
        async with backend.transaction() as tx:
            await tx.workflow_executions.save(execution("x", "new", version=2))
            assert await tx.workflow_executions.find_by_task_id("old") is None
            assert await tx.workflow_executions.find_by_task_id("new") is not None
            raise ZeroDivisionError
    find = backend.workflow_executions.find_by_task_id
    assert await find("new") is None
    assert await find("old") == execution("x", "old")
    async with backend.transaction() as tx:
        with pytest.raises(VersionConflictError):
            async with tx.transaction() as inner:
                await inner.workflow_executions.save(execution("y", "lost"))
                await inner.workflow_executions.save(execution("x", "lost", version=3))
        await tx.workflow_executions.save(execution("x", "new", version=2))
    assert await find("lost") is None
    assert await find("old") is None
    assert await find("new") == execution("x", "new", version=2)
    assert await backend.workflow_executions.get("y") is None


async def test_what_was_made_without_checks_is_refused_or_found(
    backend: PersistenceBackend,
) -> None:
    await backend.workflow_definitions.save(definition())
    for nodes in (None, 7, ({"node_id": " "},), "n"):
        with pytest.raises(InvalidArgumentError, match="node_executions"):
            await backend.workflow_executions.save(
                execution("x").model_copy(update={"node_executions": nodes})
            )
    plain = execution("x", "t").model_dump()["node_executions"]
    await backend.workflow_executions.save(
        execution("x").model_copy(update={"node_executions": plain})
    )
    assert await backend.workflow_executions.find_by_task_id("t") == execution("x", "t")
    for wrong in ("x", None, definition()):
        with pytest.raises(InvalidArgumentError, match="takes WorkflowExecution"):
            await backend.workflow_executions.save(wrong)  # type: ignore[arg-type]


async def test_lists(backend: PersistenceBackend) -> None:
    for number, kind in enumerate(("kanban", "agile_kanban", "kanban")):
        await backend.workflow_definitions.save(definition(f"{number}", workflow_type=kind))
    await backend.workflow_definitions.save(definition(updated_at=LATER))
    listed = backend.workflow_definitions.list_definitions
    assert [one.id for one in await listed()] == ["w", "2", "1", "0"]
    assert [one.id for one in await listed(workflow_type="kanban")] == ["2", "0"]  # type: ignore[arg-type]

    executions = backend.workflow_executions
    for one in (execution("a"), over("b"), execution("c", updated_at=LATER)):
        await executions.save(one)
    await executions.save(execution("d", definition_id="0"))
    assert [one.id for one in await executions.list_by_definition("w")] == ["c", "b", "a"]
    assert [one.id for one in await executions.list_by_status("running")] == ["c", "d", "a"]  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="status must be one of"):
        await executions.list_by_status("idle")  # type: ignore[arg-type]
