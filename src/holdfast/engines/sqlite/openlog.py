"""The log that is open and its index: whether the one still has what the other counts.

SQLite looks at the log when it opens it, and never again: cut off or written over by another
program, it is written to behind where it ended, and whoever opens it next finds nothing.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

from holdfast.engines.sqlite.plain import open_plain
from holdfast.engines.sqlite.walformat import (
    FRAME_BYTES,
    HEAD,
    TWICE,
    Position,
    is_sound,
    moved,
    position,
)

__all__ = ["INDEXES", "OpenLog"]

#: The head of an index twice, and how far the log is in the database.
_INDEX_BYTES = TWICE + 40
#: How often an index that another process writes to at this moment is read.
_LOOKS = 5


class OpenLog:
    """The log of one engine, past SQLite: it has no locks on this file.

    Where the files cannot be read nothing is found wrong.
    """

    def __init__(self, log: str, index: str) -> None:
        self._log = self._index = -1
        self._head = b""
        #: Where the log ended at the last look, for what is written behind it.
        self._end: Position | None = None
        self._seen = b""
        with suppress(OSError):
            # Windows does not let a file be removed that somebody else has open.
            if os.name == "posix":
                self._index = INDEXES.hold(Path(index))
                self._log = open_plain(Path(log), os.O_RDONLY)

    def close(self) -> None:
        """Only once no connection of the engine is open."""
        log, index, self._log, self._index = self._log, self._index, -1, -1
        if log >= 0:
            os.close(log)
        if index >= 0:
            INDEXES.release(index)

    @property
    def salts(self) -> bytes:
        """Return what the log began with, when last seen with something in it."""
        return self._end.salts if self._end is not None else b""

    def read_index(self) -> bytes:
        return os.pread(self._index, _INDEX_BYTES, 0) if self._index >= 0 else b""

    def moved(self) -> bytes:
        """Return what differs after each checkpoint; nothing while one is under way."""
        return moved(self.read_index())

    def problem(self) -> str | None:
        """Return what happened to the log; ``None`` if nothing.

        SQLite changes the index first when it empties the log, and last when it writes to it. So
        what the index says before and after a look held in between.
        """
        if self._log < 0:
            return None
        before = self._counted()
        for _ in range(_LOOKS):
            problem = self._look(before)
            if problem is None:
                return None
            after = self._counted()
            if before == after:
                return problem
            before = after
        return None

    def _counted(self) -> bytes:
        return os.pread(self._index, TWICE, 0)

    def _look(self, index: bytes) -> str | None:
        """What is wrong by what the index says; ``None`` also while it says nothing."""
        counts = self._end if index == self._seen else position(index)
        if counts is None or not counts.pages:
            return None
        if os.fstat(self._log).st_size < counts.log_bytes:
            return "was cut off by another program"
        head = os.pread(self._log, HEAD.size, 0)
        if head[16:24] != counts.salts or not self._knows(head):
            return "was written over by another program"
        if self._end != counts:
            if self._end is not None and not self._reaches(self._end, counts.salts):
                return "was cut off by another program"
            self._end, self._seen = counts, index
        return None

    def _reaches(self, end: Position, salts: bytes) -> bool:
        """Whether the last page from before is there, and no hole in its place."""
        if end.salts != salts:
            return True  # the log has begun anew
        last = os.pread(self._log, FRAME_BYTES, end.log_bytes - end.page_bytes - FRAME_BYTES)
        return last[8:16] == salts

    def _knows(self, head: bytes) -> bool:
        if head != self._head:
            if not is_sound(head):
                return False
            self._head = head
        return True


class _Indexes:
    """The indexes that this process has open.

    SQLite's locks on an index are the process's, and go when any descriptor of it is closed. So
    each is opened once, and closed when SQLite has removed it: nobody has it any more.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[int, int], int] = {}
        self._held: dict[int, int] = {}
        self._lock = threading.Lock()

    def hold(self, path: Path) -> int:
        """Return a descriptor that stays until it is released."""
        with self._lock:
            descriptor = self._descriptor(path)
            self._held[descriptor] = self._held.get(descriptor, 0) + 1
            return descriptor

    def release(self, descriptor: int) -> None:
        with self._lock:
            self._held[descriptor] -= 1
            if not self._held[descriptor]:
                del self._held[descriptor]
        self.sweep()

    def read(self, path: Path) -> bytes:
        with self._lock:
            return os.pread(self._descriptor(path), TWICE, 0)

    def sweep(self) -> None:
        with self._lock:
            for key, descriptor in list(self._open.items()):
                if descriptor not in self._held and os.fstat(descriptor).st_nlink == 0:
                    os.close(self._open.pop(key))

    def _descriptor(self, path: Path) -> int:
        there = path.stat()
        key = (there.st_dev, there.st_ino)
        if key not in self._open:
            self._open[key] = open_plain(path, os.O_RDONLY)
        return self._open[key]


INDEXES = _Indexes()
