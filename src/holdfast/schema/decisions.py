"""What was decided about finished work."""

from __future__ import annotations

from holdfast.storage.tables import (
    check,
    column,
    extra,
    foreign_key,
    index,
    nullable,
    saved_order,
    store_table,
    unique,
)
from holdfast.storage.types import INTEGER, STRING, JsonText, Timestamp

__all__ = ["decision_records"]

decision_records = store_table(
    "decision_records",
    column("id", STRING),
    column("task_id", STRING),
    nullable("approval_id", STRING),
    column("executing_agent_id", STRING),
    column("reviewer_agent_id", STRING),
    column("decision", STRING),
    nullable("reason", STRING),
    column("criteria_snapshot", JsonText()),
    column("recorded_at", Timestamp()),
    column("version", INTEGER),
    column("metadata", JsonText()),
    nullable("risk_card", JsonText()),
    nullable("confidence_metadata", JsonText()),
    column("lens_attribution", JsonText()),
    saved_order(),
    extra(),
    check("version", "version >= 1"),
    check("reviewer", "executing_agent_id <> reviewer_agent_id"),
    check(
        "decision",
        "decision IN ('approved', 'rejected', 'auto_approved', 'auto_rejected', 'escalated')",
    ),
    foreign_key("task_id", "tasks.id", ondelete="RESTRICT"),
    unique("uq_decision_records_task_id_version", "task_id", "version"),
    index(
        "ix_decision_records_executing_agent_id",
        "executing_agent_id",
        "recorded_at",
        "saved_order",
        "id",
    ),
    index(
        "ix_decision_records_reviewer_agent_id",
        "reviewer_agent_id",
        "recorded_at",
        "saved_order",
        "id",
    ),
    key=("id",),
)
