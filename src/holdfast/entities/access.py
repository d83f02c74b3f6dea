"""Who is let in: sessions, and the tokens that prolong them."""

from __future__ import annotations

from typing import Self

from pydantic import AwareDatetime, Field, model_validator

from holdfast.entities.base import Entity, NotBlankStr

__all__ = ["RefreshRecord", "Session"]


class Session(Entity):
    """A login. ``revoked`` is final."""

    id: NotBlankStr
    user_id: NotBlankStr
    created_at: AwareDatetime
    expires_at: AwareDatetime
    last_active_at: AwareDatetime | None = None
    ip_address: str = ""
    user_agent: str = ""
    revoked: bool = False

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.expires_at <= self.created_at:
            raise ValueError("expires_at must lie behind created_at")
        return self


class RefreshRecord(Entity):
    """A token that prolongs a session, once; ``used_at`` is when it did, or was revoked."""

    token_hash: NotBlankStr = Field(repr=False)
    session_id: NotBlankStr
    user_id: NotBlankStr
    created_at: AwareDatetime
    expires_at: AwareDatetime
    used_at: AwareDatetime | None = None
