"""What an engine does for whoever runs the database: copies of it, and a look at its health."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from sqlalchemy import Connection

__all__ = ["Accept", "Finding", "Level", "Upkeep"]

#: ``notice``: worth knowing. ``warning``: will hurt some day. ``problem``: hurts, or loses data.
Level = Literal["ok", "notice", "warning", "problem"]


#: Raises to refuse what is restored.
Accept: TypeAlias = Callable[[Connection, Connection], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, what was seen, and what to do about it."""

    level: Level
    subject: str
    message: str
    advice: str = ""


class Upkeep(Protocol):
    """The part of an engine that the application's own calls never need."""

    async def look_up(self, table: str, column: str) -> str | None:
        """The text in a table that has one row; ``None`` without the row, or without the table."""

    async def backup(self, target: Path, tables: Sequence[str]) -> Mapping[str, int]:
        """Copy the whole database, as it is at one moment, into a new file.

        Answers the rows of ``tables`` at that moment. Does not stop writers. On failure the file
        may be half-written. `BackupError` if a program that is needed is missing.
        """

    async def restore(self, source: Path, accept: Accept) -> None:
        """Fill the database, which must be empty, from a file of `backup`: all of it or nothing.

        ``accept`` looks at what comes. Its first connection is to the file or to the filled
        database, the second to an empty one of the same kind, which is gone afterwards. When it
        raises, nothing of the file is left.
        """

    async def count(self, tables: Sequence[str]) -> Mapping[str, int]:
        """Rows per table at one moment; tables that do not exist are left out."""

    async def inspect(self, *, thorough: bool = False) -> Sequence[Finding]:
        """What of settings, sizes and statistics an operator should know.

        ``thorough`` may read the whole database. What the role may not see is a notice.
        """
