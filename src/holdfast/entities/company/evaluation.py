"""What counts when agents are evaluated: five pillars, each of some metrics."""

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
    """``weight`` is the pillar's share; a pillar that is enabled has a metric that is."""

    enabled: bool = True
    weight: Share = 0.2

    @model_validator(mode="after")
    def _rules(self) -> Self:
        switches = (name for name in type(self).model_fields if name.endswith("_enabled"))
        if self.enabled and not any(getattr(self, name) for name in switches):
            raise ValueError("an enabled pillar needs an enabled metric")
        return self


class IntelligenceConfig(_Pillar):
    """How good the results are."""

    ci_quality_enabled: bool = True
    llm_calibration_enabled: bool = True
    ci_quality_weight: Share = 0.7
    llm_calibration_weight: Share = 0.3


class EfficiencyConfig(_Pillar):
    """What the results cost, against references of what is usual."""

    cost_enabled: bool = True
    time_enabled: bool = True
    tokens_enabled: bool = True
    cost_weight: Share = 0.4
    time_weight: Share = 0.3
    tokens_weight: Share = 0.3
    reference_cost_usd: _Positive = 10.0
    reference_time_seconds: _Positive = 300.0
    reference_tokens: Annotated[Count, Field(gt=0)] = 5000


class ResilienceConfig(_Pillar):
    """How steady the results are."""

    success_rate_enabled: bool = True
    recovery_rate_enabled: bool = True
    consistency_enabled: bool = True
    streak_enabled: bool = True
    success_rate_weight: Share = 0.4
    recovery_rate_weight: Share = 0.25
    consistency_weight: Share = 0.2
    streak_weight: Share = 0.15
    streak_factor: _Positive = 1.0
    consistency_k: _Positive = 2.0


class GovernanceConfig(_Pillar):
    """Whether the rules were kept."""

    audit_compliance_enabled: bool = True
    trust_level_enabled: bool = True
    autonomy_compliance_enabled: bool = True
    audit_compliance_weight: Share = 0.5
    trust_level_weight: Share = 0.3
    autonomy_compliance_weight: Share = 0.2


class ExperienceConfig(_Pillar):
    """What working with the agent is like, once ``min_feedback_count`` have said so."""

    clarity_enabled: bool = True
    tone_enabled: bool = True
    helpfulness_enabled: bool = True
    trust_enabled: bool = True
    satisfaction_enabled: bool = True
    clarity_weight: Share = 0.25
    tone_weight: Share = 0.15
    helpfulness_weight: Share = 0.25
    trust_weight: Share = 0.2
    satisfaction_weight: Share = 0.15
    min_feedback_count: Annotated[Count, Field(ge=1)] = 3


class EvaluationConfig(Entity):
    """Five pillars, one of which at least is enabled."""

    intelligence: IntelligenceConfig = Field(default_factory=IntelligenceConfig)
    efficiency: EfficiencyConfig = Field(default_factory=EfficiencyConfig)
    resilience: ResilienceConfig = Field(default_factory=ResilienceConfig)
    governance: GovernanceConfig = Field(default_factory=GovernanceConfig)
    experience: ExperienceConfig = Field(default_factory=ExperienceConfig)
    calibration_drift_threshold: float = Field(default=2.0, ge=0, le=10)

    @model_validator(mode="after")
    def _rules(self) -> Self:
        pillars = (
            self.intelligence, self.efficiency, self.resilience, self.governance, self.experience,
        )  # fmt: skip
        if not any(pillar.enabled for pillar in pillars):
            raise ValueError("one pillar at least must be enabled")
        return self
