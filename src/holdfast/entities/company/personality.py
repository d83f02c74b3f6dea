"""Personality of an agent."""

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
    """Willingness to take risks."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class CreativityLevel(StrEnum):
    """Inclination to try what is new."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class DecisionMakingStyle(StrEnum):
    """Way in which decisions are made."""

    ANALYTICAL = "analytical"
    INTUITIVE = "intuitive"
    CONSULTATIVE = "consultative"
    DIRECTIVE = "directive"


class CollaborationPreference(StrEnum):
    """Preferred number of agents at one task."""

    INDEPENDENT = "independent"
    PAIR = "pair"
    TEAM = "team"


class CommunicationVerbosity(StrEnum):
    """Length of what is written."""

    TERSE = "terse"
    BALANCED = "balanced"
    VERBOSE = "verbose"


class ConflictApproach(StrEnum):
    """Way of dealing with conflicts."""

    AVOID = "avoid"
    ACCOMMODATE = "accommodate"
    COMPETE = "compete"
    COMPROMISE = "compromise"
    COLLABORATE = "collaborate"


class PersonalityConfig(Entity):
    """Traits of an agent, in words and as numbers from 0 (least) to 1 (most)."""

    traits: tuple[NotBlankStr, ...] = Field(
        default=(), description="Words for the character, such as ``curious``"
    )
    communication_style: Annotated[NotBlankStr, Field(max_length=100)] = Field(
        default="neutral", description="Tone of what the agent writes, at most 100 characters"
    )
    risk_tolerance: RiskTolerance = Field(
        default=RiskTolerance.MEDIUM, description="Willingness to take risks"
    )
    creativity: CreativityLevel = Field(
        default=CreativityLevel.MEDIUM, description="Inclination to try what is new"
    )
    description: Annotated[str, Field(max_length=500)] = Field(
        default="", description="Description of the character, at most 500 characters; may be empty"
    )
    openness: Share = Field(default=0.5, description="Openness to new ideas, 0 to 1")
    conscientiousness: Share = Field(
        default=0.5, description="Thoroughness and reliability, 0 to 1"
    )
    extraversion: Share = Field(
        default=0.5, description="Inclination to seek exchange with others, 0 to 1"
    )
    agreeableness: Share = Field(default=0.5, description="Readiness to accommodate others, 0 to 1")
    stress_response: Share = Field(
        default=0.5,
        description="Response to stress, 0 to 1; the application decides which end is calm",
    )
    decision_making: DecisionMakingStyle = Field(
        default=DecisionMakingStyle.CONSULTATIVE, description="Way in which decisions are made"
    )
    collaboration: CollaborationPreference = Field(
        default=CollaborationPreference.TEAM, description="Preferred number of agents at one task"
    )
    verbosity: CommunicationVerbosity = Field(
        default=CommunicationVerbosity.BALANCED, description="Length of what is written"
    )
    conflict_approach: ConflictApproach = Field(
        default=ConflictApproach.COLLABORATE, description="Way of dealing with conflicts"
    )
