"""How to keep the rules between the fields of agents, budgets, evaluations and companies.

See `holdfast.testing.rules`, of which this is the second half.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pydantic import BaseModel

from holdfast.entities.base import folded
from holdfast.entities.company import (
    autonomy,
    budget,
    company,
    departments,
    evaluation,
    identity,
    memory,
    tools,
)
from holdfast.entities.levels import AutonomyLevel, SeniorityLevel

__all__ = ["FITS"]

Values = dict[str, Any]


def _once_by(items: Iterable[Any], key: Callable[[Any], Any]) -> tuple[Any, ...]:
    return tuple({key(item): item for item in items}.values())


def _once(name: str, key: Callable[[Any], Any] = folded) -> Callable[[Values], Values]:
    """Of what has the same key in a sequence, keep one."""

    def fit(values: Values) -> Values:
        if values.get(name):
            values[name] = _once_by(values[name], key)
        return values

    return fit


def _apart(first: str, second: str) -> Callable[[Values], Values]:
    """Take the names in one sequence out of another."""

    def fit(values: Values) -> Values:
        if values.get(first) and values.get(second):
            taken = {*map(folded, values[first])}
            values[second] = tuple(n for n in values[second] if folded(n) not in taken)
        return values

    return fit


def _increasing(*names: str) -> Callable[[Values], Values]:
    """Sort percentages, and move what is equal."""

    def fit(values: Values) -> Values:
        if all(name in values for name in names):
            found = sorted(values[name] for name in names)
            for i in range(1, len(found)):
                found[i] = max(found[i], found[i - 1] + 1)
            for i in range(len(found)):
                found[-1 - i] = min(found[-1 - i], 100 - i)
            values.update(zip(names, found, strict=True))
        return values

    return fit


def _identity(values: Values) -> Values:
    junior = values.get("level") == SeniorityLevel.JUNIOR
    if junior and values.get("autonomy_level") == AutonomyLevel.FULL:
        values["autonomy_level"] = AutonomyLevel.LOCKED
    return values


def _memory(values: Values) -> Values:
    if values.get("type") == memory.MemoryLevel.NONE:
        nothing = {"retention_days": None, "retention_overrides": ()}
        return values | {name: value for name, value in nothing.items() if name in values}
    return _once("retention_overrides", lambda rule: rule.category)(values)


def _downgrade(values: Values) -> Values:
    if values.get("downgrade_map"):
        pairs = (pair for pair in values["downgrade_map"] if pair[0].strip() != pair[1].strip())
        values["downgrade_map"] = _once_by(pairs, lambda pair: pair[0].strip())
    return values


def _risk_budget(values: Values) -> Values:
    names = ("per_task_risk_limit", "per_agent_daily_risk_limit", "total_daily_risk_limit")
    if all(name in values for name in names):
        values.update(zip(names, sorted(values[name] for name in names), strict=True))
    return values


def _budget(values: Values) -> Values:
    total = values.get("total_monthly", 0)
    for name in ("per_task_limit", "per_agent_daily_limit"):
        if total > 0 and name in values:
            values[name] = min(values[name], total)
    return values


def _pillar(values: Values) -> Values:
    switches = [name for name in values if name.endswith("_enabled")]
    if switches and values.get("enabled", True) and not any(values[name] for name in switches):
        values[switches[-1]] = True
    return values


def _evaluation(values: Values) -> Values:
    pillars = [item for item in values.values() if hasattr(item, "enabled")]
    if len(pillars) == _PILLARS and not any(pillar.enabled for pillar in pillars):
        fields = dict(values["experience"]) | {"enabled": True}
        values["experience"] = evaluation.ExperienceConfig.model_validate(_pillar(fields))
    return values


_PILLARS = 5


def _autonomy(values: Values) -> Values:
    level = values.get("level", AutonomyLevel.SEMI)
    if "presets" in values and level not in values["presets"]:
        preset = autonomy.AutonomyPreset(level=level, description=str(level))
        values["presets"] = values["presets"] | {str(level): preset}
    return values


def _line(values: Values) -> Values:
    under, above = values.get("subordinate_id"), values.get("supervisor_id")
    if under is None and above is None:
        if folded(values["subordinate"]) == folded(values["supervisor"]):
            values["supervisor"] += " above"
    elif under is not None and above is not None and folded(under) == folded(above):
        values["supervisor_id"] += " above"
    return values


def _chain(values: Values) -> Values:
    values["approvers"] = _once_by(values["approvers"], folded)
    if "min_approvals" in values:
        values["min_approvals"] = min(values["min_approvals"], len(values["approvers"]))
    return values


def _department(values: Values) -> Values:
    if values.get("head_id") is not None and values.get("head") is None:
        values["head_id"] = None
    _once("teams", lambda team: folded(team.name))(values)
    return _once("reporting_lines", lambda line: line.subordinate_key)(values)


def _passage(values: Values) -> Values:
    if folded(values["from_department"]) == folded(values["to_department"]):
        values["to_department"] += " the second"
    return values


def _company(values: Values) -> Values:
    parts = list(_once_by(values.get("departments", ()), lambda part: folded(part.name)))
    if sum(part.budget_percent for part in parts) > 100:
        parts = [
            departments.Department.model_validate(
                dict(part) | {"budget_percent": part.budget_percent / len(parts)}
            )
            for part in parts
        ]
    if "departments" in values:
        values["departments"] = tuple(parts)
    for name in ("workflow_handoffs", "escalation_paths"):
        if values.get(name):
            values[name] = _between(parts, values[name])
    return values


def _between(parts: list[departments.Department], passages: Iterable[Any]) -> tuple[Any, ...]:
    """The passages from one department to the next; none where there is one at most."""
    if len(parts) < 2:
        return ()
    return tuple(
        type(passage).model_validate(
            dict(passage)
            | {
                "from_department": parts[i % len(parts)].name,
                "to_department": parts[(i + 1) % len(parts)].name,
            }
        )
        for i, passage in enumerate(passages)
    )


#: See `holdfast.testing.rules.FITS`.
FITS: dict[type[BaseModel], Callable[[Values], Values]] = {
    autonomy.AutonomyConfig: _autonomy,
    autonomy.AutonomyPreset: _apart("auto_approve", "human_approval"),
    budget.AutoDowngradeConfig: _downgrade,
    budget.BudgetAlertConfig: _increasing("warn_at", "critical_at", "hard_stop_at"),
    budget.BudgetConfig: _budget,
    budget.RiskBudgetAlertConfig: _increasing("warn_at", "critical_at"),
    budget.RiskBudgetConfig: _risk_budget,
    company.Company: _company,
    company.EscalationPath: _passage,
    company.HRRegistry: _once("active_agents"),
    company.WorkflowHandoff: _passage,
    departments.ApprovalChain: _chain,
    departments.Department: _department,
    departments.DepartmentPolicies: _once("approval_chains", lambda chain: chain.action_type),
    departments.ReportingLine: _line,
    departments.Team: _once("members"),
    evaluation.EfficiencyConfig: _pillar,
    evaluation.EvaluationConfig: _evaluation,
    evaluation.ExperienceConfig: _pillar,
    evaluation.GovernanceConfig: _pillar,
    evaluation.IntelligenceConfig: _pillar,
    evaluation.ResilienceConfig: _pillar,
    identity.AgentIdentity: _identity,
    memory.MemoryConfig: _memory,
    tools.ToolPermissions: _apart("allowed", "denied"),
}
