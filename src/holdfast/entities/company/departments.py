"""A department: its teams, who reports to whom, and its policies."""

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
    """``members`` are named once, whatever the case of their names."""

    name: NotBlankStr
    lead: NotBlankStr
    members: tuple[NotBlankStr, ...] = ()

    @model_validator(mode="after")
    def _rules(self) -> Self:
        unique(tuple(map(folded, self.members)), "members")
        return self


def _key(id_: str | None, name: str) -> tuple[str, str]:
    return ("name", folded(name)) if id_ is None else ("id", folded(id_))


class ReportingLine(Entity):
    """Who reports to whom: to somebody else, as far as both are told apart the same way."""

    subordinate: NotBlankStr
    supervisor: NotBlankStr
    subordinate_id: NotBlankStr | None = None
    supervisor_id: NotBlankStr | None = None

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
            raise ValueError("nobody reports to himself")
        return self


class ReviewRequirements(Entity):
    min_reviewers: Count = 1
    required_reviewer_roles: tuple[NotBlankStr, ...] = ()
    self_review_allowed: bool = False


class ApprovalChain(Entity):
    """Who approves a type of action; ``min_approvals`` of 0 are those of all of them."""

    action_type: NotBlankStr
    approvers: tuple[NotBlankStr, ...] = Field(min_length=1)
    min_approvals: Count = 0

    @model_validator(mode="after")
    def _rules(self) -> Self:
        unique(tuple(map(folded, self.approvers)), "approvers")
        if self.min_approvals > len(self.approvers):
            raise ValueError("min_approvals must not exceed the number of approvers")
        return self


class DepartmentPolicies(Entity):
    """A type of action has one chain."""

    review_requirements: ReviewRequirements = Field(default_factory=ReviewRequirements)
    approval_chains: tuple[ApprovalChain, ...] = ()

    @model_validator(mode="after")
    def _rules(self) -> Self:
        types = tuple(chain.action_type for chain in self.approval_chains)
        unique(types, "approval_chains (by action_type)")
        return self


class Department(JsonHolder):
    """``budget_percent`` is its part of the company's budget. Who has a ``head_id`` has a
    ``head``; teams differ in name, whatever the case; nobody reports twice. An ``autonomy_level``
    of ``None`` is the company's."""

    name: NotBlankStr
    head: NotBlankStr | None = None
    head_id: NotBlankStr | None = None
    budget_percent: Annotated[float, Field(ge=0, le=100)] = 0.0
    teams: tuple[Team, ...] = ()
    reporting_lines: tuple[ReportingLine, ...] = ()
    autonomy_level: AutonomyLevel | None = None
    policies: DepartmentPolicies = Field(default_factory=DepartmentPolicies)
    ceremony_policy: JsonObject | None = None

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.head_id is not None and self.head is None:
            raise ValueError("head_id needs head")
        unique(tuple(folded(team.name) for team in self.teams), "teams (by name)")
        subordinates = tuple(line.subordinate_key for line in self.reporting_lines)
        unique(subordinates, "reporting_lines (by subordinate)")
        return self
