"""Opening a database: where it lies, what lies there, and how a connection is set up."""

from __future__ import annotations

import atexit
import os
import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path

from holdfast.config import SQLiteConfig
from holdfast.errors import PersistenceConnectionError

__all__ = ["Database"]

# File systems on which SQLite's locks or its shared memory cannot be trusted. Docker's overlay
# is not among them: its files live on one local disk.
_NETWORK = frozenset({"9p", "afs", "ceph", "cifs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4",
                      "smb2", "smb3", "smbfs", "virtiofs"})  # fmt: skip


class Database:
    """One database file, or one private database in memory that all its connections share."""

    def __init__(self, config: SQLiteConfig) -> None:
        self.config = config
        self.in_memory = config.path == ":memory:"
        # SQLite keeps the log beside the file that a link leads to, and so do its locks.
        self.path = Path(config.path).resolve()

    def create(self) -> None:
        """Make the place of a database in memory.

        SQLite's own databases in memory cannot be shared by connections in such a way that a
        reader works beside an open transaction. A file in the system's shared memory can, and
        behaves like every other file.
        """
        if self.in_memory:
            memory = Path("/dev/shm")  # noqa: S108 - made below, readable by nobody else
            parent = memory if os.access(memory, os.W_OK) else None
            directory = tempfile.mkdtemp(prefix="holdfast-memory-", dir=parent)
            self.path = Path(directory) / "memory.db"
            atexit.register(self.discard)

    def discard(self) -> None:
        """Forget a database in memory, after its connections were closed."""
        if self.in_memory:
            shutil.rmtree(self.path.parent, ignore_errors=True)
            atexit.unregister(self.discard)

    def check(self) -> None:
        """Refuse a place where SQLite cannot keep its promises."""
        if self.in_memory:
            return
        if not self.path.parent.is_dir():
            raise PersistenceConnectionError(
                f"the directory of the database file does not exist: {self.path.parent}"
            )
        kind = self.file_system
        if self.is_remote and not self.config.allow_network_filesystem:
            raise PersistenceConnectionError(
                f"{self.path} lies on a network file system ({kind}), where SQLite's locks do not "
                "hold and committed data can be lost. Use a local disk or PostgreSQL; "
                "allow_network_filesystem=True insists"
            )

    @property
    def file_system(self) -> str:
        """The type of the one the file lies on; empty where it cannot be told."""
        return _file_system(self.path.parent)

    @property
    def is_remote(self) -> bool:
        kind = self.file_system
        return kind in _NETWORK or kind.startswith("fuse.")

    @property
    def keeps_commits(self) -> bool:
        """Whether each commit is in the log, on the disk, before it is acknowledged."""
        config = self.config
        return config.wal_mode and config.synchronous == "full" and not self.in_memory

    def open_writer(self) -> sqlite3.Connection:
        # The writer never sleeps inside SQLite: it polls for the lock itself (see `writer`).
        return self._open(busy_timeout=0)

    def open_reader(self) -> sqlite3.Connection:
        connection = self._open(busy_timeout=self.config.busy_timeout_seconds)
        connection.execute("PRAGMA query_only=ON")
        return connection

    def open_direct(self) -> sqlite3.Connection:
        return self._open(busy_timeout=self.config.busy_timeout_seconds)

    def wal_bytes(self) -> int:
        """The log's size, by ``stat`` only: opening the file would drop SQLite's locks."""
        try:
            return self.path.with_name(f"{self.path.name}-wal").stat().st_size
        except OSError:  # there is none; or the disk fails, which the next statement tells
            return 0

    def _open(self, *, busy_timeout: float) -> sqlite3.Connection:
        config = self.config
        connection = sqlite3.connect(
            f"{self.path.as_uri()}?mode=rwc",
            uri=True,
            timeout=config.busy_timeout_seconds,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
        )
        try:
            # Checkpoints come from the writer alone: before 3.51.3 an automatic one that runs
            # while another connection writes can lose committed rows (sqlite.org/wal.html).
            connection.execute("PRAGMA wal_autocheckpoint=0")
            connection.execute(f"PRAGMA journal_mode={'WAL' if config.wal_mode else 'DELETE'}")
            connection.execute(f"PRAGMA journal_size_limit={config.journal_size_limit}")
            sync = config.synchronous.upper()
            if self.in_memory:  # does not survive a power cut, whatever is synced
                sync = "OFF"
            elif sync == "FULL" and not config.wal_mode:
                # A commit is the removal of the journal, and FULL does not sync the directory.
                sync = "EXTRA"
            connection.execute(f"PRAGMA synchronous={sync}")
            if sys.platform == "darwin":  # there, fsync alone does not reach the disk
                connection.execute("PRAGMA fullfsync=ON")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA trusted_schema=OFF")
            # Damage is found when a page is read, not when it has spread.
            connection.execute("PRAGMA cell_size_check=ON")
            connection.execute(f"PRAGMA busy_timeout={int(busy_timeout * 1000)}")
        except UnicodeDecodeError as error:
            # The schema is damaged, and the driver cannot decode the message that quotes it.
            connection.close()
            damaged = sqlite3.DatabaseError("malformed database schema")
            damaged.sqlite_errorname = "SQLITE_CORRUPT"
            raise damaged from error
        except BaseException:
            connection.close()
            raise
        return connection


def _file_system(directory: Path) -> str:
    """The type of the file system a directory lies on; empty where it cannot be told."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    best, kind = -1, ""
    resolved = directory.resolve()
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        point = left.split()[4].encode().decode("unicode_escape")
        if len(point) > best and resolved.is_relative_to(point):
            best, kind = len(point), right.split()[0]
    return kind
