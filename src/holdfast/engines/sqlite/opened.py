"""Whether the files of a database are still those that were opened.

SQLite does not look: it writes to a file that was deleted, moved or replaced as if nothing had
happened, and what it wrote is gone when the last connection closes. Two processes that have
different files open at the same path do not see each other's locks.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import ClassVar, NamedTuple

from holdfast.engines.sqlite.openlog import OpenLog
from holdfast.engines.sqlite.plain import beside
from holdfast.errors import DatabaseGoneError

__all__ = ["Header", "OpenedFiles", "read_header"]

_File = tuple[int, int]

_DESCRIPTORS = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"


class Header(bytes):
    """What a database begins with (sqlite.org/fileformat2.html, 1.3)."""

    SIZE: ClassVar[int] = 100

    @property
    def is_sound(self) -> bool:
        return len(self) == self.SIZE and self.startswith(b"SQLite format 3\0")

    @property
    def has_log(self) -> bool:
        """By the versions of the format for writing and reading."""
        return self[18:20] == b"\2\2"

    @property
    def page_size(self) -> int:
        size = int.from_bytes(self[16:18])
        return 1 << 16 if size == 1 else size

    @property
    def changes(self) -> int:
        """The file's change counter."""
        return int.from_bytes(self[24:28])


class _Inside(NamedTuple):
    found: os.stat_result
    #: ``None`` where it cannot be read.
    header: Header | None
    #: Of the log, when it was last seen with something in it.
    salts: bytes
    #: What differs after each checkpoint; nothing where one is under way.
    moved: bytes


class OpenedFiles:
    """The files that the connections of one engine have open.

    A file that is open keeps its number even when it is deleted, so a path that leads to the same
    number leads to the same file. Each look costs about a microsecond.
    """

    def __init__(self, named: Path, path: Path, *, has_log: bool, is_fixed: bool = False) -> None:
        # SQLite was told that nobody writes to the file, and does not look itself.
        self._is_fixed, self._log_path = is_fixed, beside(path, "-wal")
        # The name in the configuration, which a link may have led to the file that is open.
        self._name = str(named)
        #: What was seen of the database at the last look.
        self.found = self._stat(self._name)
        self.file = _identity(self.found)
        names = [str(beside(path, ending)) for ending in ("-wal", "-shm")] if has_log else []
        self._logs = [(name, _identity(self._stat(name))) for name in names]
        self._looking, self._overwritten = threading.Lock(), False

    def watch(self) -> None:
        """Keep the log and its index open, to see what is done to them, until `close`."""
        if self._logs:
            self.log = OpenLog(*(name for name, _ in self._logs))
            self._inside = self._look_inside()

    def close(self) -> None:
        """After the last connection was closed."""
        if self._logs:
            self.log.close()

    @property
    def log_file(self) -> int:
        """The number of the log's file; 0 without a log."""
        return self._logs[0][1][1] if self._logs else 0

    def check(self) -> None:
        """Raise `DatabaseGoneError` unless the database's path leads to the file that is open."""
        found, seen = self._stat(self._name), self.found
        if (found.st_dev, found.st_ino) != self.file:
            raise _gone(self._name, "is another file now")
        if self._is_fixed:
            self._check_fixed(found)
        elif self._logs and (
            found.st_ctime_ns != seen.st_ctime_ns or found.st_mtime_ns != seen.st_mtime_ns
        ):
            self._check_inside()

    def check_before(self) -> None:
        """As `check`, with the index of the log: before a transaction writes."""
        self.check()
        if self._logs:
            self._check_beside(*self._logs[1])

    def check_all(self) -> None:
        """Look at every file: when a statement failed, and when somebody asks."""
        self.check_before()
        self.check_after()

    def read_index(self) -> bytes:
        """Return the first bytes of the log's index; none without a log."""
        return self.log.read_index() if self._logs else b""

    def check_log(self) -> None:
        """Raise unless the log has all that was committed to it: right before a commit."""
        if self._logs and (problem := self.log.problem()) is not None:
            raise _gone(self._logs[0][0], problem)

    def check_after(self) -> int:
        """As `check`, with the log: after a commit, before it is acknowledged.

        Return the log's size.
        """
        self.check()
        if not self._logs:
            return 0
        size = self._check_beside(*self._logs[0])
        self.check_log()
        if self.log.salts != self._inside.salts:  # it began anew
            with self._looking:
                self._inside = self._look_inside()
        return size

    def _check_beside(self, name: str, number: _File) -> int:
        found = self._stat(name)
        if _identity(found) != number:
            raise _gone(name, "is another file now")
        return found.st_size

    def _check_fixed(self, found: os.stat_result) -> None:
        try:
            has_log = self._log_path.stat().st_size > 0
        except OSError:
            has_log = False
        if has_log or found.st_mtime_ns != self.found.st_mtime_ns:
            raise DatabaseGoneError(
                f"{self._name} is being written to, and was opened as one that is not: what is "
                "read may be old. Connect anew"
            )

    def _check_inside(self) -> None:
        """What was copied over the file: its number stays, its content is another.

        Only a checkpoint writes to the file, and leaves a trace in the log's index. An older copy
        whose header is the same shows by its time only, which goes back.
        """
        with self._looking:
            before, found = self._inside, self._look_inside()
            header, was, now = found.header, before.found, found.found
            if header is not None and not (header.is_sound and header.has_log):
                self._overwritten = True
            if before.moved == found.moved and found.moved:
                self._overwritten |= (
                    header != before.header
                    or now.st_size != was.st_size
                    or now.st_mtime_ns < was.st_mtime_ns
                )
            if self._overwritten:  # also when it has been checkpointed since
                raise _gone(self._name, "was written over by another program")
            self._inside, self.found = found, now

    def _look_inside(self) -> _Inside:
        salts, moved = self.log.salts, self.log.moved()
        found, header = self._stat(self._name), read_header(self.file)
        return _Inside(found, header, salts, moved if moved == self.log.moved() else b"")

    def _stat(self, name: str) -> os.stat_result:
        try:
            return os.stat(name)  # noqa: PTH116 - half the time of Path.stat
        except FileNotFoundError:
            raise _gone(name, "was deleted or moved") from None
        except OSError as error:
            raise _gone(name, f"cannot be found ({error.strerror})") from error


def read_header(file: _File) -> Header | None:
    """Return the first bytes of a database that SQLite has open, past its log.

    ``None`` where they cannot be read. Through the descriptor of SQLite's own: opening the file
    and closing it again would drop the locks of this process.
    """
    try:
        descriptors = [int(entry.name) for entry in Path(_DESCRIPTORS).iterdir()]
    except OSError:
        return None
    for descriptor in descriptors:
        try:
            if _identity(os.fstat(descriptor)) == file:
                header = Header(os.pread(descriptor, Header.SIZE, 0))
                # Another thread may have closed it and opened something else meanwhile.
                if _identity(os.fstat(descriptor)) == file:
                    return header
        except OSError:
            continue
    return None


def _identity(found: os.stat_result) -> _File:
    return found.st_dev, found.st_ino


def _gone(name: str, what: str) -> DatabaseGoneError:
    return DatabaseGoneError(
        f"{name} {what} while it was in use: what this backend writes would be lost. Disconnect, "
        "see which files are to be kept, and connect anew"
    )
