"""Who is let in: sessions, and the tokens that prolong them."""

from __future__ import annotations

from holdfast.storage.retention import Retention
from holdfast.storage.tables import column, extra, foreign_key, index, nullable, store_table
from holdfast.storage.types import FLAG, STRING, Timestamp

__all__ = ["refresh_tokens", "sessions"]

sessions = store_table(
    "sessions",
    column("id", STRING),
    column("user_id", STRING),
    column("created_at", Timestamp()),
    column("expires_at", Timestamp()),
    nullable("last_active_at", Timestamp()),
    column("ip_address", STRING),
    column("user_agent", STRING),
    column("revoked", FLAG),
    extra(),
    foreign_key("user_id", "users.id", ondelete="CASCADE"),
    index("ix_sessions_created_at", "created_at", "id"),
    index("ix_sessions_user_id", "user_id", "created_at", "id"),
    index("ix_sessions_expires_at", "expires_at"),
    index("ix_sessions_revoked", "expires_at", "id", where="revoked"),
    key=("id",),
    retention=Retention("expires_at", expires=True),
)

refresh_tokens = store_table(
    "refresh_tokens",
    column("token_hash", STRING),
    column("session_id", STRING),
    column("user_id", STRING),
    column("created_at", Timestamp()),
    column("expires_at", Timestamp()),
    nullable("used_at", Timestamp()),
    foreign_key("session_id", "sessions.id", ondelete="CASCADE"),
    # Not to `users` as well: a deleted user's sessions take their tokens with them.
    index("ix_refresh_tokens_session_id", "session_id"),
    index("ix_refresh_tokens_user_id", "user_id"),
    index("ix_refresh_tokens_expires_at", "expires_at"),
    key=("token_hash",),
    retention=Retention("expires_at", expires=True),
)
