"""Autonomy of agents, and timeouts of approvals."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from holdfast.entities.audit import ApprovalRiskLevel
from holdfast.entities.base import Entity, NotBlankStr, folded
from holdfast.entities.levels import AutonomyLevel

__all__ = [
    "ApprovalTimeoutConfig",
    "AutonomyConfig",
    "AutonomyPreset",
    "DenyOnTimeoutConfig",
    "EscalationChainConfig",
    "EscalationStep",
    "TierConfig",
    "TieredTimeoutConfig",
    "TimeoutActionType",
    "WaitForeverConfig",
]


class TimeoutActionType(StrEnum):
    """What is done with an approval that is not answered in time."""

    WAIT = "wait"
    APPROVE = "approve"
    DENY = "deny"
    ESCALATE = "escalate"


class AutonomyPreset(Entity):
    """Actions that need no approval, and actions that need a person's; none is both."""

    level: AutonomyLevel = Field(description="Level of autonomy that the preset belongs to")
    description: NotBlankStr = Field(description="Explanation of the preset for people")
    auto_approve: tuple[NotBlankStr, ...] = Field(
        default=(),
        description="Actions that need no approval, such as ``vcs:push``, ``vcs`` or ``all``",
    )
    human_approval: tuple[NotBlankStr, ...] = Field(
        default=(), description="Actions that a person must approve, written in the same way"
    )
    security_agent: bool = Field(
        default=True, description="Whether a security agent checks the actions of other agents"
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if not {*map(folded, self.auto_approve)}.isdisjoint(map(folded, self.human_approval)):
            raise ValueError("an action must not be both in auto_approve and in human_approval")
        return self


def _preset(level: AutonomyLevel, description: str, auto: str, human: str) -> AutonomyPreset:
    return AutonomyPreset(
        level=level,
        description=description,
        auto_approve=tuple(auto.split()),
        human_approval=tuple(human.split()),
        security_agent=level is not AutonomyLevel.FULL,
    )


_PRESETS = (
    _preset(AutonomyLevel.FULL, "Agents do everything alone.", "all", ""),
    _preset(
        AutonomyLevel.SEMI,
        "Agents work alone; what leaves the team's own work needs a person.",
        "code test docs vcs comms:internal db:query",
        "deploy org budget comms:external",
    ),
    _preset(
        AutonomyLevel.SUPERVISED,
        "Agents look and test alone; every change needs a person.",
        "code:read vcs:read test:run db:query",
        "code:write code:create code:delete code:refactor test:write docs:write vcs:commit "
        "vcs:push vcs:branch deploy comms budget org db:mutate db:admin arch:decide",
    ),
    _preset(AutonomyLevel.LOCKED, "Every action needs a person.", "", "all"),
)


def _presets() -> dict[str, AutonomyPreset]:
    return {preset.level.value: preset for preset in _PRESETS}


class AutonomyConfig(Entity):
    """Autonomy in a company, and what each level of it means.

    The presets built in are ``full``, ``semi``, ``supervised`` and ``locked``.
    """

    level: AutonomyLevel = Field(
        default=AutonomyLevel.SEMI,
        description="Level of agents for which nothing else is set; must be a key of ``presets``",
    )
    presets: dict[str, AutonomyPreset] = Field(
        default_factory=_presets,
        description="Presets by the name of their level; those built in unless given",
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.level not in self.presets:
            raise ValueError("level must be one of the presets")
        return self


def _final(action: TimeoutActionType) -> TimeoutActionType:
    if action is TimeoutActionType.ESCALATE:
        raise ValueError("must not be escalate: no step is left")
    return action


_FinalAction = Annotated[TimeoutActionType, AfterValidator(_final)]
_Minutes = Annotated[float, Field(gt=0)]


class WaitForeverConfig(Entity):
    """Policy for approvals that may wait without limit."""

    policy: Literal["wait"] = Field(
        default="wait", description="Tag of the policy among those of an approval timeout"
    )


class DenyOnTimeoutConfig(Entity):
    """Policy for approvals that are denied when nobody answers in time."""

    policy: Literal["deny"] = Field(
        default="deny", description="Tag of the policy among those of an approval timeout"
    )
    timeout_minutes: _Minutes = Field(
        default=240.0, description="Minutes until an unanswered approval is denied; above 0"
    )


class TierConfig(Entity):
    """Timeout of the actions of one level of risk."""

    timeout_minutes: _Minutes = Field(description="Minutes to wait for an answer; above 0")
    on_timeout: _FinalAction = Field(
        default=TimeoutActionType.DENY,
        description="What is done when the time is over; never ``escalate``",
    )
    actions: tuple[NotBlankStr, ...] = Field(
        default=(),
        description="Types of action that the timeout is for; empty for all of the level",
    )


class TieredTimeoutConfig(Entity):
    """Policy with a timeout for each level of risk; other levels wait without limit."""

    policy: Literal["tiered"] = Field(
        default="tiered", description="Tag of the policy among those of an approval timeout"
    )
    tiers: dict[ApprovalRiskLevel, TierConfig] = Field(
        default_factory=dict,
        description="Timeouts by level of risk; approvals of a level that is missing wait",
    )


class EscalationStep(Entity):
    """One role that is asked for an approval."""

    role: NotBlankStr = Field(description="Name of the role that is asked")
    timeout_minutes: _Minutes = Field(
        description="Minutes to wait for the role's answer before the next step; above 0"
    )


class EscalationChainConfig(Entity):
    """Policy that asks one role after the other."""

    policy: Literal["escalation"] = Field(
        default="escalation", description="Tag of the policy among those of an approval timeout"
    )
    chain: tuple[EscalationStep, ...] = Field(
        min_length=1, description="Steps in the order in which they are taken; at least one"
    )
    on_chain_exhausted: _FinalAction = Field(
        default=TimeoutActionType.DENY,
        description="What is done when the last step has had no answer; never ``escalate``",
    )


ApprovalTimeoutConfig = Annotated[
    WaitForeverConfig | DenyOnTimeoutConfig | TieredTimeoutConfig | EscalationChainConfig,
    Field(discriminator="policy"),
]
