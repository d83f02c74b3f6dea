"""The backend: life cycle, repositories, tenants and transactions over one engine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

from pydantic import SecretStr
from sqlalchemy import func, select

from holdfast import checks, migrations
from holdfast.config import PersistenceConfig, PostgresConfig, SQLiteConfig
from holdfast.engines.base import Engine, EngineStats, Session, Statement
from holdfast.engines.sqlite.engine import SQLiteEngine
from holdfast.errors import PersistenceConnectionError
from holdfast.repositories import Repositories
from holdfast.schema import metadata

__all__ = [
    "PersistenceBackend",
    "PostgresPersistenceBackend",
    "SQLitePersistenceBackend",
    "Status",
    "TableStatus",
    "Transaction",
    "create_backend",
]

R = TypeVar("R")

logger = logging.getLogger("holdfast")

_SYSTEM = "_system"


class _NotConnectedError(PersistenceConnectionError, AttributeError):
    """Also an `AttributeError`: `hasattr`, and with it ``isinstance`` against a protocol, asks."""


@dataclass(frozen=True, slots=True)
class TableStatus:
    """Rows of all tenants, and bytes on disk with indexes (``None`` if the engine cannot tell)."""

    rows: int
    bytes: int | None


@dataclass(frozen=True, slots=True)
class Status:
    """What `holdfast status` shows."""

    engine: str
    version: str
    database: str
    revision: str | None
    newest_revision: str
    tables: Mapping[str, TableStatus]
    stats: EngineStats


class Transaction(Repositories):
    """The repositories on one connection; made by `PersistenceBackend.transaction`."""

    def __init__(self, session: Session, tenant: str) -> None:
        self._session = session
        self._tenant = tenant
        self._made: dict[type[Any], Any] = {}

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A savepoint: what fails inside it can be caught outside of it."""
        async with self._session.transaction() as session:
            yield Transaction(session, self._tenant)

    def for_tenant(self, tenant: str) -> Transaction:
        """The same transaction for another tenant's records."""
        return Transaction(self._session, checks.not_blank(tenant, "for_tenant: tenant"))

    def _repository(self, kind: type[R]) -> R:
        if kind not in self._made:
            self._made[kind] = kind(self._session, self._tenant)  # type: ignore[call-arg]
        return self._made[kind]  # type: ignore[no-any-return]


@runtime_checkable
class PersistenceBackend(Repositories, Protocol):
    """One database, seen by one tenant. Made disconnected by `create_backend`."""

    async def connect(self) -> None:
        """Open the database; idempotent; does not migrate. `PersistenceConnectionError`."""

    async def disconnect(self) -> None:
        """Finish what was accepted and close; safe when not connected, never raises."""

    async def health_check(self) -> bool:
        """Whether the database answers within the pool's deadline; never raises."""

    async def migrate(self) -> None:
        """Bring the schema to the newest revision; safe from many processes at once.

        `PersistenceConnectionError` if not connected, else `MigrationError`.
        """

    def get_db(self) -> Any:
        """The engine's raw handle: an escape hatch, outside of every promise made here.

        SQLite: the writer's thread, whose ``run(function)`` calls ``function(connection)``.
        PostgreSQL: the pool, whose ``acquire()`` lends an asyncpg connection as ``.raw``.
        """

    @property
    def is_connected(self) -> bool: ...

    @property
    def backend_name(self) -> str:
        """``"sqlite"`` or ``"postgres"``."""

    async def get_setting(self, key: str) -> str | None:
        """A setting of the namespace ``_system``."""

    async def set_setting(self, key: str, value: str) -> None:
        """Upsert in the namespace ``_system``, with the time of now as ``updated_at``."""

    @property
    def tenant(self) -> str: ...

    def for_tenant(self, tenant: str) -> PersistenceBackend:
        """A view of another tenant's records that shares this backend's connections."""

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """The same repositories on one connection, committed together on leaving.

        Leaving by an exception rolls back. After a statement failed, the transaction can only be
        left: put what may fail into ``async with tx.transaction()``, a savepoint. On SQLite a
        transaction holds the only writer, so keep it short.
        """

    def stats(self) -> EngineStats:
        """Figures of this process since `connect`."""

    async def status(self) -> Status:
        """Engine, schema and sizes; counts every table."""

    async def schema_drift(self) -> Sequence[str]:
        """How the database differs from this code's schema, one line each; empty if it does not."""

    async def downgrade(self, revision: str) -> None:
        """Undo migrations down to ``revision``, ``"base"``, or ``"-1"`` for one. Drops data."""


@dataclass(slots=True)
class _Core:
    """What the views of all tenants share."""

    engine: Engine
    lock: asyncio.Lock
    connected: bool = False
    #: Grows with every connection, so that views notice that their repositories are stale.
    connection: int = 0


class _Backend(PersistenceBackend):
    def __init__(self, core: _Core, tenant: str) -> None:
        self._core = core
        self._tenant = checks.not_blank(tenant, "tenant")
        self._made: dict[type[Any], Any] = {}
        self._made_on = 0

    async def connect(self) -> None:
        core = self._core
        async with core.lock:
            if not core.connected:
                await core.engine.connect()
                core.connected = True
                core.connection += 1

    async def disconnect(self) -> None:
        core = self._core
        async with core.lock:
            if core.connected:
                core.connected = False
                try:
                    await core.engine.close()
                except Exception:
                    logger.warning("closing the engine failed", exc_info=True)

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.disconnect()

    async def health_check(self) -> bool:
        return self._core.connected and await self._core.engine.ping()

    async def migrate(self) -> None:
        async with self._core.lock:
            await migrations.migrate(self._engine())

    def get_db(self) -> Any:
        return self._engine().raw

    @property
    def is_connected(self) -> bool:
        return self._core.connected

    @property
    def backend_name(self) -> str:
        return self._core.engine.name

    async def get_setting(self, key: str) -> str | None:
        found = await self.settings.get(_SYSTEM, key)
        return None if found is None else found[0]

    async def set_setting(self, key: str, value: str) -> None:
        await self.settings.set(_SYSTEM, key, value, datetime.now(UTC).isoformat())

    @property
    def tenant(self) -> str:
        return self._tenant

    def for_tenant(self, tenant: str) -> PersistenceBackend:
        return _Backend(self._core, tenant)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Transaction]:
        async with self._engine().transaction() as session:
            yield Transaction(session, self._tenant)

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        return self._transaction()

    def stats(self) -> EngineStats:
        return self._engine().stats()

    async def status(self) -> Status:
        engine = self._engine()
        about = await engine.describe()
        sizes = await engine.table_bytes()
        tables = {}
        for name, table in sorted(metadata.tables.items()):
            if name in sizes:
                count = select(func.count()).select_from(table)
                row = await engine.get(Statement(f"{name}.count", count, (), table), ())
                tables[name] = TableStatus(row[0] if row else 0, sizes[name])
        return Status(
            **about,
            revision=await migrations.current(engine),
            newest_revision=migrations.head(),
            tables=tables,
            stats=engine.stats(),
        )

    async def schema_drift(self) -> Sequence[str]:
        return await migrations.check(self._engine())

    async def downgrade(self, revision: str) -> None:
        async with self._core.lock:
            await migrations.downgrade(self._engine(), revision)

    def _engine(self) -> Engine:
        if not self._core.connected:
            raise _NotConnectedError("the backend is not connected: await backend.connect()")
        return self._core.engine

    def _repository(self, kind: type[R]) -> R:
        engine = self._engine()
        if self._made_on != self._core.connection:
            self._made.clear()
            self._made_on = self._core.connection
        if kind not in self._made:
            self._made[kind] = kind(engine, self._tenant)  # type: ignore[call-arg]
        return self._made[kind]  # type: ignore[no-any-return]


class SQLitePersistenceBackend(_Backend):
    """A backend on one SQLite file, or on a private database in memory."""

    def __init__(self, config: SQLiteConfig, *, tenant: str = "default") -> None:
        super().__init__(_Core(SQLiteEngine(config), asyncio.Lock()), tenant)


class PostgresPersistenceBackend(_Backend):
    """A backend on a PostgreSQL server; needs the extra ``holdfast[postgres]``."""

    def __init__(self, config: PostgresConfig, *, tenant: str = "default") -> None:
        try:
            from holdfast.engines.postgres.engine import PostgresEngine
        except ModuleNotFoundError as error:
            raise PersistenceConnectionError(
                f"PostgreSQL needs the package {error.name}: pip install 'holdfast[postgres]'"
            ) from error
        super().__init__(_Core(PostgresEngine(config), asyncio.Lock()), tenant)


def create_backend(
    config: PersistenceConfig | SecretStr | str | None = None, *, tenant: str | None = None
) -> PersistenceBackend:
    """A new, disconnected backend that shares nothing with others.

    ``config`` is a configuration, a URL (``sqlite:///org.db``, ``sqlite:///:memory:``,
    ``postgresql://user@host/db``), or ``None`` for ``HOLDFAST_URL`` and ``HOLDFAST_*`` from the
    environment. Raises `PersistenceConnectionError` if the backend is unknown or its extra is not
    installed, `InvalidArgumentError` for a bad URL or environment.
    """
    if config is None:
        config = PersistenceConfig.from_env()
    if isinstance(config, str):
        # From here on a traceback that shows variables shows no password.
        config = SecretStr(config)
    if isinstance(config, SecretStr):
        config = PersistenceConfig.from_url(config)
    name = tenant if tenant is not None else config.tenant
    if config.backend == "sqlite":
        return SQLitePersistenceBackend(config.sqlite, tenant=name)
    if config.backend == "postgres" and config.postgres is not None:
        return PostgresPersistenceBackend(config.postgres, tenant=name)
    raise PersistenceConnectionError(
        f"the backend {config.backend!r} is unknown or not configured; "
        "use 'sqlite', or 'postgres' with a PostgresConfig"
    )
