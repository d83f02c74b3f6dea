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
import zlib
from contextlib import closing
from pathlib import Path

from holdfast.engines.sqlite.log import Log, Pair
from holdfast.engines.sqlite.opened import Header, OpenedFiles, read_header
from holdfast.engines.sqlite.openlog import INDEXES
from holdfast.engines.sqlite.plain import beside, is_plain, open_plain
from holdfast.engines.sqlite.walformat import HEAD, TWICE, Position, is_sound, position
from holdfast.errors import DatabaseCorruptError

__all__ = ["WalWatermark"]

_MAGIC = b"holdfast high-water mark 2\n"
#: Before a checksum, which is the end.
_PAIR = struct.Struct("=4Q100s")
_BYTES = len(_MAGIC) + TWICE + _PAIR.size + 4


class WalWatermark:
    """The mark of one database. `put` is the writer's, on its thread."""

    def __init__(self, database: Path, *, kept: bool, read_only: bool = False) -> None:
        self._database = database
        self._read_only = read_only
        self._log = Log(database)
        self._index = beside(database, "-shm")
        self._path = beside(database, "-mark")
        # Windows does not let a file be removed that somebody else has open.
        self._kept = kept and os.name == "posix"
        self._file: int | None = None
        self._pair: tuple[bytes, Pair, bytes] | None = None

    def check(self) -> None:
        """Raise `DatabaseCorruptError` if acknowledged commits are missing from the log, or if it
        is another database's; before a writer opens.

        Nothing is changed: what is left of the log stays for whoever wants to repair it.
        """
        # Twice, for another process may be closing the database, and cleaning up, at this moment.
        # First whose it is: SQLite removes the log of a database that is empty.
        stranger = self._stranger() and self._stranger()
        if stranger is not None:
            name = self._database.name
            raise DatabaseCorruptError(
                f"the log {self._log.path} is not that of {self._database}: {stranger}. Played "
                "into it, it would damage it. If the database was restored or put there after a "
                f"crash, move {name}-wal, {name}-shm and {name}-mark away: they belong to the one "
                "before. If it is the log that is wanted, put its own database back first"
            )
        problem = self._problem() and self._problem()
        if problem is not None:
            raise DatabaseCorruptError(
                f"the log of the database ({self._log.path}) is damaged: {problem}. Keep a copy of "
                "the file, its -wal and its -mark, and restore the latest backup. To go on without "
                f"what is missing, remove {self._path}"
            )
        if not self._kept:  # it would grow old
            self._remove()

    def _problem(self) -> str | None:
        """What of the log that was marked is not there any more; ``None`` if nothing."""
        marked, head = self._read(), self._log.head()
        if marked is None or not head:
            return None
        if not is_sound(head):
            return "its head is damaged, and all of it unreadable"
        there, _ = marked
        if head[16:24] != there.salts:
            return None
        found = self._recovered(there.salts)
        if found is None or found >= there.pages:
            return None
        return f"it ends after {found} of {there.pages} acknowledged pages"

    def _stranger(self) -> str | None:
        """Why the log is another database's; ``None`` if it is not, as far as can be told."""
        marked = self._read()
        salts = self._log.head()[16:24]
        pair = marked[1] if marked is not None and marked[0].salts == salts else None
        return self._log.stranger(pair, lambda: self._recovered(salts))

    def put(self, files: OpenedFiles) -> None:
        """Note where the log ends now: after a commit, before it is acknowledged. Raises nothing.

        Where it cannot be written the mark stays where it was, which promises less.
        """
        if not self._kept:
            return
        with contextlib.suppress(OSError):
            if self._file is not None and os.fstat(self._file).st_nlink == 0:
                self.reopen()  # somebody took it for one of an earlier log
            if self._file is None:
                self._file = self._open()
            head = files.read_index()[:TWICE]
            found = position(head)
            if found is not None:  # else another process commits at this moment
                content = head + self._packed(found.salts, files)
                os.pwrite(self._file, _MAGIC + content + _checksum(content), 0)

    def _packed(self, salts: bytes, files: OpenedFiles) -> bytes:
        """What the mark says of the files, which the next commits say as well."""
        if self._pair is not None and self._pair[0] == salts:
            if self._pair[1].written_at == files.found.st_mtime_ns:
                return self._pair[2]
            header = self._pair[1].header
        else:
            # The log began anew, and nothing of it is in the database yet; unless it was another
            # process that began it, which has put down what it saw.
            marked = self._read()
            seen = marked is not None and marked[0].salts == salts
            header = marked[1].header if marked and seen else read_header(files.file) or Header()
        pair = Pair.of(files, header)
        packed = _PAIR.pack(*pair)
        self._pair = salts, pair, packed
        return packed

    def _open(self) -> int:
        """Open the mark, or make it with the database's mode, as SQLite does with its own files."""
        with contextlib.suppress(FileNotFoundError):
            if not is_plain(os.lstat(self._path)):
                self._path.unlink()
        mode = self._database.stat().st_mode & 0o666
        return open_plain(self._path, os.O_WRONLY, mode=mode)

    def reopen(self) -> None:
        """Open the files anew when they are needed: with a last connection the index is removed."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        INDEXES.sweep()

    def close(self) -> None:
        """After the last connection of the engine; a log that was cleaned up needs no mark."""
        self.reopen()
        if not self._log.size:
            self._remove()

    def _remove(self) -> None:
        if self._read_only:
            return
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _recovered(self, salts: bytes) -> int | None:
        """How many pages of the log are committed for SQLite; ``None`` if that cannot be told."""
        # A connection that cannot write recovers the log, and leaves it there when it closes.
        uri = f"{self._database.as_uri()}?mode=ro"
        try:
            with closing(sqlite3.connect(uri, uri=True)) as connection:
                # The index is there even if what is to be read is damaged; who opens the database
                # next meets the same error, and names it.
                with contextlib.suppress(sqlite3.DatabaseError):
                    connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
                found = position(INDEXES.read(self._index))
        except (sqlite3.Error, OSError):
            return None
        if found is None or self._log.head()[16:24] != salts:  # it began anew meanwhile
            return None
        if found.salts == salts:
            return found.pages
        # SQLite does not look at a log that is nothing but its head.
        return 0 if self._log.size == HEAD.size else None

    def _read(self) -> tuple[Position, Pair] | None:
        try:
            descriptor = open_plain(self._path, os.O_RDONLY)
        except OSError:
            return None
        with os.fdopen(descriptor, "rb") as mark:
            found = mark.read(_BYTES + 1)
        content = found[len(_MAGIC) : -4]
        if len(found) != _BYTES or found != _MAGIC + content + _checksum(content):
            return None
        there = position(content[:TWICE])
        size, written_at, file, log_file, header = _PAIR.unpack(content[TWICE:])
        pair = Pair(size, written_at, file, log_file, Header(header))
        return None if there is None else (there, pair)


def _checksum(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(4)
