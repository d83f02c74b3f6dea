"""Numbered snapshots: one table of the same form for each kind of thing that has versions."""

from __future__ import annotations

from sqlalchemy import Table

from holdfast.storage.tables import check, column, index, store_table
from holdfast.storage.types import INTEGER, STRING, JsonText, Timestamp

__all__ = [
    "agent_identity_versions",
    "budget_config_versions",
    "company_versions",
    "evaluation_config_versions",
    "role_versions",
    "workflow_definition_versions",
]


def _history(name: str) -> Table:
    return store_table(
        name,
        column("entity_id", STRING),
        column("version", INTEGER),
        column("content_hash", STRING),
        column("snapshot", JsonText()),
        column("saved_by", STRING),
        column("saved_at", Timestamp()),
        check("version", "version >= 1"),
        index(f"ix_{name}_content_hash", "entity_id", "content_hash", "version"),
        key=("entity_id", "version"),
    )


workflow_definition_versions = _history("workflow_definition_versions")
agent_identity_versions = _history("agent_identity_versions")
evaluation_config_versions = _history("evaluation_config_versions")
budget_config_versions = _history("budget_config_versions")
company_versions = _history("company_versions")
role_versions = _history("role_versions")
