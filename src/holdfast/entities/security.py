"""Exceptions from the rules, and attempts to get around them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, model_validator

from holdfast.entities.audit import ApprovalRiskLevel
from holdfast.entities.base import Count, Entity, NotBlankStr

__all__ = [
    "CircuitBreakerStateRecord",
    "RiskTierOverride",
    "SsrfViolation",
    "SsrfViolationStatus",
]


class RiskTierOverride(Entity):
    """Another risk tier for a type of action, for a time; ``revoked_*`` are both set or neither."""

    id: NotBlankStr
    action_type: NotBlankStr
    original_tier: ApprovalRiskLevel
    override_tier: ApprovalRiskLevel
    reason: NotBlankStr
    created_by: NotBlankStr
    created_at: AwareDatetime
    expires_at: AwareDatetime
    revoked_at: AwareDatetime | None = None
    revoked_by: NotBlankStr | None = None

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.original_tier is self.override_tier:
            raise ValueError("override_tier must differ from original_tier")
        if self.expires_at <= self.created_at:
            raise ValueError("expires_at must lie behind created_at")
        if (self.revoked_at is None) is not (self.revoked_by is None):
            raise ValueError("revoked_at and revoked_by belong together")
        return self

    @property
    def is_active(self) -> bool:
        """Neither revoked nor expired, now."""
        return self.revoked_at is None and self.expires_at > datetime.now(UTC)


class SsrfViolationStatus(StrEnum):
    PENDING = "pending"
    ALLOWED = "allowed"
    DENIED = "denied"


#: What stands where an authority would, with a scheme before it or not. Not what a parser finds,
#: because those who attack write what parsers do not agree on, or refuse.
_AUTHORITY = re.compile(r"(?:[a-z][a-z0-9+.-]*:[/\\]*|[/\\]{2,})?([^/?#]*)", re.IGNORECASE)
_IGNORED = re.compile(r"^[\0-\x20]+|[\t\r\n]")


def _without_login(url: str) -> str:
    found = _AUTHORITY.match(_IGNORED.sub("", url))
    if found is not None and "@" in found[1]:
        raise ValueError("must not carry a user or a password")
    return url


class SsrfViolation(Entity):
    """A request that was stopped on its way to an address it must not reach.

    ``resolved_by`` and ``resolved_at`` are set exactly when it is no longer pending.
    """

    # What is refused may hold a password.
    model_config = ConfigDict(hide_input_in_errors=True)

    id: NotBlankStr
    timestamp: AwareDatetime
    url: Annotated[NotBlankStr, AfterValidator(_without_login)]
    hostname: NotBlankStr
    port: Annotated[Count, Field(ge=1, le=65_535)]
    resolved_ip: NotBlankStr | None = None
    blocked_range: NotBlankStr | None = None
    provider_name: NotBlankStr | None = None
    status: SsrfViolationStatus = SsrfViolationStatus.PENDING
    resolved_by: NotBlankStr | None = None
    resolved_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _rules(self) -> Self:
        pending = self.status is SsrfViolationStatus.PENDING
        if (self.resolved_by is None, self.resolved_at is None) != (pending, pending):
            raise ValueError("resolved_by and resolved_at are set exactly when it is not pending")
        return self


class CircuitBreakerStateRecord(Entity):
    """The circuit breaker between two parties, in that order.

    ``opened_at`` is in seconds since the Unix epoch, so that it means the same to every process
    and after a restart; ``None`` while the circuit is closed.
    """

    pair_key_a: NotBlankStr
    pair_key_b: NotBlankStr
    bounce_count: Count
    trip_count: Count
    opened_at: float | None = None
