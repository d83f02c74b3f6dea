"""Exceptions from the rules, and attempts to get around them."""

from __future__ import annotations

from holdfast.storage.retention import Retention
from holdfast.storage.tables import (
    check,
    column,
    decisive,
    extra,
    index,
    nullable,
    saved_order,
    store_table,
)
from holdfast.storage.types import INTEGER, REAL, STRING, Timestamp

__all__ = ["circuit_breaker_state", "risk_overrides", "ssrf_violations"]

risk_overrides = store_table(
    "risk_overrides",
    column("id", STRING),
    column("action_type", STRING),
    column("original_tier", STRING),
    column("override_tier", STRING),
    column("reason", STRING),
    column("created_by", STRING),
    column("created_at", Timestamp()),
    column("expires_at", Timestamp()),
    nullable("revoked_at", Timestamp()),
    nullable("revoked_by", STRING),
    extra(),
    check("revoked", "(revoked_at IS NULL) = (revoked_by IS NULL)"),
    index("ix_risk_overrides_active", "created_at", "id", "expires_at", where="revoked_at IS NULL"),
    key=("id",),
)

ssrf_violations = store_table(
    "ssrf_violations",
    column("id", STRING),
    column("timestamp", Timestamp()),
    column("url", STRING),
    column("hostname", STRING),
    column("port", INTEGER),
    nullable("resolved_ip", STRING),
    nullable("blocked_range", STRING),
    nullable("provider_name", STRING),
    decisive("status", STRING),
    nullable("resolved_by", STRING),
    nullable("resolved_at", Timestamp()),
    saved_order(),
    extra(),
    check("port", "port BETWEEN 1 AND 65535"),
    check(
        "resolved",
        "(status = 'pending') = (resolved_by IS NULL)"
        " AND (status = 'pending') = (resolved_at IS NULL)",
    ),
    index("ix_ssrf_violations_timestamp", "timestamp", "saved_order", "id"),
    index("ix_ssrf_violations_status", "status", "timestamp", "saved_order", "id"),
    key=("id",),
    # One that nobody has looked at yet is work to do.
    retention=Retention("timestamp", where="status <> 'pending'"),
)

circuit_breaker_state = store_table(
    "circuit_breaker_state",
    column("pair_key_a", STRING),
    column("pair_key_b", STRING),
    column("bounce_count", INTEGER),
    column("trip_count", INTEGER),
    nullable("opened_at", REAL),
    extra(),
    check("counts", "bounce_count >= 0 AND trip_count >= 0"),
    key=("pair_key_a", "pair_key_b"),
)
