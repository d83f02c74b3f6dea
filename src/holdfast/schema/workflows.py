"""Workflows: their definitions, and what became of each start of one."""

from __future__ import annotations

from holdfast.storage.tables import (
    check,
    column,
    decisive,
    extra,
    foreign_key,
    index,
    nullable,
    store_table,
)
from holdfast.storage.types import INTEGER, STRING, JsonText, Timestamp

__all__ = ["workflow_definitions", "workflow_execution_tasks", "workflow_executions"]

workflow_definitions = store_table(
    "workflow_definitions",
    column("id", STRING),
    column("name", STRING),
    column("description", STRING),
    column("workflow_type", STRING),
    column("nodes", JsonText()),
    column("edges", JsonText()),
    column("created_by", STRING),
    column("created_at", Timestamp()),
    column("updated_at", Timestamp()),
    column("version", INTEGER),
    extra(),
    check("version", "version >= 1"),
    check(
        "workflow_type",
        "workflow_type IN ('sequential_pipeline', 'parallel_execution', 'kanban', 'agile_kanban')",
    ),
    index("ix_workflow_definitions_updated_at", "updated_at", "id"),
    index("ix_workflow_definitions_workflow_type", "workflow_type", "updated_at", "id"),
    key=("id",),
)

workflow_executions = store_table(
    "workflow_executions",
    column("id", STRING),
    column("definition_id", STRING),
    column("definition_version", INTEGER),
    decisive("status", STRING),
    column("node_executions", JsonText()),
    column("activated_by", STRING),
    column("project", STRING),
    column("created_at", Timestamp()),
    column("updated_at", Timestamp()),
    nullable("completed_at", Timestamp()),
    nullable("error", STRING),
    column("version", INTEGER),
    extra(),
    check("version", "version >= 1 AND definition_version >= 1"),
    check("status", "status IN ('pending', 'running', 'completed', 'failed', 'cancelled')"),
    check("completed", "(status IN ('pending', 'running')) = (completed_at IS NULL)"),
    check("error", "(status = 'failed') = (error IS NOT NULL)"),
    foreign_key("definition_id", "workflow_definitions.id", ondelete="RESTRICT"),
    index("ix_workflow_executions_definition_id", "definition_id", "updated_at", "id"),
    index("ix_workflow_executions_status", "status", "updated_at", "id"),
    key=("id",),
)

# Which tasks the nodes of an execution have: what `find_by_task_id` is answered from, because an
# index on what lies inside a JSON array is not to be had on both engines.
workflow_execution_tasks = store_table(
    "workflow_execution_tasks",
    column("task_id", STRING),
    column("execution_id", STRING),
    foreign_key("execution_id", "workflow_executions.id", ondelete="CASCADE"),
    index("ix_workflow_execution_tasks_execution_id", "execution_id"),
    key=("task_id", "execution_id"),
)
