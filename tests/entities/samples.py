"""What each entity cannot be made without; those that are not here need nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from holdfast import Project, entities

NOW = datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
HASH = "0123456789abcdef" * 4

REQUIRED: dict[str, dict[str, Any]] = {
    "ExpectedArtifact": {"type": "code", "path": "a.py"},
    "AcceptanceCriterion": {"description": "it runs"},
    "Task": {
        "id": "t", "title": "Title", "description": "Text", "type": "development",
        "project": "p", "created_by": "ada",
    },
    "Project": {"id": "p", "name": "Name"},
    "Artifact": {"id": "a", "path": "a.py", "task_id": "t", "created_by": "ada", "type": "code"},
    "CostRecord": {
        "agent_id": "ada", "task_id": "t", "provider": "x", "model": "y", "input_tokens": 1,
        "output_tokens": 1, "cost_usd": 0.5, "timestamp": NOW,
    },
    "TextPart": {"text": "hello"},
    "DataPart": {"data": {}},
    "FilePart": {"uri": "file:a"},
    "UriPart": {"uri": "https://a"},
    "Message": {
        "timestamp": NOW, "sender": "ada", "to": "bob", "type": "question", "channel": "c",
        "parts": [{"type": "text", "text": "hello"}],
    },
    "Checkpoint": {
        "execution_id": "e", "agent_id": "ada", "task_id": "t", "turn_number": 0,
        "context_json": "{}",
    },
    "Heartbeat": {
        "execution_id": "e", "agent_id": "ada", "task_id": "t", "last_heartbeat_at": NOW,
    },
    "ParkedContext": {
        "execution_id": "e", "agent_id": "ada", "approval_id": "x", "parked_at": NOW,
        "context_json": "null",
    },
    "AgentRuntimeState": {"agent_id": "ada", "status": "idle", "last_activity_at": NOW},
    "AuditEntry": {
        "id": "a", "timestamp": NOW, "tool_name": "rm", "tool_category": "terminal",
        "action_type": "", "arguments_hash": HASH, "verdict": "deny", "risk_level": "high",
        "reason": "no", "evaluation_duration_ms": 0,
    },
    "User": {
        "id": "u", "username": "ada", "password_hash": "", "role": "manager", "created_at": NOW,
        "updated_at": NOW,
    },
    "ApiKey": {
        "id": "k", "name": "ci", "user_id": "u", "key_hash": HASH, "role": "observer",
        "created_at": NOW,
    },
    "ProjectCostAggregate": {
        "project_id": "p", "total_cost": 0.5, "total_input_tokens": 1, "total_output_tokens": 1,
        "record_count": 1, "last_updated": NOW,
    },
    "AgentLifecycleEvent": {
        "agent_id": "ada", "agent_name": "Ada", "event_type": "hired", "timestamp": NOW,
        "initiated_by": "bob",
    },
    "TaskMetricRecord": {
        "agent_id": "ada", "task_id": "t", "task_type": "design", "completed_at": NOW,
        "is_success": True, "duration_seconds": 1, "cost_usd": 1, "turns_used": 1,
        "tokens_used": 1, "complexity": "epic",
    },
    "CollaborationMetricRecord": {"agent_id": "ada", "recorded_at": NOW},
    "RiskCard": {"decision_type": "hire"},
    "ConfidenceMetadata": {"level": 0.5, "range_lower": 0.5, "range_upper": 0.5},
    "LensAttribution": {"lens": "cost", "insight": "cheap", "weight": 0.5},
    "DecisionRecord": {
        "id": "d", "task_id": "t", "executing_agent_id": "ada", "reviewer_agent_id": "bob",
        "decision": "approved", "recorded_at": NOW, "version": 1,
    },
    "ApprovalItem": {
        "action_type": "deploy", "title": "Deploy", "requested_by": "ada", "risk_level": "high",
        "created_at": NOW,
    },
    "WorkflowNode": {"id": "n", "type": "task", "label": "Task"},
    "WorkflowEdge": {"id": "e", "source_node_id": "a", "target_node_id": "z"},
    "WorkflowDefinition": {
        "id": "w", "name": "Name", "created_by": "ada",
        "nodes": [
            {"id": "a", "type": "start", "label": "Start"},
            {"id": "z", "type": "end", "label": "End"},
        ],
    },
    "WorkflowNodeExecution": {"node_id": "n", "node_type": "task"},
    "WorkflowExecution": {
        "id": "x", "definition_id": "w", "definition_version": 1, "activated_by": "ada",
        "project": "p",
    },
    "VersionSnapshot": {
        "entity_id": "e", "version": 1, "content_hash": HASH, "saved_by": "ada", "saved_at": NOW,
        "snapshot": Project(id="p", name="Name"),
    },
    "AgentIdentity": {
        "name": "Ada", "role": "Engineer", "department": "engineering",
        "model": {"provider": "x", "model_id": "y"}, "hiring_date": NOW.date(),
    },
    "ModelConfig": {"provider": "x", "model_id": "y"},
    "Role": {"name": "Engineer", "department": "engineering"},
    "AgentRetentionRule": {"category": "episodic", "retention_days": 1},
    "AutonomyPreset": {"level": "semi", "description": "Some"},
    "TierConfig": {"timeout_minutes": 5},
    "EscalationStep": {"role": "Lead", "timeout_minutes": 5},
    "EscalationChainConfig": {"chain": [{"role": "Lead", "timeout_minutes": 5}]},
    "Team": {"name": "Core", "lead": "ada"},
    "ReportingLine": {"subordinate": "ada", "supervisor": "bob"},
    "ApprovalChain": {"action_type": "deploy", "approvers": ["ada", "bob"]},
    "Department": {"name": "Design"},
    "WorkflowHandoff": {"from_department": "a", "to_department": "b", "trigger": "done"},
    "EscalationPath": {"from_department": "a", "to_department": "b", "condition": "stuck"},
    "Company": {"name": "Acme"},
    "OrgFactAuthor": {"is_human": True},
    "OrgFact": {
        "id": "f", "content": "Text", "category": "adr", "author": {"is_human": True},
        "created_at": NOW,
    },
    "OrgFactWriteRequest": {"content": "Text", "category": "adr"},
    "OperationLogEntry": {
        "operation_id": "o", "fact_id": "f", "operation_type": "PUBLISH", "content": "Text",
        "timestamp": NOW, "version": 1,
    },
    "OperationLogSnapshot": {
        "fact_id": "f", "content": "Text", "category": "adr", "created_at": NOW, "version": 1,
    },
    "RiskTierOverride": {
        "id": "r", "action_type": "deploy", "original_tier": "high", "override_tier": "low",
        "reason": "no", "created_by": "ada", "created_at": NOW, "expires_at": LATER,
    },
    "SsrfViolation": {
        "id": "s", "timestamp": NOW, "url": "http://a/b", "hostname": "a", "port": 80,
    },
    "CircuitBreakerStateRecord": {
        "pair_key_a": "a", "pair_key_b": "b", "bounce_count": 0, "trip_count": 0,
    },
    "Session": {"id": "s", "user_id": "u", "created_at": NOW, "expires_at": LATER},
    "RefreshRecord": {
        "token_hash": HASH, "session_id": "s", "user_id": "u", "created_at": NOW,
        "expires_at": LATER,
    },
    "Lockout": {
        "username": "ada", "failures": 1, "window_started_at": NOW, "last_failure_at": NOW,
    },
    "IdempotencyRecord": {
        "scope": "s", "key": "k", "status": "in_flight", "claim_token": "c", "claimed_at": NOW,
        "expires_at": LATER,
    },
}  # fmt: skip


def make(name: str, /, **fields: Any) -> Any:
    """The entity with what it requires, and ``fields``."""
    return getattr(entities, name)(**{**REQUIRED.get(name, {}), **fields})
