"""Companies: departments, handoffs between them, and defaults for agents."""

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
    """Kind of company, which an application may offer as a template."""

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
    """Connection from one department to another one, whatever the case of their names."""

    from_department: NotBlankStr = Field(description="Name of the department where it begins")
    to_department: NotBlankStr = Field(
        description="Name of the department where it ends; another one"
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if folded(self.from_department) == folded(self.to_department):
            raise ValueError("to_department must differ from from_department")
        return self


class WorkflowHandoff(_Passage):
    """Handoff of work to another department."""

    trigger: NotBlankStr = Field(
        description="Event that causes the handoff, in the application's words"
    )
    artifacts: tuple[NotBlankStr, ...] = Field(
        default=(), description="Names of the artifacts that are handed over"
    )


class EscalationPath(_Passage):
    """Escalation of a problem to another department."""

    condition: NotBlankStr = Field(
        description="Condition under which a problem is passed on, in the application's words"
    )
    priority_boost: Annotated[Count, Field(le=3)] = Field(
        default=1, description="Levels by which the problem's priority rises, 0 to 3"
    )


class HRRegistry(Entity):
    """Names of agents employed and of roles to fill."""

    active_agents: tuple[NotBlankStr, ...] = Field(
        default=(), description="Names of the agents employed; each once, whatever the case"
    )
    available_roles: tuple[NotBlankStr, ...] = Field(
        default=(), description="Names of roles that can be filled; a role may occur several times"
    )
    hiring_queue: tuple[NotBlankStr, ...] = Field(
        default=(),
        description="Names of roles to hire for, in order; a role may occur several times",
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        unique(tuple(map(folded, self.active_agents)), "active_agents")
        return self


class CompanyConfig(Entity):
    """Defaults that apply in a company where nothing closer sets another value."""

    autonomy: AutonomyConfig = Field(
        default_factory=AutonomyConfig,
        description="Autonomy of agents, with the presets of all levels",
    )
    approval_timeout: ApprovalTimeoutConfig = Field(
        default_factory=WaitForeverConfig,
        description="Policy for approvals that are not answered; waits without limit by default",
    )
    budget_monthly: Amount = Field(
        default=100.0, description="Budget of one month, 0 or more; carries no currency of its own"
    )
    communication_pattern: NotBlankStr = Field(
        default="hybrid",
        description="Name of the pattern in which agents communicate, such as ``hybrid``",
    )
    tool_access_default: tuple[NotBlankStr, ...] = Field(
        default=(), description="Names of the tools that agents may use by default"
    )


class Company(Entity):
    """A company and its organisation.

    Departments differ in name, whatever the case and the space around it, and have 100 percent of
    the budget at most. Handoffs and escalations connect departments of the company only.
    """

    id: UUID = Field(default_factory=uuid4, description="Id of the company; random unless given")
    name: NotBlankStr = Field(description="Name of the company")
    type: CompanyType = Field(
        default=CompanyType.CUSTOM,
        description="Kind of company; ``custom`` if none of the others fits",
    )
    departments: tuple[Department, ...] = Field(
        default=(), description="Departments, which have different names"
    )
    config: CompanyConfig = Field(
        default_factory=CompanyConfig, description="Defaults for the departments and agents"
    )
    hr_registry: HRRegistry = Field(
        default_factory=HRRegistry, description="Agents employed, and roles to fill"
    )
    workflow_handoffs: tuple[WorkflowHandoff, ...] = Field(
        default=(), description="Handoffs of work between the departments"
    )
    escalation_paths: tuple[EscalationPath, ...] = Field(
        default=(), description="Escalations of problems between the departments"
    )

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
