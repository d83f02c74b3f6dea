"""Running agents: checkpoints, heartbeats, parked contexts, state."""

from __future__ import annotations

import operator
from datetime import datetime
from typing import Protocol, runtime_checkable

from sqlalchemy import literal_column

from holdfast import validation
from holdfast.entities import AgentRuntimeState, Checkpoint, Heartbeat, ParkedContext
from holdfast.errors import InvalidArgumentError
from holdfast.schema.runs import agent_states, checkpoints, heartbeats, parked_contexts
from holdfast.storage.listing import EntityListing
from holdfast.storage.records import Keyed
from holdfast.storage.repository import Repository, provide
from holdfast.storage.statements import delete_by

__all__ = [
    "AgentStateRepository",
    "CheckpointRepository",
    "HeartbeatRepository",
    "ParkedContextRepository",
    "RunRepositories",
]


@runtime_checkable
class CheckpointRepository(Protocol):
    """States of executions after a turn, by ``id``."""

    async def save(self, checkpoint: Checkpoint) -> None:
        """Save a checkpoint: insert it, or replace the one with its id."""

    async def get_latest(
        self, *, execution_id: str | None = None, task_id: str | None = None
    ) -> Checkpoint | None:
        """Return the checkpoint with the highest ``turn_number``; ``None`` if none matches.

        Of equal turns the newest, then the greatest id. At least one of the two filters must be
        given; both must match.
        """

    async def delete_by_execution(self, execution_id: str) -> int:
        """Delete the checkpoints of an execution, and return how many."""


@runtime_checkable
class HeartbeatRepository(Protocol):
    """The last sign of life of each execution, by ``execution_id``."""

    async def save(self, heartbeat: Heartbeat) -> None:
        """Save a heartbeat: insert it, or replace the one of its execution."""

    async def get(self, execution_id: str) -> Heartbeat | None:
        """Return the heartbeat of an execution; ``None`` if there is none."""

    async def get_stale(
        self,
        threshold: datetime,
        *,
        limit: int | None = None,
        after: Heartbeat | str | None = None,
    ) -> tuple[Heartbeat, ...]:
        """Return the heartbeats from before ``threshold`` (not at it), oldest first.

        Equal times by execution. ``after`` is the last heartbeat seen, or its ``execution_id``.
        """

    async def delete(self, execution_id: str) -> bool:
        """Delete the heartbeat of an execution; False if there is none."""


@runtime_checkable
class ParkedContextRepository(Protocol):
    """States of executions that wait for an approval, by ``id``."""

    async def save(self, context: ParkedContext) -> None:
        """Save a context: insert it, or replace the one with its id."""

    async def get(self, parked_id: str) -> ParkedContext | None:
        """Return the context with this id; ``None`` if there is none."""

    async def get_by_approval(self, approval_id: str) -> ParkedContext | None:
        """Return the newest context that waits for this approval; ``None`` if none does.

        Of equal times the greatest id.
        """

    async def get_by_agent(
        self, agent_id: str, *, limit: int | None = None, after: ParkedContext | str | None = None
    ) -> tuple[ParkedContext, ...]:
        """Return the contexts of an agent, newest first.

        Equal times by id, the greatest first. ``after`` is the last context seen, or its id.
        """

    async def delete(self, parked_id: str) -> bool:
        """Delete the context; False if there is none."""


@runtime_checkable
class AgentStateRepository(Protocol):
    """The current activity of each agent, by ``agent_id``."""

    async def save(self, state: AgentRuntimeState) -> None:
        """Save a state: insert it, or replace the one of its agent."""

    async def get(self, agent_id: str) -> AgentRuntimeState | None:
        """Return the state of an agent; ``None`` if none was saved."""

    async def get_active(
        self, *, limit: int | None = None, after: AgentRuntimeState | str | None = None
    ) -> tuple[AgentRuntimeState, ...]:
        """Return the states that are not idle, the latest activity first.

        Equal times by agent, the greatest first. ``after`` is the last state seen, or its
        ``agent_id``.
        """

    async def delete(self, agent_id: str) -> bool:
        """Delete the state of an agent; False if there is none."""


class RunRepositories(Protocol):
    """The repositories of this module, as a backend or a transaction offers them."""

    @property
    def checkpoints(self) -> CheckpointRepository:
        """States of executions after a turn, by ``id``."""
        return provide(self, _Checkpoints)

    @property
    def heartbeats(self) -> HeartbeatRepository:
        """Last signs of life by ``execution_id``."""
        return provide(self, _Heartbeats)

    @property
    def parked_contexts(self) -> ParkedContextRepository:
        """States of executions that wait for an approval, by ``id``."""
        return provide(self, _ParkedContexts)

    @property
    def agent_states(self) -> AgentStateRepository:
        """Current activity by ``agent_id``."""
        return provide(self, _AgentStates)


_CHECKPOINTS = Keyed(checkpoints, Checkpoint)
_LATEST = EntityListing(
    "checkpoints.get_latest",
    _CHECKPOINTS.mapper,
    order=("turn_number", "created_at", "id"),
    descending=True,
    filters={
        "execution_id": ("execution_id", operator.eq),
        "task_id": ("task_id", operator.eq),
    },
)
_DELETE_BY_EXECUTION = delete_by("checkpoints.delete_by_execution", checkpoints, ("execution_id",))


class _Checkpoints(Repository, CheckpointRepository):
    table = checkpoints

    async def save(self, checkpoint: Checkpoint) -> None:
        await _CHECKPOINTS.save(self, checkpoint)

    async def get_latest(
        self, *, execution_id: str | None = None, task_id: str | None = None
    ) -> Checkpoint | None:
        name = _LATEST.name
        if execution_id is None and task_id is None:
            raise InvalidArgumentError(f"{name} needs execution_id, task_id or both")
        filters = {
            "execution_id": validation.optional(
                validation.not_blank, execution_id, f"{name}: execution_id"
            ),
            "task_id": validation.optional(validation.not_blank, task_id, f"{name}: task_id"),
        }
        return await _LATEST.first(self, filters)

    async def delete_by_execution(self, execution_id: str) -> int:
        validation.not_blank(execution_id, f"{_DELETE_BY_EXECUTION.name}: execution_id")
        return await self._session.execute(_DELETE_BY_EXECUTION, (self._tenant, execution_id))


_HEARTBEATS = Keyed(heartbeats, Heartbeat)
_STALE = EntityListing(
    "heartbeats.get_stale",
    _HEARTBEATS.mapper,
    order=("last_heartbeat_at", "execution_id"),
    filters={"threshold": ("last_heartbeat_at", operator.lt)},
    replica=False,
)


class _Heartbeats(Repository, HeartbeatRepository):
    table = heartbeats

    async def save(self, heartbeat: Heartbeat) -> None:
        await _HEARTBEATS.save(self, heartbeat)

    async def get(self, execution_id: str) -> Heartbeat | None:
        return await _HEARTBEATS.get(self, execution_id)

    async def get_stale(
        self,
        threshold: datetime,
        *,
        limit: int | None = None,
        after: Heartbeat | str | None = None,
    ) -> tuple[Heartbeat, ...]:
        filters = {"threshold": validation.instant(threshold, f"{_STALE.name}: threshold")}
        return await _STALE.fetch(self, filters, limit=limit, after=after)

    async def delete(self, execution_id: str) -> bool:
        return await _HEARTBEATS.delete(self, execution_id)


_PARKED = Keyed(parked_contexts, ParkedContext)
_BY_AGENT = EntityListing(
    "parked_contexts.get_by_agent",
    _PARKED.mapper,
    order=("parked_at", "id"),
    descending=True,
    filters={"agent_id": ("agent_id", operator.eq)},
)
_BY_APPROVAL = EntityListing(
    "parked_contexts.get_by_approval",
    _PARKED.mapper,
    order=("parked_at", "id"),
    descending=True,
    filters={"approval_id": ("approval_id", operator.eq)},
)


class _ParkedContexts(Repository, ParkedContextRepository):
    table = parked_contexts

    async def save(self, context: ParkedContext) -> None:
        await _PARKED.save(self, context)

    async def get(self, parked_id: str) -> ParkedContext | None:
        return await _PARKED.get(self, parked_id)

    async def get_by_approval(self, approval_id: str) -> ParkedContext | None:
        name = _BY_APPROVAL.name
        filters = {"approval_id": validation.not_blank(approval_id, f"{name}: approval_id")}
        return await _BY_APPROVAL.first(self, filters)

    async def get_by_agent(
        self, agent_id: str, *, limit: int | None = None, after: ParkedContext | str | None = None
    ) -> tuple[ParkedContext, ...]:
        filters = {"agent_id": validation.not_blank(agent_id, f"{_BY_AGENT.name}: agent_id")}
        return await _BY_AGENT.fetch(self, filters, limit=limit, after=after)

    async def delete(self, parked_id: str) -> bool:
        return await _PARKED.delete(self, parked_id)


_STATES = Keyed(agent_states, AgentRuntimeState)
_ACTIVE = EntityListing(
    "agent_states.get_active",
    _STATES.mapper,
    order=("last_activity_at", "agent_id"),
    descending=True,
    # A literal, so that both planners see that the partial index on busy agents serves.
    where=agent_states.c.status != literal_column("'idle'"),
)


class _AgentStates(Repository, AgentStateRepository):
    table = agent_states

    async def save(self, state: AgentRuntimeState) -> None:
        await _STATES.save(self, state)

    async def get(self, agent_id: str) -> AgentRuntimeState | None:
        return await _STATES.get(self, agent_id)

    async def get_active(
        self, *, limit: int | None = None, after: AgentRuntimeState | str | None = None
    ) -> tuple[AgentRuntimeState, ...]:
        return await _ACTIVE.fetch(self, {}, limit=limit, after=after)

    async def delete(self, agent_id: str) -> bool:
        return await _STATES.delete(self, agent_id)
