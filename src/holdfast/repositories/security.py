"""Risk overrides, stopped requests and circuit breakers."""

from __future__ import annotations

import operator
from datetime import datetime
from typing import Protocol, runtime_checkable

from sqlalchemy import literal_column

from holdfast import validation
from holdfast.entities import (
    CircuitBreakerStateRecord,
    RiskTierOverride,
    SsrfViolation,
    SsrfViolationStatus,
)
from holdfast.entities.base import utc_now
from holdfast.errors import InvalidArgumentError
from holdfast.schema.security import circuit_breaker_state, risk_overrides, ssrf_violations
from holdfast.storage.listing import EntityListing
from holdfast.storage.records import AppendOnly, Keyed
from holdfast.storage.repository import Repository, provide
from holdfast.storage.statements import transition

__all__ = [
    "CircuitBreakerStateRepository",
    "RiskOverrideRepository",
    "SecurityRepositories",
    "SsrfViolationRepository",
]


@runtime_checkable
class RiskOverrideRepository(Protocol):
    """Overrides of risk tiers by ``id``; saved once, revoked at most once."""

    async def save(self, override: RiskTierOverride) -> None:
        """Insert an override; `DuplicateRecordError` if the id is taken."""

    async def get(self, override_id: str) -> RiskTierOverride | None:
        """Return the override, also if it is revoked or expired; ``None`` if there is none."""

    async def list_active(
        self, *, limit: int | None = None, after: RiskTierOverride | str | None = None
    ) -> tuple[RiskTierOverride, ...]:
        """Return the overrides that are neither revoked nor expired, newest first.

        Equal times by id, the greatest first; the time is that of this process's clock. ``after``
        is the last override seen, or its id.
        """

    async def revoke(self, override_id: str, *, revoked_by: str, revoked_at: datetime) -> bool:
        """Revoke an override; False if there is none or it was revoked already.

        One statement: of several callers at once one revokes. An expired override can be revoked.
        """


@runtime_checkable
class SsrfViolationRepository(Protocol):
    """Requests that were stopped, by ``id``; saved once, resolved at most once."""

    async def save(self, violation: SsrfViolation) -> None:
        """Insert a violation; `DuplicateRecordError` if the id is taken."""

    async def get(self, violation_id: str) -> SsrfViolation | None:
        """Return the violation with this id; ``None`` if there is none."""

    async def list_violations(
        self,
        *,
        status: SsrfViolationStatus | None = None,
        limit: int | None = 100,
        after: SsrfViolation | str | None = None,
    ) -> tuple[SsrfViolation, ...]:
        """Return the violations, newest first.

        Of equal times the last saved comes first. ``limit=None`` returns all. ``after`` is the last
        violation seen, or its id.
        """

    async def update_status(
        self,
        violation_id: str,
        *,
        status: SsrfViolationStatus,
        resolved_by: str,
        resolved_at: datetime,
    ) -> bool:
        """Allow or deny a pending request; False if there is none or it was resolved already.

        One statement: of several callers at once one resolves.
        """


@runtime_checkable
class CircuitBreakerStateRepository(Protocol):
    """Circuit breakers by their pair of parties, in that order: (a, b) is not (b, a)."""

    async def save(self, record: CircuitBreakerStateRecord) -> None:
        """Save a state: insert it, or replace the one of its pair."""

    async def load_all(
        self,
        *,
        limit: int | None = None,
        after: CircuitBreakerStateRecord | tuple[str, str] | None = None,
    ) -> tuple[CircuitBreakerStateRecord, ...]:
        """Return the states in order of their pairs.

        ``after`` is the last record seen, or its (pair_key_a, pair_key_b).
        """

    async def delete(self, pair_key_a: str, pair_key_b: str) -> bool:
        """Delete the state of a pair, in that order; False if there is none."""


class SecurityRepositories(Protocol):
    """The repositories of this module, as a backend or a transaction offers them."""

    @property
    def risk_overrides(self) -> RiskOverrideRepository:
        """Overrides of risk tiers by ``id``."""
        return provide(self, _RiskOverrides)

    @property
    def ssrf_violations(self) -> SsrfViolationRepository:
        """Stopped requests by ``id``."""
        return provide(self, _SsrfViolations)

    @property
    def circuit_breaker_state(self) -> CircuitBreakerStateRepository:
        """Circuit breakers by their pair of parties."""
        return provide(self, _CircuitBreakerState)


_OVERRIDES = AppendOnly(risk_overrides, RiskTierOverride)
_NOT_REVOKED = risk_overrides.c.revoked_at.is_(None)
_ACTIVE = EntityListing(
    "risk_overrides.list_active",
    _OVERRIDES.mapper,
    order=("created_at", "id"),
    descending=True,
    filters={"now": ("expires_at", operator.gt)},
    where=_NOT_REVOKED,
    replica=False,
)
_REVOKE = transition(
    "risk_overrides.revoke", risk_overrides, ("revoked_by", "revoked_at"), when=_NOT_REVOKED
)


class _RiskOverrides(Repository, RiskOverrideRepository):
    table = risk_overrides

    async def save(self, override: RiskTierOverride) -> None:
        await _OVERRIDES.save(self, override)

    async def get(self, override_id: str) -> RiskTierOverride | None:
        return await _OVERRIDES.get(self, override_id)

    async def list_active(
        self, *, limit: int | None = None, after: RiskTierOverride | str | None = None
    ) -> tuple[RiskTierOverride, ...]:
        return await _ACTIVE.fetch(self, {"now": utc_now()}, limit=limit, after=after)

    async def revoke(self, override_id: str, *, revoked_by: str, revoked_at: datetime) -> bool:
        name = _REVOKE.name
        arguments = (
            self._tenant,
            validation.not_blank(override_id, f"{name}: override_id"),
            validation.not_blank(revoked_by, f"{name}: revoked_by"),
            validation.instant(revoked_at, f"{name}: revoked_at"),
        )
        return await self._session.execute(_REVOKE, arguments) > 0


_VIOLATIONS = AppendOnly(ssrf_violations, SsrfViolation)
_LIST_VIOLATIONS = EntityListing(
    "ssrf_violations.list_violations",
    _VIOLATIONS.mapper,
    order=("timestamp", "saved_order", "id"),
    descending=True,
    filters={"status": ("status", operator.eq)},
)
_RESOLVE = transition(
    "ssrf_violations.update_status",
    ssrf_violations,
    ("status", "resolved_by", "resolved_at"),
    when=ssrf_violations.c.status == literal_column("'pending'"),
)


class _SsrfViolations(Repository, SsrfViolationRepository):
    table = ssrf_violations

    async def save(self, violation: SsrfViolation) -> None:
        await _VIOLATIONS.save(self, violation)

    async def get(self, violation_id: str) -> SsrfViolation | None:
        return await _VIOLATIONS.get(self, violation_id)

    async def list_violations(
        self,
        *,
        status: SsrfViolationStatus | None = None,
        limit: int | None = 100,
        after: SsrfViolation | str | None = None,
    ) -> tuple[SsrfViolation, ...]:
        place = f"{_LIST_VIOLATIONS.name}: status"
        filters = {
            "status": validation.optional(validation.choice, status, SsrfViolationStatus, place)
        }
        return await _LIST_VIOLATIONS.fetch(self, filters, limit=limit, after=after)

    async def update_status(
        self,
        violation_id: str,
        *,
        status: SsrfViolationStatus,
        resolved_by: str,
        resolved_at: datetime,
    ) -> bool:
        name = _RESOLVE.name
        chosen = validation.choice(status, SsrfViolationStatus, f"{name}: status")
        if chosen == SsrfViolationStatus.PENDING:
            raise InvalidArgumentError(f"{name}: status must be allowed or denied")
        arguments = (
            self._tenant,
            validation.not_blank(violation_id, f"{name}: violation_id"),
            chosen,
            validation.not_blank(resolved_by, f"{name}: resolved_by"),
            validation.instant(resolved_at, f"{name}: resolved_at"),
        )
        return await self._session.execute(_RESOLVE, arguments) > 0


_BREAKERS = Keyed(circuit_breaker_state, CircuitBreakerStateRecord)
_LOAD_ALL = EntityListing(
    "circuit_breaker_state.load_all",
    _BREAKERS.mapper,
    order=("pair_key_a", "pair_key_b"),
    replica=False,
)


class _CircuitBreakerState(Repository, CircuitBreakerStateRepository):
    table = circuit_breaker_state

    async def save(self, record: CircuitBreakerStateRecord) -> None:
        await _BREAKERS.save(self, record)

    async def load_all(
        self,
        *,
        limit: int | None = None,
        after: CircuitBreakerStateRecord | tuple[str, str] | None = None,
    ) -> tuple[CircuitBreakerStateRecord, ...]:
        return await _LOAD_ALL.fetch(self, {}, limit=limit, after=after)

    async def delete(self, pair_key_a: str, pair_key_b: str) -> bool:
        return await _BREAKERS.delete(self, pair_key_a, pair_key_b)
