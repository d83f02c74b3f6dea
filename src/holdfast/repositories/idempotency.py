"""Work that must happen once, however often it is asked for."""

from __future__ import annotations

import operator
import secrets
from datetime import UTC, datetime, timedelta
from typing import Protocol, runtime_checkable

from sqlalchemy import literal_column
from sqlalchemy.dialects import postgresql

from holdfast import validation
from holdfast.entities import (
    IdempotencyClaim,
    IdempotencyOutcome,
    IdempotencyRecord,
    IdempotencyStatus,
)
from holdfast.entities.base import utc_now
from holdfast.errors import InvalidArgumentError
from holdfast.schema.idempotency import idempotency_keys
from holdfast.storage.records import Records
from holdfast.storage.repository import Repository, provide
from holdfast.storage.session import Statement
from holdfast.storage.statements import delete_up_to, parameter, transition
from holdfast.storage.tables import TENANT

__all__ = ["IdempotencyRepositories", "IdempotencyRepository"]


@runtime_checkable
class IdempotencyRepository(Protocol):
    """What is known of a key, by (scope, key), until its lifetime is over.

    Times are those of the calling process's clock, or the ``now`` it passes.
    """

    async def claim(
        self, scope: str, key: str, ttl_seconds: float, now: datetime | None = None
    ) -> IdempotencyClaim:
        """Ask to do the work; of several callers at once, across processes, one is ``fresh``.

        The others learn that it is in flight, or how it ended. A key whose lifetime of
        ``ttl_seconds`` is over is free again, so that work which died with its process is redone.
        """

    async def complete(
        self,
        scope: str,
        key: str,
        claim_token: str,
        *,
        response: str | None = None,
        now: datetime | None = None,
    ) -> bool:
        """Record that the work is done; False if the claim is not in flight, or not this one.

        Also possible after the end of its lifetime, unless the key was claimed again.
        """

    async def fail(
        self,
        scope: str,
        key: str,
        claim_token: str,
        *,
        error: str,
        now: datetime | None = None,
    ) -> bool:
        """Record that the work failed; False if the claim is not in flight, or not this one."""

    async def get(
        self, scope: str, key: str, *, now: datetime | None = None
    ) -> IdempotencyRecord | None:
        """Return what is known of the key; ``None`` if nothing is, or its lifetime is over."""

    async def cleanup_expired(self, *, now: datetime | None = None) -> int:
        """Delete the keys whose lifetime is over, and return how many."""


class IdempotencyRepositories(Protocol):
    """The repositories of this module, as a backend or a transaction offers them."""

    @property
    def idempotency_keys(self) -> IdempotencyRepository:
        """Claims on work that must happen once, by (scope, key)."""
        return provide(self, _IdempotencyKeys)


_KEYS = Records(idempotency_keys, IdempotencyRecord)
_GET = _KEYS.by("get", "scope", "key")


def _claim() -> Statement:
    """An insert that takes the place of a key whose lifetime is over, and touches no other."""
    columns = idempotency_keys.c
    fresh = postgresql.insert(idempotency_keys)
    replaced = {
        name: fresh.excluded[name]
        for name in _KEYS.mapper.fields
        if name not in idempotency_keys.info["key"]
    }
    expression = fresh.on_conflict_do_update(
        index_elements=[TENANT, "scope", "key"],
        set_=replaced,
        where=columns.expires_at <= fresh.excluded.claimed_at,
    )
    return Statement(
        "idempotency_keys.claim",
        expression.returning(*_KEYS.mapper.columns),
        _KEYS.mapper.parameters,
        idempotency_keys,
    )


def _finish(method: str, *columns: str) -> Statement:
    of_claim = idempotency_keys.c.claim_token == parameter(idempotency_keys.c.claim_token)
    in_flight = idempotency_keys.c.status == literal_column("'in_flight'")
    made = transition(
        f"idempotency_keys.{method}",
        idempotency_keys,
        ("status", "finished_at", *columns),
        when=of_claim & in_flight,
    )
    return Statement(
        made.name, made.expression, (*made.parameters, "claim_token"), idempotency_keys
    )


_CLAIM = _claim()
_COMPLETE = _finish("complete", "response")
_FAIL = _finish("fail", "error")
_CLEANUP = delete_up_to(
    "idempotency_keys.cleanup_expired", idempotency_keys, "expires_at", operator.le
)


class _IdempotencyKeys(Repository, IdempotencyRepository):
    table = idempotency_keys

    async def claim(
        self, scope: str, key: str, ttl_seconds: float, now: datetime | None = None
    ) -> IdempotencyClaim:
        name = _CLAIM.name
        validation.not_blank(scope, f"{name}: scope")
        validation.not_blank(key, f"{name}: key")
        moment = _moment(now, name)
        wanted = IdempotencyRecord(
            scope=scope,
            key=key,
            status=IdempotencyStatus.IN_FLIGHT,
            claim_token=secrets.token_hex(16),
            claimed_at=moment,
            expires_at=_expiry(moment, ttl_seconds),
        )
        arguments = _KEYS.mapper.encode(self._tenant, wanted)
        while True:
            if rows := await self._session.returning(_CLAIM, arguments):
                mine = _KEYS.decode(self, rows[0])
                return IdempotencyClaim(IdempotencyOutcome.FRESH, wanted.claim_token, mine)
            if (found := await self._living(scope, key, moment)) is not None:
                record, answer = found
                return IdempotencyClaim(IdempotencyOutcome(record.status.value), None, answer)
            # Deleted since: it is free again.

    async def complete(
        self,
        scope: str,
        key: str,
        claim_token: str,
        *,
        response: str | None = None,
        now: datetime | None = None,
    ) -> bool:
        validation.optional(validation.text, response, f"{_COMPLETE.name}: response")
        status = IdempotencyStatus.COMPLETED
        return await self._end(_COMPLETE, scope, key, claim_token, status, response, now)

    async def fail(
        self,
        scope: str,
        key: str,
        claim_token: str,
        *,
        error: str,
        now: datetime | None = None,
    ) -> bool:
        validation.not_blank(error, f"{_FAIL.name}: error")
        status = IdempotencyStatus.FAILED
        return await self._end(_FAIL, scope, key, claim_token, status, error, now)

    async def get(
        self, scope: str, key: str, *, now: datetime | None = None
    ) -> IdempotencyRecord | None:
        found = await self._living(scope, key, _moment(now, _GET.name))
        return None if found is None else found[1]

    async def _living(
        self, scope: str, key: str, moment: datetime
    ) -> tuple[IdempotencyRecord, IdempotencyRecord] | None:
        """What is stored and not over, and as the application's class."""
        arguments = (
            self._tenant,
            validation.not_blank(scope, f"{_GET.name}: scope"),
            validation.not_blank(key, f"{_GET.name}: key"),
        )
        row = await self._session.get(_GET, arguments)
        found = None if row is None else _KEYS.both(self, row)
        return None if found is None or found[0].expires_at <= moment else found

    async def cleanup_expired(self, *, now: datetime | None = None) -> int:
        return await self._session.execute(_CLEANUP, (self._tenant, _moment(now, _CLEANUP.name)))

    async def _end(
        self,
        statement: Statement,
        scope: str,
        key: str,
        claim_token: str,
        status: IdempotencyStatus,
        result: str | None,
        now: datetime | None,
    ) -> bool:
        name = statement.name
        arguments = (
            self._tenant,
            validation.not_blank(scope, f"{name}: scope"),
            validation.not_blank(key, f"{name}: key"),
            status.value,
            _moment(now, name),
            result,
            validation.not_blank(claim_token, f"{name}: claim_token"),
        )
        return await self._session.execute(statement, arguments) > 0


_END = datetime.max.replace(tzinfo=UTC)


def _moment(now: datetime | None, name: str) -> datetime:
    return utc_now() if now is None else validation.instant(now, f"{name}: now")


def _expiry(moment: datetime, ttl_seconds: float) -> datetime:
    place = f"{_CLAIM.name}: ttl_seconds"
    seconds = validation.amount(ttl_seconds, place)
    if seconds < 1e-6 or seconds > (_END - moment).total_seconds():
        raise InvalidArgumentError(
            f"{place} must be a microsecond at least, and end in the year 9999"
        )
    return validation.instant(moment + timedelta(seconds=seconds), place)
