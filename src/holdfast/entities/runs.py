"""Running agents: checkpoints, heartbeats, parked contexts, state."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from holdfast import jsontext
from holdfast.entities.base import Count, Entity, NotBlankStr, new_id, utc_now

__all__ = [
    "AgentRuntimeState",
    "Checkpoint",
    "CheckpointConfig",
    "ExecutionStatus",
    "Heartbeat",
    "ParkedContext",
]


class ExecutionStatus(StrEnum):
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
    """Where an execution stood after a turn; ``context_json`` is kept to the letter."""

    id: NotBlankStr = Field(default_factory=new_id)
    execution_id: NotBlankStr
    agent_id: NotBlankStr
    task_id: NotBlankStr
    turn_number: Count
    context_json: Annotated[str, AfterValidator(_json_object)]
    created_at: AwareDatetime = Field(default_factory=utc_now)


class CheckpointConfig(Entity):
    """How often an execution is checkpointed and beats, and how often it is resumed."""

    persist_every_n_turns: Count = Field(default=1, gt=0)
    heartbeat_interval_seconds: float = Field(default=30.0, gt=0)
    max_resume_attempts: Count = 2


class Heartbeat(Entity):
    execution_id: NotBlankStr
    agent_id: NotBlankStr
    task_id: NotBlankStr
    last_heartbeat_at: AwareDatetime


class ParkedContext(Entity):
    """An execution that waits for an approval; ``context_json`` is kept to the letter."""

    id: NotBlankStr = Field(default_factory=new_id)
    execution_id: NotBlankStr
    agent_id: NotBlankStr
    approval_id: NotBlankStr
    task_id: NotBlankStr | None = None
    parked_at: AwareDatetime
    context_json: Annotated[str, AfterValidator(_json)]
    metadata: dict[str, str] = Field(default_factory=dict)  # Pydantic makes a dict of its own

    @property
    def metadata_view(self) -> MappingProxyType[str, str]:
        """The metadata for whoever must not change them."""
        return MappingProxyType(self.metadata)


class AgentRuntimeState(Entity):
    """What an agent does right now. An idle one has no execution, task, start or counters; any
    other has an execution and a start."""

    agent_id: NotBlankStr
    execution_id: NotBlankStr | None = None
    task_id: NotBlankStr | None = None
    status: ExecutionStatus
    turn_count: Count = 0
    accumulated_cost_usd: float = Field(default=0.0, ge=0)
    last_activity_at: AwareDatetime
    started_at: AwareDatetime | None = None

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
