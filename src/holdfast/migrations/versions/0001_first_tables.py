"""First tables: work, runs, talk, money, audit, people, settings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from holdfast.storage import types

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# An organisation that has a CEO, or an owner, keeps one. By dialect: create, drop.
_RULES: dict[str, tuple[list[str], list[str]]] = {
    "sqlite": (
        [
            """
CREATE TRIGGER ck_users_ceo_minimum_UPDATE BEFORE UPDATE ON users
WHEN OLD.role = 'ceo' AND NOT (NEW.role = 'ceo') AND NOT EXISTS (
  SELECT 1 FROM users o WHERE o.tenant = OLD.tenant AND o.id <> OLD.id AND o.role = 'ceo')
BEGIN SELECT RAISE(ABORT, 'holdfast:ck_users_ceo_minimum'); END
""",
            """
CREATE TRIGGER ck_users_ceo_minimum_DELETE BEFORE DELETE ON users
WHEN OLD.role = 'ceo'  AND NOT EXISTS (
  SELECT 1 FROM users o WHERE o.tenant = OLD.tenant AND o.id <> OLD.id AND o.role = 'ceo')
BEGIN SELECT RAISE(ABORT, 'holdfast:ck_users_ceo_minimum'); END
""",
            """
CREATE TRIGGER ck_users_owner_minimum_UPDATE BEFORE UPDATE ON users
WHEN OLD.is_owner AND NOT (NEW.is_owner) AND NOT EXISTS (
  SELECT 1 FROM users o WHERE o.tenant = OLD.tenant AND o.id <> OLD.id AND o.is_owner)
BEGIN SELECT RAISE(ABORT, 'holdfast:ck_users_owner_minimum'); END
""",
            """
CREATE TRIGGER ck_users_owner_minimum_DELETE BEFORE DELETE ON users
WHEN OLD.is_owner  AND NOT EXISTS (
  SELECT 1 FROM users o WHERE o.tenant = OLD.tenant AND o.id <> OLD.id AND o.is_owner)
BEGIN SELECT RAISE(ABORT, 'holdfast:ck_users_owner_minimum'); END
""",
        ],
        [
            "DROP TRIGGER ck_users_ceo_minimum_UPDATE",
            "DROP TRIGGER ck_users_ceo_minimum_DELETE",
            "DROP TRIGGER ck_users_owner_minimum_UPDATE",
            "DROP TRIGGER ck_users_owner_minimum_DELETE",
        ],
    ),
    "postgresql": (
        [
            """
CREATE FUNCTION ck_users_ceo_minimum() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.role = 'ceo' AND (TG_OP = 'DELETE' OR NOT (NEW.role = 'ceo')) THEN
    PERFORM pg_advisory_xact_lock(hashtextextended('ck_users_ceo_minimum:' || OLD.tenant, 0));
    IF NOT EXISTS (SELECT 1 FROM users o
                   WHERE o.tenant = OLD.tenant AND o.id <> OLD.id AND o.role = 'ceo') THEN
      RAISE EXCEPTION 'holdfast:ck_users_ceo_minimum' USING ERRCODE = 'check_violation',
        CONSTRAINT = 'ck_users_ceo_minimum', TABLE = 'users';
    END IF;
  END IF;
  RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$
""",
            """
CREATE TRIGGER ck_users_ceo_minimum BEFORE UPDATE OR DELETE ON users
FOR EACH ROW EXECUTE FUNCTION ck_users_ceo_minimum()
""",
            """
CREATE FUNCTION ck_users_owner_minimum() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.is_owner AND (TG_OP = 'DELETE' OR NOT (NEW.is_owner)) THEN
    PERFORM pg_advisory_xact_lock(hashtextextended('ck_users_owner_minimum:' || OLD.tenant, 0));
    IF NOT EXISTS (SELECT 1 FROM users o
                   WHERE o.tenant = OLD.tenant AND o.id <> OLD.id AND o.is_owner) THEN
      RAISE EXCEPTION 'holdfast:ck_users_owner_minimum' USING ERRCODE = 'check_violation',
        CONSTRAINT = 'ck_users_owner_minimum', TABLE = 'users';
    END IF;
  END IF;
  RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$
""",
            """
CREATE TRIGGER ck_users_owner_minimum BEFORE UPDATE OR DELETE ON users
FOR EACH ROW EXECUTE FUNCTION ck_users_owner_minimum()
""",
        ],
        [
            "DROP TRIGGER ck_users_ceo_minimum ON users",
            "DROP FUNCTION ck_users_ceo_minimum()",
            "DROP TRIGGER ck_users_owner_minimum ON users",
            "DROP FUNCTION ck_users_owner_minimum()",
        ],
    ),
}


def upgrade() -> None:
    op.create_table(
        "agent_states",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("agent_id", types.CodePointText(), nullable=False),
        sa.Column("execution_id", types.CodePointText(), nullable=True),
        sa.Column("task_id", types.CodePointText(), nullable=True),
        sa.Column("status", types.CodePointText(), nullable=False),
        sa.Column("turn_count", sa.BigInteger(), nullable=False),
        sa.Column("accumulated_cost_usd", sa.Double(), nullable=False),
        sa.Column("last_activity_at", types.Timestamp(), nullable=False),
        sa.Column("started_at", types.Timestamp(), nullable=True),
        sa.CheckConstraint(
            "status <> 'idle' OR (execution_id IS NULL AND task_id IS NULL AND started_at IS NULL"
            " AND turn_count = 0 AND accumulated_cost_usd = 0)",
            name=op.f("ck_agent_states_idle"),
        ),
        sa.CheckConstraint(
            "status = 'idle' OR (execution_id IS NOT NULL AND started_at IS NOT NULL)",
            name=op.f("ck_agent_states_busy"),
        ),
        sa.CheckConstraint(
            "turn_count >= 0 AND accumulated_cost_usd >= 0", name=op.f("ck_agent_states_counters")
        ),
        sa.PrimaryKeyConstraint("tenant", "agent_id", name=op.f("pk_agent_states")),
    )
    op.create_index(
        "ix_agent_states_active",
        "agent_states",
        ["tenant", "last_activity_at", "agent_id"],
        unique=False,
        postgresql_where=sa.text("status <> 'idle'"),
        sqlite_where=sa.text("status <> 'idle'"),
    )
    op.create_table(
        "artifacts",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("id", types.CodePointText(), nullable=False),
        sa.Column("type", types.CodePointText(), nullable=False),
        sa.Column("path", types.CodePointText(), nullable=False),
        sa.Column("task_id", types.CodePointText(), nullable=False),
        sa.Column("created_by", types.CodePointText(), nullable=False),
        sa.Column("description", types.CodePointText(), nullable=False),
        sa.Column("project_id", types.CodePointText(), nullable=True),
        sa.Column("content_type", types.CodePointText(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", types.Timestamp(), nullable=True),
        sa.Column("save_count", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("ck_artifacts_size_bytes")),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_artifacts")),
    )
    op.create_index(
        "ix_artifacts_created_by", "artifacts", ["tenant", "created_by", "id"], unique=False
    )
    op.create_index("ix_artifacts_task_id", "artifacts", ["tenant", "task_id", "id"], unique=False)
    op.create_index("ix_artifacts_type", "artifacts", ["tenant", "type", "id"], unique=False)
    op.create_table(
        "audit_entries",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("id", types.CodePointText(), nullable=False),
        sa.Column("timestamp", types.Timestamp(), nullable=False),
        sa.Column("agent_id", types.CodePointText(), nullable=True),
        sa.Column("task_id", types.CodePointText(), nullable=True),
        sa.Column("tool_name", types.CodePointText(), nullable=False),
        sa.Column("tool_category", types.CodePointText(), nullable=False),
        sa.Column("action_type", types.CodePointText(), nullable=False),
        sa.Column("arguments_hash", types.CodePointText(), nullable=False),
        sa.Column("verdict", types.CodePointText(), nullable=False),
        sa.Column("risk_level", types.CodePointText(), nullable=False),
        sa.Column("reason", types.CodePointText(), nullable=False),
        sa.Column("matched_rules", types.JsonText(), nullable=False),
        sa.Column("evaluation_duration_ms", sa.Double(), nullable=False),
        sa.Column("approval_id", types.CodePointText(), nullable=True),
        sa.Column("confidence", types.CodePointText(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_audit_entries")),
    )
    op.create_index(
        "ix_audit_entries_action_type",
        "audit_entries",
        ["tenant", "action_type", "timestamp", "id"],
        unique=False,
    )
    op.create_index(
        "ix_audit_entries_agent_id",
        "audit_entries",
        ["tenant", "agent_id", "timestamp", "id"],
        unique=False,
    )
    op.create_index(
        "ix_audit_entries_risk_level",
        "audit_entries",
        ["tenant", "risk_level", "timestamp", "id"],
        unique=False,
    )
    op.create_index(
        "ix_audit_entries_timestamp", "audit_entries", ["tenant", "timestamp", "id"], unique=False
    )
    op.create_index(
        "ix_audit_entries_verdict",
        "audit_entries",
        ["tenant", "verdict", "timestamp", "id"],
        unique=False,
    )
    op.create_table(
        "checkpoints",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("id", types.CodePointText(), nullable=False),
        sa.Column("execution_id", types.CodePointText(), nullable=False),
        sa.Column("agent_id", types.CodePointText(), nullable=False),
        sa.Column("task_id", types.CodePointText(), nullable=False),
        sa.Column("turn_number", sa.BigInteger(), nullable=False),
        sa.Column("context_json", types.CodePointText(), nullable=False),
        sa.Column("created_at", types.Timestamp(), nullable=False),
        sa.CheckConstraint("turn_number >= 0", name=op.f("ck_checkpoints_turn_number")),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_checkpoints")),
    )
    op.create_index(
        "ix_checkpoints_execution_id",
        "checkpoints",
        ["tenant", "execution_id", "turn_number", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_checkpoints_task_id",
        "checkpoints",
        ["tenant", "task_id", "turn_number", "created_at", "id"],
        unique=False,
    )
    op.create_table(
        "cost_records",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("record_id", types.CodePointText(), nullable=False),
        sa.Column("agent_id", types.CodePointText(), nullable=False),
        sa.Column("task_id", types.CodePointText(), nullable=False),
        sa.Column("provider", types.CodePointText(), nullable=False),
        sa.Column("model", types.CodePointText(), nullable=False),
        sa.Column("project_id", types.CodePointText(), nullable=True),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_usd", sa.Double(), nullable=False),
        sa.Column("timestamp", types.Timestamp(), nullable=False),
        sa.Column("call_category", types.CodePointText(), nullable=True),
        sa.Column("accuracy_effort_ratio", sa.Double(), nullable=True),
        sa.Column("latency_ms", sa.Double(), nullable=True),
        sa.Column("cache_hit", sa.Boolean(), nullable=True),
        sa.Column("retry_count", sa.BigInteger(), nullable=True),
        sa.Column("retry_reason", types.CodePointText(), nullable=True),
        sa.Column("finish_reason", types.CodePointText(), nullable=True),
        sa.Column("success", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "record_id", name=op.f("pk_cost_records")),
    )
    op.create_index(
        "ix_cost_records_agent_id",
        "cost_records",
        ["tenant", "agent_id", "record_id"],
        unique=False,
    )
    op.create_index(
        "ix_cost_records_task_id", "cost_records", ["tenant", "task_id", "record_id"], unique=False
    )
    op.create_index(
        "ix_cost_records_timestamp",
        "cost_records",
        ["tenant", "timestamp", "record_id"],
        unique=False,
    )
    op.create_table(
        "heartbeats",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("execution_id", types.CodePointText(), nullable=False),
        sa.Column("agent_id", types.CodePointText(), nullable=False),
        sa.Column("task_id", types.CodePointText(), nullable=False),
        sa.Column("last_heartbeat_at", types.Timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "execution_id", name=op.f("pk_heartbeats")),
    )
    op.create_index(
        "ix_heartbeats_last_heartbeat_at",
        "heartbeats",
        ["tenant", "last_heartbeat_at", "execution_id"],
        unique=False,
    )
    op.create_table(
        "messages",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("id", types.CodePointText(), nullable=False),
        sa.Column("timestamp", types.Timestamp(), nullable=False),
        sa.Column("sender", types.CodePointText(), nullable=False),
        sa.Column("to", types.CodePointText(), nullable=False),
        sa.Column("type", types.CodePointText(), nullable=False),
        sa.Column("priority", types.CodePointText(), nullable=False),
        sa.Column("channel", types.CodePointText(), nullable=False),
        sa.Column("parts", types.JsonText(), nullable=False),
        sa.Column("metadata", types.JsonText(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_messages")),
    )
    op.create_index(
        "ix_messages_channel", "messages", ["tenant", "channel", "timestamp", "id"], unique=False
    )
    op.create_index(
        "ix_messages_timestamp", "messages", ["tenant", "timestamp", "id"], unique=False
    )
    op.create_table(
        "parked_contexts",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("id", types.CodePointText(), nullable=False),
        sa.Column("execution_id", types.CodePointText(), nullable=False),
        sa.Column("agent_id", types.CodePointText(), nullable=False),
        sa.Column("approval_id", types.CodePointText(), nullable=False),
        sa.Column("task_id", types.CodePointText(), nullable=True),
        sa.Column("parked_at", types.Timestamp(), nullable=False),
        sa.Column("context_json", types.CodePointText(), nullable=False),
        sa.Column("metadata", types.JsonText(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_parked_contexts")),
    )
    op.create_index(
        "ix_parked_contexts_agent_id",
        "parked_contexts",
        ["tenant", "agent_id", "parked_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_parked_contexts_approval_id",
        "parked_contexts",
        ["tenant", "approval_id", "parked_at", "id"],
        unique=False,
    )
    op.create_table(
        "projects",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("id", types.CodePointText(), nullable=False),
        sa.Column("name", types.CodePointText(), nullable=False),
        sa.Column("description", types.CodePointText(), nullable=False),
        sa.Column("team", types.JsonText(), nullable=False),
        sa.Column("lead", types.CodePointText(), nullable=True),
        sa.Column("task_ids", types.JsonText(), nullable=False),
        sa.Column("deadline", types.CodePointText(), nullable=True),
        sa.Column("budget", sa.Double(), nullable=False),
        sa.Column("status", types.CodePointText(), nullable=False),
        sa.CheckConstraint("budget >= 0", name=op.f("ck_projects_budget")),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_projects")),
    )
    op.create_index("ix_projects_lead", "projects", ["tenant", "lead", "id"], unique=False)
    op.create_index("ix_projects_status", "projects", ["tenant", "status", "id"], unique=False)
    op.create_table(
        "settings",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("namespace", types.CodePointText(), nullable=False),
        sa.Column("key", types.CodePointText(), nullable=False),
        sa.Column("value", types.CodePointText(), nullable=False),
        sa.Column("updated_at", types.CodePointText(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "namespace", "key", name=op.f("pk_settings")),
    )
    op.create_table(
        "tasks",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("id", types.CodePointText(), nullable=False),
        sa.Column("title", types.CodePointText(), nullable=False),
        sa.Column("description", types.CodePointText(), nullable=False),
        sa.Column("type", types.CodePointText(), nullable=False),
        sa.Column("priority", types.CodePointText(), nullable=False),
        sa.Column("project", types.CodePointText(), nullable=False),
        sa.Column("created_by", types.CodePointText(), nullable=False),
        sa.Column("assigned_to", types.CodePointText(), nullable=True),
        sa.Column("reviewers", types.JsonText(), nullable=False),
        sa.Column("dependencies", types.JsonText(), nullable=False),
        sa.Column("artifacts_expected", types.JsonText(), nullable=False),
        sa.Column("acceptance_criteria", types.JsonText(), nullable=False),
        sa.Column("estimated_complexity", types.CodePointText(), nullable=False),
        sa.Column("budget_limit", sa.Double(), nullable=False),
        sa.Column("deadline", types.CodePointText(), nullable=True),
        sa.Column("max_retries", sa.BigInteger(), nullable=False),
        sa.Column("status", types.CodePointText(), nullable=False),
        sa.Column("parent_task_id", types.CodePointText(), nullable=True),
        sa.Column("delegation_chain", types.JsonText(), nullable=False),
        sa.Column("task_structure", types.CodePointText(), nullable=True),
        sa.Column("coordination_topology", types.CodePointText(), nullable=False),
        sa.Column("source", types.CodePointText(), nullable=True),
        sa.Column("priority_rank", sa.BigInteger(), nullable=False),
        sa.Column("first_saved", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_tasks")),
    )
    op.create_index("ix_tasks_assigned_to", "tasks", ["tenant", "assigned_to", "id"], unique=False)
    op.create_index(
        "ix_tasks_claim",
        "tasks",
        ["tenant", "priority_rank", "first_saved", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'created'"),
        sqlite_where=sa.text("status = 'created'"),
    )
    op.create_index("ix_tasks_project", "tasks", ["tenant", "project", "id"], unique=False)
    op.create_index("ix_tasks_status", "tasks", ["tenant", "status", "id"], unique=False)
    op.create_table(
        "users",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("id", types.CodePointText(), nullable=False),
        sa.Column("username", types.CodePointText(), nullable=False),
        sa.Column("password_hash", types.CodePointText(), nullable=False),
        sa.Column("role", types.CodePointText(), nullable=False),
        sa.Column("must_change_password", sa.Boolean(), nullable=False),
        sa.Column("org_roles", types.JsonText(), nullable=False),
        sa.Column("scoped_departments", types.JsonText(), nullable=False),
        sa.Column("created_at", types.Timestamp(), nullable=False),
        sa.Column("updated_at", types.Timestamp(), nullable=False),
        sa.Column("is_owner", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_users")),
        sa.UniqueConstraint("tenant", "username", name="uq_users_username"),
    )
    op.create_index("ix_users_created_at", "users", ["tenant", "created_at", "id"], unique=False)
    op.create_index("ix_users_role", "users", ["tenant", "role", "id"], unique=False)
    op.create_index(
        "uq_users_single_ceo",
        "users",
        ["tenant"],
        unique=True,
        postgresql_where=sa.text("role = 'ceo'"),
        sqlite_where=sa.text("role = 'ceo'"),
    )
    op.create_table(
        "api_keys",
        sa.Column("tenant", types.CodePointText(), nullable=False),
        sa.Column("id", types.CodePointText(), nullable=False),
        sa.Column("key_hash", types.CodePointText(), nullable=False),
        sa.Column("name", types.CodePointText(), nullable=False),
        sa.Column("role", types.CodePointText(), nullable=False),
        sa.Column("user_id", types.CodePointText(), nullable=False),
        sa.Column("created_at", types.Timestamp(), nullable=False),
        sa.Column("expires_at", types.Timestamp(), nullable=True),
        sa.Column("revoked", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "user_id"],
            ["users.tenant", "users.id"],
            name=op.f("fk_api_keys_user_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("tenant", "key_hash", name="uq_api_keys_key_hash"),
    )
    op.create_index(
        "ix_api_keys_user_id", "api_keys", ["tenant", "user_id", "created_at", "id"], unique=False
    )
    for statement in _RULES[op.get_context().dialect.name][0]:
        op.execute(statement)


def downgrade() -> None:
    for statement in _RULES[op.get_context().dialect.name][1]:
        op.execute(statement)
    op.drop_index("ix_api_keys_user_id", table_name="api_keys")
    op.drop_table("api_keys")
    op.drop_index(
        "uq_users_single_ceo",
        table_name="users",
        postgresql_where=sa.text("role = 'ceo'"),
        sqlite_where=sa.text("role = 'ceo'"),
    )
    op.drop_index("ix_users_role", table_name="users")
    op.drop_index("ix_users_created_at", table_name="users")
    op.drop_table("users")
    op.drop_index("ix_tasks_status", table_name="tasks")
    op.drop_index("ix_tasks_project", table_name="tasks")
    op.drop_index(
        "ix_tasks_claim",
        table_name="tasks",
        postgresql_where=sa.text("status = 'created'"),
        sqlite_where=sa.text("status = 'created'"),
    )
    op.drop_index("ix_tasks_assigned_to", table_name="tasks")
    op.drop_table("tasks")
    op.drop_table("settings")
    op.drop_index("ix_projects_status", table_name="projects")
    op.drop_index("ix_projects_lead", table_name="projects")
    op.drop_table("projects")
    op.drop_index("ix_parked_contexts_approval_id", table_name="parked_contexts")
    op.drop_index("ix_parked_contexts_agent_id", table_name="parked_contexts")
    op.drop_table("parked_contexts")
    op.drop_index("ix_messages_timestamp", table_name="messages")
    op.drop_index("ix_messages_channel", table_name="messages")
    op.drop_table("messages")
    op.drop_index("ix_heartbeats_last_heartbeat_at", table_name="heartbeats")
    op.drop_table("heartbeats")
    op.drop_index("ix_cost_records_timestamp", table_name="cost_records")
    op.drop_index("ix_cost_records_task_id", table_name="cost_records")
    op.drop_index("ix_cost_records_agent_id", table_name="cost_records")
    op.drop_table("cost_records")
    op.drop_index("ix_checkpoints_task_id", table_name="checkpoints")
    op.drop_index("ix_checkpoints_execution_id", table_name="checkpoints")
    op.drop_table("checkpoints")
    op.drop_index("ix_audit_entries_verdict", table_name="audit_entries")
    op.drop_index("ix_audit_entries_timestamp", table_name="audit_entries")
    op.drop_index("ix_audit_entries_risk_level", table_name="audit_entries")
    op.drop_index("ix_audit_entries_agent_id", table_name="audit_entries")
    op.drop_index("ix_audit_entries_action_type", table_name="audit_entries")
    op.drop_table("audit_entries")
    op.drop_index("ix_artifacts_type", table_name="artifacts")
    op.drop_index("ix_artifacts_task_id", table_name="artifacts")
    op.drop_index("ix_artifacts_created_by", table_name="artifacts")
    op.drop_table("artifacts")
    op.drop_index(
        "ix_agent_states_active",
        table_name="agent_states",
        postgresql_where=sa.text("status <> 'idle'"),
        sqlite_where=sa.text("status <> 'idle'"),
    )
    op.drop_table("agent_states")
