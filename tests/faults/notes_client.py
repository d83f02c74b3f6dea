"""One process of an application in one of its versions: it reads and writes notes until told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from holdfast import PersistenceBackend, PersistenceError, create_backend
from holdfast.extending import STRING, Extension, Keyed, new_metadata, nullable

from ..extending.things import Note, make_notes, notes_table

__all__ = ["COLOURED", "SHARED", "ColouredNote", "Version", "version"]

#: Notes that every process writes; the new version gives each of them its colour.
SHARED = 10
WRITERS = 4

COLOURED = """
import sqlalchemy as sa
from alembic import op
from holdfast.extending import STRING
revision, down_revision = "0002", "0001"
def upgrade():
    op.add_column("pad_notes", sa.Column("colour", STRING))
def downgrade():
    op.drop_column("pad_notes", "colour")
"""

Version = str


class ColouredNote(Note):
    """A note as the new version has it."""

    colour: str | None = None


def version(folder: Path, which: Version) -> Extension:
    """The application's extension, ``old`` or ``new``; its revisions are in the folder."""
    metadata = new_metadata()
    if which == "old":
        table = notes_table("pad_notes", metadata)
        return Extension("pad", metadata, (make_notes(table),), folder / "old")
    table = notes_table("pad_notes", metadata, nullable("colour", STRING))
    keyed: Any = Keyed(table, ColouredNote)
    kind = type("ColouredNotes", (make_notes(table),), {"keyed": keyed})
    return Extension("pad", metadata, (kind,), folder / "new")
