"""The rules between fields: what each accepts, and what it refuses and how it says so."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from .samples import LATER, NOW, REQUIRED, make

A_MOMENT = timedelta(microseconds=1)
START, END = REQUIRED["WorkflowDefinition"]["nodes"]
TASK = {"id": "t", "type": "task", "label": "Task"}
REVIEW = {"action_type": "canary", "approvers": ["ada"]}
DECIDED = {"decided_at": NOW, "decided_by": "ada", "decision_reason": "no"}
PARTS = [{"name": " Canary ", "budget_percent": 60}, {"name": "Sales", "budget_percent": 40}]
NO_METRIC = {"ci_quality_enabled": False, "llm_calibration_enabled": False}
OFF = {"enabled": False}
HANDOFF = {"from_department": "SALES", "to_department": "canary", "trigger": "x"}
ESCALATION = {"from_department": "canary", "to_department": "sales ", "condition": "x"}


def edge(source: str, target: str, id_: str = "e") -> dict[str, str]:
    return {"id": id_, "source_node_id": source, "target_node_id": target}


def line(under: str, above: str, **ids: str) -> dict[str, str]:
    return {"subordinate": under, "supervisor": above, **ids}


Fields = dict[str, Any]
#: Entity, fields it accepts, fields it refuses, and what it says. "canary" is a stored value.
RULES: list[tuple[str, Fields, Fields, str]] = [
    # agents
    ("TaskMetricRecord", {"started_at": NOW - A_MOMENT}, {"started_at": NOW},
     "started_at must lie before completed_at"),
    # access
    ("Session", {"expires_at": NOW + A_MOMENT}, {"expires_at": NOW}, "expires_at must lie behind"),
    # idempotency
    ("IdempotencyRecord", {"status": "completed", "finished_at": NOW}, {"status": "completed"},
     "finished_at is set exactly"),
    ("IdempotencyRecord", {}, {"finished_at": NOW}, "finished_at is set exactly"),
    ("IdempotencyRecord", {"status": "completed", "finished_at": NOW, "response": ""},
     {"response": "canary"}, "only what was completed has a response"),
    ("IdempotencyRecord", {"status": "failed", "finished_at": NOW, "error": "no"},
     {"status": "failed", "finished_at": NOW}, "error is set exactly"),
    ("IdempotencyRecord", {}, {"error": "canary"}, "error is set exactly"),
    # decisions
    ("ConfidenceMetadata", {"range_lower": 0, "range_upper": 1}, {"range_lower": 0.6},
     "level must lie between"),
    ("ConfidenceMetadata", {"level": 0.5}, {"range_upper": 0.4}, "level must lie between"),
    ("DecisionRecord", {"reviewer_agent_id": "Ada"},
     {"executing_agent_id": "canary", "reviewer_agent_id": "canary"}, "must not be the executing"),
    ("DecisionRecord", {"criteria_snapshot": ["b", "a"]},
     {"criteria_snapshot": ["canary", "b", "canary"]}, "criteria_snapshot must not hold dup"),
    ("ApprovalItem", {"expires_at": NOW + A_MOMENT}, {"expires_at": NOW}, "expires_at must lie"),
    ("ApprovalItem", {"status": "expired", "decided_at": NOW}, {"status": "expired"},
     "decided_at is set exactly"),
    ("ApprovalItem", {}, {"decided_at": NOW}, "decided_at is set exactly"),
    ("ApprovalItem", {"status": "approved", "decided_at": NOW, "decided_by": "ada"},
     {"status": "approved", "decided_at": NOW}, "decided_by is set exactly"),
    ("ApprovalItem", {}, {"status": "expired", **DECIDED}, "decided_by is set exactly"),
    ("ApprovalItem", {"status": "rejected", **DECIDED},
     {"status": "rejected", **DECIDED, "decision_reason": None}, "needs a decision_reason"),
    # workflows
    ("WorkflowDefinition", {"nodes": [END, START]}, {"nodes": [START]}, "exactly one start and"),
    ("WorkflowDefinition", {"nodes": [START, TASK, END]}, {"nodes": [END]}, "exactly one start"),
    ("WorkflowDefinition", {}, {"nodes": []}, "exactly one start"),
    ("WorkflowDefinition", {}, {"nodes": [START, END, {**END, "id": "y"}]}, "exactly one start"),
    ("WorkflowDefinition", {"nodes": [START, END, TASK, {**TASK, "id": "T"}]},
     {"nodes": [START, END, TASK, TASK]}, "nodes .by id. must not hold dup"),
    ("WorkflowDefinition", {"edges": [edge("a", "z"), edge("a", "z", "f")]},
     {"edges": [edge("a", "z"), edge("z", "a")]}, "edges .by id. must not hold dup"),
    ("WorkflowDefinition", {"edges": [edge("z", "a")]}, {"edges": [edge("a", "a")]}, "to itself"),
    ("WorkflowDefinition", {"edges": [edge("a", "z")]}, {"edges": [edge("a", "canary")]},
     "must join nodes"),
    ("WorkflowDefinition", {}, {"edges": [edge("canary", "z")]}, "must join nodes"),
    ("WorkflowNodeExecution", {"status": "task_created", "task_id": "t"},
     {"status": "task_created"}, "task_id is set exactly"),
    ("WorkflowNodeExecution", {"status": "task_completed", "task_id": "t"},
     {"status": "completed", "task_id": "canary"}, "task_id is set exactly"),
    ("WorkflowNodeExecution", {"status": "task_failed", "task_id": "t"},
     {"node_type": "end", "status": "task_failed", "task_id": "t"}, "only a node of type task"),
    ("WorkflowNodeExecution", {"status": "skipped", "skipped_reason": "x", "node_type": "end"},
     {"status": "skipped"}, "skipped_reason is set exactly"),
    ("WorkflowNodeExecution", {"status": "completed"}, {"skipped_reason": "canary"},
     "skipped_reason is set exactly"),
    ("WorkflowExecution",
     {"node_executions": [{"node_id": "a", "node_type": "task"},
                          {"node_id": "b", "node_type": "task"}]},
     {"node_executions": [{"node_id": "canary", "node_type": "task"},
                          {"node_id": "canary", "node_type": "end"}]}, "node_executions .by node."),
    ("WorkflowExecution", {"status": "completed", "completed_at": NOW}, {"status": "cancelled"},
     "completed_at is set exactly"),
    ("WorkflowExecution", {"status": "running"}, {"completed_at": NOW},
     "completed_at is set exactly"),
    ("WorkflowExecution", {"status": "failed", "completed_at": NOW, "error": "x"},
     {"status": "failed", "completed_at": NOW}, "error is set exactly"),
    ("WorkflowExecution", {"status": "cancelled", "completed_at": NOW},
     {"status": "completed", "completed_at": NOW, "error": "canary"}, "error is set exactly"),
    # security
    ("RiskTierOverride", {"override_tier": "critical"}, {"override_tier": "high"},
     "override_tier must differ"),
    ("RiskTierOverride", {"expires_at": NOW + A_MOMENT}, {"expires_at": NOW}, "must lie behind"),
    ("RiskTierOverride", {"revoked_at": LATER, "revoked_by": "ada"}, {"revoked_at": NOW},
     "belong together"),
    ("RiskTierOverride", {}, {"revoked_by": "canary"}, "belong together"),
    ("SsrfViolation", {"status": "allowed", "resolved_by": "ada", "resolved_at": NOW},
     {"status": "allowed", "resolved_by": "canary"}, "are set exactly"),
    ("SsrfViolation", {"status": "denied", "resolved_by": "ada", "resolved_at": NOW},
     {"status": "denied", "resolved_at": NOW}, "are set exactly"),
    ("SsrfViolation", {}, {"resolved_by": "canary", "resolved_at": NOW}, "are set exactly"),
    # versions
    ("VersionSnapshot", {"saved_at": "2026-01-01T00:00:00Z"},
     {"saved_at": "2026-01-01T00:00:00+01:00"}, "must be in UTC"),
    # knowledge
    ("OrgFactAuthor", {}, {"agent_id": "canary"}, "a human has no"),
    ("OrgFactAuthor", {}, {"seniority": "mid"}, "a human has no"),
    ("OrgFactAuthor", {}, {"autonomy_level": "full"}, "a human has no"),
    ("OrgFactAuthor", {"is_human": False, "agent_id": "ada", "seniority": "mid"},
     {"is_human": False, "agent_id": "canary"}, "needs agent_id and seniority"),
    ("OrgFactAuthor", {}, {"is_human": False, "seniority": "mid"}, "needs agent_id and"),
    ("OperationLogEntry", {}, {"content": None}, "a publication has content"),
    ("OperationLogEntry", {"operation_type": "RETRACT", "content": None},
     {"operation_type": "RETRACT", "content": "canary"}, "a retraction has none"),
    ("OperationLogSnapshot", {"retracted_at": NOW}, {"retracted_at": NOW - A_MOMENT},
     "retracted_at must not lie before"),
    # identity
    ("AgentIdentity", {"level": "mid", "autonomy_level": "full"},
     {"level": "junior", "autonomy_level": "full"}, "a junior must not"),
    ("AgentIdentity", {"level": "junior", "autonomy_level": "semi"}, {"memory": {
        "type": "none", "retention_days": 1}}, "type none has no"),
    ("MemoryConfig", {"type": "none"},
     {"type": "none", "retention_overrides": [{"category": "social", "retention_days": 1}]},
     "type none has no"),
    ("MemoryConfig",
     {"retention_overrides": [{"category": "social", "retention_days": 1},
                              {"category": "working", "retention_days": 1}]},
     {"retention_overrides": [{"category": "social", "retention_days": 1},
                              {"category": "social", "retention_days": 2}]},
     "retention_overrides must not hold dup"),
    ("ToolPermissions", {"allowed": ["git"], "denied": ["gh"]},
     {"allowed": ["x", " Canary"], "denied": ["canary\t"]}, "both in allowed and in denied"),
    # budgets
    ("BudgetAlertConfig", {"warn_at": 0, "critical_at": 1, "hard_stop_at": 2}, {"warn_at": 90},
     "must increase"),
    ("BudgetAlertConfig", {}, {"critical_at": 100}, "must increase"),
    ("RiskBudgetAlertConfig", {"warn_at": 99, "critical_at": 100}, {"warn_at": 90},
     "warn_at must be less"),
    ("AutoDowngradeConfig", {"downgrade_map": [("a", "b"), ("b", "a")]},
     {"downgrade_map": [("canary ", " canary")]}, "by itself"),
    ("AutoDowngradeConfig", {"downgrade_map": [("a", "c"), ("b", "c")]},
     {"downgrade_map": [("canary", "c"), (" canary", "d")]}, "must not hold dup"),
    ("RiskBudgetConfig", {"per_task_risk_limit": 20}, {"per_task_risk_limit": 20.1},
     "per_task_risk_limit must not exceed"),
    ("RiskBudgetConfig", {"per_agent_daily_risk_limit": 100}, {"per_agent_daily_risk_limit": 101},
     "per_agent_daily_risk_limit must not exceed"),
    ("BudgetConfig", {"per_task_limit": 100}, {"per_task_limit": 100.1}, "per_task_limit must not"),
    ("BudgetConfig", {"total_monthly": 0, "per_task_limit": 1e9, "per_agent_daily_limit": 1e9},
     {"total_monthly": 9}, "per_agent_daily_limit must not"),
    # evaluation
    ("IntelligenceConfig", {"ci_quality_enabled": False}, NO_METRIC, "needs an enabled metric"),
    ("IntelligenceConfig", {**NO_METRIC, **OFF}, NO_METRIC, "needs an enabled metric"),
    ("EfficiencyConfig", {"cost_enabled": False, "time_enabled": False},
     {"cost_enabled": False, "time_enabled": False, "tokens_enabled": False}, "needs an enabled"),
    ("EvaluationConfig",
     {"intelligence": OFF, "efficiency": OFF, "resilience": OFF, "governance": OFF},
     dict.fromkeys(["intelligence", "efficiency", "resilience", "governance", "experience"], OFF),
     "one pillar at least"),
    # companies
    ("Team", {"members": ["ada", "bob"]}, {"members": ["Canary", "canary "]}, "members must not"),
    ("ReportingLine", line("x", "x", subordinate_id="1"), line("Canary", " canary"),
     "supervisor must differ"),
    ("ReportingLine", line("x", "x", subordinate_id="1", supervisor_id="2"),
     line("a", "b", subordinate_id="Canary", supervisor_id="canary"), "supervisor must differ"),
    ("ApprovalChain", {"approvers": ["ada"], "min_approvals": 1}, {"min_approvals": 3},
     "min_approvals must not exceed"),
    ("ApprovalChain", {"min_approvals": 0}, {"approvers": ["canary", "CANARY"]},
     "approvers must not hold dup"),
    ("DepartmentPolicies", {"approval_chains": [REVIEW, {**REVIEW, "action_type": "x"}]},
     {"approval_chains": [REVIEW, REVIEW]}, "must not hold dup"),
    ("Department", {"head": "Ada", "head_id": "1"}, {"head_id": "canary"}, "head_id needs head"),
    ("Department", {"teams": [{"name": "a", "lead": "x"}, {"name": "b", "lead": "x"}]},
     {"teams": [{"name": "canary", "lead": "x"}, {"name": "CANARY", "lead": "y"}]}, "teams .by"),
    ("Department", {"reporting_lines": [line("a", "b"), line("a", "c", subordinate_id="a")]},
     {"reporting_lines": [line("canary", "b"), line("Canary ", "c")]}, "reporting_lines .by sub"),
    ("WorkflowHandoff", {"to_department": "aa"}, {"to_department": "A"}, "must differ"),
    ("EscalationPath", {"to_department": "aa"}, {"to_department": "A"}, "must differ"),
    ("HRRegistry", {"active_agents": ["a", "b"], "hiring_queue": ["x", "x"],
                    "available_roles": ["x", "x"]},
     {"active_agents": ["canary", "Canary"]}, "active_agents must not"),
    ("AutonomyPreset", {"auto_approve": ["code"], "human_approval": ["code:x"]},
     {"auto_approve": ["canary"], "human_approval": ["Canary "]}, "both in auto_approve"),
    ("AutonomyConfig", {"level": "full"}, {"presets": {}}, "level must be one of"),
    ("TierConfig", {"on_timeout": "approve"}, {"on_timeout": "escalate"}, "must not be escalate"),
    ("EscalationChainConfig", {"on_chain_exhausted": "wait"}, {"on_chain_exhausted": "escalate"},
     "must not be escalate"),
    ("Company", {"departments": PARTS}, {"departments": [*PARTS, {"name": "canary"}]},
     "departments .by name. must not"),
    ("Company", {"departments": [{"name": str(n), "budget_percent": p} for n, p in
                                 enumerate([33.3, 33.3, 33.4, 1e-11])]},
     {"departments": [*PARTS, {"name": "x", "budget_percent": 0.1}]}, "add up to more than 100"),
    ("Company", {"departments": PARTS, "workflow_handoffs": [HANDOFF]},
     {"departments": PARTS[1:], "workflow_handoffs": [HANDOFF]}, "workflow_handoffs must name"),
    ("Company", {"departments": PARTS, "escalation_paths": [ESCALATION]},
     {"departments": PARTS[1:], "escalation_paths": [ESCALATION]}, "escalation_paths must name"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fields"), [rule[:2] for rule in RULES])
def test_accepts(name: str, fields: Fields) -> None:
    made = make(name, **fields)
    assert type(made).__name__ == name
    assert made.model_fields_set >= set(fields)


@pytest.mark.parametrize(("name", "fields", "message"), [(r[0], *r[2:]) for r in RULES])
def test_refuses(name: str, fields: Fields, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as refused:
        make(name, **fields)
    (error,) = refused.value.errors()
    assert "canary" not in error["msg"].casefold()
