"""Running agents, what they say and spend, and how well they work."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from holdfast import (
    AgentLifecycleEvent,
    AgentRuntimeState,
    AuditEntry,
    Checkpoint,
    CollaborationMetricRecord,
    CostRecord,
    Heartbeat,
    Message,
    ParkedContext,
    TaskMetricRecord,
)

from ..steps import Call, Offer, call
from ..strategies import (
    AGENTS,
    NOW,
    a,
    agents,
    bad,
    bounds,
    counts,
    each,
    key_arguments,
    keys,
    limits,
    moments,
    numbers,
    page,
)

__all__ = ["OFFERS"]

checkpoints = a(
    Checkpoint, id=keys, execution_id=agents, task_id=agents, turn_number=st.integers(0, 2),
    created_at=moments,
)  # fmt: skip
heartbeats = a(Heartbeat, execution_id=keys, agent_id=agents, last_heartbeat_at=moments)
parked = a(ParkedContext, id=keys, agent_id=agents, approval_id=agents, parked_at=moments)
states = st.one_of(
    a(AgentRuntimeState, agent_id=keys, last_activity_at=moments, status=st.just("idle")),
    a(
        AgentRuntimeState, agent_id=keys, last_activity_at=moments, status=st.just("executing"),
        execution_id=agents, started_at=moments,
    ),
)  # fmt: skip
messages = a(
    Message, id=st.integers(0, 5).map(lambda n: f"00000000-0000-0000-0000-{n:012}"),
    timestamp=moments, channel=agents,
)  # fmt: skip
entries = a(
    AuditEntry, id=keys, timestamp=moments, agent_id=agents, action_type=agents,
    verdict=st.sampled_from(("allow", "deny")), risk_level=st.sampled_from(("low", "high")),
)  # fmt: skip
costs = a(
    CostRecord, agent_id=agents, task_id=keys, input_tokens=st.just(1),
    cost_usd=st.integers(0, 20).map(lambda n: n / 4),
)  # fmt: skip
events = a(
    AgentLifecycleEvent, id=keys, agent_id=agents, timestamp=moments,
    event_type=st.sampled_from(("hired", "fired")), details=st.sampled_from(("", "🦑")),
    metadata=st.dictionaries(keys, agents, max_size=2),
)  # fmt: skip
task_metrics = a(
    TaskMetricRecord, id=keys, agent_id=agents, task_id=keys, completed_at=moments,
    cost_usd=st.sampled_from((0.0, 0.1, 1e-300)), quality_score=st.sampled_from((None, 0.1, 10)),
)  # fmt: skip
collaboration = a(
    CollaborationMetricRecord, id=keys, agent_id=agents, recorded_at=moments,
    delegation_success=st.sampled_from((None, True, False)),
    handoff_completeness=st.sampled_from((None, 0.1, 1.0)),
)  # fmt: skip
#: As filters, where an empty one is none that is stored.
names = bad(agents, ("", "\0", 3))
ranges: dict[str, Any] = {"agent_id": names, "since": bounds}

OFFERS = (
    Offer(
        "checkpoints",
        saves=[call("save", checkpoints)],
        others=[
            call("get_latest", execution_id=agents, task_id=agents),
            call("delete_by_execution", names),
        ],
        ordered=True,
    ),
    Offer(
        "heartbeats",
        saves=[call("save", heartbeats)],
        others=[
            call("get_stale", bounds, **page(heartbeats)),
            call("get", key_arguments),
            call("delete", key_arguments),
        ],
        lists=each("", "get_stale", (NOW.replace(year=2030),)),
        ordered=True,
    ),
    Offer(
        "parked_contexts",
        saves=[call("save", parked)],
        others=[
            call("get_by_approval", names),
            call("get_by_agent", names, **page(parked)),
            call("get", key_arguments),
            call("delete", key_arguments),
        ],
        lists=each("", "get_by_agent", AGENTS),
        ordered=True,
    ),
    Offer(
        "agent_states",
        saves=[call("save", states)],
        others=[
            call("get_active", **page(states)),
            call("get", key_arguments),
            call("delete", key_arguments),
        ],
        lists=(Call("", "get_active"),),
        ordered=True,
    ),
    Offer(
        "messages",
        saves=[call("save", messages)],
        others=[call("get_history", names, **page(messages))],
        lists=each("", "get_history", AGENTS),
    ),
    Offer(
        "audit_entries",
        saves=[call("save", entries)],
        others=[
            call(
                "query", action_type=agents, until=bounds, **ranges, **page(entries),
                verdict=st.sampled_from(("allow", "maybe")),
                risk_level=st.sampled_from(("low", "?")),
            ),
            call("purge_before", bounds),
        ],
        lists=(Call("", "query"),),
    ),
    Offer(
        "cost_records",
        saves=[call("save", costs)],
        others=[
            call("query", agent_id=names, task_id=keys, limit=limits, after=costs),
            call("query", agent_id=names, task_id=keys, limit=limits),
            call("aggregate", agent_id=names, task_id=keys),
        ],
        lists=(Call("", "query"),),
        ordered=True,
    ),
    Offer(
        "project_cost_aggregates",
        saves=[
            call("increment", key_arguments, numbers, counts, counts),
            call("increment", keys, numbers, st.just(2**62), st.just(1)),
        ],
        others=[call("get", key_arguments)],
    ),
    Offer(
        "lifecycle_events",
        saves=[call("save", events)],
        others=[
            call(
                "list_events", event_type=st.sampled_from(("hired", "fired", "?")), **ranges,
                **page(events),
            ),
        ],
        lists=(Call("", "list_events"),),
    ),
    Offer(
        "task_metrics",
        saves=[call("save", task_metrics)],
        others=[call("query", until=bounds, **ranges, **page(task_metrics))],
        lists=(Call("", "query"),),
    ),
    Offer(
        "collaboration_metrics",
        saves=[call("save", collaboration)],
        others=[call("query", **ranges, **page(collaboration))],
        lists=(Call("", "query"),),
    ),
)  # fmt: skip
