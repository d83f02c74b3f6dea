"""What runs on the writer's thread, which alone writes and alone checkpoints."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time
from collections.abc import Callable
from operator import length_hint
from typing import Any

from holdfast.engines.batching import Request
from holdfast.engines.compiler import CompiledStatement, Compiler
from holdfast.engines.sqlite.checkpoint import Checkpoints
from holdfast.engines.sqlite.errors import is_broken, translate
from holdfast.engines.sqlite.files import Database
from holdfast.engines.sqlite.rows import run
from holdfast.engines.sqlite.wal_watermark import WalWatermark
from holdfast.engines.transactions import Kind
from holdfast.errors import DatabaseGoneError, OutcomeUnknownError, PersistenceError
from holdfast.storage.session import Statement

__all__ = ["Outcome", "Writer", "insist"]

#: A call's value, or the error that refused it.
Outcome = tuple[Any, PersistenceError | None]

#: Of a write, which has no value.
_DONE: Outcome = (None, None)


class Writer:
    """Group commit on the writer connection, and the checkpoints of the write-ahead log.

    A connection that met an error of the file or of the disk is closed, and ``renew`` opens
    another: see `holdfast.engines.sqlite.errors.is_broken`.
    """

    def __init__(
        self,
        database: Database,
        compiler: Compiler,
        mark: WalWatermark,
        renew: Callable[[], sqlite3.Connection],
    ) -> None:
        self._database = database
        self._compile = compiler
        self._watermark = mark
        self._open_another = renew
        self._patience = database.config.busy_timeout_seconds
        self._distrusted = False
        self.checkpoints = Checkpoints(database)
        self.commits = 0

    def commit_batch(self, connection: sqlite3.Connection, calls: list[Request]) -> list[Outcome]:
        """Run calls in one transaction; a call that fails, fails alone."""
        self.begin(connection)
        outcomes: list[Outcome] = []
        while len(outcomes) < len(calls):
            call = calls[len(outcomes)]
            # A failed statement is undone by SQLite alone, without a savepoint: the transaction
            # goes on. Only errors of the file, of the disk and of memory end it, and then nothing
            # is kept.
            try:
                compiled = self._compile(call.statement)
                if call.kind is Kind.WRITE and len(calls) > 1 and compiled.sql.startswith("INSERT"):
                    _insert(connection, compiled.sql, compiled.bind, calls, outcomes)
                elif call.read is None:
                    value = run(connection, compiled, call.kind, call.arguments)
                    outcomes.append((value, None))
                else:
                    value = self._read(connection, compiled, call, call.read)
                    outcomes.append((value, None))
            except Exception as error:
                self._doubt(error)
                call = calls[len(outcomes)]
                problem = self._explain(error, call.statement)
                outcomes.append((None, problem))
                if self._distrusted or not connection.in_transaction:
                    self.rollback(connection)
                    return [(None, problem)] * len(calls)
                if call.read is None and not _was_undone(error):
                    self.rollback(connection)
                    return self._one_by_one(connection, calls, problem)
        try:
            self.commit(connection)
        except sqlite3.IntegrityError as error:
            # A deferred constraint: somebody's, but SQLite does not say whose.
            return self._one_by_one(connection, calls, _problem(error, calls[0].statement))
        except (sqlite3.Error, MemoryError, PersistenceError) as error:
            return [(None, self._explain(error, None))] * len(calls)
        return outcomes

    def _read(
        self,
        connection: sqlite3.Connection,
        compiled: CompiledStatement,
        call: Request,
        read: Callable[[Any], Any],
    ) -> Any:
        """What ``read`` makes of the rows of a write; with an error, the write is undone."""
        connection.execute("SAVEPOINT holdfast_read")
        undo = True
        try:
            value = read(run(connection, compiled, call.kind, call.arguments))
            undo = isinstance(value, PersistenceError)
            return value
        finally:
            if connection.in_transaction:
                if undo:
                    connection.execute("ROLLBACK TO holdfast_read")
                connection.execute("RELEASE holdfast_read")

    def _one_by_one(
        self, connection: sqlite3.Connection, calls: list[Request], problem: PersistenceError
    ) -> list[Outcome]:
        if len(calls) == 1:
            return [(None, problem)]
        outcomes: list[Outcome] = []
        for call in calls:
            try:
                outcomes += self.commit_batch(connection, [call])
            except (sqlite3.Error, MemoryError, PersistenceError) as error:
                outcomes.append((None, _problem(error, call.statement)))
        return outcomes

    def run(
        self,
        connection: sqlite3.Connection,
        compiled: CompiledStatement,
        kind: Kind,
        arguments: Any,
    ) -> Any:
        """As `run`; remembers when the connection is to be left at the end of the transaction."""
        try:
            return run(connection, compiled, kind, arguments)
        except sqlite3.Error as error:
            self._doubt(error)
            raise

    def _doubt(self, error: Exception) -> None:
        if isinstance(error, sqlite3.Error):
            self._distrusted = is_broken(error)

    def _explain(self, error: Exception, statement: Statement | None) -> PersistenceError:
        try:
            self._database.check_failed(error)
        except DatabaseGoneError as gone:
            return gone
        return _problem(error, statement)

    def begin(self, connection: sqlite3.Connection) -> None:
        self._database.opened.check_before()
        deadline = time.monotonic() + self._patience
        while self.checkpoints.must_wait() and time.monotonic() < deadline:
            _pause()
        try:
            insist(connection, "BEGIN IMMEDIATE", self._patience)
        except sqlite3.Error as error:
            self._distrusted = is_broken(error)
            self.rollback(connection)
            raise

    def commit(self, connection: sqlite3.Connection) -> None:
        """Commit, then look at the files. Whatever it raises, nothing is open afterwards.

        Nothing was kept either, except with `OutcomeUnknownError` and `DatabaseGoneError`.
        """
        files = self._database.opened
        try:
            files.check_log()
        except PersistenceError:
            self.rollback(connection)
            raise
        try:
            # Only in rollback-journal mode can a reader be in the way here.
            insist(connection, "COMMIT", self._patience)
        except (sqlite3.Error, MemoryError) as error:
            if _is_refused(error):
                self.rollback(connection)
            else:
                self._make_sure(error)
            raise
        if connection.in_transaction:  # pragma: no cover - SQLite has never done this
            raise sqlite3.OperationalError("COMMIT left the transaction open")
        size = files.check_after()
        self._watermark.put(files)
        self.commits += 1
        if self.checkpoints.due(size):
            self._checkpoint(connection)

    def rollback(self, connection: sqlite3.Connection) -> None:
        """Undo what is open; never raises."""
        if not self._distrusted:
            try:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            except (sqlite3.Error, MemoryError):
                self._distrusted = True
        if self._distrusted:
            self._replace()

    def _renew(self) -> sqlite3.Connection:
        try:
            return self._open_another()
        finally:
            self._watermark.reopen()

    def _replace(self) -> None:
        self._distrusted = False
        # It is closed, at the least.
        with contextlib.suppress(sqlite3.Error, MemoryError, PersistenceError):
            self._renew()

    def repeat_checkpoint(self, connection: sqlite3.Connection) -> None:
        """What somebody was in the way of, once more; not within a transaction."""
        if self.checkpoints.overdue and not connection.in_transaction:
            with contextlib.suppress(PersistenceError):  # which the next call meets as well
                self._database.opened.check_log()
                self._checkpoint(connection)

    def _checkpoint(self, connection: sqlite3.Connection) -> None:
        self._distrusted = not self.checkpoints.run(connection)
        self.rollback(connection)

    def _make_sure(self, error: Exception) -> None:
        """See to it that what a failed COMMIT has written does not come to life again.

        Its pages may lie complete in the log, where the recovery after a crash would take them for
        committed. The next commit is written over them; so make one, of nothing.
        """
        try:
            connection = self._renew()
            # With a rollback journal, its removal may have been what failed: it was committed.
            if not self._database.config.wal_mode:
                raise sqlite3.OperationalError("there is no log to write to")
            insist(connection, "BEGIN IMMEDIATE", self._patience)
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            connection.execute(f"PRAGMA user_version={version}")
            insist(connection, "COMMIT", self._patience)
        except (sqlite3.Error, MemoryError, PersistenceError):
            self._replace()
            raise OutcomeUnknownError(
                "the disk failed during COMMIT, and again when the transaction was to be undone: "
                f"after a crash it may be there or not ({getattr(error, 'sqlite_errorname', '')})"
            ) from error


def _insert(
    connection: sqlite3.Connection,
    sql: str,
    bind: Callable[[tuple[Any, ...]], tuple[Any, ...]],
    calls: list[Request],
    outcomes: list[Outcome],
) -> None:
    """Run the next call, and those of the same statement that follow it, in one call of the driver.

    When it raises, the outcomes are those of the calls before the one that failed.
    """
    begin = end = len(outcomes)
    statement = calls[begin].statement
    while end < len(calls) and calls[end].statement is statement and calls[end].kind is Kind.WRITE:
        end += 1
    rest = iter([call.arguments for call in calls[begin:end]])
    try:
        connection.executemany(sql, map(bind, rest))
        done = end
    except BaseException:
        done = end - length_hint(rest) - 1  # the last one that was taken has failed
        raise
    finally:
        outcomes += [_DONE] * (done - begin)


def _problem(error: Exception, statement: Statement | None) -> PersistenceError:
    problem = translate(error, statement)
    if problem is not error:
        problem.__cause__ = error
    return problem


def _is_refused(error: Exception) -> bool:
    """Whether a COMMIT that failed with this cannot have written its last page."""
    name = getattr(error, "sqlite_errorname", None) or ""
    return name.startswith(("SQLITE_BUSY", "SQLITE_CONSTRAINT", "SQLITE_FULL"))


def _was_undone(error: Exception) -> bool:
    """Whether the failed statement has left nothing: SQLite refused it, or never saw it.

    Otherwise it was done, and the driver failed to bring home what it answered.
    """
    return bool(getattr(error, "sqlite_errorname", None)) or isinstance(
        error, (OverflowError, UnicodeEncodeError, sqlite3.ProgrammingError, sqlite3.InterfaceError)
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
            _pause()
        else:
            return


def _pause() -> None:
    time.sleep(random.uniform(0.0001, 0.0015))  # noqa: S311
