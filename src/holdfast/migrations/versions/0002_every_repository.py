"""Every repository of the contract, own fields of applications, and the log of changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from holdfast.storage import types

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "agent_identity_versions",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("entity_id", types.CodePointText(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("content_hash", types.CodePointText(), nullable=False),
        sa.Column("snapshot", types.JsonText(), nullable=False),
        sa.Column("saved_by", types.CodePointText(), nullable=False),
        sa.Column("saved_at", types.Timestamp(), nullable=False),
        sa.CheckConstraint("version >= 1", name=op.f("ck_agent_identity_versions_version")),
        sa.PrimaryKeyConstraint(
            "tenant", "entity_id", "version", name=op.f("pk_agent_identity_versions")
        ),
    )
    op.create_index(
        "ix_agent_identity_versions_content_hash",
        "agent_identity_versions",
        ["tenant", "entity_id", "content_hash", "version"],
        unique=False,
    )
    op.create_table(
        "approvals",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("id", types.CodePointText(), nullable=False),
        sa.Column("action_type", types.CodePointText(), nullable=False),
        sa.Column("title", types.CodePointText(), nullable=False),
        sa.Column("description", types.CodePointText(), nullable=False),
        sa.Column("requested_by", types.CodePointText(), nullable=False),
        sa.Column("risk_level", types.CodePointText(), nullable=False),
        sa.Column("status", types.CodePointText(), nullable=False),
        sa.Column("created_at", types.Timestamp(), nullable=False),
        sa.Column("expires_at", types.Timestamp(), nullable=True),
        sa.Column("decided_at", types.Timestamp(), nullable=True),
        sa.Column("decided_by", types.CodePointText(), nullable=True),
        sa.Column("decision_reason", types.CodePointText(), nullable=True),
        sa.Column("task_id", types.CodePointText(), nullable=True),
        sa.Column("metadata", types.JsonText(), nullable=False),
        sa.Column("extra", types.JsonText(), nullable=True),
        sa.CheckConstraint(
            "(status = 'pending') = (decided_at IS NULL)", name=op.f("ck_approvals_decided")
        ),
        sa.CheckConstraint(
            "(status IN ('approved', 'rejected')) = (decided_by IS NOT NULL)",
            name=op.f("ck_approvals_decided_by"),
        ),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_approvals")),
    )
    op.create_index(
        "ix_approvals_action_type",
        "approvals",
        ["tenant", "action_type", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_approvals_created_at", "approvals", ["tenant", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_approvals_risk_level",
        "approvals",
        ["tenant", "risk_level", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_approvals_status", "approvals", ["tenant", "status", "created_at", "id"], unique=False
    )
    op.create_table(
        "budget_config_versions",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("entity_id", types.CodePointText(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("content_hash", types.CodePointText(), nullable=False),
        sa.Column("snapshot", types.JsonText(), nullable=False),
        sa.Column("saved_by", types.CodePointText(), nullable=False),
        sa.Column("saved_at", types.Timestamp(), nullable=False),
        sa.CheckConstraint("version >= 1", name=op.f("ck_budget_config_versions_version")),
        sa.PrimaryKeyConstraint(
            "tenant", "entity_id", "version", name=op.f("pk_budget_config_versions")
        ),
    )
    op.create_index(
        "ix_budget_config_versions_content_hash",
        "budget_config_versions",
        ["tenant", "entity_id", "content_hash", "version"],
        unique=False,
    )
    op.create_table(
        "changes",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("revision", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("table_name", types.CodePointText(), nullable=False),
        sa.Column("key", types.JsonText(), nullable=False),
        sa.Column("kind", types.CodePointText(), nullable=False),
        sa.Column("recorded_at", types.Timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "revision", name=op.f("pk_changes")),
    )
    op.create_table(
        "circuit_breaker_state",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("pair_key_a", types.CodePointText(), nullable=False),
        sa.Column("pair_key_b", types.CodePointText(), nullable=False),
        sa.Column("bounce_count", sa.BigInteger(), nullable=False),
        sa.Column("trip_count", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", sa.Double(), nullable=True),
        sa.Column("extra", types.JsonText(), nullable=True),
        sa.CheckConstraint(
            "bounce_count >= 0 AND trip_count >= 0", name=op.f("ck_circuit_breaker_state_counts")
        ),
        sa.PrimaryKeyConstraint(
            "tenant", "pair_key_a", "pair_key_b", name=op.f("pk_circuit_breaker_state")
        ),
    )
    op.create_table(
        "collaboration_metrics",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("id", types.CodePointText(), nullable=False),
        sa.Column("agent_id", types.CodePointText(), nullable=False),
        sa.Column("recorded_at", types.Timestamp(), nullable=False),
        sa.Column("delegation_success", sa.Boolean(), nullable=True),
        sa.Column("delegation_response_seconds", sa.Double(), nullable=True),
        sa.Column("conflict_constructiveness", sa.Double(), nullable=True),
        sa.Column("meeting_contribution", sa.Double(), nullable=True),
        sa.Column("loop_triggered", sa.Boolean(), nullable=False),
        sa.Column("handoff_completeness", sa.Double(), nullable=True),
        sa.Column("interaction_summary", types.CodePointText(), nullable=True),
        sa.Column("extra", types.JsonText(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_collaboration_metrics")),
    )
    op.create_index(
        "ix_collaboration_metrics_agent_id",
        "collaboration_metrics",
        ["tenant", "agent_id", "recorded_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_collaboration_metrics_recorded_at",
        "collaboration_metrics",
        ["tenant", "recorded_at", "id"],
        unique=False,
    )
    op.create_table(
        "company_versions",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("entity_id", types.CodePointText(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("content_hash", types.CodePointText(), nullable=False),
        sa.Column("snapshot", types.JsonText(), nullable=False),
        sa.Column("saved_by", types.CodePointText(), nullable=False),
        sa.Column("saved_at", types.Timestamp(), nullable=False),
        sa.CheckConstraint("version >= 1", name=op.f("ck_company_versions_version")),
        sa.PrimaryKeyConstraint("tenant", "entity_id", "version", name=op.f("pk_company_versions")),
    )
    op.create_index(
        "ix_company_versions_content_hash",
        "company_versions",
        ["tenant", "entity_id", "content_hash", "version"],
        unique=False,
    )
    op.create_table(
        "custom_presets",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("name", types.CodePointText(), nullable=False),
        sa.Column("config_json", types.CodePointText(), nullable=False),
        sa.Column("description", types.CodePointText(), nullable=False),
        sa.Column("created_at", types.CodePointText(), nullable=False),
        sa.Column("updated_at", types.CodePointText(), nullable=False),
        sa.CheckConstraint("config_json <> ''", name=op.f("ck_custom_presets_config_json")),
        sa.CheckConstraint("name <> ''", name=op.f("ck_custom_presets_name")),
        sa.PrimaryKeyConstraint("tenant", "name", name=op.f("pk_custom_presets")),
    )
    op.create_table(
        "evaluation_config_versions",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("entity_id", types.CodePointText(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("content_hash", types.CodePointText(), nullable=False),
        sa.Column("snapshot", types.JsonText(), nullable=False),
        sa.Column("saved_by", types.CodePointText(), nullable=False),
        sa.Column("saved_at", types.Timestamp(), nullable=False),
        sa.CheckConstraint("version >= 1", name=op.f("ck_evaluation_config_versions_version")),
        sa.PrimaryKeyConstraint(
            "tenant", "entity_id", "version", name=op.f("pk_evaluation_config_versions")
        ),
    )
    op.create_index(
        "ix_evaluation_config_versions_content_hash",
        "evaluation_config_versions",
        ["tenant", "entity_id", "content_hash", "version"],
        unique=False,
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("scope", types.CodePointText(), nullable=False),
        sa.Column("key", types.CodePointText(), nullable=False),
        sa.Column("status", types.CodePointText(), nullable=False),
        sa.Column("claim_token", types.CodePointText(), nullable=False),
        sa.Column("claimed_at", types.Timestamp(), nullable=False),
        sa.Column("expires_at", types.Timestamp(), nullable=False),
        sa.Column("finished_at", types.Timestamp(), nullable=True),
        sa.Column("response", types.CodePointText(), nullable=True),
        sa.Column("error", types.CodePointText(), nullable=True),
        sa.CheckConstraint(
            "(status = 'failed') = (error IS NOT NULL)", name=op.f("ck_idempotency_keys_error")
        ),
        sa.CheckConstraint(
            "(status = 'in_flight') = (finished_at IS NULL)",
            name=op.f("ck_idempotency_keys_finished"),
        ),
        sa.PrimaryKeyConstraint("tenant", "scope", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(
        "ix_idempotency_keys_expires_at", "idempotency_keys", ["tenant", "expires_at"], unique=False
    )
    op.create_table(
        "lifecycle_events",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("id", types.CodePointText(), nullable=False),
        sa.Column("agent_id", types.CodePointText(), nullable=False),
        sa.Column("agent_name", types.CodePointText(), nullable=False),
        sa.Column("event_type", types.CodePointText(), nullable=False),
        sa.Column("timestamp", types.Timestamp(), nullable=False),
        sa.Column("initiated_by", types.CodePointText(), nullable=False),
        sa.Column("details", types.CodePointText(), nullable=False),
        sa.Column("metadata", types.JsonText(), nullable=False),
        sa.Column("extra", types.JsonText(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_lifecycle_events")),
    )
    op.create_index(
        "ix_lifecycle_events_agent_id",
        "lifecycle_events",
        ["tenant", "agent_id", "timestamp", "id"],
        unique=False,
    )
    op.create_index(
        "ix_lifecycle_events_event_type",
        "lifecycle_events",
        ["tenant", "event_type", "timestamp", "id"],
        unique=False,
    )
    op.create_index(
        "ix_lifecycle_events_timestamp",
        "lifecycle_events",
        ["tenant", "timestamp", "id"],
        unique=False,
    )
    op.create_table(
        "lockouts",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("username", types.CodePointText(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("window_started_at", types.Timestamp(), nullable=False),
        sa.Column("last_failure_at", types.Timestamp(), nullable=False),
        sa.Column("last_ip", types.CodePointText(), nullable=False),
        sa.Column("locked_until", types.Timestamp(), nullable=True),
        sa.CheckConstraint("failures >= 1", name=op.f("ck_lockouts_failures")),
        sa.PrimaryKeyConstraint("tenant", "username", name=op.f("pk_lockouts")),
    )
    op.create_index(
        "ix_lockouts_last_failure_at", "lockouts", ["tenant", "last_failure_at"], unique=False
    )
    op.create_index(
        "ix_lockouts_locked_until",
        "lockouts",
        ["tenant", "username", "locked_until"],
        unique=False,
        postgresql_where=sa.text("locked_until IS NOT NULL"),
        sqlite_where=sa.text("locked_until IS NOT NULL"),
    )
    op.create_table(
        "org_facts_operation_log",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("operation_id", types.CodePointText(), nullable=False),
        sa.Column("fact_id", types.CodePointText(), nullable=False),
        sa.Column("operation_type", types.CodePointText(), nullable=False),
        sa.Column("content", types.CodePointText(), nullable=True),
        sa.Column("category", types.CodePointText(), nullable=True),
        sa.Column("tags", types.JsonText(), nullable=False),
        sa.Column("author_agent_id", types.CodePointText(), nullable=True),
        sa.Column("author_seniority", types.CodePointText(), nullable=True),
        sa.Column("author_is_human", sa.Boolean(), nullable=False),
        sa.Column("author_autonomy_level", types.CodePointText(), nullable=True),
        sa.Column("timestamp", types.Timestamp(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(operation_type = 'PUBLISH') = (content IS NOT NULL)",
            name=op.f("ck_org_facts_operation_log_content"),
        ),
        sa.CheckConstraint(
            "operation_type IN ('PUBLISH', 'RETRACT')",
            name=op.f("ck_org_facts_operation_log_operation_type"),
        ),
        sa.PrimaryKeyConstraint("tenant", "operation_id", name=op.f("pk_org_facts_operation_log")),
        sa.UniqueConstraint(
            "tenant", "fact_id", "version", name="uq_org_facts_operation_log_fact_id_version"
        ),
    )
    op.create_table(
        "org_facts_snapshot",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("id", types.CodePointText(), nullable=False),
        sa.Column("content", types.CodePointText(), nullable=False),
        sa.Column("category", types.CodePointText(), nullable=False),
        sa.Column("tags", types.JsonText(), nullable=False),
        sa.Column("author", types.JsonText(), nullable=False),
        sa.Column("created_at", types.Timestamp(), nullable=False),
        sa.Column("extra", types.JsonText(), nullable=True),
        sa.Column("retracted_at", types.Timestamp(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("operated_at", types.Timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_org_facts_snapshot")),
    )
    op.create_index(
        "ix_org_facts_snapshot_active",
        "org_facts_snapshot",
        ["tenant", "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("retracted_at IS NULL"),
        sqlite_where=sa.text("retracted_at IS NULL"),
    )
    op.create_index(
        "ix_org_facts_snapshot_category",
        "org_facts_snapshot",
        ["tenant", "category", "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("retracted_at IS NULL"),
        sqlite_where=sa.text("retracted_at IS NULL"),
    )
    op.create_table(
        "project_cost_aggregates",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("project_id", types.CodePointText(), nullable=False),
        sa.Column("total_cost", sa.Double(), nullable=False),
        sa.Column("total_input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("total_output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("record_count", sa.BigInteger(), nullable=False),
        sa.Column("last_updated", types.Timestamp(), nullable=False),
        sa.CheckConstraint(
            "total_cost >= 0 AND total_input_tokens >= 0 AND total_output_tokens >= 0",
            name=op.f("ck_project_cost_aggregates_totals"),
        ),
        sa.PrimaryKeyConstraint("tenant", "project_id", name=op.f("pk_project_cost_aggregates")),
    )
    op.create_table(
        "risk_overrides",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("id", types.CodePointText(), nullable=False),
        sa.Column("action_type", types.CodePointText(), nullable=False),
        sa.Column("original_tier", types.CodePointText(), nullable=False),
        sa.Column("override_tier", types.CodePointText(), nullable=False),
        sa.Column("reason", types.CodePointText(), nullable=False),
        sa.Column("created_by", types.CodePointText(), nullable=False),
        sa.Column("created_at", types.Timestamp(), nullable=False),
        sa.Column("expires_at", types.Timestamp(), nullable=False),
        sa.Column("revoked_at", types.Timestamp(), nullable=True),
        sa.Column("revoked_by", types.CodePointText(), nullable=True),
        sa.Column("extra", types.JsonText(), nullable=True),
        sa.CheckConstraint(
            "(revoked_at IS NULL) = (revoked_by IS NULL)", name=op.f("ck_risk_overrides_revoked")
        ),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_risk_overrides")),
    )
    op.create_index(
        "ix_risk_overrides_active",
        "risk_overrides",
        ["tenant", "created_at", "id", "expires_at"],
        unique=False,
        postgresql_where=sa.text("revoked_at IS NULL"),
        sqlite_where=sa.text("revoked_at IS NULL"),
    )
    op.create_table(
        "role_versions",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("entity_id", types.CodePointText(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("content_hash", types.CodePointText(), nullable=False),
        sa.Column("snapshot", types.JsonText(), nullable=False),
        sa.Column("saved_by", types.CodePointText(), nullable=False),
        sa.Column("saved_at", types.Timestamp(), nullable=False),
        sa.CheckConstraint("version >= 1", name=op.f("ck_role_versions_version")),
        sa.PrimaryKeyConstraint("tenant", "entity_id", "version", name=op.f("pk_role_versions")),
    )
    op.create_index(
        "ix_role_versions_content_hash",
        "role_versions",
        ["tenant", "entity_id", "content_hash", "version"],
        unique=False,
    )
    op.create_table(
        "ssrf_violations",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("id", types.CodePointText(), nullable=False),
        sa.Column("timestamp", types.Timestamp(), nullable=False),
        sa.Column("url", types.CodePointText(), nullable=False),
        sa.Column("hostname", types.CodePointText(), nullable=False),
        sa.Column("port", sa.BigInteger(), nullable=False),
        sa.Column("resolved_ip", types.CodePointText(), nullable=True),
        sa.Column("blocked_range", types.CodePointText(), nullable=True),
        sa.Column("provider_name", types.CodePointText(), nullable=True),
        sa.Column("status", types.CodePointText(), nullable=False),
        sa.Column("resolved_by", types.CodePointText(), nullable=True),
        sa.Column("resolved_at", types.Timestamp(), nullable=True),
        sa.Column("extra", types.JsonText(), nullable=True),
        sa.CheckConstraint(
            "(status = 'pending') = (resolved_by IS NULL)"
            " AND (status = 'pending') = (resolved_at IS NULL)",
            name=op.f("ck_ssrf_violations_resolved"),
        ),
        sa.CheckConstraint("port BETWEEN 1 AND 65535", name=op.f("ck_ssrf_violations_port")),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_ssrf_violations")),
    )
    op.create_index(
        "ix_ssrf_violations_status",
        "ssrf_violations",
        ["tenant", "status", "timestamp", "id"],
        unique=False,
    )
    op.create_index(
        "ix_ssrf_violations_timestamp",
        "ssrf_violations",
        ["tenant", "timestamp", "id"],
        unique=False,
    )
    op.create_table(
        "task_metrics",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("id", types.CodePointText(), nullable=False),
        sa.Column("agent_id", types.CodePointText(), nullable=False),
        sa.Column("task_id", types.CodePointText(), nullable=False),
        sa.Column("task_type", types.CodePointText(), nullable=False),
        sa.Column("started_at", types.Timestamp(), nullable=True),
        sa.Column("completed_at", types.Timestamp(), nullable=False),
        sa.Column("is_success", sa.Boolean(), nullable=False),
        sa.Column("duration_seconds", sa.Double(), nullable=False),
        sa.Column("cost_usd", sa.Double(), nullable=False),
        sa.Column("turns_used", sa.BigInteger(), nullable=False),
        sa.Column("tokens_used", sa.BigInteger(), nullable=False),
        sa.Column("quality_score", sa.Double(), nullable=True),
        sa.Column("complexity", types.CodePointText(), nullable=False),
        sa.Column("extra", types.JsonText(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_task_metrics")),
    )
    op.create_index(
        "ix_task_metrics_agent_id",
        "task_metrics",
        ["tenant", "agent_id", "completed_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_task_metrics_completed_at",
        "task_metrics",
        ["tenant", "completed_at", "id"],
        unique=False,
    )
    op.create_table(
        "workflow_definition_versions",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("entity_id", types.CodePointText(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("content_hash", types.CodePointText(), nullable=False),
        sa.Column("snapshot", types.JsonText(), nullable=False),
        sa.Column("saved_by", types.CodePointText(), nullable=False),
        sa.Column("saved_at", types.Timestamp(), nullable=False),
        sa.CheckConstraint("version >= 1", name=op.f("ck_workflow_definition_versions_version")),
        sa.PrimaryKeyConstraint(
            "tenant", "entity_id", "version", name=op.f("pk_workflow_definition_versions")
        ),
    )
    op.create_index(
        "ix_workflow_definition_versions_content_hash",
        "workflow_definition_versions",
        ["tenant", "entity_id", "content_hash", "version"],
        unique=False,
    )
    op.create_table(
        "workflow_definitions",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("id", types.CodePointText(), nullable=False),
        sa.Column("name", types.CodePointText(), nullable=False),
        sa.Column("description", types.CodePointText(), nullable=False),
        sa.Column("workflow_type", types.CodePointText(), nullable=False),
        sa.Column("nodes", types.JsonText(), nullable=False),
        sa.Column("edges", types.JsonText(), nullable=False),
        sa.Column("created_by", types.CodePointText(), nullable=False),
        sa.Column("created_at", types.Timestamp(), nullable=False),
        sa.Column("updated_at", types.Timestamp(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("extra", types.JsonText(), nullable=True),
        sa.CheckConstraint(
            "workflow_type IN"
            " ('sequential_pipeline', 'parallel_execution', 'kanban', 'agile_kanban')",
            name=op.f("ck_workflow_definitions_workflow_type"),
        ),
        sa.CheckConstraint("version >= 1", name=op.f("ck_workflow_definitions_version")),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_workflow_definitions")),
    )
    op.create_index(
        "ix_workflow_definitions_updated_at",
        "workflow_definitions",
        ["tenant", "updated_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_workflow_definitions_workflow_type",
        "workflow_definitions",
        ["tenant", "workflow_type", "updated_at", "id"],
        unique=False,
    )
    op.create_table(
        "decision_records",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("id", types.CodePointText(), nullable=False),
        sa.Column("task_id", types.CodePointText(), nullable=False),
        sa.Column("approval_id", types.CodePointText(), nullable=True),
        sa.Column("executing_agent_id", types.CodePointText(), nullable=False),
        sa.Column("reviewer_agent_id", types.CodePointText(), nullable=False),
        sa.Column("decision", types.CodePointText(), nullable=False),
        sa.Column("reason", types.CodePointText(), nullable=True),
        sa.Column("criteria_snapshot", types.JsonText(), nullable=False),
        sa.Column("recorded_at", types.Timestamp(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("metadata", types.JsonText(), nullable=False),
        sa.Column("risk_card", types.JsonText(), nullable=True),
        sa.Column("confidence_metadata", types.JsonText(), nullable=True),
        sa.Column("lens_attribution", types.JsonText(), nullable=False),
        sa.Column("extra", types.JsonText(), nullable=True),
        sa.CheckConstraint(
            "decision IN ('approved', 'rejected', 'auto_approved', 'auto_rejected', 'escalated')",
            name=op.f("ck_decision_records_decision"),
        ),
        sa.CheckConstraint(
            "executing_agent_id <> reviewer_agent_id", name=op.f("ck_decision_records_reviewer")
        ),
        sa.CheckConstraint("version >= 1", name=op.f("ck_decision_records_version")),
        sa.ForeignKeyConstraint(
            ["tenant", "task_id"],
            ["tasks.tenant", "tasks.id"],
            name=op.f("fk_decision_records_task_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_decision_records")),
        sa.UniqueConstraint(
            "tenant", "task_id", "version", name="uq_decision_records_task_id_version"
        ),
    )
    op.create_index(
        "ix_decision_records_executing_agent_id",
        "decision_records",
        ["tenant", "executing_agent_id", "recorded_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_decision_records_reviewer_agent_id",
        "decision_records",
        ["tenant", "reviewer_agent_id", "recorded_at", "id"],
        unique=False,
    )
    op.create_table(
        "sessions",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("id", types.CodePointText(), nullable=False),
        sa.Column("user_id", types.CodePointText(), nullable=False),
        sa.Column("created_at", types.Timestamp(), nullable=False),
        sa.Column("expires_at", types.Timestamp(), nullable=False),
        sa.Column("last_active_at", types.Timestamp(), nullable=True),
        sa.Column("ip_address", types.CodePointText(), nullable=False),
        sa.Column("user_agent", types.CodePointText(), nullable=False),
        sa.Column("revoked", sa.Boolean(), nullable=False),
        sa.Column("extra", types.JsonText(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant", "user_id"],
            ["users.tenant", "users.id"],
            name=op.f("fk_sessions_user_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_sessions")),
    )
    op.create_index(
        "ix_sessions_created_at", "sessions", ["tenant", "created_at", "id"], unique=False
    )
    op.create_index("ix_sessions_expires_at", "sessions", ["tenant", "expires_at"], unique=False)
    op.create_index(
        "ix_sessions_revoked",
        "sessions",
        ["tenant", "expires_at", "id"],
        unique=False,
        postgresql_where=sa.text("revoked"),
        sqlite_where=sa.text("revoked"),
    )
    op.create_index(
        "ix_sessions_user_id", "sessions", ["tenant", "user_id", "created_at", "id"], unique=False
    )
    op.create_table(
        "workflow_executions",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("id", types.CodePointText(), nullable=False),
        sa.Column("definition_id", types.CodePointText(), nullable=False),
        sa.Column("definition_version", sa.BigInteger(), nullable=False),
        sa.Column("status", types.CodePointText(), nullable=False),
        sa.Column("node_executions", types.JsonText(), nullable=False),
        sa.Column("activated_by", types.CodePointText(), nullable=False),
        sa.Column("project", types.CodePointText(), nullable=False),
        sa.Column("created_at", types.Timestamp(), nullable=False),
        sa.Column("updated_at", types.Timestamp(), nullable=False),
        sa.Column("completed_at", types.Timestamp(), nullable=True),
        sa.Column("error", types.CodePointText(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("extra", types.JsonText(), nullable=True),
        sa.CheckConstraint(
            "(status = 'failed') = (error IS NOT NULL)", name=op.f("ck_workflow_executions_error")
        ),
        sa.CheckConstraint(
            "(status IN ('pending', 'running')) = (completed_at IS NULL)",
            name=op.f("ck_workflow_executions_completed"),
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'completed', 'failed', 'cancelled')",
            name=op.f("ck_workflow_executions_status"),
        ),
        sa.CheckConstraint(
            "version >= 1 AND definition_version >= 1", name=op.f("ck_workflow_executions_version")
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "definition_id"],
            ["workflow_definitions.tenant", "workflow_definitions.id"],
            name=op.f("fk_workflow_executions_definition_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_workflow_executions")),
    )
    op.create_index(
        "ix_workflow_executions_definition_id",
        "workflow_executions",
        ["tenant", "definition_id", "updated_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_workflow_executions_status",
        "workflow_executions",
        ["tenant", "status", "updated_at", "id"],
        unique=False,
    )
    op.create_table(
        "refresh_tokens",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("token_hash", types.CodePointText(), nullable=False),
        sa.Column("session_id", types.CodePointText(), nullable=False),
        sa.Column("user_id", types.CodePointText(), nullable=False),
        sa.Column("created_at", types.Timestamp(), nullable=False),
        sa.Column("expires_at", types.Timestamp(), nullable=False),
        sa.Column("used_at", types.Timestamp(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant", "session_id"],
            ["sessions.tenant", "sessions.id"],
            name=op.f("fk_refresh_tokens_session_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant", "token_hash", name=op.f("pk_refresh_tokens")),
    )
    op.create_index(
        "ix_refresh_tokens_expires_at", "refresh_tokens", ["tenant", "expires_at"], unique=False
    )
    op.create_index(
        "ix_refresh_tokens_session_id", "refresh_tokens", ["tenant", "session_id"], unique=False
    )
    op.create_index(
        "ix_refresh_tokens_user_id", "refresh_tokens", ["tenant", "user_id"], unique=False
    )
    op.create_table(
        "workflow_execution_tasks",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("task_id", types.CodePointText(), nullable=False),
        sa.Column("execution_id", types.CodePointText(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "execution_id"],
            ["workflow_executions.tenant", "workflow_executions.id"],
            name=op.f("fk_workflow_execution_tasks_execution_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "tenant", "task_id", "execution_id", name=op.f("pk_workflow_execution_tasks")
        ),
    )
    op.create_index(
        "ix_workflow_execution_tasks_execution_id",
        "workflow_execution_tasks",
        ["tenant", "execution_id"],
        unique=False,
    )
    op.add_column("agent_states", sa.Column("extra", types.JsonText(), nullable=True))
    op.add_column("api_keys", sa.Column("extra", types.JsonText(), nullable=True))
    op.add_column("artifacts", sa.Column("extra", types.JsonText(), nullable=True))
    op.add_column("audit_entries", sa.Column("extra", types.JsonText(), nullable=True))
    op.add_column("checkpoints", sa.Column("extra", types.JsonText(), nullable=True))
    op.add_column("cost_records", sa.Column("extra", types.JsonText(), nullable=True))
    op.add_column("heartbeats", sa.Column("extra", types.JsonText(), nullable=True))
    op.add_column("messages", sa.Column("extra", types.JsonText(), nullable=True))
    op.add_column("parked_contexts", sa.Column("extra", types.JsonText(), nullable=True))
    op.add_column("projects", sa.Column("extra", types.JsonText(), nullable=True))
    op.add_column("tasks", sa.Column("extra", types.JsonText(), nullable=True))
    op.add_column("users", sa.Column("extra", types.JsonText(), nullable=True))


def downgrade() -> None:
    op.drop_column("users", "extra")
    op.drop_column("tasks", "extra")
    op.drop_column("projects", "extra")
    op.drop_column("parked_contexts", "extra")
    op.drop_column("messages", "extra")
    op.drop_column("heartbeats", "extra")
    op.drop_column("cost_records", "extra")
    op.drop_column("checkpoints", "extra")
    op.drop_column("audit_entries", "extra")
    op.drop_column("artifacts", "extra")
    op.drop_column("api_keys", "extra")
    op.drop_column("agent_states", "extra")
    op.drop_index("ix_workflow_execution_tasks_execution_id", table_name="workflow_execution_tasks")
    op.drop_table("workflow_execution_tasks")
    op.drop_index("ix_refresh_tokens_user_id", table_name="refresh_tokens")
    op.drop_index("ix_refresh_tokens_session_id", table_name="refresh_tokens")
    op.drop_index("ix_refresh_tokens_expires_at", table_name="refresh_tokens")
    op.drop_table("refresh_tokens")
    op.drop_index("ix_workflow_executions_status", table_name="workflow_executions")
    op.drop_index("ix_workflow_executions_definition_id", table_name="workflow_executions")
    op.drop_table("workflow_executions")
    op.drop_index("ix_sessions_user_id", table_name="sessions")
    op.drop_index(
        "ix_sessions_revoked",
        table_name="sessions",
        postgresql_where=sa.text("revoked"),
        sqlite_where=sa.text("revoked"),
    )
    op.drop_index("ix_sessions_expires_at", table_name="sessions")
    op.drop_index("ix_sessions_created_at", table_name="sessions")
    op.drop_table("sessions")
    op.drop_index("ix_decision_records_reviewer_agent_id", table_name="decision_records")
    op.drop_index("ix_decision_records_executing_agent_id", table_name="decision_records")
    op.drop_table("decision_records")
    op.drop_index("ix_workflow_definitions_workflow_type", table_name="workflow_definitions")
    op.drop_index("ix_workflow_definitions_updated_at", table_name="workflow_definitions")
    op.drop_table("workflow_definitions")
    op.drop_index(
        "ix_workflow_definition_versions_content_hash", table_name="workflow_definition_versions"
    )
    op.drop_table("workflow_definition_versions")
    op.drop_index("ix_task_metrics_completed_at", table_name="task_metrics")
    op.drop_index("ix_task_metrics_agent_id", table_name="task_metrics")
    op.drop_table("task_metrics")
    op.drop_index("ix_ssrf_violations_timestamp", table_name="ssrf_violations")
    op.drop_index("ix_ssrf_violations_status", table_name="ssrf_violations")
    op.drop_table("ssrf_violations")
    op.drop_index("ix_role_versions_content_hash", table_name="role_versions")
    op.drop_table("role_versions")
    op.drop_index(
        "ix_risk_overrides_active",
        table_name="risk_overrides",
        postgresql_where=sa.text("revoked_at IS NULL"),
        sqlite_where=sa.text("revoked_at IS NULL"),
    )
    op.drop_table("risk_overrides")
    op.drop_table("project_cost_aggregates")
    op.drop_index(
        "ix_org_facts_snapshot_category",
        table_name="org_facts_snapshot",
        postgresql_where=sa.text("retracted_at IS NULL"),
        sqlite_where=sa.text("retracted_at IS NULL"),
    )
    op.drop_index(
        "ix_org_facts_snapshot_active",
        table_name="org_facts_snapshot",
        postgresql_where=sa.text("retracted_at IS NULL"),
        sqlite_where=sa.text("retracted_at IS NULL"),
    )
    op.drop_table("org_facts_snapshot")
    op.drop_table("org_facts_operation_log")
    op.drop_index(
        "ix_lockouts_locked_until",
        table_name="lockouts",
        postgresql_where=sa.text("locked_until IS NOT NULL"),
        sqlite_where=sa.text("locked_until IS NOT NULL"),
    )
    op.drop_index("ix_lockouts_last_failure_at", table_name="lockouts")
    op.drop_table("lockouts")
    op.drop_index("ix_lifecycle_events_timestamp", table_name="lifecycle_events")
    op.drop_index("ix_lifecycle_events_event_type", table_name="lifecycle_events")
    op.drop_index("ix_lifecycle_events_agent_id", table_name="lifecycle_events")
    op.drop_table("lifecycle_events")
    op.drop_index("ix_idempotency_keys_expires_at", table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_index(
        "ix_evaluation_config_versions_content_hash", table_name="evaluation_config_versions"
    )
    op.drop_table("evaluation_config_versions")
    op.drop_table("custom_presets")
    op.drop_index("ix_company_versions_content_hash", table_name="company_versions")
    op.drop_table("company_versions")
    op.drop_index("ix_collaboration_metrics_recorded_at", table_name="collaboration_metrics")
    op.drop_index("ix_collaboration_metrics_agent_id", table_name="collaboration_metrics")
    op.drop_table("collaboration_metrics")
    op.drop_table("circuit_breaker_state")
    op.drop_table("changes")
    op.drop_index("ix_budget_config_versions_content_hash", table_name="budget_config_versions")
    op.drop_table("budget_config_versions")
    op.drop_index("ix_approvals_status", table_name="approvals")
    op.drop_index("ix_approvals_risk_level", table_name="approvals")
    op.drop_index("ix_approvals_created_at", table_name="approvals")
    op.drop_index("ix_approvals_action_type", table_name="approvals")
    op.drop_table("approvals")
    op.drop_index("ix_agent_identity_versions_content_hash", table_name="agent_identity_versions")
    op.drop_table("agent_identity_versions")
