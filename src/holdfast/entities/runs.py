"""Running agents: checkpoints, heartbeats, parked contexts, state."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from holdfast.entities.base import Count, Entity, NotBlankStr, new_id, utc_now
from holdfast.validation import jsontext

__all__ = [
    "AgentRuntimeState",
    "Checkpoint",
    "CheckpointConfig",
    "ExecutionStatus",
    "Heartbeat",
    "ParkedContext",
]


class ExecutionStatus(StrEnum):
    """Activity of an agent: without work, working, or waiting in the middle of it."""

    IDLE = "idle"
    EXECUTING = "executing"
    PAUSED = "paused"


def _json(value: str) -> str:
    jsontext.is_object(value)
    return value


def _json_object(value: str) -> str:
    if not jsontext.is_object(value):
        raise ValueError("must be a JSON object")
    return value


class Checkpoint(Entity):
    """The state of an execution after a turn, from which it can be resumed."""

    id: NotBlankStr = Field(
        default_factory=new_id, description="Key; a random UUID as text if not given"
    )
    execution_id: NotBlankStr = Field(
        description="Id of the execution; several checkpoints may share it"
    )
    agent_id: NotBlankStr = Field(description="Id of the agent that runs the execution")
    task_id: NotBlankStr = Field(description="Id of the task that the execution works on")
    turn_number: Count = Field(
        description="Turns done so far; the highest is the latest checkpoint"
    )
    context_json: Annotated[str, AfterValidator(_json_object)] = Field(
        description="State as the text of a JSON object, returned byte for byte"
    )
    created_at: AwareDatetime = Field(
        default_factory=utc_now, description="When the checkpoint was taken; now if not given"
    )


class CheckpointConfig(Entity):
    """How often executions are checkpointed, report and are resumed."""

    persist_every_n_turns: Count = Field(
        default=1, gt=0, description="Turns from one checkpoint to the next; at least 1"
    )
    heartbeat_interval_seconds: float = Field(
        default=30.0, gt=0, description="Seconds from one heartbeat to the next; above 0"
    )
    max_resume_attempts: Count = Field(
        default=2,
        description="How often an execution is resumed before it is given up; 0 for never",
    )


class Heartbeat(Entity):
    """The last sign of life of an execution."""

    execution_id: NotBlankStr = Field(
        description="Key; id of the execution, which has one heartbeat"
    )
    agent_id: NotBlankStr = Field(description="Id of the agent that runs the execution")
    task_id: NotBlankStr = Field(description="Id of the task that the execution works on")
    last_heartbeat_at: AwareDatetime = Field(
        description="When the execution last reported; `get_stale` compares with it"
    )


class ParkedContext(Entity):
    """The state of an execution that waits for an approval."""

    id: NotBlankStr = Field(
        default_factory=new_id, description="Key; a random UUID as text if not given"
    )
    execution_id: NotBlankStr = Field(description="Id of the execution that waits")
    agent_id: NotBlankStr = Field(description="Id of the agent that runs the execution")
    approval_id: NotBlankStr = Field(
        description="Id of the approval waited for; several contexts may share it"
    )
    task_id: NotBlankStr | None = Field(
        default=None, description="Id of the task that the execution works on; None if it has none"
    )
    parked_at: AwareDatetime = Field(description="When the wait began")
    context_json: Annotated[str, AfterValidator(_json)] = Field(
        description="State as JSON text (any JSON value), returned byte for byte"
    )
    metadata: dict[str, str] = Field(
        default_factory=dict,
        description="Further text by key; `metadata_view` is its read-only form",
    )  # Pydantic makes a dict of its own

    @property
    def metadata_view(self) -> MappingProxyType[str, str]:
        """The metadata as a read-only view."""
        return MappingProxyType(self.metadata)


class AgentRuntimeState(Entity):
    """What an agent is doing at the moment.

    An idle agent has no execution, task, start or counters; any other has an execution and a
    start.
    """

    agent_id: NotBlankStr = Field(description="Key; id of the agent, which has one state")
    execution_id: NotBlankStr | None = Field(
        default=None, description="Id of the current execution; None exactly when idle"
    )
    task_id: NotBlankStr | None = Field(
        default=None, description="Id of the current task; None when idle, or if there is no task"
    )
    status: ExecutionStatus = Field(description="Whether the agent is idle, executing or paused")
    turn_count: Count = Field(default=0, description="Turns of the current execution; 0 when idle")
    accumulated_cost_usd: float = Field(
        default=0.0, ge=0, description="Cost of the current execution in US dollars; 0 when idle"
    )
    last_activity_at: AwareDatetime = Field(
        description="When the agent last did anything; orders `get_active`"
    )
    started_at: AwareDatetime | None = Field(
        default=None, description="When the current execution began; None exactly when idle"
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.status is ExecutionStatus.IDLE:
            if self.execution_id or self.task_id or self.started_at:
                raise ValueError("an idle agent has no execution_id, task_id or started_at")
            if self.turn_count or self.accumulated_cost_usd:
                raise ValueError("an idle agent has no turns and no cost")
        elif self.execution_id is None or self.started_at is None:
            raise ValueError(f"an agent that is {self.status} needs execution_id and started_at")
        return self
