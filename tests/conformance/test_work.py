"""Tasks, projects and artifacts."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Any

import pytest

from holdfast import (
    Artifact,
    DuplicateRecordError,
    PersistenceBackend,
    Project,
    RecordNotFoundError,
    Task,
    TaskStatus,
)


def task(key: str, **fields: Any) -> Task:
    defaults = {
        "title": "t",
        "description": "d",
        "type": "admin",
        "project": "p",
        "created_by": "m",
    }
    return Task.model_validate({"id": key, **defaults, **fields})


async def save(backend: PersistenceBackend, *tasks: Task) -> None:
    for one in tasks:
        await backend.tasks.save(one)


def ids(found: tuple[Any, ...]) -> list[str]:
    return [one.id for one in found]


async def test_tasks_are_listed_by_code_point(backend: PersistenceBackend) -> None:
    names = ["b", "B", "a", "Z", "é", "z", "10", "9", "_", "ß", "🦑", "\uffee"]
    await save(backend, *(task(name) for name in names))
    assert ids(await backend.tasks.list_tasks()) == sorted(names)


async def test_task_filters_combine(backend: PersistenceBackend) -> None:
    await save(
        backend,
        task("1", project="a"),
        task("2", project="b", status="assigned", assigned_to="ada"),
        task("3", project="a", status="assigned", assigned_to="ada"),
        task("4", project="a", status="assigned", assigned_to="bob"),
    )
    tasks = backend.tasks
    assert ids(await tasks.list_tasks(status=TaskStatus.ASSIGNED)) == ["2", "3", "4"]
    assert ids(await tasks.list_tasks(assigned_to="ada", project="a")) == ["3"]
    assert ids(await tasks.list_tasks(status=TaskStatus.CREATED, project="b")) == []
    assert await tasks.count_tasks() == 4
    assert await tasks.count_tasks(status=TaskStatus.ASSIGNED, project="a") == 2
    assert await tasks.count_tasks(assigned_to="nobody") == 0


async def test_an_enum_of_the_application_filters_by_value(backend: PersistenceBackend) -> None:
    class Mine(StrEnum):
        OPEN = "created"

    await save(backend, task("1"))
    found = await backend.tasks.list_tasks(status=Mine.OPEN)  # type: ignore[arg-type]
    assert ids(found) == ["1"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
async def test_pages_make_up_the_list(backend: PersistenceBackend, size: int) -> None:
    await asyncio.gather(*(backend.tasks.save(task(f"t{n}")) for n in range(7)))
    whole = await backend.tasks.list_tasks()
    by_entity: list[Task] = []
    by_key: list[Task] = []
    by_offset: list[Task] = []
    page = await backend.tasks.list_tasks(limit=size)
    while page:
        by_entity += page
        page = await backend.tasks.list_tasks(limit=size, after=page[-1])
    page = await backend.tasks.list_tasks(limit=size)
    while page:
        by_key += page
        page = await backend.tasks.list_tasks(limit=size, after=page[-1].id)
    while page := await backend.tasks.list_tasks(limit=size, offset=len(by_offset)):
        by_offset += page
    assert tuple(by_entity) == tuple(by_key) == tuple(by_offset) == whole


async def test_a_long_list_is_whole(backend: PersistenceBackend) -> None:
    await asyncio.gather(*(backend.tasks.save(task(f"{n:05}")) for n in range(2_500)))
    assert ids(await backend.tasks.list_tasks()) == [f"{n:05}" for n in range(2_500)]
    assert len(await backend.tasks.list_tasks(limit=2_400)) == 2_400


async def test_deleting(backend: PersistenceBackend) -> None:
    await save(backend, task("1"))
    assert await backend.tasks.delete("1") is True
    assert await backend.tasks.delete("1") is False
    assert await backend.tasks.get("1") is None


class TestClaim:
    async def test_goes_by_priority_then_by_first_save(self, backend: PersistenceBackend) -> None:
        await save(
            backend,
            task("a", priority="low"),
            task("b", priority="medium"),
            task("c", priority="critical"),
            task("d", priority="high"),
            task("e", priority="medium"),
        )
        await save(backend, task("b", priority="medium", title="saved again"))
        claimed = [await backend.tasks.claim("ada") for _ in range(6)]
        assert [one.id if one else None for one in claimed] == ["c", "d", "b", "e", "a", None]

    async def test_answers_what_is_stored(self, backend: PersistenceBackend) -> None:
        await save(backend, task("1", reviewers=("r",)))
        claimed = await backend.tasks.claim("ada")
        assert claimed == task("1", reviewers=("r",), status="assigned", assigned_to="ada")
        assert await backend.tasks.get("1") == claimed

    async def test_waits_for_dependencies(self, backend: PersistenceBackend) -> None:
        await save(
            backend,
            task("needs", dependencies=("one", "two"), priority="critical"),
            task("one", status="completed", assigned_to="x"),
        )
        assert await backend.tasks.claim("ada") is None  # "two" is not stored
        await save(backend, task("two", status="in_review", assigned_to="x"))
        assert await backend.tasks.claim("ada") is None
        await save(backend, task("two", status="completed", assigned_to="x"))
        claimed = await backend.tasks.claim("ada")
        assert claimed is not None
        assert claimed.id == "needs"

    async def test_keeps_to_a_project(self, backend: PersistenceBackend) -> None:
        await save(backend, task("a", project="x", priority="critical"), task("b", project="y"))
        claimed = await backend.tasks.claim("ada", project="y")
        assert claimed is not None
        assert claimed.id == "b"
        assert await backend.tasks.claim("ada", project="y") is None

    async def test_passes_over_who_delegated_it(self, backend: PersistenceBackend) -> None:
        await save(backend, task("a", delegation_chain=("root", "ada")))
        assert await backend.tasks.claim("ada") is None
        claimed = await backend.tasks.claim("grace")
        assert claimed is not None
        assert claimed.assigned_to == "grace"

    async def test_gives_each_task_to_one_of_many(self, backend: PersistenceBackend) -> None:
        await asyncio.gather(*(backend.tasks.save(task(f"t{n}")) for n in range(40)))
        claimed = await asyncio.gather(*(backend.tasks.claim(f"a{n}") for n in range(50)))
        got = [one.id for one in claimed if one is not None]
        assert sorted(got) == sorted(f"t{n}" for n in range(40))

    async def test_is_undone_with_its_transaction(self, backend: PersistenceBackend) -> None:
        await save(backend, task("1"))
        with pytest.raises(ZeroDivisionError):
            async with backend.transaction() as tx:
                assert await tx.tasks.claim("ada") is not None
                raise ZeroDivisionError
        assert await backend.tasks.claim("grace") is not None


async def test_projects_create_and_update(backend: PersistenceBackend) -> None:
    projects = backend.projects
    with pytest.raises(RecordNotFoundError):
        await projects.update(Project(id="p", name="n"))
    await projects.create(Project(id="p", name="n"))
    with pytest.raises(DuplicateRecordError):
        await projects.create(Project(id="p", name="other"))
    assert await projects.get("p") == Project(id="p", name="n")
    changed = Project(id="p", name="m", lead="ada", team=("ada",), status="active", budget=2)
    await projects.update(changed)
    assert await projects.get("p") == changed
    assert await projects.delete("p") is True
    assert await projects.delete("p") is False


async def test_projects_are_filtered_and_ordered(backend: PersistenceBackend) -> None:
    for key, status, lead in (("3", "active", "a"), ("1", "active", "b"), ("2", "planning", "a")):
        await backend.projects.save(
            Project.model_validate({"id": key, "name": "n", "status": status, "lead": lead})
        )
    assert ids(await backend.projects.list_projects()) == ["1", "2", "3"]
    assert ids(await backend.projects.list_projects(status="active")) == ["1", "3"]  # type: ignore[arg-type]
    assert ids(await backend.projects.list_projects(status="active", lead="a")) == ["3"]  # type: ignore[arg-type]
    assert ids(await backend.projects.list_projects(limit=1, after="1")) == ["2"]


async def test_artifacts_tell_insert_from_update(backend: PersistenceBackend) -> None:
    first = Artifact.model_validate(
        {"id": "a", "type": "code", "path": "x", "task_id": "t", "created_by": "ada"}
    )
    assert await backend.artifacts.save(first) is True
    assert await backend.artifacts.save(first.model_copy(update={"path": "y"})) is False
    assert await backend.artifacts.delete("a") is True
    assert await backend.artifacts.save(first) is True
    second = first.model_copy(update={"id": "b", "task_id": "u", "type": "tests"})
    await backend.artifacts.save(second)
    listing = backend.artifacts.list_artifacts
    assert ids(await listing()) == ["a", "b"]
    assert ids(await listing(task_id="u")) == ["b"]
    assert ids(await listing(created_by="ada", artifact_type="code")) == ["a"]  # type: ignore[arg-type]
    assert ids(await listing(after="a")) == ["b"]
