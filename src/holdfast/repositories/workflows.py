"""Workflow definitions and their executions."""

from __future__ import annotations

import operator
from typing import Any, Protocol, runtime_checkable

from holdfast import validation
from holdfast.entities import (
    WorkflowDefinition,
    WorkflowExecution,
    WorkflowExecutionStatus,
    WorkflowType,
)
from holdfast.errors import VersionConflictError
from holdfast.schema.workflows import (
    workflow_definitions,
    workflow_execution_tasks,
    workflow_executions,
)
from holdfast.storage.listing import EntityListing
from holdfast.storage.records import Revised
from holdfast.storage.repository import Repository, provide
from holdfast.storage.session import Session
from holdfast.storage.statements import delete_by, insert
from holdfast.storage.tables import TENANT
from holdfast.validation import jsontext

__all__ = [
    "WorkflowDefinitionRepository",
    "WorkflowExecutionRepository",
    "WorkflowRepositories",
]


@runtime_checkable
class WorkflowDefinitionRepository(Protocol):
    """Definitions by ``id``, with optimistic concurrency on ``version``."""

    async def save(self, definition: WorkflowDefinition) -> None:
        """Create version 1, or update to version N what is stored with version N - 1.

        `VersionConflictError` otherwise, and nothing is written. An update changes neither
        ``created_by`` nor ``created_at``.
        """

    async def create_if_absent(self, definition: WorkflowDefinition) -> bool:
        """Create the definition, whatever its version; False if the id is taken."""

    async def update_if_exists(self, definition: WorkflowDefinition) -> bool:
        """Update as `save` does; False if there is none with the id.

        `VersionConflictError` if another version than the one before is stored.
        """

    async def get(self, definition_id: str) -> WorkflowDefinition | None:
        """Return the definition with this id; ``None`` if there is none."""

    async def list_definitions(
        self,
        *,
        workflow_type: WorkflowType | None = None,
        limit: int | None = None,
        after: WorkflowDefinition | str | None = None,
    ) -> tuple[WorkflowDefinition, ...]:
        """Return the definitions, the latest ``updated_at`` first.

        Equal times by id, the greatest first. ``after`` is the last definition seen, or its id.
        """

    async def delete(self, definition_id: str) -> bool:
        """Delete the definition; False if there is none.

        One with executions (``workflow_executions.definition_id``) is a `ConstraintViolationError`.
        """


@runtime_checkable
class WorkflowExecutionRepository(Protocol):
    """Executions by ``id``, with optimistic concurrency on ``version``."""

    async def save(self, execution: WorkflowExecution) -> None:
        """Create version 1, or update to version N what is stored with version N - 1.

        `DuplicateRecordError` for a version 1 whose id is taken, else `VersionConflictError`. A
        definition that is not stored (``workflow_executions.definition_id``) is a
        `ConstraintViolationError`.
        """

    async def get(self, execution_id: str) -> WorkflowExecution | None:
        """Return the execution with this id; ``None`` if there is none."""

    async def list_by_definition(
        self,
        definition_id: str,
        *,
        limit: int | None = None,
        after: WorkflowExecution | str | None = None,
    ) -> tuple[WorkflowExecution, ...]:
        """Return the executions of a definition, the latest ``updated_at`` first.

        Equal times by id, the greatest first. ``after`` is the last execution seen, or its id.
        """

    async def list_by_status(
        self,
        status: WorkflowExecutionStatus,
        *,
        limit: int | None = None,
        after: WorkflowExecution | str | None = None,
    ) -> tuple[WorkflowExecution, ...]:
        """Return the executions with this status, the latest ``updated_at`` first.

        Equal times by id, the greatest first. ``after`` is the last execution seen, or its id.
        """

    async def find_by_task_id(self, task_id: str) -> WorkflowExecution | None:
        """Return the running execution with a node that has this task; ``None`` if there is none.

        Of several the latest updated, then the greatest id.
        """

    async def delete(self, execution_id: str) -> bool:
        """Delete the execution; False if there is none."""


class WorkflowRepositories(Protocol):
    """The repositories of this module, as a backend or a transaction offers them."""

    @property
    def workflow_definitions(self) -> WorkflowDefinitionRepository:
        """Workflow definitions by ``id``."""
        return provide(self, _Definitions)

    @property
    def workflow_executions(self) -> WorkflowExecutionRepository:
        """Executions of workflows by ``id``."""
        return provide(self, _Executions)


_DEFINITIONS = Revised(workflow_definitions, WorkflowDefinition, keep=("created_by", "created_at"))
_DEFINITION_VERSION = _DEFINITIONS.mapper.place("version")
_LIST_DEFINITIONS = EntityListing(
    "workflow_definitions.list_definitions",
    _DEFINITIONS.mapper,
    order=("updated_at", "id"),
    descending=True,
    filters={"workflow_type": ("workflow_type", operator.eq)},
)


class _Definitions(Repository, WorkflowDefinitionRepository):
    table = workflow_definitions

    async def save(self, definition: WorkflowDefinition) -> None:
        arguments = await _DEFINITIONS.encode(self, definition)
        version = arguments[_DEFINITION_VERSION]
        write = _DEFINITIONS.create if version == 1 else _DEFINITIONS.replace
        if not await write(self._session, arguments):
            raise _conflict(self.table.name, version)

    async def create_if_absent(self, definition: WorkflowDefinition) -> bool:
        return await _DEFINITIONS.create(self._session, await _DEFINITIONS.encode(self, definition))

    async def update_if_exists(self, definition: WorkflowDefinition) -> bool:
        arguments = await _DEFINITIONS.encode(self, definition)
        if await _DEFINITIONS.replace(self._session, arguments):
            return True
        if await _DEFINITIONS.get(self, arguments[_DEFINITIONS.mapper.place("id")]) is None:
            return False
        raise _conflict(self.table.name, arguments[_DEFINITION_VERSION])

    async def get(self, definition_id: str) -> WorkflowDefinition | None:
        return await _DEFINITIONS.get(self, definition_id)

    async def list_definitions(
        self,
        *,
        workflow_type: WorkflowType | None = None,
        limit: int | None = None,
        after: WorkflowDefinition | str | None = None,
    ) -> tuple[WorkflowDefinition, ...]:
        place = f"{_LIST_DEFINITIONS.name}: workflow_type"
        filters = {
            "workflow_type": self._choice(
                _DEFINITIONS.mapper, "workflow_type", workflow_type, WorkflowType, place
            )
        }
        return await _LIST_DEFINITIONS.fetch(self, filters, limit=limit, after=after)

    async def delete(self, definition_id: str) -> bool:
        return await _DEFINITIONS.delete(self, definition_id)


_EXECUTIONS = Revised(workflow_executions, WorkflowExecution)
_ID, _VERSION, _STATUS, _NODES = map(
    _EXECUTIONS.mapper.place, ("id", "version", "status", "node_executions")
)
_BY_DEFINITION = EntityListing(
    "workflow_executions.list_by_definition",
    _EXECUTIONS.mapper,
    order=("updated_at", "id"),
    descending=True,
    filters={"definition_id": ("definition_id", operator.eq)},
)
_BY_STATUS = EntityListing(
    "workflow_executions.list_by_status",
    _EXECUTIONS.mapper,
    order=("updated_at", "id"),
    descending=True,
    filters={"status": ("status", operator.eq)},
)
_OF_TASK = EntityListing(
    "workflow_executions.find_by_task_id",
    _EXECUTIONS.mapper,
    order=("updated_at", "id"),
    descending=True,
    source=workflow_executions.join(
        workflow_execution_tasks,
        (workflow_execution_tasks.c.tenant == workflow_executions.c.tenant)
        & (workflow_execution_tasks.c.execution_id == workflow_executions.c.id),
    ),
    filters={"task_id": (workflow_execution_tasks.c.task_id, operator.eq)},
)
# The side table holds the tasks of running executions only.
_FORGET_TASKS = delete_by(
    "workflow_execution_tasks.forget", workflow_execution_tasks, ("execution_id",)
)
_NOTE_TASK = insert(
    "workflow_execution_tasks.note", workflow_execution_tasks, (TENANT, "task_id", "execution_id")
)


class _Executions(Repository, WorkflowExecutionRepository):
    table = workflow_executions

    async def save(self, execution: WorkflowExecution) -> None:
        arguments = await _EXECUTIONS.encode(self, execution)
        tasks = _tasks_of(arguments)
        execution_id, version = arguments[_ID], arguments[_VERSION]
        new = version == 1
        if new and not tasks:
            await self._session.write(_EXECUTIONS.insert, arguments)
            return

        async def replace(session: Session) -> None:
            if new:
                await session.write(_EXECUTIONS.insert, arguments)
            elif await _EXECUTIONS.replace(session, arguments):
                await session.execute(_FORGET_TASKS, (self._tenant, execution_id))
            else:
                raise _conflict(self.table.name, version)
            for task_id in tasks:
                await session.write(_NOTE_TASK, (self._tenant, task_id, execution_id))

        await self._session.atomically(replace)

    async def get(self, execution_id: str) -> WorkflowExecution | None:
        return await _EXECUTIONS.get(self, execution_id)

    async def list_by_definition(
        self,
        definition_id: str,
        *,
        limit: int | None = None,
        after: WorkflowExecution | str | None = None,
    ) -> tuple[WorkflowExecution, ...]:
        place = f"{_BY_DEFINITION.name}: definition_id"
        filters = {"definition_id": validation.not_blank(definition_id, place)}
        return await _BY_DEFINITION.fetch(self, filters, limit=limit, after=after)

    async def list_by_status(
        self,
        status: WorkflowExecutionStatus,
        *,
        limit: int | None = None,
        after: WorkflowExecution | str | None = None,
    ) -> tuple[WorkflowExecution, ...]:
        place = f"{_BY_STATUS.name}: status"
        filters = {"status": validation.choice(status, WorkflowExecutionStatus, place)}
        return await _BY_STATUS.fetch(self, filters, limit=limit, after=after)

    async def find_by_task_id(self, task_id: str) -> WorkflowExecution | None:
        filters = {"task_id": validation.not_blank(task_id, f"{_OF_TASK.name}: task_id")}
        return await _OF_TASK.first(self, filters)

    async def delete(self, execution_id: str) -> bool:
        return await _EXECUTIONS.delete(self, execution_id)


def _tasks_of(arguments: tuple[Any, ...]) -> list[str]:
    """The tasks by which `find_by_task_id` finds it, in an order that cannot deadlock.

    Read from what is stored, which was checked: the entity may have been made without.
    """
    if arguments[_STATUS] != WorkflowExecutionStatus.RUNNING:
        return []
    tasks = {node.get("task_id") for node in jsontext.parsed(arguments[_NODES])}
    return sorted(task for task in tasks if task is not None)


def _conflict(table: str, version: int) -> VersionConflictError:
    if version == 1:
        return VersionConflictError(
            f"{table}.save: version 1 of what exists already; load it first"
        )
    return VersionConflictError(
        f"{table}.save: version {version} needs version {version - 1} stored; load it again, and "
        "change that"
    )
