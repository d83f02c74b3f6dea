"""The interface of a backend, and what it reports of itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

from holdfast.backend.transaction import Transaction
from holdfast.changes import Watch
from holdfast.engines.protocol import EngineStats
from holdfast.operations import Operations
from holdfast.repositories import Repositories
from holdfast.storage.reading import Report
from holdfast.storage.session import Isolation

__all__ = ["ExtensionStatus", "Health", "PersistenceBackend", "Status", "TableStatus"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TableStatus:
    """Rows of all tenants, and bytes on disk with indexes (``None`` if the engine cannot tell).

    Where row-level security holds the role to one tenant, the rows are the backend's tenant's.
    """

    rows: int
    bytes: int | None


@dataclass(frozen=True, slots=True)
class ExtensionStatus:
    """Where an extension's migrations stand; ``None`` before the first, or if it has none yet."""

    revision: str | None
    newest_revision: str | None


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a backend is ready for work, and if not, why and what to do; true if it is."""

    ok: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.ok


@dataclass(frozen=True, slots=True)
class Status:
    """Engine, schema and sizes of a database, as `holdfast status` prints them."""

    engine: str
    version: str
    database: str
    revision: str | None
    newest_revision: str
    extensions: Mapping[str, ExtensionStatus]
    tables: Mapping[str, TableStatus]
    stats: EngineStats


@runtime_checkable
class PersistenceBackend(Repositories, Protocol):
    """One database, seen by one tenant. Made disconnected by `create_backend`."""

    async def connect(self) -> None:
        """Open the database; idempotent; does not migrate. `PersistenceConnectionError`.

        A schema that is absent, older or newer than this code's is a warning in the log, or with
        ``schema_check="required"`` an error. Repositories may be taken before; their calls, and all
        others, then raise `PersistenceConnectionError`, as they do after `disconnect`.

        On a view of `for_tenant` nothing is opened: an error unless its backend is connected.
        """

    async def disconnect(self) -> None:
        """Refuse what comes, finish what was accepted, and close; safe when not connected.

        Calls and open transactions are waited for up to ``drain_timeout_seconds``, then ended: a
        write in flight gets `OutcomeUnknownError`, everything else `PersistenceConnectionError`.
        Raises nothing; cancelled, it ends them at once, closes all the same and is cancelled then.

        May be called on another event loop than `connect`, whether that one runs in another thread
        or is gone; then the backend can be connected on this one. On a view of `for_tenant` nothing
        is closed.
        """

    async def __aenter__(self) -> Self:
        """`connect`, and return the backend."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """`disconnect`."""

    async def health_check(self) -> bool:
        """Tell whether the database answers within the pool's deadline; never raises.

        Says nothing about the schema: see `health`.
        """

    async def health(self) -> Health:
        """Tell whether the database answers and its schema is this code's; if not, the reason.

        Never raises. Costs two short reads.
        """

    async def migrate(self) -> None:
        """Bring the schema to the newest revision; safe from many processes at once.

        Holdfast's own tables first, then those of each extension in the order of attachment: all
        of it or nothing.
        `PersistenceConnectionError` if not connected, else `MigrationError`.
        """

    def get_db(self) -> Any:
        """Return the engine's raw handle: an escape hatch, outside of every promise made here.

        SQLite: the writer's thread, whose ``run(function)`` calls ``function(connection)``.
        PostgreSQL: the pool, whose ``acquire()`` lends an asyncpg connection as ``.raw``.
        `PersistenceConnectionError` if not connected.
        """

    @property
    def is_connected(self) -> bool:
        """Whether `connect` was called and `disconnect` not since; asks no database."""

    @property
    def backend_name(self) -> str:
        """``"sqlite"`` or ``"postgres"``."""

    async def get_setting(self, key: str) -> str | None:
        """Return the value of a setting of the namespace ``_system``; ``None`` if there is none."""

    async def set_setting(self, key: str, value: str) -> None:
        """Save a setting in the namespace ``_system``, with the time of now as ``updated_at``."""

    @property
    def tenant(self) -> str:
        """The tenant whose records the repositories read and write."""

    def for_tenant(self, tenant: str) -> PersistenceBackend:
        """Return a view of another tenant's records that shares this backend's connections.

        It is usable while this backend is connected, and after each reconnection. It opens and
        closes nothing: `connect` and ``async with`` only make sure that the backend is connected,
        `disconnect` does nothing. What concerns the whole database (`migrate`, `health`, `status`,
        `operations`) does so on a view, too.
        """

    def skipping_malformed(self, report: Report) -> PersistenceBackend:
        """Return a view of the same records whose lists leave out rows that cannot be read.

        ``report`` is called with each row left out, such as ``skipped.append`` of a list. A
        ``limit`` counts the readable rows; a page goes on behind its last entry, and a row behind
        that is reported with the next page. All other reads, those by key included, raise
        `MalformedRowError`. Nothing stored is changed; `Operations.malformed_rows` finds such rows.
        """

    def transaction(
        self, *, isolation: Isolation = "read committed"
    ) -> AbstractAsyncContextManager[Transaction]:
        """Open a transaction: the same repositories on one connection, committed on leaving.

        Leaving by an exception rolls back. After a statement failed, the transaction can only be
        left: put what may fail into ``async with tx.transaction()``, a savepoint. On SQLite a
        transaction holds the only writer, so keep it short.

        Inside the block, whatever goes to the database through this backend or its views instead of
        ``tx`` is refused with `QueryError`, also in tasks that were made inside: it would not be
        part of the transaction. Other backends may be used.

        ``isolation`` is the least it has; on SQLite all are serializable. Above ``"read
        committed"``, PostgreSQL ends a transaction with `SerializationFailureError`, also on
        leaving, rather than let it depend on what another one has changed meanwhile: `atomically`
        runs it again. ``"serializable"`` holds between those that ask for it.
        """

    async def atomically(
        self,
        work: Callable[[Transaction], Awaitable[T]],
        *,
        isolation: Isolation = "read committed",
    ) -> T:
        """Return ``work(tx)``, from a transaction that is run again if it lost against another.

        That is after `SerializationFailureError` (a deadlock, for one), with pauses, a few times
        and within the pool's deadline. ``work`` must be safe to run twice: what it does beside
        ``tx`` is not undone. Everything else is as in `transaction`.
        """

    @property
    def operations(self) -> Operations:
        """What an operator does with the database: tenants, retention, backup, roles."""

    def stats(self) -> EngineStats:
        """Return figures of this process since `connect`."""

    async def status(self) -> Status:
        """Return the engine, the schema and the sizes; counts every table."""

    async def schema_drift(self) -> Sequence[str]:
        """Return how the database differs from this code's schema, one line each."""

    async def downgrade(self, revision: str, *, extension: str | None = None) -> None:
        """Undo migrations down to ``revision``, ``"base"``, or ``"-1"`` for one. Drops data.

        Holdfast's own, or those of one ``extension``, by name; to ``"base"`` only when no
        extension that was attached later is migrated.
        """

    async def record_changes(self, *repositories: object) -> None:
        """Record the changes of these repositories' tables, for all tenants, from now on.

        Lasts until `stop_recording`, through migrations too; done already, nothing is done. Waits
        for the transactions that are writing to the table, on PostgreSQL up to 5 seconds; on SQLite
        for any writer, and on both for another process that switches or migrates, up to two
        minutes. Then it raises `QueryTimeoutError`, and the tables before are switched.

        `InvalidArgumentError` if a table's name has other characters than a-z, 0-9 and _.
        """

    async def stop_recording(self, *repositories: object) -> None:
        """Stop recording the changes of these tables; the log stays.

        A watch of such a table ends with `ChangesLostError`. Waits as `record_changes` does, on
        PostgreSQL for transactions that only read the table, too.
        """

    async def recorded_tables(self) -> Sequence[str]:
        """Return the names of the tables whose changes are recorded, sorted."""

    def watch(self, *repositories: object, after: int | None = None, pause: float = 0.02) -> Watch:
        """Watch the committed changes of this tenant's records: each once, per key in commit order.

        ``after`` is where another watch came to (`Watch.revision`). Without it the watch begins
        with ``async with``, or its first step: everything committed after that returned is handed
        out, and nothing committed before it was called. Goes on when the connection to the server
        is lost. ``pause`` is how long SQLite waits between two looks, in seconds.

        A step that is cancelled loses nothing. Leave by ``async with`` or ``aclose``: a watch that
        is dropped in the middle of a step keeps what it has until `disconnect`.

        Steps raise `ChangesLostError` if changes behind ``after`` are not in the log, because they
        were deleted or not recorded; `InvalidArgumentError` if a table is not recorded, ``after``
        is no revision of this log, or another task is waiting for a step of this watch;
        `PersistenceConnectionError` after `disconnect`.
        """

    async def prune_changes(
        self, *, through: int | None = None, older_than: timedelta | None = None
    ) -> int:
        """Delete this tenant's oldest changes, and return how many.

        ``through`` is the revision of the last one, ``older_than`` an age. A watch that has not
        read them gets `ChangesLostError`. Of several callers at once each counts its own deletions.
        """
