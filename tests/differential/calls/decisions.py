"""Decisions, approvals, and exceptions from the rules."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from holdfast import (
    ApprovalItem,
    CircuitBreakerStateRecord,
    ConfidenceMetadata,
    LensAttribution,
    RiskCard,
    RiskTierOverride,
    SsrfViolation,
)
from holdfast.testing.samples import full, required

from ..steps import Call, Offer, call
from ..strategies import (
    AGENTS,
    KEYS,
    a,
    agents,
    bad,
    bounds,
    each,
    key_arguments,
    keys,
    later,
    limits,
    moments,
    offsets,
    page,
    texts,
)
from .work import FIRST_TASKS

__all__ = ["OFFERS"]

risks = bad(st.sampled_from(("low", "high")), ("?", "", 3))
items = a(
    ApprovalItem, id=keys, action_type=agents, risk_level=st.sampled_from(("low", "high")),
    status=st.sampled_from(("pending", "pending", "pending", "approved", "rejected", "expired")),
    created_at=moments, expires_at=st.none() | later,
)  # fmt: skip
overrides = a(
    RiskTierOverride, id=keys, created_at=moments, expires_at=later,
    revoked_at=st.sampled_from((None, None, *[full(RiskTierOverride).revoked_at])),
)  # fmt: skip
violations = a(
    SsrfViolation, id=keys, timestamp=moments,
    status=st.sampled_from(("pending", "pending", "allowed", "denied")),
)  # fmt: skip
breakers = a(
    CircuitBreakerStateRecord, pair_key_a=keys, pair_key_b=keys, bounce_count=st.integers(0, 3),
    opened_at=st.sampled_from((None, 0.1, 1e300, 5e-324)),
)  # fmt: skip

decision: dict[str, Any] = {
    "record_id": key_arguments,
    "task_id": bad(st.sampled_from(KEYS[:3]), ("🦑", "", "a\0", 7)),
    "approval_id": st.none() | keys,
    "executing_agent_id": bad(agents, ("", 3), once_in=9),
    "reviewer_agent_id": bad(st.just("rex"), AGENTS, once_in=4),
    "decision": bad(st.sampled_from(("approved", "rejected")), ("?", None), once_in=9),
    "reason": st.sampled_from((None, " ", "🦑")),
    "criteria_snapshot": bad(st.sampled_from(((), ("é", "a"))), (("x", "x"), ("",)), once_in=9),
    "recorded_at": bounds,
}
more: dict[str, Any] = {
    "metadata": st.sampled_from(
        ({}, {"b": [1, None, 1e16], "a": {"é": -0.0}}, {"a": "\0"}, {1: 2})
    ),
    "risk_card": st.sampled_from((None, required(RiskCard), full(RiskCard))),
    "confidence_metadata": st.sampled_from((None, full(ConfidenceMetadata))),
    "lens_attribution": st.sampled_from(((), (full(LensAttribution),), (3,))),
}

OFFERS = (
    Offer(
        "decision_records",
        saves=[call("append_with_next_version", always=decision, **more)],
        others=[
            call("list_by_task", key_arguments),
            call("list_by_task", keys, limit=limits, after=key_arguments),
            call(
                "list_by_agent", bad(agents, ("", "\0")), limit=limits, after=key_arguments,
                always={"role": bad(st.sampled_from(("executor", "reviewer")), ("?", None))},
            ),
            call("get", key_arguments),
        ],
        lists=(
            *each("", "list_by_task", KEYS[:3]),
            *(Call("", "list_by_agent", (agent,), {"role": "executor"}) for agent in AGENTS),
            Call("", "list_by_agent", ("rex",), {"role": "reviewer"}),
        ),
        before=FIRST_TASKS,
    ),
    Offer(
        "approvals",
        saves=[
            call("save", items),
            call(
                "save_many",
                st.lists(bad(items, (required(RiskCard), None), once_in=12), max_size=4),
            ),
            call(
                "decide", key_arguments, reason=texts,
                always={
                    "status": bad(st.sampled_from(("approved", "rejected")), ("pending", "?")),
                    "decided_by": bad(agents, ("", 3)), "decided_at": bounds,
                },
            ),
            call("expire_if_pending", key_arguments, always={"expired_at": bounds}),
        ],
        others=[
            call(
                "list_items", risk_level=risks, action_type=agents, offset=offsets, **page(items),
                status=bad(st.sampled_from(("pending", "approved")), ("?", 1)),
            ),
            call("get", key_arguments),
            call("delete", key_arguments),
        ],
        lists=(Call("", "list_items"),),
        ordered=True,
    ),
    Offer(
        "risk_overrides",
        saves=[
            call("save", overrides),
            call(
                "revoke", key_arguments,
                always={"revoked_by": bad(agents, ("", 3)), "revoked_at": bounds},
            ),
        ],
        others=[call("list_active", **page(overrides)), call("get", key_arguments)],
        lists=(Call("", "list_active"),),
    ),
    Offer(
        "ssrf_violations",
        saves=[
            call("save", violations),
            call(
                "update_status", key_arguments,
                always={
                    "status": bad(st.sampled_from(("allowed", "denied")), ("pending", "?", None)),
                    "resolved_by": bad(agents, ("", 3)), "resolved_at": bounds,
                },
            ),
        ],
        others=[
            call(
                "list_violations", status=bad(st.sampled_from(("pending", "allowed")), ("?",)),
                **page(violations),
            ),
            call("get", key_arguments),
        ],
        lists=(Call("", "list_violations"),),
    ),
    Offer(
        "circuit_breaker_state",
        saves=[call("save", breakers)],
        others=[
            call("load_all", limit=limits, after=st.tuples(keys, keys) | breakers | keys),
            call("delete", key_arguments, key_arguments),
        ],
        lists=(Call("", "load_all"),),
        ordered=True,
    ),
)  # fmt: skip
