"""Every SQLite error, mapped in one table."""

from __future__ import annotations

import re
import sqlite3

from sqlalchemy import Table
from sqlalchemy.sql import Delete

from holdfast.errors import (
    ConstraintViolationError,
    DatabaseCorruptError,
    DatabaseGoneError,
    DiskFullError,
    DiskIOError,
    DuplicateRecordError,
    InvalidArgumentError,
    PersistenceConnectionError,
    PersistenceError,
    QueryError,
    QueryTimeoutError,
    ReadOnlyError,
)
from holdfast.storage.session import Statement
from holdfast.storage.tables import TENANT, referring, token

__all__ = ["ERRORS", "cannot_open", "is_broken", "is_undecodable", "translate"]

_RESTORE = "stop writing, keep a copy of the file and its -wal, and restore the latest backup"
_FAILED = (
    "the disk failed below the database file; nothing of this transaction was kept; "
    "the system's log says more"
)
_FULL = "the disk is full; nothing of this transaction was kept: make room and try again"
_RECOVER = (
    "a crash has left a log that must be recovered before the database can be read: open it once "
    "for writing"
)
_MEMORY = "this process is out of memory; nothing of this transaction was kept"

#: By the name of the result code, the first that fits; what is not named here is a `QueryError`.
ERRORS: dict[str, tuple[type[PersistenceError], str]] = {
    "SQLITE_BUSY": (QueryTimeoutError, "another process kept the database locked for too long"),
    "SQLITE_LOCKED": (QueryTimeoutError, "another connection kept the table locked for too long"),
    "SQLITE_INTERRUPT": (PersistenceConnectionError, "the backend was disconnected meanwhile"),
    "SQLITE_CANTOPEN": (PersistenceConnectionError, "the database file cannot be opened"),
    "SQLITE_NOTADB": (
        DatabaseCorruptError,
        "the file is not an SQLite database, or its first page is damaged; is the path right?",
    ),
    "SQLITE_CORRUPT": (DatabaseCorruptError, f"the database file is damaged: {_RESTORE}"),
    "SQLITE_PERM": (PersistenceConnectionError, "the database file may not be accessed"),
    "SQLITE_AUTH": (PersistenceConnectionError, "the database may not be accessed"),
    "SQLITE_READONLY_DBMOVED": (DatabaseGoneError, "the database file was deleted or moved"),
    "SQLITE_READONLY_ROLLBACK": (ReadOnlyError, _RECOVER),
    "SQLITE_READONLY_RECOVERY": (ReadOnlyError, _RECOVER),
    "SQLITE_READONLY": (ReadOnlyError, "the database is read-only: mode=ro reads it"),
    "SQLITE_PROTOCOL": (PersistenceConnectionError, "the locks of the database file failed"),
    "SQLITE_IOERR": (DiskIOError, _FAILED),
    "SQLITE_FULL": (DiskFullError, _FULL),
    "SQLITE_NOMEM": (QueryError, _MEMORY),
    "SQLITE_TOOBIG": (InvalidArgumentError, "a value is longer than SQLite's limit"),
    "SQLITE_MISMATCH": (InvalidArgumentError, "a value does not fit its column's type"),
    "SQLITE_RANGE": (InvalidArgumentError, "too many arguments"),
    "SQLITE_CONSTRAINT": (QueryError, "a constraint refused the write"),
    "SQLITE_SCHEMA": (QueryError, "the schema changed; try again"),
    "SQLITE_ABORT": (QueryError, "the statement was aborted"),
    "SQLITE_INTERNAL": (QueryError, "an internal error of SQLite"),
    "SQLITE_NOLFS": (QueryError, "the operating system cannot hold a file this large"),
    "SQLITE_MISUSE": (QueryError, "SQLite was misused"),
    "SQLITE_NOTFOUND": (QueryError, "SQLite does not know what was asked for"),
    "SQLITE_EMPTY": (QueryError, "the table is empty"),
    "SQLITE_FORMAT": (QueryError, "an auxiliary database is of another format"),
    "SQLITE_NOTICE": (QueryError, "SQLite gave a notice"),
    "SQLITE_WARNING": (QueryError, "SQLite warned"),
    "SQLITE_ERROR": (QueryError, "the statement failed; is the schema migrated?"),
}

#: What may pass by itself. What fails for any other reason fails again: the file, its directory,
#: the schema or the statement has to change.
_PASSING = ("SQLITE_ABORT", "SQLITE_BUSY", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_LOCKED",
            "SQLITE_NOMEM", "SQLITE_PROTOCOL", "SQLITE_SCHEMA")  # fmt: skip

_COLUMNS = re.compile(r"UNIQUE constraint failed: (.+)")
_INDEX = re.compile(r"UNIQUE constraint failed: index '(.+)'")
_CHECK = re.compile(r"CHECK constraint failed: (.+)")
_RULE = re.compile(r"holdfast:(\w+)")


def translate(error: BaseException, statement: Statement | None) -> PersistenceError:
    """The Holdfast error for a driver's; the caller chains it with ``from``."""
    where = f"{statement.name}: " if statement is not None else ""
    if isinstance(error, PersistenceError):
        return error
    if isinstance(error, MemoryError):  # what the driver makes of SQLITE_NOMEM
        return QueryError(f"{where}{_MEMORY}")
    if isinstance(error, OverflowError):
        return InvalidArgumentError(f"{where}an integer does not fit into 64 bits")
    if isinstance(error, UnicodeEncodeError):
        return InvalidArgumentError(f"{where}text with a lone surrogate cannot be stored")
    if isinstance(error, UnicodeDecodeError):  # of SQLite's message, which quotes the schema
        cls, text = ERRORS["SQLITE_CORRUPT"]
        return cls(f"{where}{text}")
    if not isinstance(error, sqlite3.Error):
        return QueryError(f"{where}{type(error).__name__}", is_retryable=False)
    name = getattr(error, "sqlite_errorname", None) or ""
    if name.startswith("SQLITE_CONSTRAINT") and statement is not None:
        return _constraint(name, str(error), statement)
    if isinstance(error, sqlite3.ProgrammingError) and not name:
        return InvalidArgumentError(f"{where}the driver refused an argument's type")
    if is_undecodable(error):  # one row; others are fine
        text = "a stored text is damaged: it is not UTF-8"
        return QueryError(f"{where}{text}", is_retryable=False)
    for known, (cls, text) in ERRORS.items():
        if name == known or name.startswith(f"{known}_"):
            passing = cls.is_retryable and known in _PASSING
            return cls(f"{where}{text} ({name})", is_retryable=passing)
    why = name or type(error).__name__
    return QueryError(f"{where}the statement failed ({why})", is_retryable=False)


def cannot_open(path: str, error: sqlite3.Error) -> PersistenceConnectionError:
    """What `connect` raises for a driver's error; the caller chains it with ``from``."""
    problem = translate(error, None)
    kind = PersistenceConnectionError
    if isinstance(problem, PersistenceConnectionError):
        kind = type(problem)
    return kind(f"cannot open {path}: {problem}", is_retryable=problem.is_retryable)


def is_undecodable(error: BaseException) -> bool:
    """Whether the driver met a text that is not UTF-8, and gave up on all rows of the answer."""
    return not getattr(error, "sqlite_errorname", None) and "decode to UTF-8" in str(error)


def is_broken(error: BaseException) -> bool:
    """Whether the error is one of the file or the disk, after which a connection is not to be used.

    What a connection believes about the file may be wrong then: a failed sync, for one, marks the
    pages as written, and a second one succeeds without having written them.
    """
    name = getattr(error, "sqlite_errorname", None) or ""
    return name.startswith(("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_PROTOCOL"))


def _constraint(name: str, message: str, statement: Statement) -> PersistenceError:
    table = statement.table
    if rule := _RULE.search(message):
        return _violation(statement, token(table, rule[1]))
    if check := _CHECK.search(message):
        return _violation(statement, token(table, check[1]))
    # RESTRICT refuses by a trigger of SQLite's own, and only the text tells.
    if "FOREIGN KEY" in message:
        return _violation(statement, _foreign_key(statement))
    if unique := _INDEX.search(message):
        return _violation(statement, token(table, unique[1]))
    if unique := _COLUMNS.search(message):
        columns = [part.split(".")[-1] for part in unique[1].split(", ")]
        if columns == [column.name for column in table.primary_key]:
            return DuplicateRecordError(
                f"{statement.name}: a record with this {'/'.join(table.info['key'])} exists"
            )
        return _violation(statement, token(table, _unique_name(table, columns)))
    return _violation(statement, f"{table.name}.{name.removeprefix('SQLITE_CONSTRAINT_').lower()}")


def _violation(statement: Statement, constraint: str) -> ConstraintViolationError:
    return ConstraintViolationError(
        f"{statement.name}: refused by the rule {constraint}", constraint=constraint
    )


def _unique_name(table: Table, columns: list[str]) -> str:
    for item in (*table.constraints, *table.indexes):
        name = getattr(item, "name", None)
        if name is not None and [c.name for c in getattr(item, "columns", ())] == columns:
            return str(name)
    return "_".join(c for c in columns if c != TENANT)


def _foreign_key(statement: Statement) -> str:
    """SQLite does not say which foreign key failed; usually only one can."""
    table = statement.table
    keys = [(table, key) for key in table.foreign_key_constraints]
    if isinstance(statement.expression, Delete):
        keys = [
            (owner, key)
            for owner in referring(table).values()
            for key in owner.foreign_key_constraints
            # The others take their rows along.
            if key.referred_table is table and key.ondelete not in ("CASCADE", "SET NULL")
        ]
    tokens = [token(owner, str(key.name)) for owner, key in keys]
    return tokens[0] if len(tokens) == 1 else f"{table.name}.foreign_key"
