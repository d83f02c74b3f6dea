"""One process of an application in one of its versions: it reads and writes notes until told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Literal

from holdfast import PersistenceBackend, PersistenceError, create_backend
from holdfast.extending import STRING, Extension, Keyed, new_metadata, nullable

from ..extending.things import Note, make_notes, notes_table

__all__ = ["COLOURED", "SHARED", "ColouredNote", "Version", "colour", "version"]

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

Version = Literal["old", "new"]


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


def colour(number: int) -> str:
    return f"colour {number}"


class Client:
    """Writes notes of its own, which nobody else changes, and the shared ones."""

    def __init__(self, backend: PersistenceBackend, kind: Any, who: Version, name: str) -> None:
        self._backend = backend
        self._kind = kind
        self._notes: Any = backend.repository(kind)
        self._is_new = who == "new"
        self._name = name
        self.acked: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()

    async def write_shared(self) -> None:
        for number in range(SHARED):
            await self._notes.save(self._note(f"shared-{number}", number))

    async def write(self, writer: int, pause: float) -> None:
        """Turn after turn; an error is counted, and the turn is not."""
        series = f"{self._name}-{writer}"
        turn = 0
        while True:
            turn += 1
            try:
                await self._turn(f"{series}-{turn}", turn)
            except PersistenceError as error:
                self.errors[type(error).__name__] += 1
                await asyncio.sleep(0.01)
            else:
                self.acked[series] += 1
            await asyncio.sleep(pause)

    async def _turn(self, key: str, turn: int) -> None:
        own, shared = self._note(key, turn), f"shared-{turn % SHARED}"
        if turn % 2:
            await self._notes.save(own)
        else:
            async with self._backend.transaction() as tx:
                notes: Any = tx.repository(self._kind)
                await notes.save(own)
                if await notes.get(key) != own:
                    self.errors["wrong in its transaction"] += 1
        await self._notes.save(self._note(shared, turn % SHARED))
        if await self._notes.get(key) != own:
            self.errors["wrong note"] += 1
        found = await self._notes.get(shared)
        if self._is_new and found.colour != colour(turn % SHARED):
            self.errors["colour lost"] += 1

    def _note(self, key: str, number: int) -> Note:
        if self._is_new:
            return ColouredNote(id=key, text="new", colour=colour(number))
        return Note(id=key, text="old")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main(url: str, folder: str, who: Version, name: str, pause: str) -> None:
    """The first line on standard input begins it, every other one is answered with the figures so
    far, and the end of the input is the end."""
    sys.stdin.readline()
    extension = version(Path(folder), who)
    backend = create_backend(url, extensions=[extension])
    await backend.connect()
    if who == "new":
        await backend.migrate()
    client = Client(backend, extension.repositories[0], who, name)
    await client.write_shared()
    _say("ready")
    writers = [asyncio.create_task(client.write(n, float(pause))) for n in range(WRITERS)]
    while await asyncio.to_thread(sys.stdin.readline):
        _say(json.dumps({"acked": client.acked, "errors": client.errors}))
    for writer in writers:
        writer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writer
    await backend.disconnect()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))  # type: ignore[arg-type]
