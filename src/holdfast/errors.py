"""Every error Holdfast raises.

::

    PersistenceError
    ├── PersistenceConnectionError          cannot connect, connection lost, not connected
    │   ├── PoolTimeoutError                no connection became free within the deadline
    │   ├── CircuitOpenError                the server has been away for long: refused at once
    │   ├── UnusableDatabaseError           its encoding, or no schema that the role may use
    │   ├── DiskIOError                     the database's disk failed to read, write or sync
    │   ├── DatabaseGoneError               SQLite's file was deleted, moved or replaced while open
    │   ├── ReadOnlyError                   a write on a database that was opened for reading
    │   └── DatabaseCorruptError            what is stored is damaged
    ├── TenantIsolationError                the database would not keep tenants apart
    ├── BackupError                         a backup or a restore did not come about
    ├── MigrationError
    │   └── SchemaTooNewError               the database was migrated by a newer Holdfast
    ├── OutcomeUnknownError                 the write may or may not have been committed
    ├── RecordNotFoundError
    ├── ChangesLostError                    the log of changes has a gap behind the watcher's place
    ├── DuplicateRecordError                an insert-only save met an existing key
    ├── QueryError
    │   ├── InvalidArgumentError            also a ValueError; refused before anything was sent
    │   ├── ConstraintViolationError        a unique rule, foreign key or check
    │   ├── MalformedRowError               a stored row no longer fits its entity
    │   ├── VersionConflictError            optimistic concurrency failed
    │   ├── SerializationFailureError       the database asks to run the transaction again
    │   ├── QueryTimeoutError               the statement ran into its deadline
    │   └── DiskFullError                   the database's disk has no room for the write
    ├── ArtifactTooLargeError
    └── ArtifactStorageFullError

``is_retryable`` says whether the same call, made again unchanged after a pause, can succeed. A
class has the answer for most of its errors; one that is known better, such as a password that was
refused among failures to connect, carries its own. Messages name the place of a bad value, never
the value of a secret, and never text of the database's ``DETAIL``. As text an error is one line:
characters that are not printable are escaped.
"""

from __future__ import annotations

from holdfast.printable import printable

__all__ = [
    "ArtifactStorageFullError",
    "ArtifactTooLargeError",
    "BackupError",
    "ChangesLostError",
    "CircuitOpenError",
    "ConstraintViolationError",
    "DatabaseCorruptError",
    "DatabaseGoneError",
    "DiskFullError",
    "DiskIOError",
    "DuplicateRecordError",
    "InvalidArgumentError",
    "MalformedRowError",
    "MigrationError",
    "OutcomeUnknownError",
    "PersistenceConnectionError",
    "PersistenceError",
    "PoolTimeoutError",
    "QueryError",
    "QueryTimeoutError",
    "ReadOnlyError",
    "RecordNotFoundError",
    "SchemaTooNewError",
    "SerializationFailureError",
    "TenantIsolationError",
    "UnusableDatabaseError",
    "VersionConflictError",
]


class PersistenceError(Exception):
    """Base of every Holdfast error."""

    is_retryable: bool = False

    def __init__(self, *args: object, is_retryable: bool | None = None) -> None:
        super().__init__(*args)
        if is_retryable is not None:
            self.is_retryable = is_retryable

    def __str__(self) -> str:
        return printable(super().__str__())


class PersistenceConnectionError(PersistenceError):
    """The database cannot be reached, the connection was lost, or the backend is not connected."""

    is_retryable = True


class PoolTimeoutError(PersistenceConnectionError):
    """No connection became free in time; the message says how many are busy and for how long."""


class CircuitOpenError(PersistenceConnectionError):
    """The server has been away longer than callers are to wait; it is asked in the background."""


class UnusableDatabaseError(PersistenceConnectionError):
    """The database answers, and cannot be used: its encoding, or no schema that the role may use.

    Nothing was written; the message says what to change."""

    is_retryable = False


class DiskIOError(PersistenceConnectionError):
    """The disk below the database failed. Nothing of the transaction was kept; look at the disk."""


class DatabaseCorruptError(PersistenceConnectionError):
    """What is stored is damaged: stop writing, keep a copy and restore the latest backup."""

    is_retryable = False


class DatabaseGoneError(PersistenceConnectionError):
    """The database file is not the one that was opened: deleted, moved or replaced since.

    What the call wrote is in no file that will be opened again, unless the file was moved.
    Disconnect, put the files in order and connect anew.
    """

    is_retryable = False


class ReadOnlyError(PersistenceConnectionError):
    """The database, or the backend's connection to it, takes no writes; nothing was written."""

    is_retryable = False


class TenantIsolationError(PersistenceError):
    """The database does not keep tenants apart for this role, or a statement named no tenant."""


class BackupError(PersistenceError):
    """A backup or a restore did not come about; the database is as it was before."""


class MigrationError(PersistenceError):
    """A migration failed; the schema is at the revision it had before."""


class SchemaTooNewError(MigrationError):
    """The database holds a revision this Holdfast does not know: upgrade Holdfast."""


class OutcomeUnknownError(PersistenceError):
    """The connection was lost while a write was in flight: it may or may not be committed.

    Look the record up by its key before writing it again.
    """


class RecordNotFoundError(PersistenceError):
    """An update named a record that does not exist."""


class ChangesLostError(PersistenceError):
    """Changes that a watcher had not read are not in the log: read everything, then watch anew."""


class DuplicateRecordError(PersistenceError):
    """An insert-only save met a record with the same key; the stored one is unchanged."""


class QueryError(PersistenceError):
    """A statement failed; its transaction was rolled back."""

    is_retryable = True


class InvalidArgumentError(QueryError, ValueError):
    """An argument was refused before anything was sent to the database."""

    is_retryable = False


class ConstraintViolationError(QueryError):
    """A unique rule, foreign key or check refused the write.

    ``constraint`` is a stable token, equal on both engines, such as ``users.username``.
    """

    is_retryable = False

    def __init__(self, message: str, *, constraint: str) -> None:
        super().__init__(message)
        self.constraint = constraint

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args[0], {"constraint": self.constraint})


class MalformedRowError(QueryError):
    """A stored row cannot be read as its entity; ``key`` is its key within the tenant.

    ``reason`` says what is wrong where, without values.
    """

    is_retryable = False

    def __init__(
        self, message: str, *, table: str, key: tuple[object, ...], reason: str = ""
    ) -> None:
        super().__init__(message)
        self.table = table
        self.key = key
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        attributes = {"table": self.table, "key": self.key, "reason": self.reason}
        return _rebuild, (type(self), self.args[0], attributes)


class VersionConflictError(QueryError):
    """The stored version is not the one the update was made from: read again, then decide."""

    is_retryable = False


class SerializationFailureError(QueryError):
    """The transaction lost against a concurrent one (deadlock, serialization): run it again."""


class QueryTimeoutError(QueryError):
    """The statement did not finish within its deadline and was cancelled."""


class DiskFullError(QueryError):
    """The disk below the database is full. Nothing of the transaction was kept; make room, then
    write again."""


class ArtifactTooLargeError(PersistenceError):
    """An artifact's content exceeds the limit for one artifact."""


class ArtifactStorageFullError(PersistenceError):
    """The artifact content store is full."""


def _rebuild(
    cls: type[PersistenceError], message: str, attributes: dict[str, object]
) -> PersistenceError:
    """Unpickle an error with keyword-only attributes (worker processes send errors home)."""
    return cls(message, **attributes)  # type: ignore[arg-type]
