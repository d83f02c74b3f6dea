"""Places where SQLite can keep its promises, and those where it cannot."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from holdfast.engines.sqlite.plain import beside, is_plain
from holdfast.errors import PersistenceConnectionError

__all__ = ["check_names", "file_system", "is_network"]

# File systems on which SQLite's locks or its shared memory cannot be trusted. Docker's overlay
# is not among them: its files live on one local disk.
_NETWORK = frozenset({"9p", "afs", "ceph", "cifs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4",
                      "smb2", "smb3", "smbfs", "virtiofs"})  # fmt: skip

_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")


def is_network(kind: str) -> bool:
    """Whether a type of file system reaches over a network."""
    return kind in _NETWORK or kind.startswith("fuse.")


def check_names(path: Path, *, read_only: bool) -> None:
    """Refuse what would be written elsewhere, or by others under another name."""
    for ending in ("-wal", "-shm", "-journal"):
        with suppress(OSError):
            if not is_plain(os.lstat(beside(path, ending))):
                raise PersistenceConnectionError(
                    f"{beside(path, ending)} is no regular file with one name: "
                    "SQLite's log would be kept elsewhere. Find out who put it there, and "
                    "remove it",
                    is_retryable=False,
                )
    try:
        found = path.stat()
    except FileNotFoundError:
        return
    except OSError as error:  # its name is too long, say
        raise PersistenceConnectionError(
            f"the database file cannot be reached: {path}: {error.strerror}", is_retryable=False
        ) from error
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise PersistenceConnectionError(f"{path} is no regular file", is_retryable=False)
    if read_only or not stat.S_ISREG(found.st_mode):
        return
    if found.st_nlink > 1:
        raise PersistenceConnectionError(
            f"{path} has {found.st_nlink} names (hard links): a process that opens it by "
            "another one keeps another log, and both together corrupt it. Remove the other "
            "names (find them with `find -samefile`), or copy the file and use the copy",
            is_retryable=False,
        )
    if any(point == str(path) for point, _ in _mounts()):
        raise PersistenceConnectionError(
            f"{path} is mounted by itself, so its log would be kept beside the mount and "
            "not beside the file, and lost with it: mount the directory instead",
            is_retryable=False,
        )


def _mounts() -> Iterator[tuple[str, str]]:
    """The places where something is mounted, and the type of each; none where it cannot be told."""
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        yield _OCTAL.sub(lambda found: chr(int(found[1], 8)), left.split()[4]), right.split()[0]


def file_system(directory: Path) -> str:
    """The type of the file system a directory lies on; empty where it cannot be told."""
    best, kind = -1, ""
    resolved = directory.resolve()
    for point, type_ in _mounts():
        if len(point) > best and resolved.is_relative_to(point):
            best, kind = len(point), type_
    return kind
