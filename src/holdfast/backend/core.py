"""The backend: one engine, seen by one tenant."""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar, cast, get_args

from sqlalchemy import Table, bindparam, func, select

from holdfast import changes, migrations, validation
from holdfast.backend.once import Once, awaitable, callable_
from holdfast.backend.protocol import (
    ExtensionStatus,
    Health,
    PersistenceBackend,
    Status,
    TableStatus,
)
from holdfast.backend.transaction import Transaction
from holdfast.changes import Watch
from holdfast.engines.affinity import Turn, not_connected
from holdfast.engines.protocol import Engine, EngineStats
from holdfast.errors import (
    InvalidArgumentError,
    PersistenceConnectionError,
    PersistenceError,
    TenantIsolationError,
)
from holdfast.extending.extension import Extension
from holdfast.migrations import HOLDFAST, Chain
from holdfast.operations import Operations
from holdfast.printable import printable
from holdfast.storage.binding import Models
from holdfast.storage.reading import Report
from holdfast.storage.repository import Repository
from holdfast.storage.session import Isolation, Session, Statement
from holdfast.storage.tables import TENANT

__all__ = ["Backend", "Core"]

R = TypeVar("R", bound=Repository)
T = TypeVar("T")

logger = logging.getLogger("holdfast")

_SYSTEM = "_system"


@dataclass(slots=True)
class Core:
    """What the views of all tenants share."""

    engine: Engine
    models: Models | None = None
    extensions: tuple[Extension, ...] = ()
    #: Whether `connect` refuses a schema that is not this code's.
    schema_required: bool = False
    turn: Turn = field(default_factory=Turn)
    connected: bool = False
    #: Grows with every connection, so that views notice that their repositories are stale.
    connection: int = 0

    def make(self, kind: type[R], session: Session, tenant: str, report: Report | None = None) -> R:
        """A repository that takes and returns the application's own entities."""
        if all(kind.table.metadata is not chain.metadata for chain in self.chains):
            raise InvalidArgumentError(
                f"{kind.__name__}: its table {kind.table.name} belongs to no attached extension; "
                "make the backend with create_backend(..., extensions=[...])"
            )
        return kind(session, tenant, self.models, report)

    @property
    def chains(self) -> tuple[Chain, ...]:
        """In the order in which they are migrated."""
        return (HOLDFAST, *(extension.chain for extension in self.extensions))

    def chain(self, extension: str | None) -> Chain:
        """An extension's chain, or Holdfast's."""
        for chain in self.chains:
            if chain.name == (extension or HOLDFAST.name):
                return chain
        raise InvalidArgumentError(f"the extension {extension!r} is not attached")


class Backend(PersistenceBackend):
    def __init__(self, core: Core, tenant: str, report: Report | None = None) -> None:
        self._core = core
        self._report = report
        self._tenant = validation.not_blank(tenant, "tenant")
        self._made: dict[type[Any], Any] = {}
        self._made_on = self._entered = 0

    def __repr__(self) -> str:
        """Name the engine and the place, without a secret, the tenant and the state."""
        engine, state = self._core.engine, "connected" if self.is_connected else "not connected"
        place = getattr(engine, "pool_name", engine.name)
        text = f"<{type(self).__name__} {engine.name} {place}, tenant {self._tenant!r}, {state}>"
        return printable(text)

    async def connect(self) -> None:
        core = self._core
        async with core.turn.held():
            if core.connected:
                return
            await core.engine.connect()
            try:
                await self._look_at_schema()
            except BaseException:
                await self._close()
                raise
            core.connected = True
            core.connection += 1

    async def _look_at_schema(self) -> None:
        core = self._core
        why = await migrations.why_not_current(core.engine, core.chains)
        if why and core.schema_required:
            raise PersistenceConnectionError(
                f"schema_check is 'required', but {why}", is_retryable=False
            )
        if why:
            logger.warning("connected, but %s", why, extra={"engine": core.engine.name})

    async def disconnect(self) -> None:
        core = self._core
        async with core.turn.held():
            if core.connected:
                core.connected = False
                await self._close()

    async def _close(self) -> None:
        try:
            await self._core.engine.close()
        except Exception:
            logger.warning("closing the engine failed", exc_info=True)

    async def __aenter__(self) -> Self:
        self._entered += 1  # before: a block that ends meanwhile leaves the connection to this one
        try:
            await self.connect()
        except BaseException:
            self._entered -= 1
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._entered -= 1
        if not self._entered:  # else it is another block's still
            await self.disconnect()

    async def health_check(self) -> bool:
        if not self._core.connected:
            return False
        try:
            return await self._core.engine.ping()
        except PersistenceError:  # it was disconnected meanwhile, or is another loop's
            return False

    async def health(self) -> Health:
        core = self._core
        if not core.connected:
            return Health(ok=False, reason=str(not_connected()))
        try:
            if not await core.engine.ping():
                return Health(ok=False, reason="the database does not answer in time")
            why = await migrations.why_not_current(core.engine, core.chains)
        except PersistenceError as error:
            return Health(ok=False, reason=str(error))
        return Health(ok=not why, reason=why)

    async def migrate(self) -> None:
        async with self._core.turn.held():
            await migrations.migrate(self._engine(), self._core.chains)

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
        return View(self._core, tenant, self._report)

    def skipping_malformed(self, report: Report) -> PersistenceBackend:
        return View(self._core, self._tenant, report)

    @asynccontextmanager
    async def _transaction(self, isolation: Isolation) -> AsyncIterator[Transaction]:
        async with self._engine().transaction(isolation=_checked(isolation)) as session:
            yield Transaction(session, self._tenant, self._make)

    def transaction(
        self, *, isolation: Isolation = "read committed"
    ) -> AbstractAsyncContextManager[Transaction]:
        return Once(self._transaction(isolation), "backend.transaction")

    async def atomically(
        self,
        work: Callable[[Transaction], Awaitable[T]],
        *,
        isolation: Isolation = "read committed",
    ) -> T:
        def on(session: Session) -> Awaitable[T]:
            return awaitable(work(Transaction(session, self._tenant, self._make)))

        callable_(work)
        return await self._engine().atomically(on, isolation=_checked(isolation))

    def stats(self) -> EngineStats:
        return self._engine().stats()

    async def status(self) -> Status:
        engine = self._engine()
        about = await engine.describe()
        sizes = await engine.table_bytes()
        declared = [
            table for chain in self._core.chains for table in chain.metadata.tables.values()
        ]
        there = sorted(
            (table for table in declared if table.name in sizes), key=lambda table: table.name
        )
        rows = await self._count(engine, there)
        return Status(
            **about,
            revision=await migrations.current(engine),
            newest_revision=migrations.head(),
            extensions={
                chain.name: ExtensionStatus(await migrations.current(engine, chain), chain.head())
                for chain in self._core.chains[1:]
            },
            tables={name: TableStatus(count, sizes[name]) for name, count in rows.items()},
            stats=engine.stats(),
        )

    async def _count(self, engine: Engine, tables: Sequence[Table]) -> dict[str, int]:
        """The rows of all tenants; of this one where the database shows its role no others."""
        found, confined = {}, False
        for table in tables:
            all_rows, own_rows = _counts(table)
            if not confined:
                try:
                    row = await engine.get(all_rows, ())
                except TenantIsolationError:
                    confined = True
            if confined:
                row = await engine.get(own_rows, (self._tenant,))
            found[table.name] = row[0] if row else 0
        return found

    async def schema_drift(self) -> Sequence[str]:
        return await migrations.check(self._engine(), self._core.chains)

    async def downgrade(self, revision: str, *, extension: str | None = None) -> None:
        chain, chains = self._core.chain(extension), self._core.chains
        async with self._core.turn.held():
            later = chains[chains.index(chain) + 1 :]
            await migrations.downgrade(self._engine(), revision, chain, later=later)

    async def record_changes(self, *repositories: object) -> None:
        tables = changes.tables_of(repositories, "record_changes")
        await changes.record(self._engine(), tables)

    async def stop_recording(self, *repositories: object) -> None:
        await changes.stop_recording(
            self._engine(), changes.tables_of(repositories, "stop_recording")
        )

    async def recorded_tables(self) -> Sequence[str]:
        return await changes.recorded_tables(self._engine())

    def watch(self, *repositories: object, after: int | None = None, pause: float = 0.02) -> Watch:
        tables = changes.tables_of(repositories, "watch")
        return changes.watch(self._engine, self._tenant, tables, after, pause)

    async def prune_changes(
        self, *, through: int | None = None, older_than: timedelta | None = None
    ) -> int:
        return await changes.prune(self._engine(), self._tenant, through, older_than)

    @property
    def operations(self) -> Operations:
        return Operations(self._engine, self._core.chains, self._core.models)

    def _engine(self) -> Engine:
        if not self._core.connected:
            raise not_connected()
        return self._core.engine

    def _make(self, kind: type[R], session: Session, tenant: str, **options: Any) -> R:
        return self._core.make(kind, session, tenant, **{"report": self._report, **options})

    def repository(self, kind: type[R]) -> R:
        if self._made_on != self._core.connection:
            self._made.clear()
            self._made_on = self._core.connection
        if kind not in self._made:
            self._made[kind] = self._make(kind, self._core.engine, self._tenant)
        return cast("R", self._made[kind])


class View(Backend):
    """Records through a backend's connections, which stay the backend's own."""

    async def connect(self) -> None:
        if not self._core.connected:
            raise PersistenceConnectionError(
                "a tenant's view does not connect the backend it was made from: connect that, or "
                "make a backend of the tenant's own with create_backend(..., tenant=...)",
                is_retryable=False,
            )

    async def disconnect(self) -> None:
        """Do nothing: the other tenants' calls go on."""


def _checked(isolation: Isolation) -> Isolation:
    if isolation not in get_args(Isolation):
        raise InvalidArgumentError(
            f"isolation: {isolation!r} is none of {', '.join(get_args(Isolation))}"
        )
    return isolation


@functools.cache
def _counts(table: Table) -> tuple[Statement, Statement]:
    """Of every tenant's rows, and of one's. Made once: an engine keeps what it compiled."""
    name, count = f"{table.name}.count", select(func.count()).select_from(table)
    own = count.where(table.c[TENANT] == bindparam(TENANT, type_=table.c[TENANT].type))
    return Statement(name, count, (), table), Statement(name, own, (TENANT,), table)
