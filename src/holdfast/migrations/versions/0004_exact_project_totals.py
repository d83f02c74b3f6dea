"""Exact project totals: what rounding took from the float."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    remainder = sa.Column(
        "cost_remainder", sa.BigInteger(), server_default=sa.text("0"), nullable=False
    )
    op.add_column("project_cost_aggregates", remainder)


def downgrade() -> None:
    op.drop_column("project_cost_aggregates", "cost_remainder")
