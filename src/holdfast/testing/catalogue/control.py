"""Money, audit, decisions, exceptions from rules, and work that must happen once."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from holdfast.entities import (
    ApprovalItem,
    AuditEntry,
    CircuitBreakerStateRecord,
    CostRecord,
    DecisionRecord,
    IdempotencyRecord,
    ProjectCostAggregate,
    RiskTierOverride,
    SsrfViolation,
    Task,
)
from holdfast.errors import InvalidArgumentError
from holdfast.testing.catalogue.parts import ONCE, among, its_id, nth_name, since, turn, until
from holdfast.testing.subjects import NOW, Listed, Make, Subject, moment

__all__ = ["SUBJECTS"]

#: Whatever the clock of the machine says, this is over and that is to come.
_OVER, _TO_COME = NOW - timedelta(days=9_000), NOW + timedelta(days=36_500)
_ID_NAMES = (
    "append_with_next_version.record_id",
    "append_with_next_version.task_id",
    "executing_agent_id",
    "reviewer_agent_id",
)
_NEGATIVE: tuple[Any, ...] = (-1, True, "5", 1.5, 2**63, None)


async def _last_cost(costs: Any, record: Any) -> Any:
    found = await costs.query(agent_id=record.agent_id)
    return found[-1] if found else None


async def _its_task(backend: Any, record: Any, make: Make) -> None:
    await backend.tasks.save(make(Task, id=record.task_id))


async def _append(decisions: Any, record: Any) -> Any:
    fields = {name: getattr(record, name) for name in DecisionRecord.model_fields}
    del fields["version"]
    return await decisions.append_with_next_version(
        record_id=fields.pop("id"), **fields, extra=_further(record)
    )


def _further(record: Any) -> dict[str, Any]:
    """What an application's own class has beside the entity's fields."""
    names = type(record).model_fields.keys() - DecisionRecord.model_fields.keys()
    return {name: getattr(record, name) for name in names}


async def _breaker(states: Any, record: Any) -> Any:
    pair = (record.pair_key_a, record.pair_key_b)
    found = await states.load_all()
    return next((one for one in found if (one.pair_key_a, one.pair_key_b) == pair), None)


SUBJECTS: tuple[Subject[Any], ...] = (
    Subject(
        "cost_records",
        CostRecord,
        key=(),
        belongs=("agent_id",),
        get=_last_cost,
        delete=None,
        fields={"agent_id": nth_name},
    ),
    Subject(
        "project_cost_aggregates",
        ProjectCostAggregate,
        key=("project_id",),
        save=None,
        delete=None,
        arguments={"cost": lambda one: 1.5},
        bad={
            "cost": (-1.0, math.nan, math.inf, "1", True, None),
            "input_tokens": _NEGATIVE,
            "output_tokens": _NEGATIVE,
        },
    ),
    Subject(
        "audit_entries",
        AuditEntry,
        **ONCE,
        get=lambda entries, one: among(entries.query(limit=None), one),
        lists=(
            Listed(
                "query",
                order=("timestamp", "id"),
                descending=True,
                saved=True,
                filters={
                    "agent_id": "agent_id",
                    "action_type": "action_type",
                    "verdict": "verdict",
                    "risk_level": "risk_level",
                    "since": since("timestamp"),
                    "until": until("timestamp"),
                },
            ),
        ),
        fields={
            "agent_id": turn("ada", None, "bob"),
            "action_type": turn("web:read", "", "x"),
            "verdict": turn("allow", "deny"),
        },
        arguments={"cutoff": lambda entry: entry.timestamp + timedelta(days=1)},
    ),
    Subject(
        "decision_records",
        DecisionRecord,
        **ONCE,
        belongs=("task_id",),
        save=_append,
        prepare=_its_task,
        # The first of its task.
        fixed={"version": 1},
        lists=tuple(
            Listed(
                "list_by_agent",
                order=("recorded_at", "id"),
                descending=True,
                saved=True,
                filters={"agent_id": field},
                always={"role": role},
            )
            for role, field in (
                ("executor", "executing_agent_id"),
                ("reviewer", "reviewer_agent_id"),
            )
        ),
        fields={
            "task_id": nth_name,
            "executing_agent_id": turn("ada", "bob"),
            "reviewer_agent_id": turn("eve", "zoe", each=2),
        },
        arguments={
            "record_id": its_id,
            "append_with_next_version.reason": lambda one: one.reason,
            "append_with_next_version.extra": _further,
        },
        bad={
            # Through the entity, which reads bytes as the text they hold.
            **dict.fromkeys(_ID_NAMES, ("", " ", "a\0", "\ud800", 7, ("a",), None)),
            "append_with_next_version.approval_id": (" ", "a\0", "\ud800", 7),
            "append_with_next_version.reason": ("a\0", "\ud800", 7),
            "criteria_snapshot": (None, (" ",), ("a", "a"), (7,), ("a\0",)),
            "metadata": ({"a": "\0"}, {"a": object()}, "text"),
            "lens_attribution": (("text",), 5),
        },
        blank=("reason",),
        refusals=(InvalidArgumentError, ValidationError, TypeError),
    ),
    Subject(
        "approvals",
        ApprovalItem,
        lists=(
            Listed(
                "list_items",
                order=("created_at", "id"),
                descending=True,
                filters={
                    "status": "status",
                    "risk_level": "risk_level",
                    "action_type": "action_type",
                },
            ),
        ),
        fields={
            "status": turn("pending", "expired", "approved"),
            "decided_at": turn(None, NOW, NOW),
            "decided_by": turn(None, None, "ada"),
        },
        arguments={
            "approval_id": its_id,
            "decide.status": lambda item: "approved",
            "decided_by": lambda item: "ada",
            "decided_at": lambda item: NOW,
            "items": lambda item: [item],
        },
        bad={
            "items": ([None], ["text"], [7]),
            "decide.status": ("pending", "expired", "done", "", 5, None),
        },
    ),
    Subject(
        "risk_overrides",
        RiskTierOverride,
        **ONCE,
        lists=(
            Listed(
                "list_active",
                order=("created_at", "id"),
                descending=True,
                where=lambda one: one.revoked_at is None and one.expires_at == _TO_COME,
            ),
        ),
        fields={
            "created_at": lambda n: moment(n) - timedelta(days=9_999),
            "expires_at": turn(_TO_COME, _TO_COME, _OVER, _TO_COME),
            "revoked_at": turn(None, None, None, None, NOW),
            "revoked_by": turn(None, None, None, None, "ada"),
        },
        arguments={
            "override_id": its_id,
            "revoked_by": lambda one: "ada",
            "revoked_at": lambda one: NOW,
        },
    ),
    Subject(
        "ssrf_violations",
        SsrfViolation,
        **ONCE,
        lists=(
            Listed(
                "list_violations",
                order=("timestamp", "id"),
                descending=True,
                saved=True,
                filters={"status": "status"},
            ),
        ),
        fields={
            "status": turn("pending", "allowed", "denied"),
            "resolved_by": turn(None, "ada", "bob"),
            "resolved_at": turn(None, NOW, NOW),
        },
        arguments={
            "violation_id": its_id,
            "update_status.status": lambda one: "allowed",
            "resolved_by": lambda one: "ada",
            "resolved_at": lambda one: NOW,
        },
        bad={"update_status.status": ("pending", "maybe", "", 5, None)},
    ),
    Subject(
        "circuit_breaker_state",
        CircuitBreakerStateRecord,
        key=("pair_key_a", "pair_key_b"),
        get=_breaker,
        lists=(Listed("load_all", order=("pair_key_a", "pair_key_b")),),
        fields={"pair_key_a": turn("x", "é", "b"), "pair_key_b": nth_name},
        damage="pair_key_b = ' '",
    ),
    Subject(
        "idempotency_keys",
        IdempotencyRecord,
        key=("scope", "key"),
        save=None,
        delete=None,
        arguments={
            "ttl_seconds": lambda one: 60.0,
            "claim_token": lambda one: "token",
            "error": lambda one: "it failed",
        },
        bad={"ttl_seconds": (0, -1, math.nan, math.inf, "1", True, None)},
    ),
)
