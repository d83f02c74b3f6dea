"""Exceptions from the rules, and attempts to get around them."""

from __future__ import annotations

import operator
from datetime import datetime
from typing import Protocol, runtime_checkable

from sqlalchemy import literal_column

from holdfast import checks
from holdfast.entities import (
    CircuitBreakerStateRecord,
    RiskTierOverride,
    SsrfViolation,
    SsrfViolationStatus,
)
from holdfast.entities.base import utc_now
from holdfast.errors import InvalidArgumentError
from holdfast.repositories.base import Repository, provide, transition
from holdfast.repositories.paging import EntityListing
from holdfast.repositories.shapes import AppendOnly, Keyed
from holdfast.schema.security import circuit_breaker_state, risk_overrides, ssrf_violations

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
        """Insert; `DuplicateRecordError` if the id is taken."""

    async def get(self, override_id: str) -> RiskTierOverride | None: ...

    async def list_active(
        self, *, limit: int | None = None, after: RiskTierOverride | str | None = None
    ) -> tuple[RiskTierOverride, ...]:
        """Neither revoked nor expired by this process's clock; the newest first, equal times by
        id, the greatest first."""

    async def revoke(self, override_id: str, *, revoked_by: str, revoked_at: datetime) -> bool:
        """False if there is none or it was revoked already; an expired one can be revoked."""


@runtime_checkable
class SsrfViolationRepository(Protocol):
    """Requests that were stopped, by ``id``; saved once, resolved at most once."""

    async def save(self, violation: SsrfViolation) -> None:
        """Insert; `DuplicateRecordError` if the id is taken."""

    async def get(self, violation_id: str) -> SsrfViolation | None: ...

    async def list_violations(
        self,
        *,
        status: SsrfViolationStatus | None = None,
        limit: int | None = 100,
        after: SsrfViolation | str | None = None,
    ) -> tuple[SsrfViolation, ...]:
        """Newest first; of equal times the last saved first. ``limit=None`` answers all."""

    async def update_status(
        self,
        violation_id: str,
        *,
        status: SsrfViolationStatus,
        resolved_by: str,
        resolved_at: datetime,
    ) -> bool:
        """Allow or deny what is pending; False if there is none or it was resolved already."""


@runtime_checkable
class CircuitBreakerStateRepository(Protocol):
    """Circuit breakers by their pair of parties, in that order: (a, b) is not (b, a)."""

    async def save(self, record: CircuitBreakerStateRecord) -> None:
        """Insert, or replace the stored state."""

    async def load_all(
        self,
        *,
        limit: int | None = None,
        after: CircuitBreakerStateRecord | tuple[str, str] | None = None,
    ) -> tuple[CircuitBreakerStateRecord, ...]:
        """In order of the pair."""

    async def delete(self, pair_key_a: str, pair_key_b: str) -> bool: ...


class SecurityRepositories(Protocol):
    """The repositories of this module, as a backend or a transaction offers them."""

    @property
    def risk_overrides(self) -> RiskOverrideRepository:
        return provide(self, _RiskOverrides)

    @property
    def ssrf_violations(self) -> SsrfViolationRepository:
        return provide(self, _SsrfViolations)

    @property
    def circuit_breaker_state(self) -> CircuitBreakerStateRepository:
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


class _RiskOverrides(Repository):
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
            checks.not_blank(override_id, f"{name}: override_id"),
            checks.not_blank(revoked_by, f"{name}: revoked_by"),
            checks.instant(revoked_at, f"{name}: revoked_at"),
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


class _SsrfViolations(Repository):
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
        filters = {"status": checks.optional(checks.choice, status, SsrfViolationStatus, place)}
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
        chosen = checks.choice(status, SsrfViolationStatus, f"{name}: status")
        if chosen == SsrfViolationStatus.PENDING:
            raise InvalidArgumentError(f"{name}: status must be allowed or denied")
        arguments = (
            self._tenant,
            checks.not_blank(violation_id, f"{name}: violation_id"),
            chosen,
            checks.not_blank(resolved_by, f"{name}: resolved_by"),
            checks.instant(resolved_at, f"{name}: resolved_at"),
        )
        return await self._session.execute(_RESOLVE, arguments) > 0


_BREAKERS = Keyed(circuit_breaker_state, CircuitBreakerStateRecord)
_LOAD_ALL = EntityListing(
    "circuit_breaker_state.load_all",
    _BREAKERS.mapper,
    order=("pair_key_a", "pair_key_b"),
    replica=False,
)


class _CircuitBreakerState(Repository):
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
