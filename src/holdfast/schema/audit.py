"""What was allowed, denied and why."""

from __future__ import annotations

from holdfast.storage.retention import Retention
from holdfast.storage.tables import column, extra, index, nullable, saved_order, store_table
from holdfast.storage.types import REAL, STRING, JsonText, Timestamp

__all__ = ["audit_entries"]

audit_entries = store_table(
    "audit_entries",
    column("id", STRING),
    column("timestamp", Timestamp()),
    nullable("agent_id", STRING),
    nullable("task_id", STRING),
    column("tool_name", STRING),
    column("tool_category", STRING),
    column("action_type", STRING),
    column("arguments_hash", STRING),
    column("verdict", STRING),
    column("risk_level", STRING),
    column("reason", STRING),
    column("matched_rules", JsonText()),
    column("evaluation_duration_ms", REAL),
    nullable("approval_id", STRING),
    column("confidence", STRING),
    saved_order(),
    extra(),
    index("ix_audit_entries_timestamp", "timestamp", "saved_order", "id"),
    index("ix_audit_entries_agent_id", "agent_id", "timestamp", "saved_order", "id"),
    index("ix_audit_entries_action_type", "action_type", "timestamp", "saved_order", "id"),
    index("ix_audit_entries_verdict", "verdict", "timestamp", "saved_order", "id"),
    index("ix_audit_entries_risk_level", "risk_level", "timestamp", "saved_order", "id"),
    key=("id",),
    retention=Retention("timestamp"),
)
