"""Careers and metrics of agents: filters and bounds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from holdfast import (
    AgentLifecycleEvent,
    CollaborationMetricRecord,
    DuplicateRecordError,
    InvalidArgumentError,
    PersistenceBackend,
    Task,
    TaskMetricRecord,
)
from holdfast.testing import samples

NOW = datetime(2026, 1, 31, 9, 0, 0, 1, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
THERE = timezone(timedelta(hours=5, minutes=45))


def event(key: str, **fields: Any) -> AgentLifecycleEvent:
    defaults = {
        "agent_id": "a", "agent_name": "Ada", "event_type": "hired", "timestamp": NOW,
        "initiated_by": "boss",
    }  # fmt: skip
    return AgentLifecycleEvent.model_validate({"id": key, **defaults, **fields})


def metric(key: str, **fields: Any) -> TaskMetricRecord:
    defaults = {
        "agent_id": "a", "task_id": "t", "task_type": "admin", "completed_at": NOW,
        "is_success": True, "duration_seconds": 1.5, "cost_usd": 0.1, "turns_used": 1,
        "tokens_used": 2, "complexity": "simple",
    }  # fmt: skip
    return TaskMetricRecord.model_validate({"id": key, **defaults, **fields})


def collaboration(key: str, **fields: Any) -> CollaborationMetricRecord:
    defaults = {"agent_id": "a", "recorded_at": NOW}
    return CollaborationMetricRecord.model_validate({"id": key, **defaults, **fields})


async def test_events(backend: PersistenceBackend) -> None:
    events = backend.lifecycle_events
    for one in (
        event("early", timestamp=NOW - MOMENT),
        event("a", timestamp=NOW.astimezone(THERE)),
        event("b", event_type="promoted"),
        event("late", timestamp=NOW + MOMENT, agent_id="other"),
    ):
        await events.save(one)

    async def ids(**filters: Any) -> list[str]:
        return [one.id for one in await events.list_events(**filters)]

    assert await ids() == ["late", "b", "a", "early"]
    assert await ids(agent_id="a") == ["b", "a", "early"]
    assert await ids(event_type="promoted") == ["b"]
    assert await ids(since=NOW) == ["late", "b", "a"]
    assert await ids(since=(NOW + MOMENT).astimezone(THERE)) == ["late"]
    assert await ids(since=NOW + 2 * MOMENT) == []
    assert await ids(agent_id="a", event_type="hired", since=NOW) == ["a"]
    assert await ids(limit=2, after="late") == ["b", "a"]
    assert await ids(agent_id="nobody") == []
    for bad in ({"limit": 0}, {"limit": True}, {"event_type": "born"}, {"since": "now"}):
        with pytest.raises(InvalidArgumentError):
            await ids(**bad)
    with pytest.raises(InvalidArgumentError, match="since must carry a time zone"):
        await ids(since=NOW.replace(tzinfo=None))


async def test_task_metrics(backend: PersistenceBackend) -> None:
    metrics = backend.task_metrics
    for one in (
        metric("early", completed_at=NOW - MOMENT),
        metric("a", completed_at=NOW.astimezone(THERE)),
        metric("b", agent_id="other"),
        metric("late", completed_at=NOW + MOMENT),
    ):
        await metrics.save(one)

    async def ids(**filters: Any) -> list[str]:
        return [one.id for one in await metrics.query(**filters)]

    assert await ids() == ["late", "b", "a", "early"]
    assert await ids(since=NOW) == ["late", "b", "a"]
    assert await ids(until=NOW) == ["b", "a", "early"]
    assert await ids(since=NOW, until=NOW.astimezone(THERE)) == ["b", "a"]
    assert await ids(since=NOW + MOMENT, until=NOW) == []
    assert await ids(since=NOW, until=NOW - timedelta(days=9)) == []
    assert await ids(agent_id="other", until=NOW - MOMENT) == []
    assert await ids(agent_id="a", since=NOW, limit=1, after="late") == ["a"]
    for name in ("since", "until"):
        with pytest.raises(InvalidArgumentError, match=f"{name} must carry a time zone"):
            await ids(**{name: NOW.replace(tzinfo=None)})


async def test_metrics_outlive_tasks(backend: PersistenceBackend) -> None:
    unknown = metric("unknown", task_id="nobody's", started_at=NOW - MOMENT, quality_score=10.0)
    await backend.task_metrics.save(unknown)
    await backend.tasks.save(samples.required(Task, id="t"))
    await backend.task_metrics.save(metric("m"))
    assert await backend.tasks.delete("t") is True
    assert await backend.task_metrics.query() == (metric("m"), unknown)


async def test_collaboration(backend: PersistenceBackend) -> None:
    metrics = backend.collaboration_metrics
    whole = collaboration("b", interaction_summary="s" * 4096, delegation_success=False)
    for one in (
        collaboration("early", recorded_at=NOW - MOMENT),
        collaboration("a", recorded_at=NOW.astimezone(THERE)),
        whole,
        collaboration("late", recorded_at=NOW + MOMENT, agent_id="other"),
    ):
        await metrics.save(one)

    async def ids(**filters: Any) -> list[str]:
        return [one.id for one in await metrics.query(**filters)]

    assert await ids() == ["late", "b", "a", "early"]
    assert await ids(since=NOW) == ["late", "b", "a"]
    assert await ids(since=NOW, agent_id="a") == ["b", "a"]
    assert await ids(limit=2, after="b") == ["a", "early"]
    assert (await metrics.query(agent_id="a"))[0] == whole


async def test_each_is_written_once(backend: PersistenceBackend) -> None:
    calls: tuple[tuple[Any, Any, Any], ...] = (
        (backend.lifecycle_events, event("x"), event("x", details="other")),
        (backend.task_metrics, metric("x"), metric("x", cost_usd=7.0)),
        (backend.collaboration_metrics, collaboration("x"), collaboration("x", agent_id="b")),
    )
    for repository, first, second in calls:
        await repository.save(first)
        with pytest.raises(DuplicateRecordError):
            await repository.save(second)
    assert await backend.lifecycle_events.list_events() == (event("x"),)
    assert await backend.task_metrics.query() == (metric("x"),)
    assert await backend.collaboration_metrics.query() == (collaboration("x"),)
