"""Files beside a database, opened and made so that nothing else is read, changed or laid open.

Whoever may write into the directory can put a link, a pipe or a second name of another file where
one of ours is expected. None of them is followed or waited for. What is made is for its owner
alone, whatever the umask is.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["PRIVATE", "beside", "is_plain", "make_empty", "open_plain"]

#: The mode of a file that only its owner may read and write.
PRIVATE = 0o600

_NEVER_ELSEWHERE = (
    getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
)


def beside(path: Path, ending: str) -> Path:
    """Return the path of a file that SQLite or Holdfast keeps beside the database."""
    return path.with_name(f"{path.name}{ending}")


def is_plain(found: os.stat_result) -> bool:
    """Whether it is a regular file with one name."""
    return stat.S_ISREG(found.st_mode) and found.st_nlink <= 1


def open_plain(path: Path, flags: int, *, mode: int | None = None) -> int:
    """Open a file that is ours; with ``mode``, make it if there is none.

    Never the database file itself: closing it would drop SQLite's locks. Raises an `OSError` for
    everything that is no regular file with one name.
    """
    try:
        # Before it is opened: even that can change a device, or hang, or be the database itself.
        _refuse(path, os.lstat(path))
    except FileNotFoundError:
        if mode is None:
            raise
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL | _NEVER_ELSEWHERE, mode)
        if sys.platform != "win32":  # the umask took some of it
            os.fchmod(descriptor, mode)
        return descriptor
    return os.open(path, flags | _NEVER_ELSEWHERE)


def _refuse(path: Path, found: os.stat_result) -> None:
    if not is_plain(found):
        raise OSError(errno.EINVAL, "is no regular file with one name", str(path))


def make_empty(path: Path) -> None:
    """Make an empty file for its owner alone, unless the name is taken.

    Without opening it: SQLite may have it open as soon as it is there. Where that cannot be done,
    SQLite makes it.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # taken, or the directory is not to be written to: SQLite tells
            os.mknod(path, PRIVATE)
            path.chmod(PRIVATE)
