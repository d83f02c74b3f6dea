"""Checkpoints: the write-ahead log is moved into the database and cut, by the writer alone."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time

from holdfast.engines.sqlite.errors import is_broken
from holdfast.engines.sqlite.files import Database
from holdfast.engines.sqlite.plain import PRIVATE, beside, is_plain, open_plain

__all__ = ["RETRY_SECONDS", "Checkpoints"]

logger = logging.getLogger("holdfast.sqlite")

#: How soon a checkpoint that somebody was in the way of is tried again.
RETRY_SECONDS = 0.25

#: For how long it waits for readers and for another writer: at first, and when tried again.
_PATIENCE_MS = 1_000
_SHORT_PATIENCE_MS = 50

#: A turnstile older than this was left behind by a process that was killed: the write lock is taken
#: within a second, or not at all.
_ABANDONED_SECONDS = 2.0


class Checkpoints:
    """When to move the log, and how to do it without losing rows.

    Before 3.51.3, a checkpoint that runs while another connection writes can lose committed rows
    (sqlite.org/wal.html, "the WAL-reset bug"). TRUNCATE takes the write lock first, which makes it
    safe; but when it does not get the lock in time, it goes on without, as PASSIVE does. So a
    turnstile, a file beside the database, keeps writers of other processes from beginning
    meanwhile: those that are under way end, and the lock is free.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._limit = database.config.checkpoint_bytes
        self._at = self._limit
        self._warn_at = 8 * self._limit
        self._turnstile = beside(database.path, "-checkpoint")
        self._turnstile_name = str(self._turnstile)
        #: Whether somebody was in the way of the last one.
        self.overdue = False

    def due(self, size: int) -> bool:
        """Whether a log of this many bytes is to be moved."""
        return size > self._at

    def must_wait(self) -> bool:
        """Whether another process is at it, so that a transaction must not begin now."""
        try:
            found = os.lstat(self._turnstile_name)
        except OSError:
            return False
        return is_plain(found) and 0 <= time.time() - found.st_mtime < _ABANDONED_SECONDS

    def run(self, connection: sqlite3.Connection) -> bool:
        """Answers whether the connection can still be used. Raises nothing.

        Waits for up to a second for readers, and only briefly when it was in vain before.
        """
        usable, done, failed = True, False, False
        if self._enter():
            try:
                done = _truncate(connection, self.overdue)
            except (sqlite3.Error, MemoryError) as error:
                # What is in the log stays there, and counts: nobody's commit has failed.
                logger.warning("checkpoint failed: %s", error)
                usable, failed = not is_broken(error), True
            finally:
                # One that stays is soon taken for abandoned; the commit before must not fail.
                with contextlib.suppress(OSError):
                    self._turnstile.unlink(missing_ok=True)
        size = self._database.wal_bytes()
        self.overdue = not done
        self._at = self._limit if done else size + self._limit
        if done:
            self._warn_at = 8 * self._limit
        elif size > self._warn_at and not failed:
            self._warn_at = 2 * size
            logger.warning(
                "the write-ahead log has grown to %d bytes: a reader keeps it from shrinking", size
            )
        return usable

    def _enter(self) -> bool:
        if self.must_wait():
            return False
        with contextlib.suppress(OSError):  # no room for an empty file; the lock may be free
            turnstile = open_plain(self._turnstile, os.O_WRONLY, mode=PRIVATE)
            try:
                os.utime(turnstile)
            finally:
                os.close(turnstile)
        return True


def _truncate(connection: sqlite3.Connection, hurry: bool) -> bool:
    """Whether the log is empty now; else a reader uses it, or another connection writes."""
    patience = _SHORT_PATIENCE_MS if hurry else _PATIENCE_MS
    connection.execute(f"PRAGMA busy_timeout={patience}")
    try:
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    finally:
        connection.execute("PRAGMA busy_timeout=0")
    return not busy
