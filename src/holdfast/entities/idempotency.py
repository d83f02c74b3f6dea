"""Work that must happen once, however often it is asked for."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, Self

from pydantic import AwareDatetime, Field, model_validator

from holdfast.entities.base import Entity, NotBlankStr

__all__ = ["IdempotencyClaim", "IdempotencyOutcome", "IdempotencyRecord", "IdempotencyStatus"]


class IdempotencyStatus(StrEnum):
    """Where claimed work stands."""

    IN_FLIGHT = "in_flight"
    COMPLETED = "completed"
    FAILED = "failed"


class IdempotencyOutcome(StrEnum):
    """What a claim found: ``fresh`` if the caller is to do the work."""

    FRESH = "fresh"
    IN_FLIGHT = "in_flight"
    COMPLETED = "completed"
    FAILED = "failed"


class IdempotencyRecord(Entity):
    """What is known of a key until it expires."""

    scope: NotBlankStr = Field(
        description="First part of the key: the operation that keys belong to"
    )
    key: NotBlankStr = Field(
        description="Second part of the key: the request, as its sender named it"
    )
    status: IdempotencyStatus = Field(description="Where the work stands")
    claim_token: NotBlankStr = Field(
        repr=False, description="Random token of the claim that does the work, left out of ``repr``"
    )
    claimed_at: AwareDatetime = Field(
        description="When the work was claimed, by the clock of the claiming process"
    )
    expires_at: AwareDatetime = Field(
        description="When the key becomes free again, whatever its status"
    )
    finished_at: AwareDatetime | None = Field(
        default=None,
        description="When the work was completed or failed; None exactly while in flight",
    )
    response: str | None = Field(
        default=None, description="Result as text, returned byte for byte; None unless completed"
    )
    error: NotBlankStr | None = Field(
        default=None, description="Why the work failed; set exactly if it failed"
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if (self.finished_at is None) is not (self.status is IdempotencyStatus.IN_FLIGHT):
            raise ValueError("finished_at is set exactly when the work is not in flight")
        if self.response is not None and self.status is not IdempotencyStatus.COMPLETED:
            raise ValueError("only what was completed has a response")
        if (self.error is not None) is not (self.status is IdempotencyStatus.FAILED):
            raise ValueError("error is set exactly when the work failed")
        return self


class IdempotencyClaim(NamedTuple):
    """The answer to a claim.

    ``claim_token`` is set only when the outcome is ``fresh``: the caller does the work, and
    completes or fails the claim with it. ``record`` is what is stored. The token tells claims
    apart; it does not protect against readers of the table.
    """

    outcome: IdempotencyOutcome
    claim_token: str | None
    record: IdempotencyRecord

    def __repr__(self) -> str:
        return f"IdempotencyClaim(outcome={self.outcome!r}, record={self.record!r})"
