"""Risk overrides, stopped requests and circuit breakers."""

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
    """Another risk tier for a type of action, for a limited time."""

    id: NotBlankStr = Field(description="Key, chosen by the application")
    action_type: NotBlankStr = Field(
        description="The action concerned, by convention ``category:action``"
    )
    original_tier: ApprovalRiskLevel = Field(description="Risk tier without the override")
    override_tier: ApprovalRiskLevel = Field(
        description="Risk tier while the override is active; differs from the original"
    )
    reason: NotBlankStr = Field(description="Why the tier is overridden")
    created_by: NotBlankStr = Field(description="Id of the user that made the override")
    created_at: AwareDatetime = Field(
        description="When the override begins; `list_active` returns the newest first"
    )
    expires_at: AwareDatetime = Field(
        description="When the override ends by itself, after ``created_at``"
    )
    revoked_at: AwareDatetime | None = Field(
        default=None,
        description="When the override was ended early; set together with ``revoked_by``",
    )
    revoked_by: NotBlankStr | None = Field(
        default=None,
        description="Id of the user that ended it early; set together with ``revoked_at``",
    )

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
        """Whether the override is neither revoked nor expired now, by the clock of this process."""
        return self.revoked_at is None and self.expires_at > datetime.now(UTC)


class SsrfViolationStatus(StrEnum):
    """Whether a stopped request was decided on; all but ``pending`` are final."""

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
    """A request that was stopped because of the address it was meant for.

    SSRF is server-side request forgery: making a server call addresses within its own network.
    """

    # What is refused may hold a password.
    model_config = ConfigDict(hide_input_in_errors=True)

    id: NotBlankStr = Field(description="Key, chosen by the application")
    timestamp: AwareDatetime = Field(
        description="When the request was stopped; lists return the newest first"
    )
    url: Annotated[NotBlankStr, AfterValidator(_without_login)] = Field(
        description="Full address of the request; refused if it carries a user or a password"
    )
    hostname: NotBlankStr = Field(description="Host in the address, as it was written")
    port: Annotated[Count, Field(ge=1, le=65_535)] = Field(
        description="Port of the request, 1 to 65535"
    )
    resolved_ip: NotBlankStr | None = Field(
        default=None, description="Address that the host resolved to; None if it was not resolved"
    )
    blocked_range: NotBlankStr | None = Field(
        default=None,
        description="Network range whose rule stopped the request; None if another rule did",
    )
    provider_name: NotBlankStr | None = Field(
        default=None, description="Provider that the request was meant for; None if for none"
    )
    status: SsrfViolationStatus = Field(
        default=SsrfViolationStatus.PENDING,
        description="Whether the request was allowed or denied afterwards",
    )
    resolved_by: NotBlankStr | None = Field(
        default=None, description="Id of the user that decided; None exactly while pending"
    )
    resolved_at: AwareDatetime | None = Field(
        default=None, description="When it was decided; None exactly while pending"
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        pending = self.status is SsrfViolationStatus.PENDING
        if (self.resolved_by is None, self.resolved_at is None) != (pending, pending):
            raise ValueError("resolved_by and resolved_at are set exactly when it is not pending")
        return self


class CircuitBreakerStateRecord(Entity):
    """The circuit breaker between two parties, in that order."""

    pair_key_a: NotBlankStr = Field(
        description="First part of the key; (a, b) and (b, a) are two breakers"
    )
    pair_key_b: NotBlankStr = Field(description="Second part of the key")
    bounce_count: Count = Field(
        description="Delegations sent back and forth; counted by the application"
    )
    trip_count: Count = Field(
        description="How often the circuit has opened; counted by the application"
    )
    opened_at: float | None = Field(
        default=None, description="Seconds since the Unix epoch, for any process; None while closed"
    )
