"""An instance of some entities with every field set, by hand: the texts are what tests compare."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

from pydantic import BaseModel

from holdfast import (
    AcceptanceCriterion,
    AgentRuntimeState,
    ApiKey,
    Artifact,
    AuditEntry,
    Checkpoint,
    CostRecord,
    DataPart,
    ExpectedArtifact,
    FilePart,
    Heartbeat,
    Message,
    MessageMetadata,
    ParkedContext,
    Project,
    Task,
    TextPart,
    UriPart,
    User,
)

#: Not in UTC and with microseconds: comes back as the same instant, in UTC.
WHEN = datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=45)))
LATER = datetime(2026, 4, 1, 12, tzinfo=UTC)
HASH = "0123456789abcdef" * 4
TEXT = "Grüße, 世界 🦑 'quoted' \"double\" back\\slash %s {x} $1 :name\nline\ttab \u0301"
JSON = '{ "b":1,"a" : [1.0, -0.0, 1e16, null, "\\u00e9"], "b": 2 }'


def full() -> dict[str, BaseModel]:
    """Every field of every entity set, none to its default."""
    return {
        "tasks": Task(
            id=TEXT, title=TEXT, description=TEXT, type="research", priority="critical",
            project="p", created_by="me", assigned_to="ada", reviewers=("r1", "r2"),
            dependencies=("d1", "d2"),
            artifacts_expected=(ExpectedArtifact(type="code", path="x/y"),),
            acceptance_criteria=(AcceptanceCriterion(description=TEXT, met=True),),
            estimated_complexity="epic", budget_limit=0.1 + 0.2, deadline="2026-01-31",
            max_retries=2**63 - 1, status="in_progress", parent_task_id="parent",
            delegation_chain=("root", "lead"), task_structure="mixed",
            coordination_topology="sas", source="client",
        ),
        "projects": Project(
            id="p", name=TEXT, description=TEXT, team=("a", "b"), lead="a", task_ids=("t1", "t2"),
            deadline="2026-01-31T10:00:00", budget=1e300, status="on_hold",
        ),
        "artifacts": Artifact(
            id="a", type="tests", path="p", task_id="t", created_by="me", description=TEXT,
            project_id="p", content_type="text/plain", size_bytes=7, created_at=WHEN,
        ),
        "cost_records": CostRecord(
            agent_id="a", task_id="t", provider="p", model="m", project_id="p", input_tokens=1,
            output_tokens=2, cost_usd=5e-324, timestamp=WHEN, call_category="system",
            accuracy_effort_ratio=0.5, latency_ms=1.25, cache_hit=False, retry_count=1,
            retry_reason=TEXT, finish_reason="tool_use", success=True,
        ),
        "messages": Message(
            id=UUID(int=7), timestamp=WHEN, sender="a", to="b", type="question", priority="urgent",
            channel="c",
            parts=(
                TextPart(text=TEXT),
                DataPart(data={"z": [1, 2.0, {"x": None}], "a": {"n": 1e16, "t": TEXT}}),
                FilePart(uri="file:x", mime_type="text/plain"),
                UriPart(uri="https://example.com"),
            ),
            metadata=MessageMetadata(
                task_id="t", project_id="p", tokens_used=3, cost_usd=0.5, extra=(("k", "v"),)
            ),
        ),
        "checkpoints": Checkpoint(
            id="c", execution_id="e", agent_id="a", task_id="t", turn_number=3, context_json=JSON,
            created_at=WHEN,
        ),
        "heartbeats": Heartbeat(
            execution_id="e", agent_id="a", task_id="t", last_heartbeat_at=WHEN
        ),
        "parked_contexts": ParkedContext(
            id="p", execution_id="e", agent_id="a", approval_id="ap", task_id="t", parked_at=WHEN,
            context_json=JSON, metadata={"z": "1", "a": TEXT},
        ),
        "agent_states": AgentRuntimeState(
            agent_id="a", execution_id="e", task_id="t", status="paused", turn_count=3,
            accumulated_cost_usd=0.3, last_activity_at=WHEN, started_at=LATER,
        ),
        "audit_entries": AuditEntry(
            id="e", timestamp=WHEN, agent_id="a", task_id="t", tool_name="sh",
            tool_category="terminal", action_type="code:run", arguments_hash=HASH, verdict="deny",
            risk_level="high", reason=TEXT, matched_rules=("r2", "r1"),
            evaluation_duration_ms=0.75, approval_id="ap", confidence="low",
        ),
        "users": User(
            id="u", username="ada", password_hash="h", role="manager", must_change_password=False,
            org_roles=("owner", "department_admin"), scoped_departments=("design",),
            created_at=WHEN, updated_at=LATER,
        ),
        "api_keys": ApiKey(
            id="k", key_hash="h", name="n", role="observer", user_id="u", created_at=WHEN,
            expires_at=LATER, revoked=True,
        ),
    }  # fmt: skip
