"""Settings: small texts by namespace and key."""

from __future__ import annotations

from holdfast.storage.tables import column, store_table
from holdfast.storage.types import STRING

__all__ = ["settings"]

settings = store_table(
    "settings",
    column("namespace", STRING),
    column("key", STRING),
    column("value", STRING),
    # Compared and returned as the text it was given, never as an instant.
    column("updated_at", STRING),
    key=("namespace", "key"),
)
