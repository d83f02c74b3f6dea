"""An extension as small as can be, made anew for each test, with migrations that are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, Table

from holdfast import migrations
from holdfast.extending import (
    STRING,
    Entity,
    Extension,
    Keyed,
    NotBlankStr,
    Repository,
    column,
    extra,
    index,
    new_metadata,
    store_table,
)

__all__ = ["Note", "Notes", "make", "make_notes"]


class Note(Entity):
    id: NotBlankStr
    text: NotBlankStr


class Notes(Repository):
    """What the repository of a made table has in common with those of others."""

    keyed: Keyed[Note]

    async def save(self, note: Note) -> None:
        await self.keyed.save(self, note)

    async def get(self, note_id: str) -> Note | None:
        return await self.keyed.get(self, note_id)


def notes_table(name: str, metadata: MetaData, *items: Any) -> Table:
    return store_table(
        name,
        column("id", STRING),
        column("text", STRING),
        extra(),
        index(f"ix_{name}_text", "text", "id"),
        *items,
        key=("id",),
        metadata=metadata,
    )


def make_notes(table: Table) -> type[Notes]:
    return type("NotesOf", (Notes,), {"table": table, "keyed": Keyed(table, Note)})


def make(folder: Path, name: str = "pad", *, tables: tuple[str, ...] = ("pad_notes",)) -> Extension:
    metadata = new_metadata()
    kinds = tuple(make_notes(notes_table(table, metadata)) for table in tables)
    (folder / name).mkdir(exist_ok=True)
    return Extension(name, metadata, kinds, folder / name)


async def written(extension: Extension, *before: Extension, message: str = "tables") -> Path:
    chains = [migrations.HOLDFAST, *(e.chain for e in (*before, extension))]
    return await migrations.write_revision(message, chains)
