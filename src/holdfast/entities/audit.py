"""What was allowed, denied and why."""

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
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class EvaluationConfidence(StrEnum):
    HIGH = "high"
    LOW = "low"


AuditVerdictStr = Literal["allow", "deny", "escalate", "output_scan"]


class AuditEntry(Entity):
    """One decision on one use of a tool; ``action_type`` is by convention ``category:action``."""

    id: NotBlankStr
    timestamp: AwareDatetime
    agent_id: NotBlankStr | None = None
    task_id: NotBlankStr | None = None
    approval_id: NotBlankStr | None = None
    tool_name: NotBlankStr
    tool_category: ToolCategory
    action_type: str
    arguments_hash: Sha256
    verdict: AuditVerdictStr
    risk_level: ApprovalRiskLevel
    reason: NotBlankStr
    matched_rules: tuple[NotBlankStr, ...] = ()
    evaluation_duration_ms: float = Field(ge=0)
    confidence: EvaluationConfidence = EvaluationConfidence.HIGH
