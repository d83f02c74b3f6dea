"""Stored personality presets; every value is text that is returned byte for byte."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["PresetListRow", "PresetRow"]


class PresetRow(NamedTuple):
    """A preset as `get` returns it, without its name.

    ``config_json`` is the preset itself, not interpreted by the store; ``description`` is for
    people; ``created_at`` keeps the value of the first save, ``updated_at`` that of the last.
    """

    config_json: str
    description: str
    created_at: str
    updated_at: str


class PresetListRow(NamedTuple):
    """A preset as `list_all` returns it: ``name``, its key, and the values of `PresetRow`."""

    name: str
    config_json: str
    description: str
    created_at: str
    updated_at: str
