"""Which server a connection is opened to, how it is spoken to there, and what is kept with it.

A pooler in transaction mode, such as PgBouncer, gives every transaction another session: there,
statements are prepared without a name and sent again with each call, nothing is set for a session,
and what needs one is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from weakref import WeakSet

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from holdfast.config import PostgresConfig
from holdfast.engines.affinity import disconnected
from holdfast.engines.postgres.attempt import (
    connect,
    explain,
    forget_frames,
    is_poolers_refusal,
)
from holdfast.engines.postgres.sockets import sever
from holdfast.errors import PersistenceConnectionError

__all__ = ["Known", "Opened", "PooledConnection", "open_connection"]

Place: TypeAlias = tuple[str, int]
Raw: TypeAlias = "asyncpg.Connection[Any]"

_LOOK = """
SELECT pg_backend_pid(),
pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on'
"""


class PooledConnection:
    """An asyncpg connection, the statements prepared on it, and its place in the pool."""

    __slots__ = (
        "_keep", "_nameless", "_prepared", "alive_at", "busy_since", "expired", "moved", "raw",
        "retire_at",
    )  # fmt: skip

    def __init__(self, raw: asyncpg.Connection[Any], retire_at: float, keep: int) -> None:
        self._keep = keep
        self._nameless = False
        self.raw = raw
        #: When its age is over; 0 if it must go as soon as it is idle.
        self.retire_at = retire_at
        self.busy_since = 0.0
        #: Set when a deadline ended the connection: what fails then was a time-out.
        self.expired = False
        #: When it was last known to work, as the event loop counts.
        self.alive_at = 0.0
        #: Set when it was lost because the server goes or is no primary: others are no better.
        self.moved = False
        self._prepared: dict[str, PreparedStatement[Any]] = {}

    def prepared(self, sql: str) -> PreparedStatement[Any] | None:
        return self._prepared.get(sql)

    async def prepare(self, sql: str) -> PreparedStatement[Any]:
        statement = await self.raw.prepare(sql)
        self._nameless = not statement.get_name()
        if self._keep:
            if len(self._prepared) >= self._keep:
                self._prepared.pop(next(iter(self._prepared)))  # the oldest
            self._prepared[sql] = statement
        return statement

    def forget_statements(self) -> None:
        """After a schema change: the server refuses plans whose columns changed."""
        self._prepared.clear()

    def doubt_statements(self) -> None:
        """After any error. Statements without a name are sent again with each call, so the server
        does not say that their columns have changed: what was received cannot be read."""
        if self._nameless:
            self._prepared.clear()

    def expire(self) -> None:
        """End the connection at a deadline. Whatever waits on it fails at once.

        asyncpg's own way, cancelling the query, waits for the server, and a frozen server keeps
        its callers for as long as it is frozen.
        """
        self.expired = True
        self.raw.terminate()


class Opened:
    """The connections of one engine, however they are used, until it is abandoned."""

    def __init__(self) -> None:
        self.abandoned = False
        self._raws: WeakSet[Raw] = WeakSet()

    def add(self, raw: Raw) -> None:
        self._raws.add(raw)
        self.check()

    def check(self) -> None:
        if self.abandoned:
            self.sever()
            raise disconnected()

    def sever(self) -> None:
        """End them all, from any thread, and see to it that no other one is opened."""
        self.abandoned = True
        for raw in list(self._raws):
            sever(raw)


@dataclass(slots=True)
class Known:
    """What the connections of one configuration have found out, for the next ones to begin with."""

    #: The server that worked last.
    last: Place | None = None
    #: Poolers in transaction mode. One that turns into a server goes on being spoken to as one.
    poolers: set[Place] = field(default_factory=set)
    #: Whether the last connection that needed a session met a pooler instead.
    sessionless: bool = False
    opened: Opened = field(default_factory=Opened)


class PassedOverError(Exception):
    """A server that answers and is not what is looked for."""


async def open_connection(
    config: PostgresConfig,
    known: Known | None = None,
    *,
    direct: bool = False,
    session: bool | None = None,
    bounded: bool | None = None,
    look: Callable[[Raw], Awaitable[str]] | None = None,
) -> Raw:
    """A connection to the first server that will do, beginning with the one that did last.

    ``direct``: to ``direct_host``, where that is set. ``session``: what is to run needs a session
    of its own, so a pooler is refused. ``bounded``: statements have the configured deadline, which
    a pooler does not let through. If nothing else is said, a direct connection is one for
    migrations and the like: it needs a session and has no deadline.

    ``look`` answers why a server must be passed over, nothing if it will do.

    Each server gets an equal share of what is left of ``connect_timeout_seconds``.
    """
    session = direct if session is None else session
    bounded = not direct if bounded is None else bounded
    known = Known() if known is None else known
    known.opened.check()
    places, mode = _places(config, known, direct)
    now = asyncio.get_running_loop().time
    deadline = now() + config.connect_timeout_seconds
    failures: list[str] = []
    may_pass = False
    for number, place in enumerate(places):
        share = (deadline - now()) / (len(places) - number)
        try:
            # asyncpg's own limit does not cover every phase of connecting.
            async with asyncio.timeout(share):
                raw, pooled = await _open(config, known, place, mode, bounded)
                if look is not None:
                    await _take(raw, look)
        except PersistenceConnectionError:
            raise
        except asyncio.CancelledError as error:
            forget_frames(error)
            raise
        except Exception as error:
            forget_frames(error)
            cause, passed_over = error, isinstance(error, PassedOverError)
            why, passes = (str(error), True) if passed_over else explain(config, error, share)
            failures.append(f"{_text(place)}/{config.database}: {why}")
            may_pass = may_pass or passes
        else:
            known.opened.add(raw)
            known.last = place
            if session:
                known.sessionless = pooled
            if session and pooled:
                raw.terminate()
                raise _no_session(config, place)
            return raw
    raise PersistenceConnectionError(
        f"cannot connect to PostgreSQL at {'; '.join(failures)}", is_retryable=may_pass
    ) from cause


async def _take(raw: Raw, look: Callable[[Raw], Awaitable[str]]) -> None:
    try:
        why = await look(raw)
        if why:
            raise PassedOverError(why)
    except BaseException:
        raw.terminate()
        raise


def _places(config: PostgresConfig, known: Known, direct: bool) -> tuple[Sequence[Place], str]:
    """The servers in the order in which they are tried, and what they are taken for."""
    if direct and config.direct_host is not None:
        # What is named as the server is one, unless it proves to be another pooler.
        mode = "auto" if config.pooler == "transaction" else config.pooler
        return (config.place(config.direct_host),), mode
    places = list(dict.fromkeys(config.servers))
    if known.last in places:
        places.remove(known.last)
        places.insert(0, known.last)
    return places, config.pooler


async def _open(
    config: PostgresConfig, known: Known, place: Place, mode: str, bounded: bool
) -> tuple[Raw, bool]:
    """A connection to one server, and whether there is a pooler in between."""
    if mode == "transaction" or place in known.poolers:
        if config.synchronous_commit == "off":
            raise PersistenceConnectionError(
                f"synchronous_commit='off' does not pass the pooler at {_text(place)}: leave it "
                "'on' here and set it on the database role",
                is_retryable=False,
            )
        raw = await connect(config, place, _settings(config), statement_cache_size=0)
        await _look(config, raw, shared=True)
        return raw, True
    settings = _settings(config) | _session_settings(config, bounded)
    size = config.statement_cache_size
    try:
        raw = await connect(config, place, settings, statement_cache_size=size)
    except asyncpg.ProtocolViolationError as error:
        if mode == "none" or not is_poolers_refusal(error):
            raise
    else:
        if not await _look(config, raw, shared=None if mode == "auto" else False):
            return raw, False
        raw.terminate()
    known.poolers.add(place)
    return await _open(config, known, place, mode, bounded)


async def _look(config: PostgresConfig, raw: Raw, *, shared: bool | None) -> bool:
    """Whether a pooler is in between, ``None`` to find out; raises if the server will not do.

    A pooler makes up the process id it tells its client, so that it is no session's. And what it
    tells about the server, it may have heard from the one before.
    """
    try:
        told = raw.get_settings()
        standby = getattr(told, "in_hot_standby", None)  # since PostgreSQL 14
        read_only = "on" in (standby, getattr(told, "default_transaction_read_only", None))
        if shared is None or (config.needs_primary and (shared or standby is None)):
            # Without a name: in a session of others, theirs may be taken.
            row = await (await raw.prepare(_LOOK, name="")).fetchrow()
            assert row is not None  # noqa: S101 - it has no condition
            read_only = row[1]
            if shared is None:
                shared = row[0] != raw.get_server_pid()
        if config.needs_primary and read_only:
            raise PassedOverError("it refuses writes, as a standby does")
    except BaseException:
        raw.terminate()
        raise
    return shared


def _settings(config: PostgresConfig) -> dict[str, str]:
    """What poolers let through, and keep apart for each client."""
    return {"application_name": config.application_name, "timezone": "UTC"}


def _session_settings(config: PostgresConfig, bounded: bool) -> dict[str, str]:
    settings = {
        "statement_timeout": str(config.statement_timeout_ms) if bounded else "0",
        # Compiling a plan pays off in queries of seconds, not in ours.
        "jit": "off",
    }
    if config.synchronous_commit == "off":
        settings["synchronous_commit"] = "off"
    return settings


def _no_session(config: PostgresConfig, place: Place) -> PersistenceConnectionError:
    way_out = "set direct_host to" if config.direct_host is None else "direct_host must name"
    return PersistenceConnectionError(
        f"{_text(place)} is a pooler in transaction mode, and migrations, backups and watching "
        f"need a session of their own: {way_out} the server behind it",
        is_retryable=False,
    )


def _text(place: Place) -> str:
    return f"{place[0]}:{place[1]}"
