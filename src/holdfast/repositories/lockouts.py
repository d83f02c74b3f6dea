"""Failed logins, and the accounts they locked."""

from __future__ import annotations

import operator
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Protocol, Self, runtime_checkable

from sqlalchemy import and_, bindparam, case, delete, literal_column, null, or_
from sqlalchemy.dialects import postgresql

from holdfast import validation
from holdfast.entities import Lockout, LockoutConfig
from holdfast.entities.base import utc_now
from holdfast.schema.lockouts import lockouts
from holdfast.storage.listing import Listing
from holdfast.storage.mapping import checked
from holdfast.storage.records import Records
from holdfast.storage.repository import Repository, provide
from holdfast.storage.session import Statement
from holdfast.storage.statements import delete_by, parameter, where_equal
from holdfast.storage.tables import TENANT
from holdfast.storage.types import INTEGER

__all__ = ["LockoutRepositories", "LockoutRepository"]


@runtime_checkable
class LockoutRepository(Protocol):
    """Failed logins by ``username``, and the accounts they locked.

    `is_locked` asks no database: it knows what `load_locked` read and what `record_failure` and
    `record_success` of this very object saw.
    """

    async def load_locked(self) -> None:
        """Read which accounts are locked now."""

    async def record_failure(self, username: str, ip: str = "") -> bool:
        """Count a failed login, and return whether the account is locked now.

        One statement, so that no failure is lost among many callers. The first failure after the
        end of the window, or of a lock, begins a new count.
        """

    async def record_success(self, username: str) -> None:
        """Delete the account's count of failures, and its lock."""

    def is_locked(self, username: str) -> bool:
        """Tell whether the account is locked, as far as this object knows."""

    @property
    def lockout_duration_seconds(self) -> float:
        """How long a lock lasts, in seconds, as configured."""

    async def cleanup_expired(self) -> int:
        """Delete the counts whose lock and window are over, and return how many.

        The window is this repository's: where several have windows of their own, clean up with the
        longest.
        """


class LockoutRepositories(Protocol):
    """The repositories of this module, as a backend or a transaction offers them."""

    @property
    def lockouts(self) -> LockoutRepository:
        """Failed logins by ``username``, with the limits of the default `LockoutConfig`."""
        return provide(self, _Lockouts)

    def build_lockouts(self, config: LockoutConfig) -> LockoutRepository:
        """Return a repository of failed logins with other limits.

        ``config`` is a `LockoutConfig`, or a model of the application's with the same fields;
        anything else is refused by the first call.
        """
        return provide(self, _Lockouts)._under(config)


_LOCKOUTS = Records(lockouts, Lockout)
_LOCKED = Listing(
    "lockouts.load_locked",
    lockouts,
    (lockouts.c.username, lockouts.c.locked_until),
    lambda row: (str(row[0]), row[1]),
    order=("username",),
    filters={"now": ("locked_until", operator.gt)},
    replica=False,
)


def _record_failure() -> Statement:
    columns = lockouts.c
    fields = _LOCKOUTS.mapper.parameters
    given: dict[str, Any] = {name: parameter(columns[name], f"new_{name}") for name in fields}
    fresh = postgresql.insert(lockouts).values(given)
    now = fresh.excluded.last_failure_at
    # A lock outlives the window of the failures that brought it.
    restart = or_(
        columns.locked_until <= now,
        and_(
            columns.locked_until.is_(None),
            columns.window_started_at <= parameter(columns.window_started_at, "window_edge"),
        ),
    )
    failures = case((restart, literal_column("1")), else_=columns.failures + literal_column("1"))
    changed = {
        "failures": failures,
        "window_started_at": case(
            (restart, fresh.excluded.window_started_at), else_=columns.window_started_at
        ),
        "last_failure_at": now,
        "last_ip": fresh.excluded.last_ip,
        "locked_until": case(
            (columns.locked_until > now, columns.locked_until),
            (
                failures >= bindparam("max_attempts", type_=INTEGER),
                parameter(columns.locked_until, "lock_end"),
            ),
            else_=null(),
        ),
    }
    expression = fresh.on_conflict_do_update(index_elements=[TENANT, "username"], set_=changed)
    return Statement(
        "lockouts.record_failure",
        expression.returning(columns.locked_until),
        (*(f"new_{name}" for name in fields), "window_edge", "max_attempts", "lock_end"),
        lockouts,
    )


_RECORD_FAILURE = _record_failure()
_RECORD_SUCCESS = delete_by("lockouts.record_success", lockouts, ("username",))
_CLEANUP = Statement(
    "lockouts.cleanup_expired",
    delete(lockouts).where(
        *where_equal(lockouts, ()),
        lockouts.c.last_failure_at <= parameter(lockouts.c.last_failure_at, "window_edge"),
        or_(
            lockouts.c.locked_until.is_(None),
            lockouts.c.locked_until <= parameter(lockouts.c.locked_until, "now"),
        ),
    ),
    (TENANT, "window_edge", "now"),
    lockouts,
)


class _Lockouts(Repository, LockoutRepository):
    table = lockouts

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._given: LockoutConfig = LockoutConfig()
        self._ends: dict[str, datetime] = {}

    def _under(self, config: LockoutConfig) -> Self:
        other = type(self)(self._session, self._tenant, self._models)
        other._given = config
        return other

    @cached_property
    def _config(self) -> LockoutConfig:
        return checked(self._given, LockoutConfig, "lockouts: config")

    async def load_locked(self) -> None:
        before = dict(self._ends)
        found = await _LOCKED.fetch(self, {"now": utc_now()})
        ends: dict[str, datetime] = dict(found)
        # What was seen here meanwhile may have been too late for the read.
        ends |= {name: end for name, end in self._ends.items() if before.get(name) != end}
        self._ends = ends

    async def record_failure(self, username: str, ip: str = "") -> bool:
        name = _RECORD_FAILURE.name
        now, config = utc_now(), self._config
        lock_end = now + _lasting(config.lockout_seconds, _END - now)
        first = Lockout(
            username=validation.not_blank(username, f"{name}: username"),
            failures=1,
            window_started_at=now,
            last_failure_at=now,
            last_ip=validation.text(ip, f"{name}: ip"),
            locked_until=lock_end if config.max_attempts == 1 else None,
        )
        arguments = _LOCKOUTS.mapper.encode(self._tenant, first)
        rows = await self._session.returning(
            _RECORD_FAILURE, (*arguments, self._window_edge(now), config.max_attempts, lock_end)
        )
        end: datetime | None = rows[0][0]
        if end is not None:
            self._ends[username] = end
        # Answers may come in another order than the failures were counted in, so that this one
        # says nothing about a lock that is known.
        return end is not None

    async def record_success(self, username: str) -> None:
        validation.not_blank(username, f"{_RECORD_SUCCESS.name}: username")
        await self._session.execute(_RECORD_SUCCESS, (self._tenant, username))
        self._ends.pop(username, None)

    def is_locked(self, username: str) -> bool:
        end = self._ends.get(username)
        if end is None or end > utc_now():
            return end is not None
        del self._ends[username]
        return False

    @property
    def lockout_duration_seconds(self) -> float:
        return self._config.lockout_seconds

    async def cleanup_expired(self) -> int:
        now = utc_now()
        self._ends = {name: end for name, end in self._ends.items() if end > now}
        arguments = (self._tenant, self._window_edge(now), now)
        return await self._session.execute(_CLEANUP, arguments)

    def _window_edge(self, now: datetime) -> datetime:
        return now - _lasting(self._config.window_seconds, now - _BEGINNING)


# Within what a datetime knows, and PostgreSQL's driver does not take for infinity.
_BEGINNING, _END = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)


def _lasting(seconds: float, longest: timedelta) -> timedelta:
    return timedelta(seconds=min(seconds, longest.total_seconds()))
