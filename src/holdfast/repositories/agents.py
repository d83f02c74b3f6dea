"""Careers of agents, and how well they work."""

from __future__ import annotations

import operator
from datetime import datetime
from typing import Protocol, runtime_checkable

from holdfast import validation
from holdfast.entities import (
    AgentLifecycleEvent,
    CollaborationMetricRecord,
    LifecycleEventType,
    TaskMetricRecord,
)
from holdfast.schema.agents import collaboration_metrics, lifecycle_events, task_metrics
from holdfast.storage.listing import EntityListing
from holdfast.storage.records import AppendOnly
from holdfast.storage.repository import Repository, provide

__all__ = [
    "AgentRepositories",
    "CollaborationMetricRepository",
    "LifecycleEventRepository",
    "TaskMetricRepository",
]


@runtime_checkable
class LifecycleEventRepository(Protocol):
    """Steps in agents' careers, append-only."""

    async def save(self, event: AgentLifecycleEvent) -> None:
        """Append an event; `DuplicateRecordError` if the id is taken."""

    async def list_events(
        self,
        *,
        agent_id: str | None = None,
        event_type: LifecycleEventType | None = None,
        since: datetime | None = None,
        limit: int | None = None,
        after: AgentLifecycleEvent | str | None = None,
    ) -> tuple[AgentLifecycleEvent, ...]:
        """Return the events that match all filters, newest first.

        Of equal times the last saved comes first; ``since`` is inclusive. ``after`` is the last
        event seen, or its id.
        """


@runtime_checkable
class TaskMetricRepository(Protocol):
    """How tasks went, append-only."""

    async def save(self, record: TaskMetricRecord) -> None:
        """Append a metric; `DuplicateRecordError` if the id is taken.

        The task need not be stored (any more).
        """

    async def query(
        self,
        *,
        agent_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        after: TaskMetricRecord | str | None = None,
    ) -> tuple[TaskMetricRecord, ...]:
        """Return the metrics that match all filters, the latest ``completed_at`` first.

        Of equal times the last saved comes first. Both bounds are inclusive; an ``until`` before
        ``since`` matches nothing. ``after`` is the last record seen, or its id.
        """


@runtime_checkable
class CollaborationMetricRepository(Protocol):
    """How collaborations went, append-only."""

    async def save(self, record: CollaborationMetricRecord) -> None:
        """Append a metric; `DuplicateRecordError` if the id is taken."""

    async def query(
        self,
        *,
        agent_id: str | None = None,
        since: datetime | None = None,
        limit: int | None = None,
        after: CollaborationMetricRecord | str | None = None,
    ) -> tuple[CollaborationMetricRecord, ...]:
        """Return the metrics that match all filters, the latest ``recorded_at`` first.

        Of equal times the last saved comes first; ``since`` is inclusive. ``after`` is the last
        record seen, or its id.
        """


class AgentRepositories(Protocol):
    """The repositories of this module, as a backend or a transaction offers them."""

    @property
    def lifecycle_events(self) -> LifecycleEventRepository:
        """Steps in the careers of agents, append-only."""
        return provide(self, _LifecycleEvents)

    @property
    def task_metrics(self) -> TaskMetricRepository:
        """How tasks went, append-only."""
        return provide(self, _TaskMetrics)

    @property
    def collaboration_metrics(self) -> CollaborationMetricRepository:
        """How collaborations went, append-only."""
        return provide(self, _CollaborationMetrics)


_EVENTS = AppendOnly(lifecycle_events, AgentLifecycleEvent)
_LIST_EVENTS = EntityListing(
    "lifecycle_events.list_events",
    _EVENTS.mapper,
    order=("timestamp", "saved_order", "id"),
    descending=True,
    filters={
        "agent_id": ("agent_id", operator.eq),
        "event_type": ("event_type", operator.eq),
        "since": ("timestamp", operator.ge),
    },
)


class _LifecycleEvents(Repository, LifecycleEventRepository):
    table = lifecycle_events

    async def save(self, event: AgentLifecycleEvent) -> None:
        await _EVENTS.save(self, event)

    async def list_events(
        self,
        *,
        agent_id: str | None = None,
        event_type: LifecycleEventType | None = None,
        since: datetime | None = None,
        limit: int | None = None,
        after: AgentLifecycleEvent | str | None = None,
    ) -> tuple[AgentLifecycleEvent, ...]:
        name = _LIST_EVENTS.name
        filters = {
            "agent_id": validation.optional(validation.text, agent_id, f"{name}: agent_id"),
            "event_type": self._choice(
                _EVENTS.mapper, "event_type", event_type, LifecycleEventType, f"{name}: event_type"
            ),
            "since": validation.optional(validation.instant, since, f"{name}: since"),
        }
        return await _LIST_EVENTS.fetch(self, filters, limit=limit, after=after)


_TASK_METRICS = AppendOnly(task_metrics, TaskMetricRecord)
_QUERY_TASKS = EntityListing(
    "task_metrics.query",
    _TASK_METRICS.mapper,
    order=("completed_at", "saved_order", "id"),
    descending=True,
    filters={
        "agent_id": ("agent_id", operator.eq),
        "since": ("completed_at", operator.ge),
        "until": ("completed_at", operator.le),
    },
)


class _TaskMetrics(Repository, TaskMetricRepository):
    table = task_metrics

    async def save(self, record: TaskMetricRecord) -> None:
        await _TASK_METRICS.save(self, record)

    async def query(
        self,
        *,
        agent_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        after: TaskMetricRecord | str | None = None,
    ) -> tuple[TaskMetricRecord, ...]:
        name = _QUERY_TASKS.name
        filters = {
            "agent_id": validation.optional(validation.text, agent_id, f"{name}: agent_id"),
            "since": validation.optional(validation.instant, since, f"{name}: since"),
            "until": validation.optional(validation.instant, until, f"{name}: until"),
        }
        return await _QUERY_TASKS.fetch(self, filters, limit=limit, after=after)


_COLLABORATION = AppendOnly(collaboration_metrics, CollaborationMetricRecord)
_QUERY_COLLABORATION = EntityListing(
    "collaboration_metrics.query",
    _COLLABORATION.mapper,
    order=("recorded_at", "saved_order", "id"),
    descending=True,
    filters={"agent_id": ("agent_id", operator.eq), "since": ("recorded_at", operator.ge)},
)


class _CollaborationMetrics(Repository, CollaborationMetricRepository):
    table = collaboration_metrics

    async def save(self, record: CollaborationMetricRecord) -> None:
        await _COLLABORATION.save(self, record)

    async def query(
        self,
        *,
        agent_id: str | None = None,
        since: datetime | None = None,
        limit: int | None = None,
        after: CollaborationMetricRecord | str | None = None,
    ) -> tuple[CollaborationMetricRecord, ...]:
        name = _QUERY_COLLABORATION.name
        filters = {
            "agent_id": validation.optional(validation.text, agent_id, f"{name}: agent_id"),
            "since": validation.optional(validation.instant, since, f"{name}: since"),
        }
        return await _QUERY_COLLABORATION.fetch(self, filters, limit=limit, after=after)
