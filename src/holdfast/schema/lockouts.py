"""Failed logins, and the accounts they locked."""

from __future__ import annotations

from holdfast.storage.tables import check, column, index, nullable, store_table
from holdfast.storage.types import INTEGER, STRING, Timestamp

__all__ = ["lockouts"]

lockouts = store_table(
    "lockouts",
    column("username", STRING),
    column("failures", INTEGER),
    column("window_started_at", Timestamp()),
    column("last_failure_at", Timestamp()),
    column("last_ip", STRING),
    nullable("locked_until", Timestamp()),
    check("failures", "failures >= 1"),
    index("ix_lockouts_locked_until", "username", "locked_until", where="locked_until IS NOT NULL"),
    index("ix_lockouts_last_failure_at", "last_failure_at"),
    key=("username",),
)
