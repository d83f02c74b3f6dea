"""The high-water mark: how far the log was when a commit was last acknowledged.

A log whose end is cut off or damaged is to SQLite a shorter log: it recovers what comes before, and
acknowledged commits are gone without a word. So the writer puts down, in a file of its own beside
the database, where the log ended after each commit; who opens the database after a crash compares.

Nothing waits for the mark to reach the disk. It is written after the log was synced, so whatever a
power cut leaves of it, it never names a commit that the log had not kept.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
import threading
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from holdfast.errors import DatabaseCorruptError

__all__ = ["HighWaterMark"]

#: The head of the log's index, which lies there twice (sqlite.org/walformat.html, 2.1), in the
#: machine's byte order; the salts as they stand in the log, whose first counts its beginnings.
_HEAD = struct.Struct("=12xB3xI12x4s4s8x")
_TWICE = 2 * _HEAD.size
#: Of the log itself, written alone when it begins anew; the salts are the last part but one.
_LOG_HEAD = 32
_MAGIC = b"holdfast high-water mark 1\n"

#: How often a log can have begun anew since a mark was written, by others than Holdfast.
_MOST_RESTARTS = 1 << 20


class _Position(NamedTuple):
    is_valid: int
    frames: int
    #: A number, and a random one of the same length.
    beginnings: bytes
    salt: bytes

    def lost(self, found: _Position) -> str | None:
        """What of a log that was here is not in the log that was found; ``None`` if nothing."""
        if (found.beginnings, found.salt) == (self.beginnings, self.salt):
            if found.frames < self.frames:
                return f"it ends after {found.frames} of {self.frames} acknowledged pages"
            return None
        newer = int.from_bytes(found.beginnings, "big") - int.from_bytes(self.beginnings, "big")
        # It begins anew only after all of it was moved into the database.
        if 0 < newer % (1 << 32) < _MOST_RESTARTS:
            return None
        return "it is not the one that acknowledged commits were written to"


class HighWaterMark:
    """The mark of one database. `put` is the writer's, on its thread."""

    def __init__(self, database: Path, *, kept: bool) -> None:
        self._database = database
        self._log = database.with_name(f"{database.name}-wal")
        self._index = database.with_name(f"{database.name}-shm")
        self._path = database.with_name(f"{database.name}-mark")
        # Windows does not let a file be removed that somebody else has open.
        self._kept = kept and os.name == "posix"
        self._files: tuple[int, int] | None = None

    def check(self) -> None:
        """Raise `DatabaseCorruptError` if acknowledged commits are missing; before a writer opens.

        Nothing is changed: what is left of the log stays for whoever wants to repair it.
        """
        marked = self._read_mark()
        found = self._recovered() if marked is not None and self._has_log() else None
        problem = marked.lost(found) if marked is not None and found is not None else None
        if problem is not None:
            raise DatabaseCorruptError(
                f"the log of the database ({self._log}) is damaged: {problem}. Keep a copy of the "
                "file, its -wal and its -mark, and restore the latest backup. To go on without "
                f"what is missing, remove {self._path}; also if another program than Holdfast has "
                "written to the database since"
            )
        if not self._kept:  # it would grow old
            self._remove()

    def put(self) -> None:
        """Note where the log ends now: after a commit, before it is acknowledged. Raises nothing.

        Where it cannot be written the mark stays where it was, which promises less.
        """
        if not self._kept:
            return
        with contextlib.suppress(OSError):
            if self._files is None:
                mode = self._database.stat().st_mode & 0o777  # as SQLite does with its own
                mark = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, mode)
                self._files = (_INDEXES.open(self._index), mark)
            index, mark = self._files
            head = os.pread(index, _TWICE, 0)
            if _position(head) is not None:  # else another process commits at this moment
                os.pwrite(mark, _MAGIC + head, 0)

    def reopen(self) -> None:
        """The writer's connection was closed: with a last one, SQLite removes the index."""
        if self._files is not None:
            os.close(self._files[1])
            self._files = None
        _INDEXES.sweep()

    def close(self) -> None:
        """After the last connection of the engine; a log that was cleaned up needs no mark."""
        self.reopen()
        if not self._has_log():
            self._remove()

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _recovered(self) -> _Position | None:
        """Where the log ends for SQLite; ``None`` where that cannot be told."""
        if self._log.stat().st_size <= _LOG_HEAD:  # SQLite does not even look at its head
            head = self._log.read_bytes().ljust(_LOG_HEAD, b"\0")
            return _Position(1, 0, head[16:20], head[20:24])
        # A connection that cannot write recovers the log, and leaves it there when it closes.
        uri = f"{self._database.as_uri()}?mode=ro"
        try:
            with closing(sqlite3.connect(uri, uri=True)) as connection:
                connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
                return _position(_INDEXES.read(self._index))
        except (sqlite3.Error, OSError):  # whoever opens it next meets the same, and names it
            return None

    def _has_log(self) -> bool:
        try:
            return self._log.stat().st_size > 0
        except OSError:
            return False

    def _read_mark(self) -> _Position | None:
        try:
            content = self._path.read_bytes()
        except OSError:
            return None
        head = content.removeprefix(_MAGIC)
        return _position(head) if len(content) == len(_MAGIC) + _TWICE else None


def _position(heads: bytes) -> _Position | None:
    """``None`` where the two copies differ, as they do while one is being written, or are none."""
    if len(heads) != _TWICE or heads[: _HEAD.size] != heads[_HEAD.size :]:
        return None
    found = _Position(*_HEAD.unpack_from(heads))
    return found if found.is_valid else None


class _Indexes:
    """The indexes that this process has open.

    SQLite's locks on an index are the process's, and go when any descriptor of it is closed. So
    each is opened once, and closed when SQLite has removed it: nobody has it any more.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[int, int], int] = {}
        self._lock = threading.Lock()

    def open(self, path: Path) -> int:
        with self._lock:
            there = path.stat()
            key = (there.st_dev, there.st_ino)
            if key not in self._open:
                self._open[key] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            return self._open[key]

    def read(self, path: Path) -> bytes:
        return os.pread(self.open(path), _TWICE, 0)

    def sweep(self) -> None:
        with self._lock:
            for key, descriptor in list(self._open.items()):
                if os.fstat(descriptor).st_nlink == 0:
                    os.close(self._open.pop(key))


_INDEXES = _Indexes()
