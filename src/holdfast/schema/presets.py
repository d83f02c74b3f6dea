"""Personality presets that people made."""

from __future__ import annotations

from holdfast.storage.tables import check, column, store_table
from holdfast.storage.types import STRING

__all__ = ["custom_presets"]

custom_presets = store_table(
    "custom_presets",
    column("name", STRING),
    column("config_json", STRING),
    column("description", STRING),
    # Texts of the caller's, never interpreted.
    column("created_at", STRING),
    column("updated_at", STRING),
    check("name", "name <> ''"),
    check("config_json", "config_json <> ''"),
    key=("name",),
)
