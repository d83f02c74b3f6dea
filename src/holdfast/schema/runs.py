"""Running agents: checkpoints, heartbeats, parked contexts, state."""

from __future__ import annotations

from holdfast.storage.tables import check, column, decisive, extra, index, nullable, store_table
from holdfast.storage.types import INTEGER, REAL, STRING, JsonText, Timestamp

__all__ = ["agent_states", "checkpoints", "heartbeats", "parked_contexts"]

checkpoints = store_table(
    "checkpoints",
    column("id", STRING),
    column("execution_id", STRING),
    column("agent_id", STRING),
    column("task_id", STRING),
    column("turn_number", INTEGER),
    column("context_json", STRING),
    column("created_at", Timestamp()),
    extra(),
    check("turn_number", "turn_number >= 0"),
    index("ix_checkpoints_execution_id", "execution_id", "turn_number", "created_at", "id"),
    index("ix_checkpoints_task_id", "task_id", "turn_number", "created_at", "id"),
    key=("id",),
)

heartbeats = store_table(
    "heartbeats",
    column("execution_id", STRING),
    column("agent_id", STRING),
    column("task_id", STRING),
    column("last_heartbeat_at", Timestamp()),
    extra(),
    index("ix_heartbeats_last_heartbeat_at", "last_heartbeat_at", "execution_id"),
    key=("execution_id",),
)

parked_contexts = store_table(
    "parked_contexts",
    column("id", STRING),
    column("execution_id", STRING),
    column("agent_id", STRING),
    column("approval_id", STRING),
    nullable("task_id", STRING),
    column("parked_at", Timestamp()),
    column("context_json", STRING),
    column("metadata", JsonText()),
    extra(),
    index("ix_parked_contexts_agent_id", "agent_id", "parked_at", "id"),
    index("ix_parked_contexts_approval_id", "approval_id", "parked_at", "id"),
    key=("id",),
)

agent_states = store_table(
    "agent_states",
    column("agent_id", STRING),
    nullable("execution_id", STRING),
    nullable("task_id", STRING),
    decisive("status", STRING),
    column("turn_count", INTEGER),
    column("accumulated_cost_usd", REAL),
    column("last_activity_at", Timestamp()),
    nullable("started_at", Timestamp()),
    extra(),
    check("counters", "turn_count >= 0 AND accumulated_cost_usd >= 0"),
    check(
        "idle",
        "status <> 'idle' OR (execution_id IS NULL AND task_id IS NULL AND started_at IS NULL"
        " AND turn_count = 0 AND accumulated_cost_usd = 0)",
    ),
    check("busy", "status = 'idle' OR (execution_id IS NOT NULL AND started_at IS NOT NULL)"),
    index("ix_agent_states_active", "last_activity_at", "agent_id", where="status <> 'idle'"),
    key=("agent_id",),
)
