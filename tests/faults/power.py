"""What a disk holds after a power cut, made from a journal of everything that was asked of it.

Only what was synced is certain: the content of a file by a sync of the file, its being there by a
sync of its directory. Of the rest, a cut keeps nothing, or any of the sectors that were written.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

__all__ = ["Disk", "Entry", "read_journal"]

SECTOR = 512


class Entry(NamedTuple):
    """``what`` is create, write, sync, truncate or unlink."""

    what: str
    name: str
    offset: int
    data: bytes


def read_journal(path: Path) -> list[Entry]:
    content = path.read_bytes()
    entries, at = [], 0
    while at < len(content):
        end = content.index(b"\n", at)
        what, name, offset, length = content[at:end].decode().split(" ")
        at = end + 1 + (int(length) if what == "write" else 0)
        entries.append(Entry(what, name, int(offset), content[end + 1 : at]))
    return entries


@dataclass(eq=False, slots=True)
class _File:
    """``pending`` was done since the last sync."""

    synced: bytearray = field(default_factory=bytearray)
    pending: list[Entry] = field(default_factory=list)


class Disk:
    """One directory. Its journal's entries are applied one by one; a cut may come after each."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self._present = {name: _File(bytearray(content)) for name, content in files.items()}
        self._certain = dict(self._present)
        self._pending: list[tuple[str, _File | None]] = []

    def apply(self, entry: Entry) -> None:
        if entry.name == ".":
            self._certain = dict(self._present)
            self._pending.clear()
        elif entry.what == "create":
            self._present[entry.name] = _File()
            self._pending.append((entry.name, self._present[entry.name]))
        elif entry.what == "unlink":
            del self._present[entry.name]
            self._pending.append((entry.name, None))
        elif entry.what == "sync":
            file = self._present[entry.name]
            for done in file.pending:
                _do(file.synced, done)
            file.pending.clear()
        elif entry.name in self._present:  # else removed while it was open
            self._present[entry.name].pending.append(entry)

    def cut(self) -> Iterator[tuple[str, bytes]]:
        """The files, nothing that was not synced among them."""
        for name, file in self._certain.items():
            yield name, bytes(file.synced)

    def torn(self, chance: random.Random) -> Iterator[tuple[str, bytes]]:
        """The files, with any part of what was not synced."""
        names = dict(self._certain)
        for name, new in self._pending[: chance.randint(0, len(self._pending))]:
            if new is None:
                names.pop(name, None)
            else:
                names[name] = new
        for name, file in names.items():
            content = bytearray(file.synced)
            for entry in file.pending:
                for piece in _sectors(entry):
                    if chance.random() < 0.5:
                        _do(content, piece)
            yield name, bytes(content)


def _do(content: bytearray, entry: Entry) -> None:
    if entry.what == "truncate":
        del content[entry.offset :]
    content.extend(bytes(max(0, entry.offset - len(content))))
    content[entry.offset : entry.offset + len(entry.data)] = entry.data


def _sectors(entry: Entry) -> Iterator[Entry]:
    if entry.what == "truncate":
        yield entry
    for at in range(0, len(entry.data), SECTOR):
        yield entry._replace(offset=entry.offset + at, data=entry.data[at : at + SECTOR])
