"""What agents say to each other."""

from __future__ import annotations

from holdfast.storage.retention import Retention
from holdfast.storage.tables import column, extra, index, saved_order, store_table
from holdfast.storage.types import STRING, JsonText, Timestamp

__all__ = ["messages"]

messages = store_table(
    "messages",
    column("id", STRING),
    column("timestamp", Timestamp()),
    column("sender", STRING),
    column("to", STRING),
    column("type", STRING),
    column("priority", STRING),
    column("channel", STRING),
    column("parts", JsonText()),
    column("metadata", JsonText()),
    saved_order(),
    extra(),
    index("ix_messages_channel", "channel", "timestamp", "saved_order", "id"),
    index("ix_messages_timestamp", "timestamp", "saved_order", "id"),
    key=("id",),
    retention=Retention("timestamp"),
)
