"""What the organisation knows: the facts as they stand, and the log of every change."""

from __future__ import annotations

from holdfast.storage.tables import (
    check,
    column,
    decisive,
    extra,
    index,
    nullable,
    store_table,
    unique,
)
from holdfast.storage.types import FLAG, INTEGER, STRING, JsonText, Timestamp

__all__ = ["org_facts_operation_log", "org_facts_snapshot"]

org_facts_snapshot = store_table(
    "org_facts_snapshot",
    column("id", STRING),
    column("content", STRING),
    decisive("category", STRING),
    column("tags", JsonText()),
    decisive("author", JsonText()),
    column("created_at", Timestamp()),
    extra(),
    nullable("retracted_at", Timestamp()),
    # Of the newest entry in the log.
    column("version", INTEGER),
    column("operated_at", Timestamp()),
    index("ix_org_facts_snapshot_active", "created_at", "id", where="retracted_at IS NULL"),
    index(
        "ix_org_facts_snapshot_category",
        "category",
        "created_at",
        "id",
        where="retracted_at IS NULL",
    ),
    key=("id",),
)

org_facts_operation_log = store_table(
    "org_facts_operation_log",
    column("operation_id", STRING),
    column("fact_id", STRING),
    column("operation_type", STRING),
    nullable("content", STRING),
    nullable("category", STRING),
    column("tags", JsonText()),
    nullable("author_agent_id", STRING),
    nullable("author_seniority", STRING),
    column("author_is_human", FLAG),
    nullable("author_autonomy_level", STRING),
    column("timestamp", Timestamp()),
    column("version", INTEGER),
    check("operation_type", "operation_type IN ('PUBLISH', 'RETRACT')"),
    check("content", "(operation_type = 'PUBLISH') = (content IS NOT NULL)"),
    unique("uq_org_facts_operation_log_fact_id_version", "fact_id", "version"),
    key=("operation_id",),
)
