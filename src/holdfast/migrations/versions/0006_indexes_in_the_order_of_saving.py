"""Indexes in the order of saving."""

from __future__ import annotations

from alembic import op

from holdfast.migrations.indexes import replace_indexes_online

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

#: By table the column of time, and what its indexes have in front of it.
_INDEXES: dict[str, tuple[str, tuple[str, ...]]] = {
    "audit_entries": ("timestamp", ("", "agent_id", "action_type", "verdict", "risk_level")),
    "collaboration_metrics": ("recorded_at", ("", "agent_id")),
    "decision_records": ("recorded_at", ("executing_agent_id", "reviewer_agent_id")),
    "lifecycle_events": ("timestamp", ("", "agent_id", "event_type")),
    "messages": ("timestamp", ("", "channel")),
    "ssrf_violations": ("timestamp", ("", "status")),
    "task_metrics": ("completed_at", ("", "agent_id")),
}


def _indexes(*saved: str) -> dict[str, tuple[str, list[str]]]:
    return {
        f"ix_{table}_{first or time}": (
            table,
            ["tenant", *filter(None, [first]), time, *saved, "id"],
        )
        for table, (time, firsts) in _INDEXES.items()
        for first in firsts
    }


def upgrade() -> None:
    replace_indexes_online(_indexes("saved_order"))


def downgrade() -> None:
    for name, (table, columns) in _indexes().items():
        op.drop_index(name, table)
        op.create_index(name, table, columns)
