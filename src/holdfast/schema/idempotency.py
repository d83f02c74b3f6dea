"""Work that must happen once, however often it is asked for."""

from __future__ import annotations

from holdfast.storage.retention import Retention
from holdfast.storage.tables import check, column, decisive, index, nullable, store_table
from holdfast.storage.types import STRING, Timestamp

__all__ = ["idempotency_keys"]

idempotency_keys = store_table(
    "idempotency_keys",
    column("scope", STRING),
    column("key", STRING),
    decisive("status", STRING),
    column("claim_token", STRING),
    column("claimed_at", Timestamp()),
    column("expires_at", Timestamp()),
    nullable("finished_at", Timestamp()),
    nullable("response", STRING),
    nullable("error", STRING),
    check("finished", "(status = 'in_flight') = (finished_at IS NULL)"),
    check("error", "(status = 'failed') = (error IS NOT NULL)"),
    index("ix_idempotency_keys_expires_at", "expires_at"),
    key=("scope", "key"),
    retention=Retention("expires_at", expires=True),
)
