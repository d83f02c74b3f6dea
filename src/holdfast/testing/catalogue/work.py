"""Tasks, projects, artifacts, messages and workflows."""

from __future__ import annotations

from typing import Any

from holdfast.entities import (
    Artifact,
    Message,
    Project,
    Task,
    WorkflowDefinition,
    WorkflowExecution,
)
from holdfast.errors import DuplicateRecordError, VersionConflictError
from holdfast.testing.catalogue.parts import ONCE, among, its_id, turn
from holdfast.testing.subjects import Listed, Make, Subject

__all__ = ["SUBJECTS"]


async def _its_definition(backend: Any, execution: Any, make: Make) -> None:
    made = make(WorkflowDefinition, id=execution.definition_id)
    await backend.workflow_definitions.create_if_absent(made)


SUBJECTS: tuple[Subject[Any], ...] = (
    Subject(
        "tasks",
        Task,
        lists=(
            Listed(
                "list_tasks",
                order=("id",),
                filters={"status": "status", "assigned_to": "assigned_to", "project": "project"},
                count="count_tasks",
            ),
        ),
        fields={
            "status": turn("created", "assigned", "blocked", each=2),
            "assigned_to": lambda n: None if n // 2 % 3 == 0 else ("ada", "bob", "ada")[n % 3],
        },
        arguments={"task_id": its_id, "claim.agent_id": lambda task: "thief"},
    ),
    Subject(
        "projects",
        Project,
        lists=(
            Listed("list_projects", order=("id",), filters={"status": "status", "lead": "lead"}),
        ),
        fields={"lead": turn("ada", None, "bob")},
    ),
    Subject(
        "artifacts",
        Artifact,
        lists=(
            Listed(
                "list_artifacts",
                order=("id",),
                filters={"task_id": "task_id", "created_by": "created_by", "artifact_type": "type"},
            ),
        ),
    ),
    Subject(
        "messages",
        Message,
        **ONCE,
        get=lambda messages, one: among(messages.get_history(one.channel), one),
        lists=(
            Listed(
                "get_history",
                order=("timestamp", "id"),
                descending=True,
                saved=True,
                filters={"channel": "channel"},
            ),
        ),
    ),
    Subject(
        "workflow_definitions",
        WorkflowDefinition,
        version="version",
        taken=VersionConflictError,
        keeps=("created_by", "created_at"),
        fixed={"version": 1},
        lists=(
            Listed(
                "list_definitions",
                order=("updated_at", "id"),
                descending=True,
                filters={"workflow_type": "workflow_type"},
            ),
        ),
    ),
    Subject(
        "workflow_executions",
        WorkflowExecution,
        version="version",
        taken=DuplicateRecordError,
        belongs=("definition_id",),
        prepare=_its_definition,
        fixed={"version": 1},
        lists=tuple(
            Listed(method, order=("updated_at", "id"), descending=True, filters={field: field})
            for method, field in (
                ("list_by_definition", "definition_id"),
                ("list_by_status", "status"),
            )
        ),
        fields={"status": turn("pending", "running", each=4)},
    ),
)
