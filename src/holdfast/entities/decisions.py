"""What was decided about finished work."""

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
    APPROVED = "approved"
    REJECTED = "rejected"
    AUTO_APPROVED = "auto_approved"
    AUTO_REJECTED = "auto_rejected"
    ESCALATED = "escalated"


DecisionRole = Literal["executor", "reviewer"]


class Reversibility(StrEnum):
    EASILY_REVERSIBLE = "easily_reversible"
    MODERATE = "moderate"
    LOCKED_IN = "locked_in"


class BlastRadius(StrEnum):
    INDIVIDUAL = "individual"
    TEAM = "team"
    DEPARTMENT = "department"
    COMPANY_WIDE = "company_wide"


class TimeHorizon(StrEnum):
    IMMEDIATE = "immediate"
    SHORT_TERM = "short_term"
    MEDIUM_TERM = "medium_term"
    LONG_TERM = "long_term"


class RiskCard(Entity):
    """What is at stake in a decision."""

    decision_type: NotBlankStr
    reversibility: Reversibility = Reversibility.MODERATE
    blast_radius: BlastRadius = BlastRadius.TEAM
    time_horizon: TimeHorizon = TimeHorizon.MEDIUM_TERM


class ConfidenceMetadata(Entity):
    """How sure the reviewer was: ``range_lower`` <= ``level`` <= ``range_upper``."""

    level: Share
    range_lower: Share
    range_upper: Share
    assumptions: tuple[str, ...] = ()
    uncertainty_factors: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if not self.range_lower <= self.level <= self.range_upper:
            raise ValueError("level must lie between range_lower and range_upper")
        return self


class LensAttribution(Entity):
    """What one point of view contributed."""

    lens: NotBlankStr
    insight: NotBlankStr
    weight: Share


def _reason(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


class DecisionRecord(JsonHolder):
    """A review of a task's work, not by who did it; ``version`` counts the task's reviews."""

    id: NotBlankStr
    task_id: NotBlankStr
    approval_id: NotBlankStr | None = None
    executing_agent_id: NotBlankStr
    reviewer_agent_id: NotBlankStr
    decision: DecisionOutcome
    #: Blank text is no reason.
    reason: Annotated[NotBlankStr | None, BeforeValidator(_reason)] = None
    criteria_snapshot: tuple[NotBlankStr, ...] = ()
    recorded_at: AwareDatetime
    version: Annotated[Count, Field(ge=1)]
    metadata: JsonObject = Field(default_factory=lambda: frozen({}))
    risk_card: RiskCard | None = None
    confidence_metadata: ConfidenceMetadata | None = None
    lens_attribution: tuple[LensAttribution, ...] = ()

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.executing_agent_id == self.reviewer_agent_id:
            raise ValueError("reviewer_agent_id must not be the executing_agent_id")
        unique(self.criteria_snapshot, "criteria_snapshot")
        return self
