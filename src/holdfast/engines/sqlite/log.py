"""The write-ahead log as it lies on the disk, and whose it is.

SQLite plays any log that it finds into the database beside it, for a log does not say which one it
belongs to. It can still be told. The database changes only when the log is moved into it, so its
header is the one it had when the log began, or that of a first page in the log.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from holdfast.engines.sqlite.opened import Header, OpenedFiles, read_header
from holdfast.engines.sqlite.plain import beside, open_plain
from holdfast.engines.sqlite.walformat import FRAME_BYTES, HEAD

__all__ = ["Log", "Pair"]

_FIRST_PAGE = (1).to_bytes(4)


class Pair(NamedTuple):
    """What a database was like when its log was written to."""

    size: int
    written_at: int
    file: int
    log_file: int
    #: From when the log began; empty where that was not seen.
    header: bytes

    @classmethod
    def of(cls, files: OpenedFiles, header: bytes) -> Pair:
        found = files.found
        return cls(found.st_size, found.st_mtime_ns, found.st_ino, files.log_file, header)


class Log:
    """The log beside a database, read past SQLite, which has no locks on this file."""

    def __init__(self, database: Path) -> None:
        self.path = beside(database, "-wal")
        self._database = database

    @property
    def size(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def head(self) -> bytes:
        """Return the bytes it begins with; none if there is no log."""
        with suppress(OSError), os.fdopen(open_plain(self.path, os.O_RDONLY), "rb") as log:
            return log.read(HEAD.size)
        return b""

    def stranger(self, pair: Pair | None, recovered: Callable[[], int | None]) -> str | None:
        """Return why the log cannot be this database's; ``None`` if it can.

        ``pair`` is what is known of the database that it was written for; ``recovered`` tells how
        many pages of the log count for SQLite.
        """
        head = self.head()
        if len(head) < HEAD.size or self.size <= HEAD.size:
            return None  # there is nothing in it, or was not a moment ago
        try:
            there = self._database.stat()
        except OSError:
            return "the database is missing"
        if not there.st_size:
            return "the database is empty"
        if pair is not None and (there.st_size, there.st_mtime_ns) == pair[:2]:
            return None
        pages, header = recovered(), self._header(there)
        if not pages or header is None or not header.is_sound:
            return None  # nothing would be played; or SQLite says what is wrong
        if not header.has_log:
            return "the database is one without a log, such as a backup"
        if header.page_size != HEAD.unpack(head)[2]:
            return "the database has pages of another size"
        reason = self._differs(there, header, pair, pages)
        # It may have begun anew meanwhile.
        return reason if self.head() == head else None

    def _differs(
        self, there: os.stat_result, header: Header, pair: Pair | None, pages: int
    ) -> str | None:
        if pair is not None:
            with suppress(OSError):
                if self.path.stat().st_ino == pair.log_file and there.st_ino != pair.file:
                    return "the database is another file than the one the log was written for"
            if header == pair.header:
                return None
        in_log = list(self._headers(pages))
        if not in_log or header in in_log:  # it was being moved into the database
            return None
        if pair is not None and pair.header and pair.header not in in_log:
            return "the database is not as it was when the log began"
        # Who writes the first page counts on from what it has last read there: the database's.
        first = in_log[0].changes
        if header.changes not in (first, (first - 1) % (1 << 32)):
            return "the log goes on from another state than the database's"
        return None

    def _header(self, there: os.stat_result) -> Header | None:
        """The database's own, whatever the log has to say about the first page."""
        uri = f"{self._database.as_uri()}?mode=ro"
        # No statement: it only has to be open.
        with suppress(sqlite3.Error), closing(sqlite3.connect(uri, uri=True)):
            return read_header((there.st_dev, there.st_ino))
        return None

    def _headers(self, pages: int) -> Iterator[Header]:
        """Of each first page among so many pages of the log, in order."""
        with suppress(OSError), os.fdopen(open_plain(self.path, os.O_RDONLY), "rb") as log:
            head = log.read(HEAD.size)
            if len(head) < HEAD.size:  # another process has emptied it meanwhile
                return
            size = FRAME_BYTES + HEAD.unpack(head)[2]
            for number in range(pages):
                at = HEAD.size + number * size
                frame = os.pread(log.fileno(), FRAME_BYTES + Header.SIZE, at)
                if frame.startswith(_FIRST_PAGE):
                    yield Header(frame[FRAME_BYTES:])
