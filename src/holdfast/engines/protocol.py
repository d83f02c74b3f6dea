"""What an engine promises: the protocol the backend is written against."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from holdfast.engines.stats import (
    BatchStats,
    EngineStats,
    Failover,
    PoolStats,
    ReplicaStats,
    RetryStats,
)
from holdfast.engines.upkeep import Upkeep
from holdfast.storage.session import Isolation, Log, Row, Session, TransactionScope

__all__ = [
    "EXCLUSIVE_SECONDS",
    "QUIET_SECONDS",
    "BatchStats",
    "Engine",
    "EngineStats",
    "Failover",
    "PoolStats",
    "ReplicaStats",
    "RetryStats",
]

T = TypeVar("T")


#: How long an exclusive run waits for another one.
EXCLUSIVE_SECONDS = 120.0

#: A follower that has nothing to tell says that after so long.
QUIET_SECONDS = 5.0


class Engine(Session, Upkeep, Protocol):
    """One database, spoken to from one event loop."""

    name: str

    async def atomically(
        self,
        work: Callable[[TransactionScope], Awaitable[T]],
        *,
        isolation: Isolation = "read committed",
    ) -> T: ...

    def transaction(
        self, *, isolation: Isolation = "read committed"
    ) -> AbstractAsyncContextManager[TransactionScope]:
        """See `Session`; with at least this isolation."""

    async def connect(self) -> None:
        """Open what is needed to answer; on failure nothing stays open."""

    async def close(self) -> None:
        """Finish what was accepted, then close; never raises. On the loop of `connect`."""

    async def abandon(self) -> None:
        """Close as well as can be done from another loop, that of `connect` being gone or stuck.

        What was handed to a thread or a server is finished; those who wait for it are told if their
        loop runs again. Afterwards the engine can be connected anew. Never raises.
        """

    def let_go(self) -> None:
        """Begin `abandon`, from any thread, and wait for nothing."""

    async def ping(self) -> bool:
        """Whether the database answers within the pool's deadline.

        Raises a `PersistenceError` where it is known that waiting does not help, and why.
        """

    def snapshot(self) -> AbstractAsyncContextManager[TransactionScope]:
        """As `transaction`, for reads only: all of them see the database as it was at one moment.

        It keeps no writer waiting, but what is deleted meanwhile takes up space until it ends.
        """

    def follow(
        self, log: Log, tenant: str, names: str, *, after: int | None, pause: float
    ) -> AsyncIterator[tuple[int, Sequence[Row]]]:
        """The rows of a log, each once and in order, from behind ``after``, as they are committed.

        In steps: a number and the rows up to it that were not answered before. Nothing will ever
        appear below a number that was answered. ``None`` begins now: the first step says where,
        without rows. It waits for transactions that are under way and have written to the log.
        When nothing came for ``QUIET_SECONDS``, a step repeats the number, without rows.

        Goes on when the connection is lost; ends with `PersistenceConnectionError` when the engine
        is closed, and with `ChangesLostError` when the log's largest number is below the last one
        that was answered. ``pause`` is the seconds between two looks, where nobody notifies.
        """

    async def run_sync(self, work: Callable[[Connection], T], *, exclusive: bool = False) -> T:
        """Run ``work`` on a thread or greenlet with a SQLAlchemy connection of its own.

        For migrations and inspection: a direct connection outside the pool, without the
        statement deadline, closed afterwards. ``exclusive`` keeps every other exclusive run away,
        also of other processes; ``work`` must then look again at what it decided by, and bear to be
        run again from the start: it is rolled back rather than keep others waiting for a table.
        What the driver raises, also inside ``work``, comes as a Holdfast error.
        """

    async def describe(self) -> Mapping[str, str]:
        """``engine``, ``version`` and where the database is, without secrets."""

    async def table_bytes(self) -> Mapping[str, int | None]:
        """Bytes on disk per table, indexes included; ``None`` where the engine cannot tell."""

    def stats(self) -> EngineStats: ...

    @property
    def raw(self) -> Any:
        """The driver's own handle."""
