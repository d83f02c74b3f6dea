"""Verdicts on the use of tools, and their reasons."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime, Field

from holdfast.entities.base import Entity, NotBlankStr, Sha256

__all__ = [
    "ApprovalRiskLevel",
    "AuditEntry",
    "AuditVerdictStr",
    "EvaluationConfidence",
    "ToolCategory",
]


class ToolCategory(StrEnum):
    """The area that a tool acts in."""

    FILE_SYSTEM = "file_system"
    CODE_EXECUTION = "code_execution"
    VERSION_CONTROL = "version_control"
    WEB = "web"
    DATABASE = "database"
    TERMINAL = "terminal"
    DESIGN = "design"
    COMMUNICATION = "communication"
    ANALYTICS = "analytics"
    DEPLOYMENT = "deployment"
    MEMORY = "memory"
    ONTOLOGY = "ontology"
    MCP = "mcp"
    OTHER = "other"


class ApprovalRiskLevel(StrEnum):
    """How much harm an action could do, from the least to the most."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class EvaluationConfidence(StrEnum):
    """How sure an evaluation is of its verdict."""

    HIGH = "high"
    LOW = "low"


AuditVerdictStr = Literal["allow", "deny", "escalate", "output_scan"]


class AuditEntry(Entity):
    """One verdict on one use of a tool, never changed afterwards."""

    id: NotBlankStr = Field(description="Key, chosen by the application")
    timestamp: AwareDatetime = Field(
        description="When the verdict was given; `query` returns the newest first"
    )
    agent_id: NotBlankStr | None = Field(
        default=None, description="Id of the agent that used the tool; None if unknown"
    )
    task_id: NotBlankStr | None = Field(
        default=None, description="Id of the task that the use served; None if it served none"
    )
    approval_id: NotBlankStr | None = Field(
        default=None, description="Id of the approval that an escalation led to; None without one"
    )
    tool_name: NotBlankStr = Field(description="Name of the tool")
    tool_category: ToolCategory = Field(description="The area that the tool acts in")
    action_type: str = Field(
        description="What was to be done, by convention ``category:action``; not validated"
    )
    arguments_hash: Sha256 = Field(
        description="SHA-256 of the arguments in lower-case hex; they are not stored"
    )
    verdict: AuditVerdictStr = Field(
        description="What was decided: allow, deny, escalate, or output_scan after the use"
    )
    risk_level: ApprovalRiskLevel = Field(description="How much harm the use could do")
    reason: NotBlankStr = Field(description="Why this verdict was given")
    matched_rules: tuple[NotBlankStr, ...] = Field(
        default=(), description="Names of the rules that applied, in the order given"
    )
    evaluation_duration_ms: float = Field(
        ge=0, description="Time that the verdict took, in milliseconds"
    )
    confidence: EvaluationConfidence = Field(
        default=EvaluationConfidence.HIGH, description="How sure the evaluation is of its verdict"
    )
