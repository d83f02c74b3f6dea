"""The engine as the backend has it: watched, to be closed from anywhere, and refusing misuse.

What must not be asked of any engine is refused here, around engines of whatever make: anything
before it is connected and after it is closed, and anything beside a transaction that the caller is
inside of.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import Connection

from holdfast.config import EngineConfig
from holdfast.engines.affinity import Affinity, not_connected
from holdfast.engines.inside import check_outside, inside
from holdfast.engines.instrumentation import InstrumentedSession
from holdfast.engines.protocol import Engine, EngineStats
from holdfast.engines.statement_stats import StatsCollector
from holdfast.engines.telemetry import Attributes, listening
from holdfast.engines.upkeep import Accept
from holdfast.errors import QueryError
from holdfast.storage.session import Isolation, Log, Row, TransactionScope

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

__all__ = ["InstrumentedEngine", "instrumented"]

T = TypeVar("T")


class _Unconnected:
    """What an engine is before `connect` and after `close`: whatever it is asked, it says so."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name) if name.startswith("__") else not_connected()


_UNCONNECTED: Any = _Unconnected()


class InstrumentedEngine(InstrumentedSession):
    """An engine whose statements are watched; everything else it does itself.

    It can be closed from any event loop, and warns when it is dropped without.
    """

    def __init__(
        self,
        inner: Engine,
        *,
        slow_seconds: float,
        identity: Attributes,
        drain_seconds: float = 0.0,
        tracers: TracerProvider | None = None,
        meters: MeterProvider | None = None,
    ) -> None:
        self._engine = inner
        self._slow_seconds = slow_seconds
        self._drain_seconds = drain_seconds
        self._identity = identity
        self._providers = (tracers, meters)
        self.name = inner.name
        #: In metrics, made up as the conventions want it.
        self.pool_name = _pool_name(identity)
        tally = StatsCollector(slow_seconds, None)
        super().__init__(_UNCONNECTED, tally, tally.commits)

    def __del__(self) -> None:
        if self.__dict__.get("_inner", _UNCONNECTED) is not _UNCONNECTED:
            warnings.warn(
                f"a {self.name} backend was dropped while it was connected: "
                "await backend.disconnect()",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
            if os.getpid() == self._affinity.pid:  # else all of it is the parent's
                self._engine.let_go()

    async def connect(self) -> None:
        await self._engine.connect()
        self._affinity = Affinity()
        telemetry = listening(self._identity, *self._providers)
        self._stats = StatsCollector(self._slow_seconds, telemetry)
        self._commits = self._stats.commits
        self._inner = self._engine
        if telemetry is not None:
            telemetry.attach(self)

    async def close(self) -> None:
        self._inner = _UNCONNECTED
        if self._stats.telemetry is not None:
            self._stats.telemetry.detach(self)
        engine = self._engine
        await self._affinity.close(engine.close, engine.abandon, self._drain_seconds)

    def _check(self, what: str) -> None:
        self._check_home()
        try:
            check_outside(self, what)
        except QueryError as error:
            self._stats.failed(what, 0.0, error)
            raise

    def _check_home(self) -> None:
        if self._inner is not _UNCONNECTED:
            self._affinity.check()

    def _inside(self) -> AbstractContextManager[None]:
        return inside(self)

    async def atomically(
        self,
        work: Callable[[TransactionScope], Awaitable[T]],
        *,
        isolation: Isolation = "read committed",
    ) -> T:
        return await self._attempt(partial(self._inner.atomically, isolation=isolation), work)

    def transaction(
        self, *, isolation: Isolation = "read committed"
    ) -> AbstractAsyncContextManager[TransactionScope]:
        return self._block(self._block_name, self._inner.transaction(isolation=isolation))

    def snapshot(self) -> AbstractAsyncContextManager[TransactionScope]:
        return self._block("snapshot", self._inner.snapshot())

    async def follow(
        self, log: Log, tenant: str, names: str, *, after: int | None, pause: float
    ) -> AsyncIterator[tuple[int, Sequence[Row]]]:
        """Each step is asked for by a task of its own, which may be inside a transaction: that
        would wait for itself to end."""
        self._check(log.piece.name)
        steps = self._inner.follow(log, tenant, names, after=after, pause=pause)
        async with aclosing(steps):
            async for step in steps:
                yield step
                self._check(log.piece.name)

    async def run_sync(self, work: Callable[[Connection], T], *, exclusive: bool = False) -> T:
        self._check("schema")
        return cast("T", await self._inner.run_sync(work, exclusive=exclusive))

    async def ping(self) -> bool:
        self._check_home()
        return cast("bool", await self._inner.ping())

    async def look_up(self, table: str, column: str) -> str | None:
        self._check_home()
        return cast("str | None", await self._inner.look_up(table, column))

    async def table_bytes(self) -> Mapping[str, int | None]:
        self._check_home()
        return cast("Mapping[str, int | None]", await self._inner.table_bytes())

    async def backup(self, target: Path, tables: Sequence[str]) -> Mapping[str, int]:
        self._check("backup")
        return cast("Mapping[str, int]", await self._inner.backup(target, tables))

    async def restore(self, source: Path, accept: Accept) -> None:
        self._check("restore")
        await self._inner.restore(source, accept)

    def stats(self) -> EngineStats:
        return self._stats.added_to(self._inner.stats())


def instrumented(engine: Engine, config: EngineConfig, identity: Attributes) -> Engine:
    """The engine, watched. ``identity`` says by OpenTelemetry's attributes which database it is."""
    watched = InstrumentedEngine(
        engine,
        slow_seconds=config.slow_statement_seconds,
        drain_seconds=config.drain_timeout_seconds,
        identity=identity,
    )
    return cast("Engine", watched)


def _pool_name(identity: Attributes) -> str:
    server = [str(identity[k]) for k in ("server.address", "server.port") if k in identity]
    database = [str(identity[k]) for k in ("db.namespace",) if k in identity]
    return "/".join([":".join(server)] * bool(server) + database) or str(identity["db.system.name"])
