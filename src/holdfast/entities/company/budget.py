"""Limits of spending and of risk."""

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
    """Percentages of the budget at which alerts are given; they increase."""

    warn_at: _Percent = Field(
        default=75, description="Percentage of the budget, 0 to 100, whose use is worth a warning"
    )
    critical_at: _Percent = Field(
        default=90, description="Percentage of the budget whose use is critical; above ``warn_at``"
    )
    hard_stop_at: _Percent = Field(
        default=100,
        description="Percentage of the budget at which work stops; above ``critical_at``",
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if not self.warn_at < self.critical_at < self.hard_stop_at:
            raise ValueError("warn_at, critical_at and hard_stop_at must increase, in that order")
        return self


class AutoDowngradeConfig(Entity):
    """Replacement of models by cheaper ones when the budget runs low.

    A model is replaced at the ``boundary``, never in the middle of a task.
    """

    enabled: bool = Field(default=False, description="Whether models are replaced")
    threshold: _Percent = Field(
        default=85,
        description="Percentage of the budget, 0 to 100, from which on models are replaced",
    )
    downgrade_map: tuple[tuple[_Alias, _Alias], ...] = Field(
        default=(),
        description="Pairs of a model and its substitute; each model once, never by itself",
    )
    boundary: Literal["task_assignment"] = Field(
        default="task_assignment",
        description="Moment at which a model is replaced; always the assignment of a task",
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if any(source == target for source, target in self.downgrade_map):
            raise ValueError("downgrade_map must not replace a model by itself")
        unique(tuple(source for source, _ in self.downgrade_map), "downgrade_map (by source)")
        return self


class RiskBudgetAlertConfig(Entity):
    """Percentages of the risk budget at which alerts are given."""

    warn_at: _Percent = Field(
        default=75,
        description="Percentage of the risk budget, 0 to 100, whose use is worth a warning",
    )
    critical_at: _Percent = Field(
        default=90,
        description="Percentage of the risk budget whose use is critical; above ``warn_at``",
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.warn_at >= self.critical_at:
            raise ValueError("warn_at must be less than critical_at")
        return self


class RiskBudgetConfig(Entity):
    """Limits of risk in points; none exceeds the next wider one."""

    enabled: bool = Field(default=False, description="Whether the limits apply")
    per_task_risk_limit: Amount = Field(
        default=5.0, description="Points that one task may take; at most those of an agent"
    )
    per_agent_daily_risk_limit: Amount = Field(
        default=20.0,
        description="Points that one agent may take a day; at most those of all agents",
    )
    total_daily_risk_limit: Amount = Field(
        default=100.0, description="Points that all agents together may take a day"
    )
    alerts: RiskBudgetAlertConfig = Field(
        default_factory=RiskBudgetAlertConfig,
        description="When the use of the risk budget is reported",
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.per_task_risk_limit > self.per_agent_daily_risk_limit:
            raise ValueError("per_task_risk_limit must not exceed per_agent_daily_risk_limit")
        if self.per_agent_daily_risk_limit > self.total_daily_risk_limit:
            raise ValueError("per_agent_daily_risk_limit must not exceed total_daily_risk_limit")
        return self


class BudgetConfig(Entity):
    """Budget of a month, with limits for tasks and agents."""

    total_monthly: Amount = Field(
        default=100.0,
        description="Amount for a month in ``currency``; 0 does not bound the other limits",
    )
    alerts: BudgetAlertConfig = Field(
        default_factory=BudgetAlertConfig,
        description="When the use of the budget is reported, and when work stops",
    )
    per_task_limit: Amount = Field(
        default=5.0, description="Amount that one task may cost, in ``currency``"
    )
    per_agent_daily_limit: Amount = Field(
        default=10.0, description="Amount that one agent may cost a day, in ``currency``"
    )
    auto_downgrade: AutoDowngradeConfig = Field(
        default_factory=AutoDowngradeConfig, description="When models are replaced by cheaper ones"
    )
    reset_day: Annotated[Count, Field(ge=1, le=28)] = Field(
        default=1, description="Day on which the budget's month begins, 1 to 28"
    )
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = Field(
        default="EUR", description="Currency of the amounts, three capital letters as in ISO 4217"
    )
    risk_budget: RiskBudgetConfig = Field(
        default_factory=RiskBudgetConfig, description="Limits of risk, beside those of money"
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.total_monthly > 0:
            for name in ("per_task_limit", "per_agent_daily_limit"):
                if getattr(self, name) > self.total_monthly:
                    raise ValueError(f"{name} must not exceed total_monthly")
        return self
