"""What each entity cannot be made without."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from holdfast import entities

NOW = datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=UTC)
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
    "MessageMetadata": {},
    "Message": {
        "timestamp": NOW, "sender": "ada", "to": "bob", "type": "question", "channel": "c",
        "parts": [{"type": "text", "text": "hello"}],
    },
    "Checkpoint": {
        "execution_id": "e", "agent_id": "ada", "task_id": "t", "turn_number": 0,
        "context_json": "{}",
    },
    "CheckpointConfig": {},
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
}  # fmt: skip


def make(name: str, /, **fields: Any) -> Any:
    """The entity with what it requires, and ``fields``."""
    return getattr(entities, name)(**{**REQUIRED[name], **fields})
