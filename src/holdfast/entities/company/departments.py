"""Departments: teams, reporting lines and policies."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, computed_field, model_validator

from holdfast.entities.base import Count, Entity, NotBlankStr, folded, unique
from holdfast.entities.json import JsonHolder, JsonObject
from holdfast.entities.levels import AutonomyLevel

__all__ = [
    "ApprovalChain",
    "Department",
    "DepartmentPolicies",
    "ReportingLine",
    "ReviewRequirements",
    "Team",
]


class Team(Entity):
    """A team of a department."""

    name: NotBlankStr = Field(description="Name of the team, unique within its department")
    lead: NotBlankStr = Field(
        description="Name of the agent that leads the team; need not be a member"
    )
    members: tuple[NotBlankStr, ...] = Field(
        default=(), description="Names of the agents in the team; each once, whatever the case"
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        unique(tuple(map(folded, self.members)), "members")
        return self


def _key(id_: str | None, name: str) -> tuple[str, str]:
    return ("name", folded(name)) if id_ is None else ("id", folded(id_))


class ReportingLine(Entity):
    """Relation of an agent to its supervisor, which is another agent.

    The two are compared by id if both have one, by name if neither has.
    """

    subordinate: NotBlankStr = Field(description="Name of the agent that reports")
    supervisor: NotBlankStr = Field(description="Name of the agent that is reported to")
    subordinate_id: NotBlankStr | None = Field(
        default=None, description="Id of the agent that reports; None if only the name is known"
    )
    supervisor_id: NotBlankStr | None = Field(
        default=None,
        description="Id of the agent that is reported to; None if only the name is known",
    )

    @computed_field(repr=False)  # type: ignore[prop-decorator]
    @property
    def subordinate_key(self) -> tuple[str, str]:
        """``("id", ...)`` if there is an id, else ``("name", ...)``, whatever the case."""
        return _key(self.subordinate_id, self.subordinate)

    @computed_field(repr=False)  # type: ignore[prop-decorator]
    @property
    def supervisor_key(self) -> tuple[str, str]:
        """``("id", ...)`` if there is an id, else ``("name", ...)``, whatever the case."""
        return _key(self.supervisor_id, self.supervisor)

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.subordinate_key == self.supervisor_key:
            raise ValueError("supervisor must differ from subordinate")
        return self


class ReviewRequirements(Entity):
    """Requirements that a review must meet."""

    min_reviewers: Count = Field(default=1, description="Number of reviewers needed; 0 for none")
    required_reviewer_roles: tuple[NotBlankStr, ...] = Field(
        default=(), description="Names of the roles that must be among the reviewers"
    )
    self_review_allowed: bool = Field(
        default=False, description="Whether an agent may review its own work"
    )


class ApprovalChain(Entity):
    """Approvers of one type of action."""

    action_type: NotBlankStr = Field(description="Type of action that needs the approval")
    approvers: tuple[NotBlankStr, ...] = Field(
        min_length=1,
        description="Names of the approvers, at least one; each once, whatever the case",
    )
    min_approvals: Count = Field(
        default=0, description="Number of approvals needed; 0 for those of all approvers"
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        unique(tuple(map(folded, self.approvers)), "approvers")
        if self.min_approvals > len(self.approvers):
            raise ValueError("min_approvals must not exceed the number of approvers")
        return self


class DepartmentPolicies(Entity):
    """Policies for reviews and approvals in a department."""

    review_requirements: ReviewRequirements = Field(
        default_factory=ReviewRequirements, description="Requirements of every review"
    )
    approval_chains: tuple[ApprovalChain, ...] = Field(
        default=(), description="Approvers by type of action; at most one chain per type"
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        types = tuple(chain.action_type for chain in self.approval_chains)
        unique(types, "approval_chains (by action_type)")
        return self


class Department(JsonHolder):
    """A department of a company.

    A ``head_id`` needs a ``head``. Teams differ in name, whatever the case, and an agent reports
    in one line only.
    """

    name: NotBlankStr = Field(description="Name of the department, unique within its company")
    head: NotBlankStr | None = Field(
        default=None, description="Name of the agent that heads the department; None if vacant"
    )
    head_id: NotBlankStr | None = Field(
        default=None,
        description="Id of the agent that heads the department; None if only the name is known",
    )
    budget_percent: Annotated[float, Field(ge=0, le=100)] = Field(
        default=0.0, description="Percentage of the company's budget, 0 to 100"
    )
    teams: tuple[Team, ...] = Field(default=(), description="Teams, which have different names")
    reporting_lines: tuple[ReportingLine, ...] = Field(
        default=(), description="Relations to supervisors; at most one per subordinate"
    )
    autonomy_level: AutonomyLevel | None = Field(
        default=None,
        description="Autonomy of the department's agents; None for that of the company",
    )
    policies: DepartmentPolicies = Field(
        default_factory=DepartmentPolicies, description="Policies for reviews and approvals"
    )
    ceremony_policy: JsonObject | None = Field(
        default=None,
        description="Policy of ceremonies as a JSON object, kept as given; None if there is none",
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.head_id is not None and self.head is None:
            raise ValueError("head_id needs head")
        unique(tuple(folded(team.name) for team in self.teams), "teams (by name)")
        subordinates = tuple(line.subordinate_key for line in self.reporting_lines)
        unique(subordinates, "reporting_lines (by subordinate)")
        return self
