"""Users and their API keys."""

from __future__ import annotations

from holdfast.storage.tables import (
    column,
    decisive,
    extra,
    foreign_key,
    index,
    nullable,
    store_table,
    unique,
    unique_index,
)
from holdfast.storage.triggers import keep_one
from holdfast.storage.types import FLAG, STRING, JsonText, Timestamp

__all__ = ["api_keys", "users"]

users = store_table(
    "users",
    column("id", STRING),
    column("username", STRING),
    column("password_hash", STRING),
    decisive("role", STRING),
    column("must_change_password", FLAG),
    decisive("org_roles", JsonText()),
    column("scoped_departments", JsonText()),
    column("created_at", Timestamp()),
    column("updated_at", Timestamp()),
    # True when `org_roles` holds "owner": what the owner rule below looks at, on both engines.
    column("is_owner", FLAG),
    extra(),
    unique("uq_users_username", "username"),
    unique_index("uq_users_single_ceo", where="role = 'ceo'", token="single_ceo"),  # noqa: S106
    index("ix_users_role", "role", "id"),
    index("ix_users_created_at", "created_at", "id"),
    key=("id",),
)

api_keys = store_table(
    "api_keys",
    column("id", STRING),
    column("key_hash", STRING),
    column("name", STRING),
    column("role", STRING),
    column("user_id", STRING),
    column("created_at", Timestamp()),
    nullable("expires_at", Timestamp()),
    column("revoked", FLAG),
    extra(),
    unique("uq_api_keys_key_hash", "key_hash"),
    foreign_key("user_id", "users.id", ondelete="CASCADE"),
    index("ix_api_keys_user_id", "user_id", "created_at", "id"),
    key=("id",),
)

# An organisation that has a CEO, or an owner, keeps one. Both are refused by the database, so
# that two processes that each remove "the other one" cannot both succeed.
keep_one(users, "ceo_minimum", holds="{row}.role = 'ceo'")
keep_one(users, "owner_minimum", holds="{row}.is_owner")
