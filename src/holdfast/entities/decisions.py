"""Decisions about finished work."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BeforeValidator, Field, model_validator

from holdfast.entities.base import Count, Entity, NotBlankStr, Share, frozen, unique
from holdfast.entities.json import JsonHolder, JsonObject

__all__ = [
    "BlastRadius",
    "ConfidenceMetadata",
    "DecisionOutcome",
    "DecisionRecord",
    "DecisionRole",
    "LensAttribution",
    "Reversibility",
    "RiskCard",
    "TimeHorizon",
]


class DecisionOutcome(StrEnum):
    """How a review ended; ``auto_*`` without a person."""

    APPROVED = "approved"
    REJECTED = "rejected"
    AUTO_APPROVED = "auto_approved"
    AUTO_REJECTED = "auto_rejected"
    ESCALATED = "escalated"


DecisionRole = Literal["executor", "reviewer"]


class Reversibility(StrEnum):
    """How hard a decision is to take back, from the easiest to the hardest."""

    EASILY_REVERSIBLE = "easily_reversible"
    MODERATE = "moderate"
    LOCKED_IN = "locked_in"


class BlastRadius(StrEnum):
    """How many a decision affects, from the fewest to the most."""

    INDIVIDUAL = "individual"
    TEAM = "team"
    DEPARTMENT = "department"
    COMPANY_WIDE = "company_wide"


class TimeHorizon(StrEnum):
    """How long a decision has effect, from the shortest to the longest."""

    IMMEDIATE = "immediate"
    SHORT_TERM = "short_term"
    MEDIUM_TERM = "medium_term"
    LONG_TERM = "long_term"


class RiskCard(Entity):
    """What is at stake in a decision."""

    decision_type: NotBlankStr = Field(
        description="The application's own name for this sort of decision"
    )
    reversibility: Reversibility = Field(
        default=Reversibility.MODERATE, description="How hard the decision is to take back"
    )
    blast_radius: BlastRadius = Field(
        default=BlastRadius.TEAM, description="How many the decision affects"
    )
    time_horizon: TimeHorizon = Field(
        default=TimeHorizon.MEDIUM_TERM, description="How long the decision has effect"
    )


class ConfidenceMetadata(Entity):
    """How sure the reviewer was: ``range_lower`` <= ``level`` <= ``range_upper``."""

    level: Share = Field(description="Confidence from 0 (none) to 1 (certain)")
    range_lower: Share = Field(description="Lower end of the confidence range, 0 to 1")
    range_upper: Share = Field(description="Upper end of the confidence range, 0 to 1")
    assumptions: tuple[str, ...] = Field(
        default=(), description="What was taken for granted, in the order given"
    )
    uncertainty_factors: tuple[str, ...] = Field(
        default=(), description="What could prove the reviewer wrong, in the order given"
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if not self.range_lower <= self.level <= self.range_upper:
            raise ValueError("level must lie between range_lower and range_upper")
        return self


class LensAttribution(Entity):
    """What one point of view contributed to a decision."""

    lens: NotBlankStr = Field(description="Name of the point of view")
    insight: NotBlankStr = Field(description="What was seen from it")
    weight: Share = Field(
        description="Its share in the decision, 0 to 1; the weights need not add up to 1"
    )


def _reason(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


class DecisionRecord(JsonHolder):
    """A review of the work on a task, by another agent than did it."""

    id: NotBlankStr = Field(description="Key, chosen by the application")
    task_id: NotBlankStr = Field(description="Id of the reviewed task, which must be stored")
    approval_id: NotBlankStr | None = Field(
        default=None, description="Id of the approval concerned; None if there was none"
    )
    executing_agent_id: NotBlankStr = Field(description="Id of the agent that did the work")
    reviewer_agent_id: NotBlankStr = Field(
        description="Id of the agent that reviewed it; never the executing one"
    )
    decision: DecisionOutcome = Field(description="How the review ended")
    reason: Annotated[NotBlankStr | None, BeforeValidator(_reason)] = Field(
        default=None, description="Why; None if not given, also for blank text"
    )
    criteria_snapshot: tuple[NotBlankStr, ...] = Field(
        default=(), description="Acceptance criteria at that time, in order; no duplicates"
    )
    recorded_at: AwareDatetime = Field(
        description="When the decision was made; orders `list_by_agent`, newest first"
    )
    version: Annotated[Count, Field(ge=1)] = Field(
        description="Number of the review among those of its task, from 1; set by the repository"
    )
    metadata: JsonObject = Field(
        default_factory=lambda: frozen({}),
        description="Further JSON object; read-only, also deep within",
    )
    risk_card: RiskCard | None = Field(
        default=None, description="What is at stake; None if not assessed"
    )
    confidence_metadata: ConfidenceMetadata | None = Field(
        default=None, description="How sure the reviewer was; None if not stated"
    )
    lens_attribution: tuple[LensAttribution, ...] = Field(
        default=(), description="What each point of view contributed, in the order given"
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.executing_agent_id == self.reviewer_agent_id:
            raise ValueError("reviewer_agent_id must not be the executing_agent_id")
        unique(self.criteria_snapshot, "criteria_snapshot")
        return self
