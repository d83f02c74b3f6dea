"""The bytes of the write-ahead log and of its index (sqlite.org/walformat.html)."""

from __future__ import annotations

import struct
from typing import NamedTuple

__all__ = ["FRAME_BYTES", "HEAD", "TWICE", "Position", "is_sound", "moved", "position"]

#: Magic, version, page size, number of the checkpoint, two salts, two checksums. Written and
#: synced alone when the log begins anew.
HEAD = struct.Struct(">6I2I")
#: Before each page: its number, and what SQLite needs to see that it is whole.
FRAME_BYTES = 24

#: The head of the log's index, which lies there twice, in the machine's byte order (walformat.html,
#: 2.1): whether it is valid, the size of a page, how many pages are committed, and the salts.
_INDEX = struct.Struct("=12xBxHI12x8s8x")
TWICE = 2 * _INDEX.size
#: Behind it: how many pages are in the database, and how many were to be when that was last begun.
_MOVED = struct.Struct("=I28xI")


class Position(NamedTuple):
    """Where a log ends, by its index."""

    is_valid: int
    page_word: int
    pages: int
    #: Others whenever the log begins anew, which it does when all of it is in the database.
    salts: bytes

    @property
    def page_bytes(self) -> int:
        return 1 << 16 if self.page_word == 1 else self.page_word

    @property
    def log_bytes(self) -> int:
        """What the log has at the least."""
        return HEAD.size + self.pages * (FRAME_BYTES + self.page_bytes)


def position(index: bytes) -> Position | None:
    """``None`` where the two copies differ, as they do while one is being written, or are none."""
    half = _INDEX.size
    if len(index) < TWICE or index[:half] != index[half:TWICE]:
        return None
    found = Position(*_INDEX.unpack_from(index))
    return found if found.is_valid else None


def moved(index: bytes) -> bytes:
    """Return what differs after each checkpoint; nothing while one is under way or broken off."""
    found = position(index)
    if found is None or len(index) < TWICE + _MOVED.size:
        return b""
    done, begun = _MOVED.unpack_from(index, TWICE)
    return found.salts + done.to_bytes(4) if done == begun else b""


def is_sound(head: bytes) -> bool:
    """Whether SQLite reads on behind this head of a log."""
    if len(head) != HEAD.size:
        return False
    *checked, first, second = HEAD.unpack(head)
    words = struct.unpack(">6I" if checked[0] & 1 else "<6I", head[:24])
    sums = [0, 0]
    for even, odd in zip(words[::2], words[1::2], strict=True):
        sums[0] = (sums[0] + even + sums[1]) % (1 << 32)
        sums[1] = (sums[1] + odd + sums[0]) % (1 << 32)
    return sums == [first, second]
