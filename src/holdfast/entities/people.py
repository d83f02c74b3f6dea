"""Users and their API keys."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import AwareDatetime, Field, model_validator

from holdfast.entities.base import Entity, NotBlankStr

__all__ = ["ApiKey", "HumanRole", "OrgRole", "User"]


class HumanRole(StrEnum):
    CEO = "ceo"
    MANAGER = "manager"
    BOARD_MEMBER = "board_member"
    PAIR_PROGRAMMER = "pair_programmer"
    OBSERVER = "observer"
    SYSTEM = "system"


class OrgRole(StrEnum):
    OWNER = "owner"
    DEPARTMENT_ADMIN = "department_admin"
    EDITOR = "editor"
    VIEWER = "viewer"


class User(Entity):
    """Somebody who directs the organisation.

    ``scoped_departments`` are set exactly for a ``department_admin``. ``password_hash`` may be
    empty, and is left out of the representation.
    """

    id: NotBlankStr
    username: NotBlankStr
    password_hash: str = Field(repr=False)
    role: HumanRole
    must_change_password: bool = True
    org_roles: tuple[OrgRole, ...] = ()
    scoped_departments: tuple[NotBlankStr, ...] = ()
    created_at: AwareDatetime
    updated_at: AwareDatetime

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if bool(self.scoped_departments) != (OrgRole.DEPARTMENT_ADMIN in self.org_roles):
            raise ValueError("scoped_departments and the role department_admin come together")
        return self


class ApiKey(Entity):
    """A key by its hash (HMAC-SHA256 hex of the raw key), which the representation leaves out."""

    id: NotBlankStr
    name: NotBlankStr
    user_id: NotBlankStr
    key_hash: NotBlankStr = Field(repr=False)
    role: HumanRole
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    revoked: bool = False
