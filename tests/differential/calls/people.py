"""People: users and their keys, sessions and tokens, failed logins."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from holdfast import ApiKey, Session, User
from holdfast.testing.samples import required

from ..steps import Call, Offer, call
from ..strategies import (
    KEYS,
    NOW,
    a,
    afters,
    bad,
    bounds,
    each,
    key_arguments,
    keys,
    later,
    limits,
    moments,
    page,
    texts,
)

__all__ = ["OFFERS"]

users = a(
    User, id=bad(keys, ("system",)), username=keys, created_at=moments,
    role=st.sampled_from(("ceo", "manager", "system")),
    org_roles=st.sampled_from(((), (), ("owner",), ("viewer",))),
)  # fmt: skip
api_keys = a(ApiKey, id=keys, key_hash=keys, user_id=keys, created_at=moments)
roles = st.sampled_from(("ceo", "manager", "system", "king", None))
sessions = a(
    Session, id=keys, user_id=keys, created_at=moments, expires_at=later,
    revoked=st.sampled_from((False, False, True)), ip_address=st.sampled_from(("", "::1")),
)  # fmt: skip


def _is_a(session_id: str) -> bool:
    return session_id == "a"


FIRST_USERS = tuple(
    Call("users", "save", (required(User, id=key, username=key, role="manager"),)) for key in KEYS
)
FIRST_SESSIONS = tuple(
    Call("sessions", "create", (required(Session, **values),))
    for values in (
        {
            "id": key, "user_id": user, "created_at": NOW,
            "expires_at": NOW + timedelta(seconds=seconds),
        }
        for key, user, seconds in (("a", "a", 3000), ("B", "a", 9), ("b", "é", 20))
    )
)  # fmt: skip

LOGINS: dict[str, Any] = {
    "saves": [
        call("record_failure", key_arguments),
        call("record_failure", st.sampled_from(("a", "b")), texts),
        call("record_failure", st.sampled_from(("a", "b"))),
        call("record_success", key_arguments),
    ],
    "others": [
        call("is_locked", st.sampled_from(("a", "b"))),
        call("load_locked"),
        call("cleanup_expired"),
        call("lockout_duration_seconds"),
    ],
}

OFFERS = (
    Offer(
        "users",
        saves=[call("save", users)],
        others=[
            call("get_by_username", key_arguments),
            call("list_users", **page(users)),
            call(
                "list_users_paginated", always={"after_id": st.none() | afters, "limit": limits}
            ),
            call("count"),
            call("count_by_role", roles),
            call("get", key_arguments),
            call("delete", bad(key_arguments, ("system",))),
        ],
        lists=(Call("", "list_users"),),
    ),
    Offer(
        "api_keys",
        saves=[call("save", api_keys)],
        others=[
            call("get_by_hash", key_arguments),
            call("list_by_user", key_arguments, **page(api_keys)),
            call("get", key_arguments),
            call("delete", key_arguments),
        ],
        lists=each("", "list_by_user", KEYS[:3]),
    ),
    Offer(
        "sessions",
        saves=[
            call("create", bad(sessions, (required(User), None))),
            call("create", sessions),
            call("revoke", key_arguments),
            call("revoke_all_for_user", key_arguments),
            call("enforce_session_limit", keys, bad(st.integers(0, 2), (-1, True, "1", 2**63))),
        ],
        others=[
            call("load_revoked"),
            call("is_revoked", keys),
            call("cleanup_expired"),
            call("list_by_user", key_arguments, **page(sessions)),
            call("list_all", **page(sessions)),
            call("get", key_arguments),
        ],
        lists=(Call("", "list_all"), *each("", "list_by_user", KEYS[:3])),
        before=FIRST_USERS,
    ),
    Offer(
        "refresh_tokens",
        saves=[
            call("create", key_arguments, key_arguments, keys, bounds),
            call("create", keys, st.sampled_from(("a", "B", "b")), keys, later),
            call("consume", key_arguments),
            call("consume", keys, is_session_revoked=st.just(_is_a)),
        ],
        others=[
            call("revoke_by_session", key_arguments),
            call("revoke_by_user", key_arguments),
            call("cleanup_expired"),
        ],
        before=FIRST_SESSIONS,
    ),
    Offer("lockouts", **LOGINS),
    Offer("strict_lockouts", **LOGINS),
)  # fmt: skip
