"""How much agents may do alone, and what becomes of an approval nobody gives."""

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
    WAIT = "wait"
    APPROVE = "approve"
    DENY = "deny"
    ESCALATE = "escalate"


class AutonomyPreset(Entity):
    """Which actions need nobody and which need a person; none is both. ``security_agent`` tells
    whether an agent looks at the others."""

    level: AutonomyLevel
    description: NotBlankStr
    auto_approve: tuple[NotBlankStr, ...] = ()
    human_approval: tuple[NotBlankStr, ...] = ()
    security_agent: bool = True

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
    """``level`` is the name of one of the ``presets``; those built in are ``full``, ``semi``,
    ``supervised`` and ``locked``."""

    level: AutonomyLevel = AutonomyLevel.SEMI
    presets: dict[str, AutonomyPreset] = Field(default_factory=_presets)

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.level not in self.presets:
            raise ValueError("level must be one of the presets")
        return self


def _final(action: TimeoutActionType) -> TimeoutActionType:
    if action is TimeoutActionType.ESCALATE:
        raise ValueError("must not be escalate: there is nobody left to ask")
    return action


_FinalAction = Annotated[TimeoutActionType, AfterValidator(_final)]
_Minutes = Annotated[float, Field(gt=0)]


class WaitForeverConfig(Entity):
    policy: Literal["wait"] = "wait"


class DenyOnTimeoutConfig(Entity):
    policy: Literal["deny"] = "deny"
    timeout_minutes: _Minutes = 240.0


class TierConfig(Entity):
    """What happens to actions of one risk; ``actions``, if any, are the only ones meant."""

    timeout_minutes: _Minutes
    on_timeout: _FinalAction = TimeoutActionType.DENY
    actions: tuple[NotBlankStr, ...] = ()


class TieredTimeoutConfig(Entity):
    """A timeout for each risk; one that is not named waits."""

    policy: Literal["tiered"] = "tiered"
    tiers: dict[ApprovalRiskLevel, TierConfig] = Field(default_factory=dict)


class EscalationStep(Entity):
    """Who is asked next, and for how long."""

    role: NotBlankStr
    timeout_minutes: _Minutes


class EscalationChainConfig(Entity):
    """One role is asked after the other; then ``on_chain_exhausted``."""

    policy: Literal["escalation"] = "escalation"
    chain: tuple[EscalationStep, ...] = Field(min_length=1)
    on_chain_exhausted: _FinalAction = TimeoutActionType.DENY


ApprovalTimeoutConfig = Annotated[
    WaitForeverConfig | DenyOnTimeoutConfig | TieredTimeoutConfig | EscalationChainConfig,
    Field(discriminator="policy"),
]
