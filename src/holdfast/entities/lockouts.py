"""Failed logins, and the accounts they locked."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, Field

from holdfast.entities.base import Count, Entity, NotBlankStr

__all__ = ["Lockout", "LockoutConfig"]


class LockoutConfig(Entity):
    """When failed logins lock an account: ``max_attempts`` within ``window_seconds`` do, for
    ``lockout_seconds``."""

    max_attempts: Annotated[Count, Field(gt=0)] = 5
    window_seconds: float = Field(default=900.0, gt=0)
    lockout_seconds: float = Field(default=900.0, gt=0)


class Lockout(Entity):
    """The failed logins of an account since ``window_started_at``."""

    username: NotBlankStr
    failures: Annotated[Count, Field(ge=1)]
    window_started_at: AwareDatetime
    last_failure_at: AwareDatetime
    last_ip: str = ""
    locked_until: AwareDatetime | None = None
