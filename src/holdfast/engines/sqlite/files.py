"""Opening a database: where it lies, what lies there, and how a connection is set up."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from holdfast.config import SQLiteConfig
from holdfast.engines.sqlite.errors import is_broken
from holdfast.engines.sqlite.opened import OpenedFiles
from holdfast.engines.sqlite.place import check_names, file_system, is_network
from holdfast.engines.sqlite.plain import PRIVATE, beside, make_empty
from holdfast.errors import DatabaseGoneError, PersistenceConnectionError, ReadOnlyError

__all__ = ["Database"]


class Database:
    """One database file, or one private database in memory that all its connections share."""

    def __init__(self, config: SQLiteConfig) -> None:
        self.config = config
        self.in_memory = config.path == ":memory:"
        self.read_only = config.mode == "ro"
        # Now: the process may go to another directory before it connects.
        self._named = Path(config.path).absolute()
        self.path = self._named
        self._opened: OpenedFiles | None = None
        self.is_fixed = False
        self._had_log = True

    def check(self) -> None:
        """Find the place; refuse one where SQLite cannot keep its promises.

        SQLite's own databases in memory cannot be shared by connections in such a way that a
        reader works beside an open transaction. A file in the system's shared memory can, and
        behaves like every other file.
        """
        if self.in_memory:
            memory = Path("/dev/shm")  # noqa: S108 - made below, readable by nobody else
            parent = memory if os.access(memory, os.W_OK) else None
            directory = tempfile.mkdtemp(prefix="holdfast-memory-", dir=parent)
            self._named = self.path = Path(directory) / "memory.db"
            atexit.register(self.discard)
            return
        if os.name == "posix" and re.match(r"[A-Za-z]:[\\/]|\\\\", self.config.path):
            raise PersistenceConnectionError(
                f"{self.config.path} is a path of Windows, and this is another system",
                is_retryable=False,
            )
        try:
            # SQLite keeps the log beside the file that a link leads to, and so do its locks.
            self.path = self._named.resolve()
            there = self.path.parent.is_dir()
        except (OSError, RuntimeError) as error:  # a link that leads to itself
            raise PersistenceConnectionError(
                f"the database file cannot be reached: {self._named}: {error}",
                is_retryable=False,
            ) from error
        if not there:
            raise PersistenceConnectionError(
                f"the directory of the database file does not exist: {self.path.parent}",
                is_retryable=False,
            )
        kind = self.file_system
        if self.is_remote and not self.config.allow_network_filesystem:
            raise PersistenceConnectionError(
                f"{self.path} lies on a network file system ({kind}), where SQLite's locks do not "
                "hold and committed data can be lost. Use a local disk or PostgreSQL; "
                "allow_network_filesystem=True insists",
                is_retryable=False,
            )
        check_names(self.path, read_only=self.read_only)

    def create(self) -> None:
        """Make the file of a new database, for its owner alone."""
        if self.config.mode == "rwc":
            make_empty(self.path)
        elif not self.path.exists():
            raise PersistenceConnectionError(
                f"there is no database {self.path}, and with mode={self.config.mode} none is made",
                is_retryable=False,
            )
        self._had_log = beside(self.path, "-wal").exists()

    def discard(self) -> None:
        """After the connections were closed: forget a database in memory, leave nothing behind."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()
        is_fixed, self.is_fixed = self.is_fixed, False
        if self.in_memory:
            shutil.rmtree(self.path.parent, ignore_errors=True)
            atexit.unregister(self.discard)
        elif self.read_only and not self._had_log and not is_fixed:
            self._tidy()

    def _tidy(self) -> None:
        """Have SQLite remove the empty log that it makes to read, and cannot remove itself.

        The last connection does when it may write, and knows that it is the last.
        """
        with suppress(OSError, sqlite3.Error):
            if beside(self.path, "-wal").stat().st_size == 0:
                uri = f"{self.path.as_uri()}?mode=rw"
                with closing(sqlite3.connect(uri, uri=True, timeout=0)) as connection:
                    connection.execute("PRAGMA schema_version").fetchone()

    @property
    def file_system(self) -> str:
        """The type of the one the file lies on; empty where it cannot be told."""
        return file_system(self.path.parent)

    @property
    def is_remote(self) -> bool:
        return is_network(self.file_system)

    @property
    def keeps_commits(self) -> bool:
        """Whether each commit is in the log, on the disk, before it is acknowledged."""
        config = self.config
        durable = config.wal_mode and config.synchronous == "full"
        return durable and not self.in_memory and not self.read_only

    @property
    def opened(self) -> OpenedFiles:
        """The files that are open; `DatabaseGoneError` when none is any more."""
        if self._opened is None:
            raise DatabaseGoneError(f"{self.path} is not open")
        return self._opened

    def check_opened(self) -> None:
        """Raise `DatabaseGoneError` unless the path leads to the file that is open."""
        self.opened.check()

    def check_failed(self, error: BaseException) -> None:
        """Raise `DatabaseGoneError` if a statement may have failed for what is not there now."""
        if is_broken(error) and self._opened is not None:
            self._opened.check_all()

    def check_writable(self) -> None:
        if self.read_only:
            raise ReadOnlyError(f"{self.path} was opened for reading (mode=ro)")

    def open_writer(self) -> sqlite3.Connection:
        """Open the connection that is the first, and writes unless all are to read."""
        try:
            # The writer never sleeps inside SQLite: it polls for the lock itself (see `writer`).
            return self._open(busy_timeout=0)
        except sqlite3.OperationalError as error:
            if not (self.read_only and _needs_index(error)) or self._opened is not None:
                raise
            if self.wal_bytes():
                log, index = beside(self.path, "-wal"), beside(self.path, "-shm")
                raise ReadOnlyError(
                    f"the latest commits are in {log}, which cannot be read without {index}, and "
                    "that cannot be made here: copy the files to where it can, or open the "
                    "database once for writing"
                ) from error
        # All of it is in the file, and nobody can have it open who has to make a log here.
        self.is_fixed = True
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
            return beside(self.path, "-wal").stat().st_size
        except OSError:  # there is none; or the disk fails, which the next statement tells
            return 0

    def _open(self, *, busy_timeout: float) -> sqlite3.Connection:
        config, opened, mode = self.config, self._opened, str(self.config.mode)
        before = _number(self.path)
        if opened is not None:
            opened.check()
            before = opened.file
            mode = mode.removesuffix("c")  # none is made in the place of one that is gone
        connection = sqlite3.connect(
            f"{self.path.as_uri()}?mode={mode}{'&immutable=1' if self.is_fixed else ''}",
            uri=True,
            timeout=config.busy_timeout_seconds,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
        )
        try:
            if before is None and os.name == "posix":  # SQLite has made an empty one just now
                self.path.chmod(PRIVATE)
            # Checkpoints come from the writer alone: before 3.51.3 an automatic one that runs
            # while another connection writes can lose committed rows (sqlite.org/wal.html).
            connection.execute("PRAGMA wal_autocheckpoint=0")
            if opened is None:
                self._check_encoding(connection)
            if self.read_only:
                connection.execute("PRAGMA query_only=ON")
            else:
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
            # A first read, which opens the log.
            connection.execute("PRAGMA schema_version").fetchone()
            journal = connection.execute("PRAGMA journal_mode").fetchone()[0]
            connection.execute(f"PRAGMA busy_timeout={int(busy_timeout * 1000)}")
            # Now that it is open, so that its number stays: was it this one?
            has_log = journal == "wal" and not self.is_fixed
            files = OpenedFiles(self._named, self.path, has_log=has_log, is_fixed=self.is_fixed)
            if before not in (files.file, None):
                raise DatabaseGoneError(f"{self.path} was replaced while it was being opened")
            if opened is None:
                self._opened = files
                files.watch()
        except UnicodeDecodeError as error:
            # The schema is damaged, and the driver cannot decode the message that quotes it.
            connection.close()
            damaged = sqlite3.DatabaseError("malformed database schema")
            damaged.sqlite_errorname = "SQLITE_CORRUPT"
            raise damaged from error
        except BaseException as error:
            connection.close()
            self.check_failed(error)
            raise
        return connection

    def _check_encoding(self, connection: sqlite3.Connection) -> None:
        encoding = connection.execute("PRAGMA encoding").fetchone()[0]
        if encoding != "UTF-8":
            raise PersistenceConnectionError(
                f"{self.path} is encoded in {encoding}, in which keys have another order: move "
                "what is in it into a new database, such as with sqlite3's .dump",
                is_retryable=False,
            )


def _number(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _needs_index(error: sqlite3.Error) -> bool:
    """Whether SQLite could not make what it reads a log with."""
    name = error.sqlite_errorname
    return name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY_DIRECTORY", "SQLITE_READONLY_CANT"))
