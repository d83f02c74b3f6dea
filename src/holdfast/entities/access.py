"""Who is let in: sessions, and the tokens that prolong them."""

from __future__ import annotations

import hashlib
from typing import Self

from pydantic import AwareDatetime, Field, model_validator

from holdfast.entities.base import Entity, NotBlankStr

__all__ = ["RefreshRecord", "Session", "hash_token"]


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


def hash_token(token: str) -> str:
    """Return what is stored of a token: SHA-256, as hexadecimal digits.

    Enough for random tokens of 128 bits or more (``secrets.token_urlsafe()``), which cannot be
    guessed; passwords need a slow hash with a salt.
    """
    return hashlib.sha256(token.encode()).hexdigest()


class RefreshRecord(Entity):
    """A token that prolongs a session, once; ``used_at`` is when it did, or was revoked."""

    token_hash: NotBlankStr = Field(repr=False)
    session_id: NotBlankStr
    user_id: NotBlankStr
    created_at: AwareDatetime
    expires_at: AwareDatetime
    used_at: AwareDatetime | None = None
