"""Users and API keys."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from .samples import HASH, make

ADMIN = {"org_roles": ["viewer", "department_admin"], "scoped_departments": ["design"]}


def test_departments_and_their_admin_come_together() -> None:
    assert make("User", **ADMIN).scoped_departments == ("design",)
    assert make("User", org_roles=["owner", "editor"]).scoped_departments == ()
    for missing in ADMIN:
        with pytest.raises(ValidationError, match="come together"):
            make("User", **{**ADMIN, missing: []})
    with pytest.raises(ValidationError, match="come together"):
        make("User", org_roles=["owner"], scoped_departments=["design"])


def test_hashes_are_not_shown() -> None:
    user, key = make("User", password_hash="argon2-secret"), make("ApiKey")
    assert user.password_hash == "argon2-secret"
    assert key.key_hash == HASH
    for shown in (repr(user), str(user), repr(key), str(key), repr([user, key])):
        assert "argon2-secret" not in shown
        assert HASH not in shown
        assert "_hash" not in shown


def test_a_password_may_be_empty_and_a_key_may_not() -> None:
    assert make("User", password_hash="").password_hash == ""
    with pytest.raises(ValidationError):
        make("ApiKey", key_hash="")
