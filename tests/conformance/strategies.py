"""Hypothesis strategies for every entity: wide values, within what the models accept."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, TypeVar

from hypothesis import strategies as st
from pydantic import BaseModel

from holdfast import (
    AgentRuntimeState,
    ApiKey,
    ApprovalRiskLevel,
    Artifact,
    ArtifactType,
    AuditEntry,
    Checkpoint,
    Complexity,
    CoordinationTopology,
    CostRecord,
    EvaluationConfidence,
    FinishReason,
    Heartbeat,
    HumanRole,
    LLMCallCategory,
    Message,
    MessagePriority,
    MessageType,
    OrgRole,
    ParkedContext,
    Priority,
    Project,
    ProjectStatus,
    Task,
    TaskSource,
    TaskStatus,
    TaskStructure,
    TaskType,
    ToolCategory,
    User,
)

T = TypeVar("T")

NASTY = (
    "🦑", "e\u0301", "\u0301", "'; DROP TABLE tasks; --", '"', "\\", "\\u0000", "\\ud800", "%s",
    "$1", ":name", "{}", "\U0010ffff", "\ufeff", "\u2028", "\x7f", "\x1b[0m", "Ǆ", "ß", "null",
    "1", "1e400", "0x10", "true", "\t\r\n x", "\x01", "日本語", "a" * 300, "\ufffe",
)  # fmt: skip

#: Any text both engines hold.
texts = st.sampled_from(("", *NASTY)) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20
)
names = texts.filter(lambda text: text.strip() != "")
counts = st.sampled_from([0, 1, 2**31, 2**53 + 1, 2**63 - 1]) | st.integers(0, 2**63 - 1)
amounts = st.sampled_from([0.0, 0.1 + 0.2, 5e-324, 1e16, 1.7e308]) | st.floats(
    0, allow_nan=False, allow_infinity=False
)
#: Every moment whose UTC lies in the years that Python knows, said with odd offsets.
moments = st.builds(
    lambda when, minutes: when.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=minutes))),
    st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)),  # noqa: DTZ001 - made aware above
    st.integers(-23 * 60, 23 * 60),
)
deadlines = st.sampled_from(
    ["2026-01-31", "20260131T10", "2026-W05-6", "2026-01-31 10:00:00.5", "2026-01-31T10:00:00Z",
     "2026-01-31T10:00:00.123456+05:45", "0001-01-01", "9999-12-31T23:59:59.999999"]
)  # fmt: skip

_leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, -(2**200), 0.1, 1e16, -0.0, 1e-300])
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
json_values: st.SearchStrategy[Any] = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
json_objects = st.dictionaries(texts, json_values, max_size=5)


def _spaced(value: Any, indent: int | None, escape: bool, space: str) -> str:
    return space + json.dumps(value, indent=indent, ensure_ascii=escape) + space


_ODD_OBJECTS = st.sampled_from(
    [
        '{"a":1,"a":2}',
        "{ }",
        '{"n": 1E+2, "m": -0, "k": 1.0}',
        '{"\\u0061": "\\/"}',
        '{"b":1,"a":0}',
    ]
)
_space = st.text(" \t\r\n", max_size=3)
_indent = st.sampled_from([None, 0, 2])
object_texts = _ODD_OBJECTS | st.builds(_spaced, json_objects, _indent, st.booleans(), _space)
json_texts = object_texts | st.builds(_spaced, json_values, _indent, st.booleans(), _space)


def maybe(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    return st.none() | strategy


def several(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(strategy, max_size=3).map(tuple)


def different(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(strategy, max_size=3, unique=True).map(tuple)


def entities(kind: type[BaseModel], **fields: st.SearchStrategy[Any]) -> Any:
    return st.fixed_dictionaries(fields).map(kind.model_validate)


_AGENTLESS = {
    TaskStatus.CREATED, TaskStatus.BLOCKED, TaskStatus.FAILED, TaskStatus.INTERRUPTED,
    TaskStatus.SUSPENDED, TaskStatus.CANCELLED, TaskStatus.REJECTED,
}  # fmt: skip


def tasks(keys: st.SearchStrategy[str] = names) -> st.SearchStrategy[Task]:
    def fit(values: dict[str, Any]) -> Task:
        status = values["status"]
        if status is TaskStatus.CREATED:
            values["assigned_to"] = None
        elif values["assigned_to"] is None and status not in _AGENTLESS:
            values["assigned_to"] = "somebody"
        own = values["id"]
        values["dependencies"] = tuple(d for d in values["dependencies"] if d != own)
        chain = values["delegation_chain"]
        values["delegation_chain"] = tuple(a for a in chain if a != values["assigned_to"])
        if values["parent_task_id"] == own:
            values["parent_task_id"] = None
        return Task.model_validate(values)

    return st.fixed_dictionaries(
        {
            "id": keys, "title": names, "description": names, "type": st.sampled_from(TaskType),
            "priority": st.sampled_from(Priority), "project": names, "created_by": names,
            "assigned_to": maybe(names), "reviewers": different(names),
            "dependencies": different(keys),
            "artifacts_expected": several(
                st.fixed_dictionaries({"type": st.sampled_from(ArtifactType), "path": names})
            ),
            "acceptance_criteria": several(
                st.fixed_dictionaries({"description": names, "met": st.booleans()})
            ),
            "estimated_complexity": st.sampled_from(Complexity), "budget_limit": amounts,
            "deadline": maybe(deadlines), "max_retries": counts,
            "status": st.sampled_from(TaskStatus), "parent_task_id": maybe(names),
            "delegation_chain": different(names),
            "task_structure": maybe(st.sampled_from(TaskStructure)),
            "coordination_topology": st.sampled_from(CoordinationTopology),
            "source": maybe(st.sampled_from(TaskSource)),
        }
    ).map(fit)  # fmt: skip


def _costs() -> Any:
    def fit(values: dict[str, Any]) -> CostRecord:
        if not values["input_tokens"] and not values["output_tokens"]:
            values["cost_usd"] = 0.0
        if not values["retry_count"]:
            values["retry_reason"] = None
        return CostRecord.model_validate(values)

    return st.fixed_dictionaries(
        {
            "agent_id": names, "task_id": names, "provider": names, "model": names,
            "project_id": maybe(names), "input_tokens": counts, "output_tokens": counts,
            "cost_usd": amounts, "timestamp": moments,
            "call_category": maybe(st.sampled_from(LLMCallCategory)),
            "accuracy_effort_ratio": maybe(amounts), "latency_ms": maybe(amounts),
            "cache_hit": maybe(st.booleans()), "retry_count": maybe(counts),
            "retry_reason": maybe(texts), "finish_reason": maybe(st.sampled_from(FinishReason)),
            "success": maybe(st.booleans()),
        }
    ).map(fit)  # fmt: skip


_PARTS = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": names}),
    st.fixed_dictionaries({"type": st.just("data"), "data": json_objects}),
    st.fixed_dictionaries({"type": st.just("file"), "uri": names, "mime_type": maybe(names)}),
    st.fixed_dictionaries({"type": st.just("uri"), "uri": names}),
)


def _states() -> Any:
    def fit(values: dict[str, Any]) -> AgentRuntimeState:
        if values["status"] == "idle":
            for name in ("execution_id", "task_id", "started_at"):
                values[name] = None
            values.update(turn_count=0, accumulated_cost_usd=0.0)
        return AgentRuntimeState.model_validate(values)

    return st.fixed_dictionaries(
        {
            "agent_id": names, "execution_id": names, "task_id": maybe(names),
            "status": st.sampled_from(["idle", "executing", "paused"]), "turn_count": counts,
            "accumulated_cost_usd": amounts, "last_activity_at": moments, "started_at": moments,
        }
    ).map(fit)  # fmt: skip


def _users() -> Any:
    def fit(values: dict[str, Any]) -> User:
        if OrgRole.DEPARTMENT_ADMIN not in values["org_roles"]:
            values["scoped_departments"] = ()
        elif not values["scoped_departments"]:
            values["scoped_departments"] = ("design",)
        return User.model_validate(values)

    return st.fixed_dictionaries(
        {
            "id": names, "username": names, "password_hash": texts,
            "role": st.sampled_from(HumanRole), "must_change_password": st.booleans(),
            "org_roles": several(st.sampled_from(OrgRole)), "scoped_departments": several(names),
            "created_at": moments, "updated_at": moments,
        }
    ).map(fit)  # fmt: skip


#: By repository.
ENTITIES: dict[str, Any] = {
    "tasks": tasks(),
    "projects": entities(
        Project, id=names, name=names, description=texts, team=different(names), lead=maybe(names),
        task_ids=different(names), deadline=maybe(deadlines), budget=amounts,
        status=st.sampled_from(ProjectStatus),
    ),
    "artifacts": entities(
        Artifact, id=names, type=st.sampled_from(ArtifactType), path=names, task_id=names,
        created_by=names, description=texts, project_id=maybe(names), content_type=texts,
        size_bytes=counts, created_at=maybe(moments),
    ),
    "cost_records": _costs(),
    "messages": entities(
        Message, id=st.uuids(), timestamp=moments, sender=names, to=names,
        type=st.sampled_from(MessageType), priority=st.sampled_from(MessagePriority),
        channel=names, parts=st.lists(_PARTS, min_size=1, max_size=3),
        metadata=st.fixed_dictionaries(
            {
                "task_id": maybe(names), "project_id": maybe(names), "tokens_used": maybe(counts),
                "cost_usd": maybe(amounts),
                "extra": st.dictionaries(names, texts, max_size=3).map(lambda d: tuple(d.items())),
            }
        ),
    ),
    "checkpoints": entities(
        Checkpoint, id=names, execution_id=names, agent_id=names, task_id=names,
        turn_number=counts, context_json=object_texts, created_at=moments,
    ),
    "heartbeats": entities(
        Heartbeat, execution_id=names, agent_id=names, task_id=names, last_heartbeat_at=moments,
    ),
    "parked_contexts": entities(
        ParkedContext, id=names, execution_id=names, agent_id=names, approval_id=names,
        task_id=maybe(names), parked_at=moments, context_json=json_texts,
        metadata=st.dictionaries(texts, texts, max_size=3),
    ),
    "agent_states": _states(),
    "audit_entries": entities(
        AuditEntry, id=names, timestamp=moments, agent_id=maybe(names), task_id=maybe(names),
        tool_name=names, tool_category=st.sampled_from(ToolCategory), action_type=texts,
        arguments_hash=st.text("0123456789abcdef", min_size=64, max_size=64),
        verdict=st.sampled_from(["allow", "deny", "escalate", "output_scan"]),
        risk_level=st.sampled_from(ApprovalRiskLevel), reason=names, matched_rules=several(names),
        evaluation_duration_ms=amounts, approval_id=maybe(names),
        confidence=st.sampled_from(EvaluationConfidence),
    ),
    "users": _users(),
    "api_keys": entities(
        ApiKey, id=names, key_hash=names, name=names, role=st.sampled_from(HumanRole),
        user_id=names, created_at=moments, expires_at=maybe(moments), revoked=st.booleans(),
    ),
}  # fmt: skip
