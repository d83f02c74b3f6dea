"""How to keep the rules between the fields of Holdfast's own entities.

Each repairs a dict of field values, in which fields that have a default may be missing; a status,
a role or a type decides, and the fields that depend on it follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel

from holdfast.entities import (
    access,
    agents,
    approvals,
    costs,
    decisions,
    idempotency,
    knowledge,
    messages,
    runs,
    security,
    tasks,
    users,
    workflows,
)
from holdfast.entities.audit import ApprovalRiskLevel
from holdfast.entities.levels import SeniorityLevel
from holdfast.testing import rules_company

__all__ = ["FITS"]

Values = dict[str, Any]


def _once(values: Values, *names: str) -> None:
    """Take duplicates out of sequences."""
    for name in names:
        if values.get(name):
            values[name] = tuple(dict.fromkeys(values[name]))


def _once_by(items: Iterable[Any], key: str) -> tuple[Any, ...]:
    return tuple({getattr(item, key): item for item in items}.values())


def _in_order(values: Values, first: str, then: str) -> None:
    """Make one instant lie before another, where both are given."""
    early, late = values.get(first), values.get(then)
    if early is None or late is None or early < late:
        return
    if early == late:
        early -= timedelta(microseconds=1)
    values[first], values[then] = min(early, late), max(early, late)


def _exactly(values: Values, condition: bool, name: str, otherwise: Any) -> None:
    """Set a field exactly under a condition, to something if it has nothing yet."""
    if not condition:
        if name in values:
            values[name] = None
    elif values.get(name) is None:
        values[name] = otherwise


def _session(values: Values) -> Values:
    _in_order(values, "created_at", "expires_at")
    return values


def _task_metric(values: Values) -> Values:
    _in_order(values, "started_at", "completed_at")
    return values


def _confidence(values: Values) -> Values:
    names = ("range_lower", "level", "range_upper")
    return values | dict(zip(names, sorted(values[name] for name in names), strict=True))


def _decision(values: Values) -> Values:
    if values["reviewer_agent_id"] == values["executing_agent_id"]:
        values["reviewer_agent_id"] += " the second"
    _once(values, "criteria_snapshot")
    return values


def _approval(values: Values) -> Values:
    status = values.get("status", approvals.ApprovalStatus.PENDING)
    decided = status in (approvals.ApprovalStatus.APPROVED, approvals.ApprovalStatus.REJECTED)
    _in_order(values, "created_at", "expires_at")
    over = status != approvals.ApprovalStatus.PENDING
    _exactly(values, over, "decided_at", values["created_at"])
    _exactly(values, decided, "decided_by", values["requested_by"])
    if status == approvals.ApprovalStatus.REJECTED and values.get("decision_reason") is None:
        values["decision_reason"] = values["title"]
    return values


def _idempotency(values: Values) -> Values:
    status = values["status"]
    under_way = status == idempotency.IdempotencyStatus.IN_FLIGHT
    _exactly(values, not under_way, "finished_at", values["claimed_at"])
    if status != idempotency.IdempotencyStatus.COMPLETED and "response" in values:
        values["response"] = None
    failed = status == idempotency.IdempotencyStatus.FAILED
    _exactly(values, failed, "error", values["key"])
    return values


def _author(values: Values) -> Values:
    agent = not values.get("is_human", False)
    _exactly(values, agent, "agent_id", "somebody")
    _exactly(values, agent, "seniority", next(iter(SeniorityLevel)))
    return values if agent else values | {"autonomy_level": None}


def _operation(values: Values) -> Values:
    _exactly(values, values["operation_type"] == "PUBLISH", "content", values["fact_id"])
    return values


def _fact(values: Values) -> Values:
    _in_order(values, "created_at", "retracted_at")
    return values


def _cost(values: Values) -> Values:
    if not values["input_tokens"] and not values["output_tokens"]:
        values["cost_usd"] = 0.0
    if not values.get("retry_count") and "retry_reason" in values:
        values["retry_reason"] = None
    return values


def _user(values: Values) -> Values:
    if users.OrgRole.DEPARTMENT_ADMIN not in values.get("org_roles", ()):
        if "scoped_departments" in values:
            values["scoped_departments"] = ()
    elif not values.get("scoped_departments"):
        values["scoped_departments"] = (values["username"],)
    return values


def _state(values: Values) -> Values:
    if values["status"] != runs.ExecutionStatus.IDLE:
        _exactly(values, True, "execution_id", values["agent_id"])
        _exactly(values, True, "started_at", values["last_activity_at"])
        return values
    nothing = {
        "execution_id": None, "task_id": None, "started_at": None, "turn_count": 0,
        "accumulated_cost_usd": 0.0,
    }  # fmt: skip
    return values | {name: value for name, value in nothing.items() if name in values}


def _risk_tier(values: Values) -> Values:
    if values["original_tier"] == values["override_tier"]:
        tiers = list(ApprovalRiskLevel)
        values["override_tier"] = tiers[tiers.index(values["original_tier"]) - 1]
    _in_order(values, "created_at", "expires_at")
    revoked = values.get("revoked_at") is not None
    _exactly(values, revoked, "revoked_by", values["created_by"])
    return values


def _violation(values: Values) -> Values:
    pending = security.SsrfViolationStatus.PENDING
    over = values.get("status", pending) != pending
    _exactly(values, over, "resolved_by", values["hostname"])
    _exactly(values, over, "resolved_at", values["timestamp"])
    return values


def _message_metadata(values: Values) -> Values:
    if "extra" in values:
        values["extra"] = tuple({k: v for k, v in values["extra"] if k.strip()}.items())
    return values


def _task(values: Values) -> Values:
    status = values.get("status", tasks.TaskStatus.CREATED)
    if status == tasks.TaskStatus.CREATED:
        _exactly(values, False, "assigned_to", None)
    elif status not in _AGENTLESS:
        _exactly(values, True, "assigned_to", values["created_by"])
    _once(values, "reviewers", "dependencies", "delegation_chain")
    for name, other in (("dependencies", "id"), ("delegation_chain", "assigned_to")):
        if values.get(name):
            values[name] = tuple(item for item in values[name] if item != values.get(other))
    if values.get("parent_task_id") == values["id"]:
        values["parent_task_id"] = None
    return values


_AGENTLESS = {
    tasks.TaskStatus.BLOCKED, tasks.TaskStatus.FAILED, tasks.TaskStatus.INTERRUPTED,
    tasks.TaskStatus.SUSPENDED, tasks.TaskStatus.CANCELLED, tasks.TaskStatus.REJECTED,
}  # fmt: skip


def _project(values: Values) -> Values:
    _once(values, "team", "task_ids")
    return values


def _workflow(values: Values) -> Values:
    start, end = workflows.WorkflowNodeType.START, workflows.WorkflowNodeType.END
    given = values.get("nodes", ())
    nodes: dict[str, workflows.WorkflowNode] = {}
    for kind in (start, end):
        had = next((node for node in given if node.type == kind and node.id not in nodes), None)
        node = had or workflows.WorkflowNode(id=f"the {kind}", type=kind, label=kind)
        nodes[node.id] = node
    for node in given:
        if node.type not in (start, end):
            nodes.setdefault(node.id, node)
    values["nodes"] = tuple(nodes.values())
    if values.get("edges"):
        ids = list(nodes)
        # Neighbours: two different nodes, since there are a start and an end.
        pairs = [(ids[i % len(ids)], ids[(i + 1) % len(ids)]) for i in range(len(values["edges"]))]
        edges = [
            workflows.WorkflowEdge.model_validate(
                dict(edge) | {"source_node_id": source, "target_node_id": target}
            )
            for edge, (source, target) in zip(values["edges"], pairs, strict=True)
        ]
        values["edges"] = _once_by(edges, "id")
    return values


def _node_execution(values: Values) -> Values:
    status = values.get("status", "")
    of_task = status.startswith("task_")
    _exactly(values, of_task, "task_id", values["node_id"])
    if of_task:
        values["node_type"] = workflows.WorkflowNodeType.TASK
    skipped = status == workflows.WorkflowNodeExecutionStatus.SKIPPED
    _exactly(values, skipped, "skipped_reason", values["node_id"])
    return values


def _execution(values: Values) -> Values:
    status = values.get("status", workflows.WorkflowExecutionStatus.PENDING)
    _exactly(values, status in _OVER, "completed_at", values.get("updated_at", _SOME_DAY))
    failed = status == workflows.WorkflowExecutionStatus.FAILED
    _exactly(values, failed, "error", values["project"])
    if values.get("node_executions"):
        values["node_executions"] = _once_by(values["node_executions"], "node_id")
    return values


_SOME_DAY = datetime.fromisoformat("2026-03-29T10:00:00+00:00")
_OVER = {
    workflows.WorkflowExecutionStatus.COMPLETED, workflows.WorkflowExecutionStatus.FAILED,
    workflows.WorkflowExecutionStatus.CANCELLED,
}  # fmt: skip

#: What `holdfast.testing.samples` begins with.
FITS: dict[type[BaseModel], Callable[[Values], Values]] = {
    access.Session: _session,
    agents.TaskMetricRecord: _task_metric,
    approvals.ApprovalItem: _approval,
    decisions.ConfidenceMetadata: _confidence,
    decisions.DecisionRecord: _decision,
    idempotency.IdempotencyRecord: _idempotency,
    knowledge.OperationLogEntry: _operation,
    knowledge.OperationLogSnapshot: _fact,
    knowledge.OrgFactAuthor: _author,
    costs.CostRecord: _cost,
    users.User: _user,
    runs.AgentRuntimeState: _state,
    security.RiskTierOverride: _risk_tier,
    security.SsrfViolation: _violation,
    messages.MessageMetadata: _message_metadata,
    tasks.Project: _project,
    tasks.Task: _task,
    workflows.WorkflowDefinition: _workflow,
    workflows.WorkflowExecution: _execution,
    workflows.WorkflowNodeExecution: _node_execution,
    **rules_company.FITS,
}
