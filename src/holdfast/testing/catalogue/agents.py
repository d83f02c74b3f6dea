"""What agents do and know: runs, careers, metrics, versions of what they are, facts."""

from __future__ import annotations

import operator
from datetime import timedelta
from typing import Any

from holdfast.entities import (
    AgentIdentity,
    AgentLifecycleEvent,
    AgentRuntimeState,
    BudgetConfig,
    Checkpoint,
    CollaborationMetricRecord,
    Company,
    EvaluationConfig,
    Heartbeat,
    OrgFact,
    ParkedContext,
    Role,
    TaskMetricRecord,
    VersionSnapshot,
    WorkflowDefinition,
)
from holdfast.testing.catalogue.parts import ONCE, among, its_id, nth_name, since, turn, until
from holdfast.testing.subjects import NOW, Between, Listed, Subject

__all__ = ["SUBJECTS"]


def _versions(name: str, snapshot: type[Any]) -> Subject[Any]:
    return Subject(
        name,
        snapshot,
        key=("entity_id", "version"),
        taken=False,
        save="save_version",
        get="get_version",
        delete=None,
        find={
            "get_latest_version": ("entity_id",),
            "get_by_content_hash": ("entity_id", "content_hash"),
        },
        lists=(
            Listed(
                "list_versions",
                order=("entity_id", "version"),
                descending=True,
                filters={"entity_id": "entity_id"},
                count="count_versions",
            ),
        ),
        fields={"entity_id": turn("a", "b"), "version": lambda n: n + 1},
        bad={"limit": (-1, True, "5", 1.5, 2**63)},
    )


def _measured(name: str, entity: type[Any], field: str, **filters: Any) -> Subject[Any]:
    return Subject(
        name,
        entity,
        **ONCE,
        get=lambda records, one: among(records.query(), one),
        lists=(
            Listed(
                "query",
                order=(field, "id"),
                descending=True,
                saved=True,
                filters={"agent_id": "agent_id", "since": since(field), **filters},
            ),
        ),
    )


SUBJECTS: tuple[Subject[Any], ...] = (
    Subject(
        "checkpoints",
        Checkpoint,
        belongs=("execution_id",),
        get=lambda checkpoints, one: checkpoints.get_latest(execution_id=one.execution_id),
        delete=None,
        fields={"execution_id": nth_name},
        arguments={"execution_id": lambda one: one.execution_id},
    ),
    Subject(
        "heartbeats",
        Heartbeat,
        key=("execution_id",),
        lists=(
            Listed(
                "get_stale",
                order=("last_heartbeat_at", "execution_id"),
                filters={"threshold": Between("last_heartbeat_at", operator.lt)},
            ),
        ),
        arguments={"threshold": lambda one: one.last_heartbeat_at + timedelta(days=1)},
    ),
    Subject(
        "parked_contexts",
        ParkedContext,
        find={"get_by_approval": ("approval_id",)},
        lists=(
            Listed(
                "get_by_agent",
                order=("parked_at", "id"),
                descending=True,
                filters={"agent_id": "agent_id"},
            ),
        ),
    ),
    Subject(
        "agent_states",
        AgentRuntimeState,
        key=("agent_id",),
        lists=(
            Listed(
                "get_active",
                order=("last_activity_at", "agent_id"),
                descending=True,
                where=lambda state: state.status != "idle",
            ),
        ),
        fields={
            "status": turn("executing", "paused", "executing", "idle"),
            "execution_id": turn("e", "e", "e", None),
            "started_at": turn(NOW, NOW, NOW, None),
        },
    ),
    Subject(
        "lifecycle_events",
        AgentLifecycleEvent,
        **ONCE,
        get=lambda events, one: among(events.list_events(), one),
        lists=(
            Listed(
                "list_events",
                order=("timestamp", "id"),
                descending=True,
                saved=True,
                filters={
                    "agent_id": "agent_id",
                    "event_type": "event_type",
                    "since": since("timestamp"),
                },
            ),
        ),
    ),
    _measured("task_metrics", TaskMetricRecord, "completed_at", until=until("completed_at")),
    _measured("collaboration_metrics", CollaborationMetricRecord, "recorded_at"),
    _versions("workflow_versions", VersionSnapshot[WorkflowDefinition]),
    _versions("identity_versions", VersionSnapshot[AgentIdentity]),
    _versions("evaluation_config_versions", VersionSnapshot[EvaluationConfig]),
    _versions("budget_config_versions", VersionSnapshot[BudgetConfig]),
    _versions("company_versions", VersionSnapshot[Company]),
    _versions("role_versions", VersionSnapshot[Role]),
    Subject(
        "org_facts",
        OrgFact,
        keeps=("created_at",),
        delete=lambda facts, one: facts.delete(one.id, author=one.author),
        lists=(
            Listed(
                "list_by_category",
                order=("created_at", "id"),
                descending=True,
                filters={"category": "category"},
            ),
        ),
        arguments={"fact_id": its_id, "timestamp": lambda fact: NOW + timedelta(days=36_500)},
        bad={
            "timestamp": ("2026", 5, None),
            "query.limit": (True, "5", 1.5, None),
            "categories": (("no such value",), 5),
        },
    ),
)
