"""The company: its departments, how work passes between them, and its defaults."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID, uuid4

from pydantic import Field, model_validator

from holdfast.entities.base import Amount, Count, Entity, NotBlankStr, folded, unique
from holdfast.entities.company.autonomy import (
    ApprovalTimeoutConfig,
    AutonomyConfig,
    WaitForeverConfig,
)
from holdfast.entities.company.departments import Department

__all__ = [
    "Company",
    "CompanyConfig",
    "CompanyType",
    "EscalationPath",
    "HRRegistry",
    "WorkflowHandoff",
]


class CompanyType(StrEnum):
    SOLO_FOUNDER = "solo_founder"
    STARTUP = "startup"
    DEV_SHOP = "dev_shop"
    PRODUCT_TEAM = "product_team"
    AGENCY = "agency"
    FULL_COMPANY = "full_company"
    RESEARCH_LAB = "research_lab"
    CONSULTANCY = "consultancy"
    DATA_TEAM = "data_team"
    CUSTOM = "custom"


class _Passage(Entity):
    """From one department to another one, whatever the case of their names."""

    from_department: NotBlankStr
    to_department: NotBlankStr

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if folded(self.from_department) == folded(self.to_department):
            raise ValueError("to_department must differ from from_department")
        return self


class WorkflowHandoff(_Passage):
    """Work that passes to another department when ``trigger`` happens."""

    trigger: NotBlankStr
    artifacts: tuple[NotBlankStr, ...] = ()


class EscalationPath(_Passage):
    """Where a problem goes under a condition, by how many steps more urgent."""

    condition: NotBlankStr
    priority_boost: Annotated[Count, Field(le=3)] = 1


class HRRegistry(Entity):
    """``active_agents`` are named once, whatever the case of their names; a role may be
    available, and wanted, several times."""

    active_agents: tuple[NotBlankStr, ...] = ()
    available_roles: tuple[NotBlankStr, ...] = ()
    hiring_queue: tuple[NotBlankStr, ...] = ()

    @model_validator(mode="after")
    def _rules(self) -> Self:
        unique(tuple(map(folded, self.active_agents)), "active_agents")
        return self


class CompanyConfig(Entity):
    autonomy: AutonomyConfig = Field(default_factory=AutonomyConfig)
    approval_timeout: ApprovalTimeoutConfig = Field(default_factory=WaitForeverConfig)
    budget_monthly: Amount = 100.0
    communication_pattern: NotBlankStr = "hybrid"
    tool_access_default: tuple[NotBlankStr, ...] = ()


class Company(Entity):
    """Departments differ in name, whatever the case and the space around it, and share out 100
    percent at most. Work and problems pass between departments of the company only."""

    id: UUID = Field(default_factory=uuid4)
    name: NotBlankStr
    type: CompanyType = CompanyType.CUSTOM
    departments: tuple[Department, ...] = ()
    config: CompanyConfig = Field(default_factory=CompanyConfig)
    hr_registry: HRRegistry = Field(default_factory=HRRegistry)
    workflow_handoffs: tuple[WorkflowHandoff, ...] = ()
    escalation_paths: tuple[EscalationPath, ...] = ()

    @model_validator(mode="after")
    def _rules(self) -> Self:
        names = tuple(folded(department.name) for department in self.departments)
        unique(names, "departments (by name)")
        # Rounded, because shares such as 33.3 do not add up exactly.
        if round(sum(department.budget_percent for department in self.departments), 10) > 100:
            raise ValueError("the departments' budget_percent must not add up to more than 100")
        for field in ("workflow_handoffs", "escalation_paths"):
            for passage in getattr(self, field):
                ends = {folded(passage.from_department), folded(passage.to_department)}
                if not ends <= set(names):
                    raise ValueError(f"{field} must name departments of the company")
        return self
