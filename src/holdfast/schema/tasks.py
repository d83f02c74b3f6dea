"""Tasks and projects."""

from __future__ import annotations

from holdfast.storage.tables import (
    check,
    column,
    decisive,
    extra,
    index,
    internal,
    nullable,
    store_table,
)
from holdfast.storage.types import INTEGER, REAL, STRING, JsonText

__all__ = ["projects", "tasks"]

tasks = store_table(
    "tasks",
    column("id", STRING),
    column("title", STRING),
    column("description", STRING),
    column("type", STRING),
    decisive("priority", STRING),
    column("project", STRING),
    column("created_by", STRING),
    nullable("assigned_to", STRING),
    column("reviewers", JsonText()),
    column("dependencies", JsonText()),
    column("artifacts_expected", JsonText()),
    column("acceptance_criteria", JsonText()),
    column("estimated_complexity", STRING),
    column("budget_limit", REAL),
    nullable("deadline", STRING),
    column("max_retries", INTEGER),
    decisive("status", STRING),
    nullable("parent_task_id", STRING),
    column("delegation_chain", JsonText()),
    nullable("task_structure", STRING),
    column("coordination_topology", STRING),
    nullable("source", STRING),
    # The order in which `claim` hands tasks out: 0 is critical, and among equals the first saved
    # (nanoseconds since the epoch on the clock of the process that saved it first).
    column("priority_rank", INTEGER),
    column("first_saved", INTEGER),
    extra(),
    internal("waits_for", STRING, of="dependencies"),  # see `holdfast.schema.waits`
    index("ix_tasks_status", "status", "id"),
    index("ix_tasks_assigned_to", "assigned_to", "id"),
    index("ix_tasks_project", "project", "id"),
    index(
        "ix_tasks_claim",
        "priority_rank",
        "first_saved",
        "id",
        where="status = 'created' AND waits_for IS NULL",
    ),
    index("ix_tasks_waits_for", "waits_for", where="waits_for IS NOT NULL"),
    key=("id",),
)

projects = store_table(
    "projects",
    column("id", STRING),
    column("name", STRING),
    column("description", STRING),
    column("team", JsonText()),
    nullable("lead", STRING),
    column("task_ids", JsonText()),
    nullable("deadline", STRING),
    column("budget", REAL),
    column("status", STRING),
    extra(),
    check("budget", "budget >= 0"),
    index("ix_projects_status", "status", "id"),
    index("ix_projects_lead", "lead", "id"),
    key=("id",),
)
