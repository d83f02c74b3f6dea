"""Tasks and projects."""

from __future__ import annotations

import operator
from typing import Any, Protocol, runtime_checkable

from sqlalchemy import func

from holdfast import validation
from holdfast.entities import (
    Project,
    ProjectStatus,
    Task,
    TaskStatus,
)
from holdfast.errors import RecordNotFoundError
from holdfast.repositories.claims import TASKS, Claims
from holdfast.schema.tasks import projects, tasks
from holdfast.storage.listing import EntityListing, Listing
from holdfast.storage.records import Keyed
from holdfast.storage.repository import Repository, provide
from holdfast.storage.statements import insert, update_by

__all__ = [
    "ProjectRepository",
    "TaskRepositories",
    "TaskRepository",
]


@runtime_checkable
class TaskRepository(Protocol):
    """Tasks by ``id``."""

    async def save(self, task: Task) -> None:
        """Save a task: insert it, or replace the one with its id.

        Checks neither transitions nor versions: the last save wins.
        """

    async def get(self, task_id: str) -> Task | None:
        """Return the task with this id; ``None`` if there is none."""

    async def list_tasks(
        self,
        *,
        status: TaskStatus | None = None,
        assigned_to: str | None = None,
        project: str | None = None,
        limit: int | None = None,
        offset: int = 0,
        after: Task | str | None = None,
    ) -> tuple[Task, ...]:
        """Return the tasks that match all filters, in order of ``id``.

        For pages prefer ``after`` to ``offset``, which reads what it passes over. ``after`` is the
        last task seen, or its id.
        """

    async def count_tasks(
        self,
        *,
        status: TaskStatus | None = None,
        assigned_to: str | None = None,
        project: str | None = None,
    ) -> int:
        """Count the tasks that match all filters, without reading them."""

    async def delete(self, task_id: str) -> bool:
        """Delete the task; False if there is none.

        A task with decision records (``decision_records.task_id``) is a `ConstraintViolationError`;
        cost records and metrics stay and do not prevent it.
        """

    async def claim(self, agent_id: str, *, project: str | None = None) -> Task | None:
        """Hand the next claimable task to this caller and no other, across processes.

        Claimable is a task with status ``created`` whose dependencies are all ``completed`` (one
        that is not stored is not), and whose delegation chain does not hold ``agent_id``. The
        highest priority goes first, then the first saved. The task comes back as it is stored
        now: ``assigned`` to ``agent_id``. ``None``: nothing is claimable at the moment.

        A caller who is cancelled leaves no task behind: it is given back, and keeps its place. A
        task that cannot be read is passed over, with a line in the log, and stays as it is; when
        nothing else is claimable, it is the `MalformedRowError`.
        """


@runtime_checkable
class ProjectRepository(Protocol):
    """Projects by ``id``."""

    async def save(self, project: Project) -> None:
        """Save a project: insert it, or replace the one with its id."""

    async def create(self, project: Project) -> None:
        """Insert a project; `DuplicateRecordError` if the id is taken."""

    async def update(self, project: Project) -> None:
        """Replace a stored project; `RecordNotFoundError` if there is none with its id."""

    async def get(self, project_id: str) -> Project | None:
        """Return the project with this id; ``None`` if there is none."""

    async def list_projects(
        self,
        *,
        status: ProjectStatus | None = None,
        lead: str | None = None,
        limit: int | None = None,
        after: Project | str | None = None,
    ) -> tuple[Project, ...]:
        """Return the projects that match all filters, in order of ``id``.

        ``after`` is the last project seen, or its id.
        """

    async def delete(self, project_id: str) -> bool:
        """Delete the project; False if there is none. Its tasks stay."""


class TaskRepositories(Protocol):
    """The repositories of this module, as a backend or a transaction offers them."""

    @property
    def tasks(self) -> TaskRepository:
        """Tasks by ``id``, and `claim`, which hands them out."""
        return provide(self, _Tasks)

    @property
    def projects(self) -> ProjectRepository:
        """Projects by ``id``."""
        return provide(self, _Projects)


_TASK_FILTERS = {
    "status": ("status", operator.eq),
    "assigned_to": ("assigned_to", operator.eq),
    "project": ("project", operator.eq),
}
_LIST_TASKS = EntityListing(
    "tasks.list_tasks",
    TASKS.mapper,
    order=("id",),
    filters=_TASK_FILTERS,
)
_COUNT_TASKS = Listing(
    "tasks.count_tasks",
    tasks,
    (func.count().label("tasks"),),
    lambda row: int(row[0]),
    order=(),
    filters=_TASK_FILTERS,
)


class _Tasks(Repository, TaskRepository):
    table = tasks

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._claims = Claims(self)

    async def save(self, task: Task) -> None:
        await TASKS.save(self, task)

    async def get(self, task_id: str) -> Task | None:
        return await TASKS.get(self, task_id)

    async def list_tasks(
        self,
        *,
        status: TaskStatus | None = None,
        assigned_to: str | None = None,
        project: str | None = None,
        limit: int | None = None,
        offset: int = 0,
        after: Task | str | None = None,
    ) -> tuple[Task, ...]:
        filters = _task_filters(_LIST_TASKS.name, status, assigned_to, project)
        return await _LIST_TASKS.fetch(self, filters, limit=limit, after=after, offset=offset)

    async def count_tasks(
        self,
        *,
        status: TaskStatus | None = None,
        assigned_to: str | None = None,
        project: str | None = None,
    ) -> int:
        filters = _task_filters(_COUNT_TASKS.name, status, assigned_to, project)
        return (await _COUNT_TASKS.fetch(self, filters, limit=1))[0]

    async def delete(self, task_id: str) -> bool:
        return await TASKS.delete(self, task_id)

    async def claim(self, agent_id: str, *, project: str | None = None) -> Task | None:
        validation.not_blank(agent_id, "tasks.claim: agent_id")
        validation.optional(validation.not_blank, project, "tasks.claim: project")
        return await self._claims.next(agent_id, project)


def _task_filters(
    name: str, status: TaskStatus | None, assigned_to: str | None, project: str | None
) -> dict[str, str | None]:
    return {
        "status": validation.optional(validation.choice, status, TaskStatus, f"{name}: status"),
        "assigned_to": validation.optional(validation.text, assigned_to, f"{name}: assigned_to"),
        "project": validation.optional(validation.text, project, f"{name}: project"),
    }


_PROJECTS = Keyed(projects, Project)
_CREATE_PROJECT = insert("projects.create", projects, _PROJECTS.mapper.parameters)
_UPDATE_PROJECT = update_by("projects.update", projects, _PROJECTS.mapper.parameters)
_LIST_PROJECTS = EntityListing(
    "projects.list_projects",
    _PROJECTS.mapper,
    order=("id",),
    filters={"status": ("status", operator.eq), "lead": ("lead", operator.eq)},
)


class _Projects(Repository, ProjectRepository):
    table = projects

    async def save(self, project: Project) -> None:
        await _PROJECTS.save(self, project)

    async def create(self, project: Project) -> None:
        arguments = await _PROJECTS.encode(self, project)
        await self._session.write(_CREATE_PROJECT, arguments)

    async def update(self, project: Project) -> None:
        arguments = await _PROJECTS.encode(self, project)
        if not await self._session.execute(_UPDATE_PROJECT, arguments):
            key = arguments[_PROJECTS.mapper.place("id")]
            raise RecordNotFoundError(f"projects.update: there is no project {key!r}")

    async def get(self, project_id: str) -> Project | None:
        return await _PROJECTS.get(self, project_id)

    async def list_projects(
        self,
        *,
        status: ProjectStatus | None = None,
        lead: str | None = None,
        limit: int | None = None,
        after: Project | str | None = None,
    ) -> tuple[Project, ...]:
        name = _LIST_PROJECTS.name
        filters = {
            "status": self._choice(
                _PROJECTS.mapper, "status", status, ProjectStatus, f"{name}: status"
            ),
            "lead": validation.optional(validation.text, lead, f"{name}: lead"),
        }
        return await _LIST_PROJECTS.fetch(self, filters, limit=limit, after=after)

    async def delete(self, project_id: str) -> bool:
        return await _PROJECTS.delete(self, project_id)
