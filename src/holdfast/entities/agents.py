"""Careers of agents, and how well they work."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AwareDatetime, Field, model_validator

from holdfast.entities.base import Count, Entity, NotBlankStr, Share, new_id
from holdfast.entities.tasks import Complexity, TaskType

__all__ = [
    "AgentLifecycleEvent",
    "CollaborationMetricRecord",
    "LifecycleEventType",
    "TaskMetricRecord",
]


class LifecycleEventType(StrEnum):
    """A step in the career of an agent."""

    HIRED = "hired"
    ONBOARDED = "onboarded"
    FIRED = "fired"
    OFFBOARDED = "offboarded"
    STATUS_CHANGED = "status_changed"
    PROMOTED = "promoted"
    DEMOTED = "demoted"


class AgentLifecycleEvent(Entity):
    """A step in the career of an agent, never changed afterwards."""

    id: NotBlankStr = Field(
        default_factory=new_id, description="Key; a random UUID as text if not given"
    )
    agent_id: NotBlankStr = Field(description="Id of the agent concerned")
    agent_name: NotBlankStr = Field(description="Name of the agent at that time")
    event_type: LifecycleEventType = Field(description="Which step it was")
    timestamp: AwareDatetime = Field(
        description="When the step happened; lists return the newest first"
    )
    initiated_by: NotBlankStr = Field(description="Id of the agent or user that caused the step")
    details: str = Field(default="", description="Explanation for people; may be empty")
    metadata: dict[str, str] = Field(
        default_factory=dict, description="Further text by key, such as the status before and after"
    )


class TaskMetricRecord(Entity):
    """How one task went, recorded when it ended."""

    id: NotBlankStr = Field(
        default_factory=new_id, description="Key; a random UUID as text if not given"
    )
    agent_id: NotBlankStr = Field(description="Id of the agent that worked on the task")
    task_id: NotBlankStr = Field(description="Id of the task; need not be stored in ``tasks``")
    task_type: TaskType = Field(description="The activity that the task asked for")
    started_at: AwareDatetime | None = Field(
        default=None, description="When the work began, before ``completed_at``; None if unknown"
    )
    completed_at: AwareDatetime = Field(
        description="When the work ended; orders `query`, newest first"
    )
    is_success: bool = Field(description="Whether the task reached its goal")
    duration_seconds: float = Field(ge=0, description="Time spent, in seconds")
    cost_usd: float = Field(ge=0, description="Cost of the whole task in US dollars")
    turns_used: Count = Field(description="Turns that the agent took")
    tokens_used: Count = Field(description="Tokens in and out, over all calls")
    quality_score: Annotated[float, Field(ge=0, le=10)] | None = Field(
        default=None, description="Rating of the result from 0 (worst) to 10; None if not rated"
    )
    complexity: Complexity = Field(description="Size of the task")

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.started_at is not None and self.started_at >= self.completed_at:
            raise ValueError("started_at must lie before completed_at")
        return self


class CollaborationMetricRecord(Entity):
    """How one collaboration went; ``None`` means not observed."""

    id: NotBlankStr = Field(
        default_factory=new_id, description="Key; a random UUID as text if not given"
    )
    agent_id: NotBlankStr = Field(description="Id of the agent that was observed")
    recorded_at: AwareDatetime = Field(
        description="When the observation was recorded; orders `query`, newest first"
    )
    delegation_success: bool | None = Field(
        default=None,
        description="Whether a delegated task was taken on; None if none was delegated",
    )
    delegation_response_seconds: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="Seconds until the delegate answered; None if not observed"
    )
    conflict_constructiveness: Share | None = Field(
        default=None, description="0 (destructive) to 1 (constructive); None if not observed"
    )
    meeting_contribution: Share | None = Field(
        default=None, description="0 (none) to 1 (full); None if not observed"
    )
    loop_triggered: bool = Field(
        default=False, description="Whether the agents were caught delegating in a circle"
    )
    handoff_completeness: Share | None = Field(
        default=None, description="0 (nothing handed over) to 1 (everything); None if not observed"
    )
    interaction_summary: Annotated[NotBlankStr, Field(max_length=4096)] | None = Field(
        default=None, description="What happened, in at most 4,096 characters; None if not written"
    )
