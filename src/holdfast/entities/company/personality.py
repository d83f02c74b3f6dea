"""How an agent comes across."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from holdfast.entities.base import Entity, NotBlankStr, Share

__all__ = [
    "CollaborationPreference",
    "CommunicationVerbosity",
    "ConflictApproach",
    "CreativityLevel",
    "DecisionMakingStyle",
    "PersonalityConfig",
    "RiskTolerance",
]


class RiskTolerance(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class CreativityLevel(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class DecisionMakingStyle(StrEnum):
    ANALYTICAL = "analytical"
    INTUITIVE = "intuitive"
    CONSULTATIVE = "consultative"
    DIRECTIVE = "directive"


class CollaborationPreference(StrEnum):
    INDEPENDENT = "independent"
    PAIR = "pair"
    TEAM = "team"


class CommunicationVerbosity(StrEnum):
    TERSE = "terse"
    BALANCED = "balanced"
    VERBOSE = "verbose"


class ConflictApproach(StrEnum):
    AVOID = "avoid"
    ACCOMMODATE = "accommodate"
    COMPETE = "compete"
    COMPROMISE = "compromise"
    COLLABORATE = "collaborate"


class PersonalityConfig(Entity):
    """Traits in words, and as shares of 1 from the least to the most."""

    traits: tuple[NotBlankStr, ...] = ()
    communication_style: Annotated[NotBlankStr, Field(max_length=100)] = "neutral"
    risk_tolerance: RiskTolerance = RiskTolerance.MEDIUM
    creativity: CreativityLevel = CreativityLevel.MEDIUM
    description: Annotated[str, Field(max_length=500)] = ""
    openness: Share = 0.5
    conscientiousness: Share = 0.5
    extraversion: Share = 0.5
    agreeableness: Share = 0.5
    stress_response: Share = 0.5
    decision_making: DecisionMakingStyle = DecisionMakingStyle.CONSULTATIVE
    collaboration: CollaborationPreference = CollaborationPreference.TEAM
    verbosity: CommunicationVerbosity = CommunicationVerbosity.BALANCED
    conflict_approach: ConflictApproach = ConflictApproach.COLLABORATE
