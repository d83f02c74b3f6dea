"""Evaluation of agents: five pillars, each of some weighted metrics."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from holdfast.entities.base import Count, Entity, Share

__all__ = [
    "EfficiencyConfig",
    "EvaluationConfig",
    "ExperienceConfig",
    "GovernanceConfig",
    "IntelligenceConfig",
    "ResilienceConfig",
]

_Positive = Annotated[float, Field(gt=0)]


class _Pillar(Entity):
    """Switch and weight of a pillar, which needs an enabled metric while it is enabled."""

    enabled: bool = Field(default=True, description="Whether the pillar counts")
    weight: Share = Field(default=0.2, description="Weight of the pillar among the five, 0 to 1")

    @model_validator(mode="after")
    def _rules(self) -> Self:
        switches = (name for name in type(self).model_fields if name.endswith("_enabled"))
        if self.enabled and not any(getattr(self, name) for name in switches):
            raise ValueError("an enabled pillar needs an enabled metric")
        return self


class IntelligenceConfig(_Pillar):
    """Pillar for the quality of results."""

    ci_quality_enabled: bool = Field(
        default=True, description="Whether the quality that continuous integration measures counts"
    )
    llm_calibration_enabled: bool = Field(
        default=True, description="Whether the calibration of judgements by a language model counts"
    )
    ci_quality_weight: Share = Field(
        default=0.7, description="Weight of the quality in continuous integration, 0 to 1"
    )
    llm_calibration_weight: Share = Field(
        default=0.3, description="Weight of the calibration, 0 to 1"
    )


class EfficiencyConfig(_Pillar):
    """Pillar for the resources that results take, compared with reference values."""

    cost_enabled: bool = Field(default=True, description="Whether money spent counts")
    time_enabled: bool = Field(default=True, description="Whether time spent counts")
    tokens_enabled: bool = Field(default=True, description="Whether tokens spent count")
    cost_weight: Share = Field(default=0.4, description="Weight of the money spent, 0 to 1")
    time_weight: Share = Field(default=0.3, description="Weight of the time spent, 0 to 1")
    tokens_weight: Share = Field(default=0.3, description="Weight of the tokens spent, 0 to 1")
    reference_cost_usd: _Positive = Field(
        default=10.0, description="Cost to compare with, in US dollars; above 0"
    )
    reference_time_seconds: _Positive = Field(
        default=300.0, description="Time to compare with, in seconds; above 0"
    )
    reference_tokens: Annotated[Count, Field(gt=0)] = Field(
        default=5000, description="Number of tokens to compare with; above 0"
    )


class ResilienceConfig(_Pillar):
    """Pillar for the steadiness of results."""

    success_rate_enabled: bool = Field(
        default=True, description="Whether the share of successful tasks counts"
    )
    recovery_rate_enabled: bool = Field(
        default=True, description="Whether the share of failures that were recovered from counts"
    )
    consistency_enabled: bool = Field(
        default=True, description="Whether the evenness of results counts"
    )
    streak_enabled: bool = Field(default=True, description="Whether successes in a row count")
    success_rate_weight: Share = Field(
        default=0.4, description="Weight of the share of successful tasks, 0 to 1"
    )
    recovery_rate_weight: Share = Field(
        default=0.25, description="Weight of the share of failures recovered from, 0 to 1"
    )
    consistency_weight: Share = Field(
        default=0.2, description="Weight of the evenness of results, 0 to 1"
    )
    streak_weight: Share = Field(default=0.15, description="Weight of successes in a row, 0 to 1")
    streak_factor: _Positive = Field(
        default=1.0, description="Constant of the application's formula for streaks; above 0"
    )
    consistency_k: _Positive = Field(
        default=2.0, description="Constant of the application's formula for consistency; above 0"
    )


class GovernanceConfig(_Pillar):
    """Pillar for the observance of rules."""

    audit_compliance_enabled: bool = Field(
        default=True, description="Whether the findings of audits count"
    )
    trust_level_enabled: bool = Field(
        default=True, description="Whether the agent's level of trust counts"
    )
    autonomy_compliance_enabled: bool = Field(
        default=True, description="Whether staying within the level of autonomy counts"
    )
    audit_compliance_weight: Share = Field(
        default=0.5, description="Weight of the findings of audits, 0 to 1"
    )
    trust_level_weight: Share = Field(
        default=0.3, description="Weight of the level of trust, 0 to 1"
    )
    autonomy_compliance_weight: Share = Field(
        default=0.2, description="Weight of staying within the level of autonomy, 0 to 1"
    )


class ExperienceConfig(_Pillar):
    """Pillar for the experience of those who work with the agent."""

    clarity_enabled: bool = Field(default=True, description="Whether ratings of clarity count")
    tone_enabled: bool = Field(default=True, description="Whether ratings of tone count")
    helpfulness_enabled: bool = Field(
        default=True, description="Whether ratings of helpfulness count"
    )
    trust_enabled: bool = Field(default=True, description="Whether ratings of trust count")
    satisfaction_enabled: bool = Field(
        default=True, description="Whether ratings of satisfaction count"
    )
    clarity_weight: Share = Field(
        default=0.25, description="Weight of the ratings of clarity, 0 to 1"
    )
    tone_weight: Share = Field(default=0.15, description="Weight of the ratings of tone, 0 to 1")
    helpfulness_weight: Share = Field(
        default=0.25, description="Weight of the ratings of helpfulness, 0 to 1"
    )
    trust_weight: Share = Field(default=0.2, description="Weight of the ratings of trust, 0 to 1")
    satisfaction_weight: Share = Field(
        default=0.15, description="Weight of the ratings of satisfaction, 0 to 1"
    )
    min_feedback_count: Annotated[Count, Field(ge=1)] = Field(
        default=3, description="Number of ratings needed before the pillar counts; at least 1"
    )


class EvaluationConfig(Entity):
    """Weights and switches of an evaluation; one pillar at least is enabled."""

    intelligence: IntelligenceConfig = Field(
        default_factory=IntelligenceConfig, description="Pillar for the quality of results"
    )
    efficiency: EfficiencyConfig = Field(
        default_factory=EfficiencyConfig, description="Pillar for the resources that results take"
    )
    resilience: ResilienceConfig = Field(
        default_factory=ResilienceConfig, description="Pillar for the steadiness of results"
    )
    governance: GovernanceConfig = Field(
        default_factory=GovernanceConfig, description="Pillar for the observance of rules"
    )
    experience: ExperienceConfig = Field(
        default_factory=ExperienceConfig,
        description="Pillar for the experience of those who work with the agent",
    )
    calibration_drift_threshold: float = Field(
        default=2.0,
        ge=0,
        le=10,
        description="Drift of the calibration that is tolerated, 0 to 10 points",
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        pillars = (
            self.intelligence, self.efficiency, self.resilience, self.governance, self.experience,
        )  # fmt: skip
        if not any(pillar.enabled for pillar in pillars):
            raise ValueError("one pillar at least must be enabled")
        return self
