"""Work that must happen once, however often it is asked for."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, Self

from pydantic import AwareDatetime, Field, model_validator

from holdfast.entities.base import Entity, NotBlankStr

__all__ = ["IdempotencyClaim", "IdempotencyOutcome", "IdempotencyRecord", "IdempotencyStatus"]


class IdempotencyStatus(StrEnum):
    IN_FLIGHT = "in_flight"
    COMPLETED = "completed"
    FAILED = "failed"


class IdempotencyOutcome(StrEnum):
    FRESH = "fresh"
    IN_FLIGHT = "in_flight"
    COMPLETED = "completed"
    FAILED = "failed"


class IdempotencyRecord(Entity):
    """What is known of a key until ``expires_at``.

    ``response`` is set at most when it was completed, ``error`` exactly when it failed; both are
    kept to the letter.
    """

    scope: NotBlankStr
    key: NotBlankStr
    status: IdempotencyStatus
    claim_token: NotBlankStr = Field(repr=False)
    claimed_at: AwareDatetime
    expires_at: AwareDatetime
    finished_at: AwareDatetime | None = None
    response: str | None = None
    error: NotBlankStr | None = None

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
    apart; it keeps nobody out who can read the table.
    """

    outcome: IdempotencyOutcome
    claim_token: str | None
    record: IdempotencyRecord

    def __repr__(self) -> str:
        return f"IdempotencyClaim(outcome={self.outcome!r}, record={self.record!r})"
