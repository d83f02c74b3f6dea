"""How much may be spent, in money and in risk."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from holdfast.entities.base import Amount, Count, Entity, NotBlankStr, unique

__all__ = [
    "AutoDowngradeConfig",
    "BudgetAlertConfig",
    "BudgetConfig",
    "RiskBudgetAlertConfig",
    "RiskBudgetConfig",
]

_Percent = Annotated[Count, Field(le=100)]
_Alias = Annotated[NotBlankStr, AfterValidator(str.strip)]


class BudgetAlertConfig(Entity):
    """At which percentage of the budget somebody is told, and at which work stops."""

    warn_at: _Percent = 75
    critical_at: _Percent = 90
    hard_stop_at: _Percent = 100

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if not self.warn_at < self.critical_at < self.hard_stop_at:
            raise ValueError("warn_at, critical_at and hard_stop_at must increase, in that order")
        return self


class AutoDowngradeConfig(Entity):
    """From which percentage of the budget on models are replaced by cheaper ones.

    ``downgrade_map`` holds pairs of a model and its substitute, without the space around their
    names; each model once, none for itself. They are replaced at the ``boundary``, never in the
    middle of a task.
    """

    enabled: bool = False
    threshold: _Percent = 85
    downgrade_map: tuple[tuple[_Alias, _Alias], ...] = ()
    boundary: Literal["task_assignment"] = "task_assignment"

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if any(source == target for source, target in self.downgrade_map):
            raise ValueError("downgrade_map must not replace a model by itself")
        unique(tuple(source for source, _ in self.downgrade_map), "downgrade_map (by source)")
        return self


class RiskBudgetAlertConfig(Entity):
    """At which percentage of the risk budget somebody is told."""

    warn_at: _Percent = 75
    critical_at: _Percent = 90

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.warn_at >= self.critical_at:
            raise ValueError("warn_at must be less than critical_at")
        return self


class RiskBudgetConfig(Entity):
    """Limits of risk, in points: no task may take more than its agent, no agent more than all."""

    enabled: bool = False
    per_task_risk_limit: Amount = 5.0
    per_agent_daily_risk_limit: Amount = 20.0
    total_daily_risk_limit: Amount = 100.0
    alerts: RiskBudgetAlertConfig = Field(default_factory=RiskBudgetAlertConfig)

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.per_task_risk_limit > self.per_agent_daily_risk_limit:
            raise ValueError("per_task_risk_limit must not exceed per_agent_daily_risk_limit")
        if self.per_agent_daily_risk_limit > self.total_daily_risk_limit:
            raise ValueError("per_agent_daily_risk_limit must not exceed total_daily_risk_limit")
        return self


class BudgetConfig(Entity):
    """A month's money, from ``reset_day`` on. A total of 0 is no bound for the other limits."""

    total_monthly: Amount = 100.0
    alerts: BudgetAlertConfig = Field(default_factory=BudgetAlertConfig)
    per_task_limit: Amount = 5.0
    per_agent_daily_limit: Amount = 10.0
    auto_downgrade: AutoDowngradeConfig = Field(default_factory=AutoDowngradeConfig)
    reset_day: Annotated[Count, Field(ge=1, le=28)] = 1
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "EUR"
    risk_budget: RiskBudgetConfig = Field(default_factory=RiskBudgetConfig)

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.total_monthly > 0:
            for name in ("per_task_limit", "per_agent_daily_limit"):
                if getattr(self, name) > self.total_monthly:
                    raise ValueError(f"{name} must not exceed total_monthly")
        return self
