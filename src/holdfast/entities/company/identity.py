"""Who an agent is, and the roles there are."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal, Self
from uuid import UUID, uuid4

from pydantic import ConfigDict, Field, model_validator

from holdfast.entities.base import Amount, Count, Entity, NotBlankStr
from holdfast.entities.company.memory import MemoryConfig
from holdfast.entities.company.personality import PersonalityConfig
from holdfast.entities.company.tools import ToolPermissions
from holdfast.entities.levels import AutonomyLevel, SeniorityLevel

__all__ = [
    "AgentIdentity",
    "AgentStatus",
    "Authority",
    "DepartmentName",
    "ModelConfig",
    "ModelTier",
    "Role",
    "SkillSet",
    "StrategicOutputMode",
]


class StrategicOutputMode(StrEnum):
    OPTION_EXPANDER = "option_expander"
    ADVISOR = "advisor"
    DECISION_MAKER = "decision_maker"
    CONTEXT_DEPENDENT = "context_dependent"


class AgentStatus(StrEnum):
    ACTIVE = "active"
    ONBOARDING = "onboarding"
    ON_LEAVE = "on_leave"
    TERMINATED = "terminated"


class DepartmentName(StrEnum):
    EXECUTIVE = "executive"
    PRODUCT = "product"
    DESIGN = "design"
    ENGINEERING = "engineering"
    QUALITY_ASSURANCE = "quality_assurance"
    DATA_ANALYTICS = "data_analytics"
    OPERATIONS = "operations"
    CREATIVE_MARKETING = "creative_marketing"
    SECURITY = "security"


ModelTier = Literal["large", "medium", "small"]


class Role(Entity):
    """A position that agents can fill."""

    name: NotBlankStr
    department: DepartmentName
    required_skills: tuple[NotBlankStr, ...] = ()
    authority_level: SeniorityLevel = SeniorityLevel.MID
    tool_access: tuple[NotBlankStr, ...] = ()
    system_prompt_template: NotBlankStr | None = None
    description: str = ""


class SkillSet(Entity):
    primary: tuple[NotBlankStr, ...] = ()
    secondary: tuple[NotBlankStr, ...] = ()


class ModelConfig(Entity):
    """The language model that an agent thinks with."""

    model_config = ConfigDict(protected_namespaces=())  # Pydantic wants "model_" for itself

    provider: NotBlankStr
    model_id: NotBlankStr
    temperature: float = Field(default=0.7, ge=0, le=2)
    max_tokens: Annotated[Count, Field(gt=0)] = 4096
    fallback_model: NotBlankStr | None = None
    model_tier: ModelTier | None = None


class Authority(Entity):
    """What an agent may decide, whom it may hand work to and what it may spend."""

    can_approve: tuple[NotBlankStr, ...] = ()
    reports_to: NotBlankStr | None = None
    can_delegate_to: tuple[NotBlankStr, ...] = ()
    budget_limit: Amount = 0.0


class AgentIdentity(Entity):
    """An agent, as it was hired. A ``junior`` never has ``full`` autonomy; an
    ``autonomy_level`` of ``None`` is that of the department."""

    id: UUID = Field(default_factory=uuid4)
    name: NotBlankStr
    role: NotBlankStr
    department: NotBlankStr
    level: SeniorityLevel = SeniorityLevel.MID
    personality: PersonalityConfig = Field(default_factory=PersonalityConfig)
    skills: SkillSet = Field(default_factory=SkillSet)
    model: ModelConfig
    memory: MemoryConfig = Field(default_factory=MemoryConfig)
    tools: ToolPermissions = Field(default_factory=ToolPermissions)
    authority: Authority = Field(default_factory=Authority)
    autonomy_level: AutonomyLevel | None = None
    strategic_output_mode: StrategicOutputMode | None = None
    hiring_date: date
    status: AgentStatus = AgentStatus.ACTIVE

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.level is SeniorityLevel.JUNIOR and self.autonomy_level is AutonomyLevel.FULL:
            raise ValueError("a junior must not have full autonomy")
        return self
