"""Failed logins, and the accounts they locked."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, Field

from holdfast.entities.base import Count, Entity, NotBlankStr

__all__ = ["Lockout", "LockoutConfig"]


class LockoutConfig(Entity):
    """When failed logins lock an account, and for how long."""

    max_attempts: Annotated[Count, Field(gt=0)] = Field(
        default=5, description="Failures within the window that lock the account; at least 1"
    )
    window_seconds: float = Field(
        default=900.0,
        gt=0,
        description="Seconds, from the first failure, in which failures add up; above 0",
    )
    lockout_seconds: float = Field(
        default=900.0, gt=0, description="Seconds for which the account stays locked; above 0"
    )


class Lockout(Entity):
    """The failed logins of one account, and its lock."""

    username: NotBlankStr = Field(
        description="Key; login name as it was tried, which no user need have"
    )
    failures: Annotated[Count, Field(ge=1)] = Field(
        description="Failed logins since ``window_started_at``; at least 1"
    )
    window_started_at: AwareDatetime = Field(description="When the first counted failure happened")
    last_failure_at: AwareDatetime = Field(description="When the last failure happened")
    last_ip: str = Field(
        default="", description="Address that the last failure came from; empty if unknown"
    )
    locked_until: AwareDatetime | None = Field(
        default=None, description="When the lock ends; None while the account is not locked"
    )
