"""Agents over time: their careers and how well they work."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AwareDatetime, Field, model_validator

from holdfast.entities.base import Count, Entity, NotBlankStr, Share, new_id
from holdfast.entities.work import Complexity, TaskType

__all__ = [
    "AgentLifecycleEvent",
    "CollaborationMetricRecord",
    "LifecycleEventType",
    "TaskMetricRecord",
]


class LifecycleEventType(StrEnum):
    HIRED = "hired"
    ONBOARDED = "onboarded"
    FIRED = "fired"
    OFFBOARDED = "offboarded"
    STATUS_CHANGED = "status_changed"
    PROMOTED = "promoted"
    DEMOTED = "demoted"


class AgentLifecycleEvent(Entity):
    """A step in an agent's career."""

    id: NotBlankStr = Field(default_factory=new_id)
    agent_id: NotBlankStr
    agent_name: NotBlankStr
    event_type: LifecycleEventType
    timestamp: AwareDatetime
    initiated_by: NotBlankStr
    details: str = ""
    metadata: dict[str, str] = Field(default_factory=dict)


class TaskMetricRecord(Entity):
    """How one task went. ``started_at``, if known, lies before ``completed_at``."""

    id: NotBlankStr = Field(default_factory=new_id)
    agent_id: NotBlankStr
    task_id: NotBlankStr
    task_type: TaskType
    started_at: AwareDatetime | None = None
    completed_at: AwareDatetime
    is_success: bool
    duration_seconds: float = Field(ge=0)
    cost_usd: float = Field(ge=0)
    turns_used: Count
    tokens_used: Count
    quality_score: Annotated[float, Field(ge=0, le=10)] | None = None
    complexity: Complexity

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.started_at is not None and self.started_at >= self.completed_at:
            raise ValueError("started_at must lie before completed_at")
        return self


class CollaborationMetricRecord(Entity):
    """How one piece of working together went; ``None`` is what was not observed."""

    id: NotBlankStr = Field(default_factory=new_id)
    agent_id: NotBlankStr
    recorded_at: AwareDatetime
    delegation_success: bool | None = None
    delegation_response_seconds: Annotated[float, Field(ge=0)] | None = None
    conflict_constructiveness: Share | None = None
    meeting_contribution: Share | None = None
    loop_triggered: bool = False
    handoff_completeness: Share | None = None
    interaction_summary: Annotated[NotBlankStr, Field(max_length=4096)] | None = None
