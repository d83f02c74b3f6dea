"""Sessions of users, and the tokens that prolong them."""

from __future__ import annotations

import hashlib
from typing import Self

from pydantic import AwareDatetime, Field, model_validator

from holdfast.entities.base import Entity, NotBlankStr

__all__ = ["RefreshRecord", "Session", "hash_token"]


class Session(Entity):
    """A login of a user."""

    id: NotBlankStr = Field(description="Key, chosen by the application")
    user_id: NotBlankStr = Field(description="Id of the user, who must be stored")
    created_at: AwareDatetime = Field(
        description="When the user logged in; lists return the newest first"
    )
    expires_at: AwareDatetime = Field(
        description="When the session ends by itself, after ``created_at``"
    )
    last_active_at: AwareDatetime | None = Field(
        default=None, description="When the session was last used; None if not tracked"
    )
    ip_address: str = Field(
        default="", description="Address that the login came from; empty if unknown"
    )
    user_agent: str = Field(
        default="", description="Client that the login came from, as it named itself; may be empty"
    )
    revoked: bool = Field(default=False, description="True once the session was ended early; final")

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
    """A token that prolongs a session once, stored by its hash only."""

    token_hash: NotBlankStr = Field(
        repr=False, description="Key; hash of the token as by `hash_token`, left out of ``repr``"
    )
    session_id: NotBlankStr = Field(
        description="Id of the session that it prolongs, which must be stored"
    )
    user_id: NotBlankStr = Field(description="Id of the user that the session belongs to")
    created_at: AwareDatetime = Field(description="When the token was stored")
    expires_at: AwareDatetime = Field(description="When the token stops being valid")
    used_at: AwareDatetime | None = Field(
        default=None, description="When the token was used or revoked; None while it is valid"
    )
