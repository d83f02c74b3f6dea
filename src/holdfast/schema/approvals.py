"""Actions that wait for a person."""

from __future__ import annotations

from holdfast.storage.tables import check, column, decisive, extra, index, nullable, store_table
from holdfast.storage.types import STRING, JsonText, Timestamp

__all__ = ["approvals"]

approvals = store_table(
    "approvals",
    column("id", STRING),
    column("action_type", STRING),
    column("title", STRING),
    column("description", STRING),
    column("requested_by", STRING),
    column("risk_level", STRING),
    decisive("status", STRING),
    column("created_at", Timestamp()),
    nullable("expires_at", Timestamp()),
    nullable("decided_at", Timestamp()),
    nullable("decided_by", STRING),
    nullable("decision_reason", STRING),
    nullable("task_id", STRING),
    column("metadata", JsonText()),
    extra(),
    check("decided", "(status = 'pending') = (decided_at IS NULL)"),
    check("decided_by", "(status IN ('approved', 'rejected')) = (decided_by IS NOT NULL)"),
    index("ix_approvals_created_at", "created_at", "id"),
    index("ix_approvals_status", "status", "created_at", "id"),
    index("ix_approvals_risk_level", "risk_level", "created_at", "id"),
    index("ix_approvals_action_type", "action_type", "created_at", "id"),
    key=("id",),
)
