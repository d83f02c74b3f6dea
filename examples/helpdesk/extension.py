"""What a backend attaches."""

from __future__ import annotations

from pathlib import Path

from helpdesk.repository import Tickets
from helpdesk.schema import metadata
from holdfast.extending import Extension

__all__ = ["HELPDESK"]

HELPDESK = Extension(
    name="helpdesk",
    metadata=metadata,
    repositories=(Tickets,),
    migrations=Path(__file__).with_name("migrations"),
)
