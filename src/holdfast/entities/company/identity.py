"""Identities of agents, and roles that agents fill."""

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
    """Form in which an agent contributes to strategic questions."""

    OPTION_EXPANDER = "option_expander"
    ADVISOR = "advisor"
    DECISION_MAKER = "decision_maker"
    CONTEXT_DEPENDENT = "context_dependent"


class AgentStatus(StrEnum):
    """State of an agent's employment."""

    ACTIVE = "active"
    ONBOARDING = "onboarding"
    ON_LEAVE = "on_leave"
    TERMINATED = "terminated"


class DepartmentName(StrEnum):
    """Departments that roles belong to; a `Department` may have any name."""

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

    name: NotBlankStr = Field(description="Name of the role")
    department: DepartmentName = Field(description="Department that the role belongs to")
    required_skills: tuple[NotBlankStr, ...] = Field(
        default=(), description="Names of the skills that an agent in the role needs"
    )
    authority_level: SeniorityLevel = Field(
        default=SeniorityLevel.MID, description="Rank that goes with the role"
    )
    tool_access: tuple[NotBlankStr, ...] = Field(
        default=(), description="Names of the tools that the role may use"
    )
    system_prompt_template: NotBlankStr | None = Field(
        default=None,
        description="Template of the agent's system prompt; None for the application's own",
    )
    description: str = Field(
        default="", description="Explanation of the role for people; may be empty"
    )


class SkillSet(Entity):
    """Skills of an agent."""

    primary: tuple[NotBlankStr, ...] = Field(default=(), description="Names of the main skills")
    secondary: tuple[NotBlankStr, ...] = Field(
        default=(), description="Names of the skills beside the main ones"
    )


class ModelConfig(Entity):
    """Language model of an agent, and how it is called."""

    model_config = ConfigDict(protected_namespaces=())  # Pydantic wants "model_" for itself

    provider: NotBlankStr = Field(description="Name of the provider that runs the model")
    model_id: NotBlankStr = Field(description="Name of the model, as the provider writes it")
    temperature: float = Field(
        default=0.7, ge=0, le=2, description="Randomness of the answers, 0 to 2"
    )
    max_tokens: Annotated[Count, Field(gt=0)] = Field(
        default=4096, description="Most tokens of one answer; above 0"
    )
    fallback_model: NotBlankStr | None = Field(
        default=None,
        description="Name of the model to use when this one fails; None for no substitute",
    )
    model_tier: ModelTier | None = Field(
        default=None, description="Size class of the model; None if not classified"
    )


class Authority(Entity):
    """What an agent may approve, delegate and spend; Holdfast stores it and enforces nothing."""

    can_approve: tuple[NotBlankStr, ...] = Field(
        default=(), description="Types of action that the agent may approve"
    )
    reports_to: NotBlankStr | None = Field(
        default=None, description="Agent or role that is reported to; None for none"
    )
    can_delegate_to: tuple[NotBlankStr, ...] = Field(
        default=(), description="Agents or roles that tasks may be delegated to"
    )
    budget_limit: Amount = Field(
        default=0.0,
        description="Most that the agent may spend, 0 or more; carries no currency of its own",
    )


class AgentIdentity(Entity):
    """An agent as it was hired: role, character, model and permissions.

    A ``junior`` never has ``full`` autonomy.
    """

    id: UUID = Field(default_factory=uuid4, description="Id of the agent; random unless given")
    name: NotBlankStr = Field(description="Name of the agent for people")
    role: NotBlankStr = Field(description="Name of the role that the agent fills")
    department: NotBlankStr = Field(description="Name of the department that the agent works in")
    level: SeniorityLevel = Field(default=SeniorityLevel.MID, description="Rank of the agent")
    personality: PersonalityConfig = Field(
        default_factory=PersonalityConfig, description="Character of the agent"
    )
    skills: SkillSet = Field(default_factory=SkillSet, description="Skills of the agent")
    model: ModelConfig = Field(description="Language model of the agent")
    memory: MemoryConfig = Field(
        default_factory=MemoryConfig, description="How long the agent's memories are kept"
    )
    tools: ToolPermissions = Field(
        default_factory=ToolPermissions, description="Tools that the agent may use"
    )
    authority: Authority = Field(
        default_factory=Authority, description="What the agent may approve, delegate and spend"
    )
    autonomy_level: AutonomyLevel | None = Field(
        default=None, description="How freely the agent acts; None for the level of its department"
    )
    strategic_output_mode: StrategicOutputMode | None = Field(
        default=None, description="Form of contributions to strategic questions; None if not set"
    )
    hiring_date: date = Field(description="Day of hiring, without time or time zone")
    status: AgentStatus = Field(default=AgentStatus.ACTIVE, description="State of the employment")

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.level is SeniorityLevel.JUNIOR and self.autonomy_level is AutonomyLevel.FULL:
            raise ValueError("a junior must not have full autonomy")
        return self
