"""Personality presets of the organisation's own, as they are stored: opaque text throughout."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["PresetListRow", "PresetRow"]


class PresetRow(NamedTuple):
    """A preset whose name is known."""

    config_json: str
    description: str
    created_at: str
    updated_at: str


class PresetListRow(NamedTuple):
    """A preset among others."""

    name: str
    config_json: str
    description: str
    created_at: str
    updated_at: str
