"""The log of changes: a row for each insert, update and delete of a table that is recorded."""

from __future__ import annotations

from sqlalchemy import Column, Identity

from holdfast.storage.retention import Retention
from holdfast.storage.tables import column, store_table
from holdfast.storage.types import INTEGER, STRING, JsonText, Timestamp

__all__ = ["changes"]

changes = store_table(
    "changes",
    # From one sequence on PostgreSQL. On SQLite the recorder takes the tenant's next number, so a
    # tenant's newest row must never be deleted.
    Column("revision", INTEGER, Identity(), nullable=False),
    column("table_name", STRING),
    column("key", JsonText()),
    column("kind", STRING),
    column("recorded_at", Timestamp()),
    key=("revision",),
    retention=Retention("recorded_at"),
)
