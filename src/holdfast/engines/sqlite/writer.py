"""What runs on the writer's thread, which alone writes and alone checkpoints."""

from __future__ import annotations

import logging
import random
import sqlite3
import time
from typing import Any

from holdfast.engines.base import Statement
from holdfast.engines.compiler import CompiledStatement, Compiler
from holdfast.engines.sqlite.errors import translate
from holdfast.engines.sqlite.files import Database
from holdfast.engines.transactions import Kind
from holdfast.errors import PersistenceError

__all__ = ["Call", "Outcome", "Writer", "insist", "run"]

logger = logging.getLogger("holdfast.sqlite")

Call = tuple[Kind, Statement, tuple[Any, ...]]
#: A call's value, or the error that refused it.
Outcome = tuple[Any, PersistenceError | None]


def run(
    connection: sqlite3.Connection, compiled: CompiledStatement, kind: Kind, arguments: Any
) -> Any:
    """Run one statement to its end: a cursor left half-way would pin its snapshot."""
    cursor = connection.execute(compiled.sql, compiled.bind(arguments))
    if kind is Kind.WRITE:
        return None
    if kind is Kind.EXECUTE:
        return cursor.rowcount
    rows = cursor.fetchall()
    read = compiled.read
    if kind is Kind.GET:
        if not rows:
            return None
        return rows[0] if read is None else read(rows[0])
    return rows if read is None else [read(row) for row in rows]


class Writer:
    """Group commit on the writer connection, and the checkpoints of the write-ahead log."""

    def __init__(self, database: Database, compiler: Compiler) -> None:
        self._database = database
        self._compile = compiler
        self._patience = database.config.busy_timeout_seconds
        self._checkpoint_at = database.config.checkpoint_bytes
        self.commits = 0

    def commit_batch(self, connection: sqlite3.Connection, calls: list[Call]) -> list[Outcome]:
        """Run calls in one transaction; a call that fails, fails alone."""
        self.begin(connection)
        outcomes: list[Outcome] = []
        for kind, statement, arguments in calls:
            # A failed statement is undone by SQLite alone, without a savepoint: the transaction
            # goes on. Only a few errors (disk full, I/O) end it, and then nothing is kept.
            try:
                outcomes.append((run(connection, self._compile(statement), kind, arguments), None))
            except Exception as error:
                problem = translate(error, statement)
                problem.__cause__ = error
                outcomes.append((None, problem))
                if not connection.in_transaction:
                    return [(None, problem)] * len(calls)
        try:
            self.commit(connection)
        except sqlite3.IntegrityError as error:
            # A deferred constraint: somebody's, but SQLite does not say whose.
            self.rollback(connection)
            if len(calls) == 1:
                problem = translate(error, calls[0][1])
                problem.__cause__ = error
                return [(None, problem)]
            return [self.commit_batch(connection, [call])[0] for call in calls]
        except sqlite3.Error as error:
            self.rollback(connection)
            problem = translate(error, None)
            problem.__cause__ = error
            return [(None, problem)] * len(calls)
        return outcomes

    def begin(self, connection: sqlite3.Connection) -> None:
        insist(connection, "BEGIN IMMEDIATE", self._patience)

    def commit(self, connection: sqlite3.Connection) -> None:
        # Only in rollback-journal mode can a reader be in the way here.
        insist(connection, "COMMIT", self._patience)
        if connection.in_transaction:  # pragma: no cover - SQLite has never done this
            raise sqlite3.OperationalError("COMMIT left the transaction open")
        self.commits += 1
        if self._database.wal_bytes() > self._checkpoint_at:
            self.checkpoint(connection)

    def rollback(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            connection.execute("ROLLBACK")

    def checkpoint(self, connection: sqlite3.Connection) -> None:
        """Move the log into the database and cut it to nothing, waiting up to a second for readers.

        TRUNCATE takes the write lock before it looks at the log, which PASSIVE does not: see the
        reason in `files`.
        """
        limit = self._database.config.checkpoint_bytes
        connection.execute("PRAGMA busy_timeout=1000")
        try:
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.OperationalError as error:
            logger.warning("checkpoint failed: %s", error)
            busy = 1
        finally:
            connection.execute("PRAGMA busy_timeout=0")
        if not busy:
            self._checkpoint_at = limit
            return
        # Somebody reads an old snapshot. Try again when the log has grown by as much again.
        size = self._database.wal_bytes()
        self._checkpoint_at = size + limit
        if size > 8 * limit:
            logger.warning(
                "the write-ahead log has grown to %d bytes: a reader keeps it from shrinking", size
            )


def insist(connection: sqlite3.Connection, sql: str, patience: float) -> None:
    """Run a statement that needs the write lock, waiting for it for at most ``patience`` seconds.

    SQLite's own waiting sleeps longer the longer it waits, so that under load the process that
    just wrote always wins. Short random sleeps give every process the same chance.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            connection.execute(sql)
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
            if not busy or time.monotonic() >= deadline:
                raise
            time.sleep(random.uniform(0.0001, 0.0015))  # noqa: S311
        else:
            return
