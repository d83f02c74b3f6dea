"""Sessions of users, and the tokens that prolong them."""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from sqlalchemy import bindparam, literal_column, select, update

from holdfast import validation
from holdfast.entities import RefreshRecord, Session
from holdfast.entities.base import utc_now
from holdfast.schema.access import refresh_tokens, sessions
from holdfast.storage.listing import EntityListing, Listing
from holdfast.storage.records import AppendOnly, Records
from holdfast.storage.repository import Repository, provide
from holdfast.storage.session import Statement
from holdfast.storage.statements import delete_up_to, insert, parameter, where_equal
from holdfast.storage.tables import TENANT
from holdfast.storage.types import INTEGER

__all__ = [
    "AccessRepositories",
    "RefreshTokenRepository",
    "SessionRepository",
]


@runtime_checkable
class SessionRepository(Protocol):
    """Logins by ``id``. "Now" is what this process's clock says.

    `is_revoked` asks no database: it knows what `load_revoked` read and what was revoked through
    this very object (a transaction's is another one). To learn of revocations by other processes,
    load again, or watch the table.
    """

    async def load_revoked(self) -> None:
        """Read which unexpired sessions are revoked, and forget the expired ones."""

    async def create(self, session: Session) -> None:
        """Insert a session; `DuplicateRecordError` if the id is taken.

        An unknown user (``sessions.user_id``) is a `ConstraintViolationError`.
        """

    async def get(self, session_id: str) -> Session | None:
        """Return the session, also if it is revoked or expired; ``None`` if there is none."""

    async def list_by_user(
        self, user_id: str, *, limit: int | None = None, after: Session | str | None = None
    ) -> tuple[Session, ...]:
        """Return the sessions of a user, newest first, revoked and expired ones too.

        Equal times by id, the greatest first. ``after`` is the last session seen, or its id.
        """

    async def list_all(
        self, *, limit: int | None = None, after: Session | str | None = None
    ) -> tuple[Session, ...]:
        """Return the sessions of all users, newest first, revoked and expired ones too.

        Equal times by id, the greatest first. ``after`` is the last session seen, or its id.
        """

    async def revoke(self, session_id: str) -> bool:
        """Revoke a session; False if there is none or it was revoked already."""

    async def revoke_all_for_user(self, user_id: str) -> int:
        """Revoke all sessions of a user, and return how many were not revoked before."""

    async def enforce_session_limit(self, user_id: str, max_sessions: int) -> int:
        """Revoke all but the newest active sessions of a user, and return how many.

        Active is what is neither revoked nor expired; ``max_sessions`` of them stay.
        """

    def is_revoked(self, session_id: str) -> bool:
        """Tell whether the session is revoked, as far as this object knows."""

    async def cleanup_expired(self) -> int:
        """Delete the expired sessions with their refresh tokens, and return how many sessions."""


@runtime_checkable
class RefreshTokenRepository(Protocol):
    """Tokens that prolong a session, once, by ``token_hash``.

    The caller hashes the token, with `hash_token` for one, and keeps the token itself nowhere:
    whatever is stored here can be read by who reads the database, a backup or an export.
    """

    async def create(
        self, token_hash: str, session_id: str, user_id: str, expires_at: datetime
    ) -> None:
        """Insert a token by its hash; `DuplicateRecordError` if the hash is taken.

        An unknown session (``refresh_tokens.session_id``) is a `ConstraintViolationError`.
        """

    async def consume(
        self, token_hash: str, *, is_session_revoked: Callable[[str], bool] | None = None
    ) -> RefreshRecord | None:
        """Use the token up; of several callers at once, across processes, one gets the record.

        ``None`` for a token that is unknown, used, revoked or expired, and for one whose session is
        revoked, in the database or in the eyes of ``is_session_revoked`` (such as
        `SessionRepository.is_revoked`); the last leaves the token used up.
        """

    async def revoke_by_session(self, session_id: str) -> int:
        """Revoke the unused tokens of a session, and return how many."""

    async def revoke_by_user(self, user_id: str) -> int:
        """Revoke the unused tokens of a user, and return how many."""

    async def cleanup_expired(self) -> int:
        """Delete the expired tokens, and return how many."""


class AccessRepositories(Protocol):
    """The repositories of this module, as a backend or a transaction offers them."""

    @property
    def sessions(self) -> SessionRepository:
        """Logins by ``id``."""
        return provide(self, _Sessions)

    @property
    def refresh_tokens(self) -> RefreshTokenRepository:
        """Tokens that prolong a session once, by ``token_hash``."""
        return provide(self, _RefreshTokens)


_SESSIONS = AppendOnly(sessions, Session)
_ID, _IS_REVOKED = map(_SESSIONS.mapper.place, ("id", "revoked"))
_CREATE = insert("sessions.create", sessions, _SESSIONS.mapper.parameters)
_NOW = parameter(sessions.c.expires_at, "now")
_NOT_REVOKED = ~sessions.c.revoked
_LIST_BY_USER = EntityListing(
    "sessions.list_by_user",
    _SESSIONS.mapper,
    order=("created_at", "id"),
    descending=True,
    filters={"user_id": ("user_id", operator.eq)},
)
_LIST_ALL = EntityListing(
    "sessions.list_all", _SESSIONS.mapper, order=("created_at", "id"), descending=True
)
_REVOKED = Listing(
    "sessions.load_revoked",
    sessions,
    (sessions.c.id,),
    lambda row: str(row[0]),
    order=("expires_at", "id"),
    filters={"now": ("expires_at", operator.gt)},
    # Spelled as the partial index spells it: SQLite would not know `revoked = 1` for the same.
    where=literal_column("sessions.revoked"),
    replica=False,
)


def _revoke(method: str, *by: str, extra: Any = None, more: tuple[str, ...] = ()) -> Statement:
    expression = update(sessions).values(revoked=literal_column("TRUE"))
    expression = expression.where(*where_equal(sessions, by), _NOT_REVOKED)
    if extra is not None:
        expression = expression.where(extra)
    return Statement(
        f"sessions.{method}", expression.returning(sessions.c.id), (TENANT, *by, *more), sessions
    )


def _surplus() -> Any:
    newest = sessions.alias("newest")
    return sessions.c.id.in_(
        select(newest.c.id)
        .where(
            newest.c.tenant == parameter(sessions.c.tenant),
            newest.c.user_id == parameter(sessions.c.user_id),
            ~newest.c.revoked,
            newest.c.expires_at > _NOW,
        )
        .order_by(newest.c.created_at.desc(), newest.c.id.desc())
        .offset(bindparam("max_sessions", type_=INTEGER))
    )


_REVOKE = _revoke("revoke", "id")
_REVOKE_ALL = _revoke("revoke_all_for_user", "user_id")
_REVOKE_SURPLUS = _revoke(
    "enforce_session_limit", "user_id", extra=_surplus(), more=("now", "max_sessions")
)
_CLEANUP = delete_up_to("sessions.cleanup_expired", sessions, "expires_at", operator.le)


class _Sessions(Repository, SessionRepository):
    table = sessions

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._revoked: set[str] = set()

    async def load_revoked(self) -> None:
        before = set(self._revoked)
        found = await _REVOKED.fetch(self, {"now": utc_now()})
        # What was revoked here meanwhile may have been too late for the read.
        self._revoked = set(found) | (self._revoked - before)

    async def create(self, session: Session) -> None:
        arguments = await _SESSIONS.encode(self, session)
        await self._session.write(_CREATE, arguments)
        if arguments[_IS_REVOKED]:
            self._revoked.add(arguments[_ID])

    async def get(self, session_id: str) -> Session | None:
        return await _SESSIONS.get(self, session_id)

    async def list_by_user(
        self, user_id: str, *, limit: int | None = None, after: Session | str | None = None
    ) -> tuple[Session, ...]:
        filters = {"user_id": validation.not_blank(user_id, f"{_LIST_BY_USER.name}: user_id")}
        return await _LIST_BY_USER.fetch(self, filters, limit=limit, after=after)

    async def list_all(
        self, *, limit: int | None = None, after: Session | str | None = None
    ) -> tuple[Session, ...]:
        return await _LIST_ALL.fetch(self, {}, limit=limit, after=after)

    async def revoke(self, session_id: str) -> bool:
        validation.not_blank(session_id, f"{_REVOKE.name}: session_id")
        return await self._revoke(_REVOKE, session_id) > 0

    async def revoke_all_for_user(self, user_id: str) -> int:
        validation.not_blank(user_id, f"{_REVOKE_ALL.name}: user_id")
        return await self._revoke(_REVOKE_ALL, user_id)

    async def enforce_session_limit(self, user_id: str, max_sessions: int) -> int:
        name = _REVOKE_SURPLUS.name
        validation.not_blank(user_id, f"{name}: user_id")
        kept = validation.count(max_sessions, f"{name}: max_sessions")
        return await self._revoke(_REVOKE_SURPLUS, user_id, utc_now(), kept)

    def is_revoked(self, session_id: str) -> bool:
        return session_id in self._revoked

    async def cleanup_expired(self) -> int:
        return await self._session.execute(_CLEANUP, (self._tenant, utc_now()))

    async def _revoke(self, statement: Statement, *arguments: Any) -> int:
        rows = await self._session.returning(statement, (self._tenant, *arguments))
        self._revoked.update(row[0] for row in rows)
        return len(rows)


_TOKENS = Records(refresh_tokens, RefreshRecord)
_CREATE_TOKEN = insert("refresh_tokens.create", refresh_tokens, _TOKENS.mapper.parameters)
_UNUSED = refresh_tokens.c.used_at.is_(None)


def _use(method: str, *by: str, extra: Any = None) -> Statement:
    expression = update(refresh_tokens).values(used_at=parameter(refresh_tokens.c.used_at, "now"))
    expression = expression.where(*where_equal(refresh_tokens, by), _UNUSED)
    if extra is not None:
        expression = expression.where(*extra).returning(*_TOKENS.mapper.columns)
    return Statement(f"refresh_tokens.{method}", expression, (TENANT, *by, "now"), refresh_tokens)


_CONSUME = _use(
    "consume",
    "token_hash",
    extra=(
        refresh_tokens.c.expires_at > parameter(refresh_tokens.c.expires_at, "now"),
        select(literal_column("1"))
        .where(
            sessions.c.tenant == refresh_tokens.c.tenant,
            sessions.c.id == refresh_tokens.c.session_id,
            _NOT_REVOKED,
        )
        .exists(),
    ),
)
_REVOKE_BY_SESSION = _use("revoke_by_session", "session_id")
_REVOKE_BY_USER = _use("revoke_by_user", "user_id")
_CLEANUP_TOKENS = delete_up_to(
    "refresh_tokens.cleanup_expired", refresh_tokens, "expires_at", operator.le
)


class _RefreshTokens(Repository, RefreshTokenRepository):
    table = refresh_tokens

    async def create(
        self, token_hash: str, session_id: str, user_id: str, expires_at: datetime
    ) -> None:
        name = _CREATE_TOKEN.name
        record = RefreshRecord(
            token_hash=validation.not_blank(token_hash, f"{name}: token_hash"),
            session_id=validation.not_blank(session_id, f"{name}: session_id"),
            user_id=validation.not_blank(user_id, f"{name}: user_id"),
            created_at=utc_now(),
            expires_at=validation.instant(expires_at, f"{name}: expires_at"),
        )
        await self._session.write(_CREATE_TOKEN, _TOKENS.mapper.encode(self._tenant, record))

    async def consume(
        self, token_hash: str, *, is_session_revoked: Callable[[str], bool] | None = None
    ) -> RefreshRecord | None:
        validation.not_blank(token_hash, f"{_CONSUME.name}: token_hash")
        found = await self._session.returning(
            _CONSUME,
            (self._tenant, token_hash, utc_now()),
            lambda rows: _TOKENS.both(self, rows[0]) if rows else None,
        )
        if found is None:
            return None
        record, answer = found
        if is_session_revoked is not None and is_session_revoked(record.session_id):
            return None
        return answer

    async def revoke_by_session(self, session_id: str) -> int:
        validation.not_blank(session_id, f"{_REVOKE_BY_SESSION.name}: session_id")
        arguments = (self._tenant, session_id, utc_now())
        return await self._session.execute(_REVOKE_BY_SESSION, arguments)

    async def revoke_by_user(self, user_id: str) -> int:
        validation.not_blank(user_id, f"{_REVOKE_BY_USER.name}: user_id")
        return await self._session.execute(_REVOKE_BY_USER, (self._tenant, user_id, utc_now()))

    async def cleanup_expired(self) -> int:
        return await self._session.execute(_CLEANUP_TOKENS, (self._tenant, utc_now()))
