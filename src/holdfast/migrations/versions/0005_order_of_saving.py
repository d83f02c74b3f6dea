"""Order of saving: what tells records of one time apart in a history."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_HISTORIES = (
    "audit_entries",
    "collaboration_metrics",
    "decision_records",
    "lifecycle_events",
    "messages",
    "ssrf_violations",
    "task_metrics",
)


def upgrade() -> None:
    for table in _HISTORIES:
        saved = sa.Column(
            "saved_order", sa.BigInteger(), server_default=sa.text("0"), nullable=False
        )
        op.add_column(table, saved)


def downgrade() -> None:
    for table in _HISTORIES:
        op.drop_column(table, "saved_order")
