"""Every PostgreSQL error, mapped in one table by SQLSTATE, and the driver's own by class."""

from __future__ import annotations

import asyncpg
from asyncpg.exceptions import InternalClientError, InvalidCachedStatementError

from holdfast.errors import (
    ConstraintViolationError,
    DiskFullError,
    DuplicateRecordError,
    InvalidArgumentError,
    OutcomeUnknownError,
    PersistenceConnectionError,
    PersistenceError,
    QueryError,
    QueryTimeoutError,
    SerializationFailureError,
    TenantIsolationError,
)
from holdfast.storage.session import Statement
from holdfast.storage.tables import referring, token

__all__ = [
    "ERRORS",
    "has_moved",
    "is_lost",
    "is_refusal",
    "is_undecodable",
    "sqlstate",
    "translate",
]

#: By SQLSTATE, else by its first two characters (the class). Texts never quote the server's
#: message: it can hold values.
ERRORS: dict[str, tuple[type[PersistenceError], str]] = {
    "00": (QueryError, "the server reported success as an error"),
    "01": (QueryError, "the server warned"),
    "02": (QueryError, "no data"),
    "03": (QueryError, "the statement is not complete"),
    "08": (PersistenceConnectionError, "the connection failed"),
    "09": (QueryError, "a trigger failed"),
    "0A": (QueryError, "the server does not support this"),
    "0B": (QueryError, "the transaction cannot be begun here"),
    "0F": (QueryError, "the locator is not valid"),
    "0L": (QueryError, "the database role may not grant this"),
    "0P": (QueryError, "the database role is not valid"),
    "0Z": (QueryError, "no error is being handled"),
    "10": (QueryError, "an XQuery expression is not valid"),
    "20": (QueryError, "no case matched"),
    "21": (QueryError, "a row was touched twice by one statement"),
    "22": (InvalidArgumentError, "a value does not fit its column"),
    "23": (QueryError, "a constraint refused the write"),
    "24": (QueryError, "the cursor is not open"),
    "25": (QueryError, "the transaction is in a state that does not allow this"),
    "25006": (PersistenceConnectionError, "the server is read-only (a standby?)"),
    "26": (QueryError, "the prepared statement is gone"),
    "27": (QueryError, "a trigger changed the row that was being changed"),
    "28": (PersistenceConnectionError, "the server refused the user or password"),
    "28000": (
        PersistenceConnectionError,
        "the server refused the user: no role that may log in, or not from here (pg_hba.conf, TLS)",
    ),
    "2B": (QueryError, "other objects depend on it"),
    "2D": (QueryError, "the transaction cannot be ended here"),
    "2F": (QueryError, "a function failed"),
    "34": (QueryError, "the cursor is gone"),
    "38": (QueryError, "an external function failed"),
    "39": (QueryError, "an external function was called in a wrong way"),
    "3B": (QueryError, "the savepoint does not exist"),
    "3D": (PersistenceConnectionError, "the database does not exist"),
    "3F": (QueryError, "the schema does not exist"),
    "40": (SerializationFailureError, "the transaction lost against another one; run it again"),
    "40003": (OutcomeUnknownError, "the server does not know whether the statement completed"),
    "42": (QueryError, "the statement failed; is the schema migrated?"),
    "42501": (QueryError, "the database role lacks the privilege"),
    "44": (QueryError, "the view does not allow this row"),
    "53": (QueryError, "the server is out of a resource"),
    "53100": (DiskFullError, "the server's disk is full: make room and try again"),
    "53300": (
        PersistenceConnectionError,
        "the server has no connection left; do all pools together ask for more than it allows?",
    ),
    "54": (InvalidArgumentError, "a value is larger than the server can take"),
    "55": (QueryError, "the object is not in a state that allows this"),
    "55P03": (QueryTimeoutError, "a lock was not free in time"),
    "57": (QueryError, "an operator intervened"),
    "57014": (QueryTimeoutError, "the server ended the statement at its statement_timeout"),
    "57P01": (PersistenceConnectionError, "the server is shutting down"),
    "57P02": (PersistenceConnectionError, "the server crashed"),
    "57P03": (PersistenceConnectionError, "the server is starting up or shutting down"),
    "57P04": (PersistenceConnectionError, "the database was dropped"),
    "57P05": (PersistenceConnectionError, "the server ended the idle session"),
    "58": (QueryError, "the server met an error of its operating system"),
    "72": (QueryError, "the snapshot is too old"),
    "F0": (QueryError, "the server's configuration file is wrong"),
    "HF001": (TenantIsolationError, "the statement names no tenant, whom row-level security needs"),
    "HV": (QueryError, "a foreign data wrapper failed"),
    "P0": (QueryError, "a function raised an error"),
    "XX": (QueryError, "an internal error of the server"),
}

#: What may pass by itself, by SQLSTATE or class; and what of these classes does not. What fails for
#: any other reason fails again: the schema, the role or the statement has to change.
_PASSING = frozenset(
    {"08", "25006", "25P03", "25P04", "26", "40", "53", "55006", "55P03", "57", "58", "72", "XX"}
)
_LASTING = frozenset({"53400", "57P04", "58P01", "58P02", "XX001", "XX002"})

#: The server's function that refuses a row which a policy does not allow: its SQLSTATE is also that
#: of a missing privilege, and its text is in the server's language.
_POLICY_CHECK = "ExecWithCheckOptions"

_LOST = (InternalClientError, asyncpg.InterfaceError, OSError, ConnectionError, EOFError)


def is_undecodable(error: BaseException) -> bool:
    """Whether the driver gave up on an answer: it holds a time that no year of Python's tells.

    The driver's error about an argument is another one.
    """
    return isinstance(error, OverflowError) or isinstance(error.__cause__, OverflowError)


def is_lost(error: BaseException) -> bool:
    """Whether the connection it happened on must not be used again."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state.startswith(("08", "57P")) or state == "25006"
    return isinstance(error, _LOST) and not _is_argument(error)


def is_refusal(error: BaseException) -> bool:
    """Whether the server said no, and nothing was done; the connection is of no more use."""
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate == "25006"


def has_moved(error: BaseException) -> bool:
    """Whether the server is going, or is not the primary: other connections to it are no better."""
    moved = ("25006", "57P01", "57P02", "57P03")
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate in moved


def sqlstate(error: BaseException | None) -> str:
    """The SQLSTATE of what caused a Holdfast error, empty if it was not the server."""
    while error is not None:
        if isinstance(error, asyncpg.PostgresError):
            return error.sqlstate or ""
        error = error.__cause__
    return ""


def translate(error: BaseException, statement: Statement | None) -> PersistenceError:
    """The Holdfast error for a driver's; the caller chains it with ``from``."""
    where = f"{statement.name}: " if statement is not None else ""
    if isinstance(error, PersistenceError):
        return error
    if isinstance(error, InvalidCachedStatementError):
        return SerializationFailureError(f"{where}the schema changed under the statement")
    if isinstance(error, asyncpg.PostgresError):
        return _from_server(error, where, statement)
    if is_undecodable(error):
        return QueryError(f"{where}a stored time lies outside the years 1 to 9999")
    if _is_argument(error):
        return InvalidArgumentError(f"{where}the driver refused an argument's type or range")
    if isinstance(error, _LOST):
        return PersistenceConnectionError(
            f"{where}the connection to the server was lost ({type(error).__name__})"
        )
    if isinstance(error, TimeoutError):
        return PersistenceConnectionError(f"{where}the server did not answer in time")
    return QueryError(f"{where}{type(error).__name__}", is_retryable=False)


def _is_argument(error: BaseException) -> bool:
    return isinstance(error, asyncpg.DataError | UnicodeEncodeError | OverflowError)


def _from_server(
    error: asyncpg.PostgresError, where: str, statement: Statement | None
) -> PersistenceError:
    state = error.sqlstate or "XX000"
    if state.startswith("23") and statement is not None:
        return _constraint(error, state, statement)
    if getattr(error, "server_source_function", None) == _POLICY_CHECK:
        return TenantIsolationError(f"{where}row-level security refused a row of another tenant")
    cls, text = ERRORS.get(state) or ERRORS.get(state[:2]) or (QueryError, "the statement failed")
    passing = not {state, state[:2]}.isdisjoint(_PASSING) and state not in _LASTING
    return cls(f"{where}{text} (SQLSTATE {state})", is_retryable=cls.is_retryable and passing)


def _constraint(error: asyncpg.PostgresError, state: str, statement: Statement) -> PersistenceError:
    # A foreign key that stops a delete belongs to another table than the statement's.
    named = getattr(error, "table_name", None) or ""
    table = referring(statement.table).get(named, statement.table)
    name = getattr(error, "constraint_name", None) or ""
    if state == "23505" and name == f"pk_{table.name}":
        return DuplicateRecordError(
            f"{statement.name}: a record with this {'/'.join(table.info['key'])} exists"
        )
    if state == "23502":
        constraint = f"{table.name}.{getattr(error, 'column_name', None)}"
    else:
        constraint = token(table, name)
    return ConstraintViolationError(
        f"{statement.name}: refused by the rule {constraint}", constraint=constraint
    )
