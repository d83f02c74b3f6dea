"""Agents over time: their careers and how well they work."""

from __future__ import annotations

from holdfast.storage.retention import Retention
from holdfast.storage.tables import column, extra, index, nullable, saved_order, store_table
from holdfast.storage.types import FLAG, INTEGER, REAL, STRING, JsonText, Timestamp

__all__ = ["collaboration_metrics", "lifecycle_events", "task_metrics"]

lifecycle_events = store_table(
    "lifecycle_events",
    column("id", STRING),
    column("agent_id", STRING),
    column("agent_name", STRING),
    column("event_type", STRING),
    column("timestamp", Timestamp()),
    column("initiated_by", STRING),
    column("details", STRING),
    column("metadata", JsonText()),
    saved_order(),
    extra(),
    index("ix_lifecycle_events_timestamp", "timestamp", "saved_order", "id"),
    index("ix_lifecycle_events_agent_id", "agent_id", "timestamp", "saved_order", "id"),
    index("ix_lifecycle_events_event_type", "event_type", "timestamp", "saved_order", "id"),
    key=("id",),
    retention=Retention("timestamp"),
)

task_metrics = store_table(
    "task_metrics",
    column("id", STRING),
    column("agent_id", STRING),
    column("task_id", STRING),
    column("task_type", STRING),
    nullable("started_at", Timestamp()),
    column("completed_at", Timestamp()),
    column("is_success", FLAG),
    column("duration_seconds", REAL),
    column("cost_usd", REAL),
    column("turns_used", INTEGER),
    column("tokens_used", INTEGER),
    nullable("quality_score", REAL),
    column("complexity", STRING),
    saved_order(),
    extra(),
    index("ix_task_metrics_completed_at", "completed_at", "saved_order", "id"),
    index("ix_task_metrics_agent_id", "agent_id", "completed_at", "saved_order", "id"),
    key=("id",),
    retention=Retention("completed_at"),
)

collaboration_metrics = store_table(
    "collaboration_metrics",
    column("id", STRING),
    column("agent_id", STRING),
    column("recorded_at", Timestamp()),
    nullable("delegation_success", FLAG),
    nullable("delegation_response_seconds", REAL),
    nullable("conflict_constructiveness", REAL),
    nullable("meeting_contribution", REAL),
    column("loop_triggered", FLAG),
    nullable("handoff_completeness", REAL),
    nullable("interaction_summary", STRING),
    saved_order(),
    extra(),
    index("ix_collaboration_metrics_recorded_at", "recorded_at", "saved_order", "id"),
    index("ix_collaboration_metrics_agent_id", "agent_id", "recorded_at", "saved_order", "id"),
    key=("id",),
    retention=Retention("recorded_at"),
)
