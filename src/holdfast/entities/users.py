"""Users and their API keys."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import AwareDatetime, Field, model_validator

from holdfast.entities.base import Entity, NotBlankStr

__all__ = ["ApiKey", "HumanRole", "OrgRole", "User"]


class HumanRole(StrEnum):
    """What a user is in the organisation.

    At most one user of a tenant is ``ceo``; ``system`` is for users that are no people.
    """

    CEO = "ceo"
    MANAGER = "manager"
    BOARD_MEMBER = "board_member"
    PAIR_PROGRAMMER = "pair_programmer"
    OBSERVER = "observer"
    SYSTEM = "system"


class OrgRole(StrEnum):
    """A right within the organisation, from the most to the least powerful."""

    OWNER = "owner"
    DEPARTMENT_ADMIN = "department_admin"
    EDITOR = "editor"
    VIEWER = "viewer"


class User(Entity):
    """A person, or the system itself, that directs the organisation."""

    id: NotBlankStr = Field(description="Key; the user ``system`` cannot be deleted")
    username: NotBlankStr = Field(
        description="Login name, matched exactly and with its case; unique within the tenant"
    )
    password_hash: str = Field(
        repr=False, description="Hash of the password, left out of ``repr``; may be empty"
    )
    role: HumanRole = Field(description="What the user is; at most one user of a tenant is ``ceo``")
    must_change_password: bool = Field(
        default=True, description="True until the user has replaced the first password"
    )
    org_roles: tuple[OrgRole, ...] = Field(
        default=(), description="Rights within the organisation, in the order given"
    )
    scoped_departments: tuple[NotBlankStr, ...] = Field(
        default=(),
        description="Names of administered departments; set exactly for a ``department_admin``",
    )
    created_at: AwareDatetime = Field(
        description="When the user was first saved; later saves keep the first value"
    )
    updated_at: AwareDatetime = Field(
        description="When the user last changed; set by the application"
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if bool(self.scoped_departments) != (OrgRole.DEPARTMENT_ADMIN in self.org_roles):
            raise ValueError("scoped_departments and the role department_admin come together")
        return self


class ApiKey(Entity):
    """A key for the API of the application, stored by its hash only."""

    id: NotBlankStr = Field(description="Key of the record; not the secret")
    name: NotBlankStr = Field(description="Label by which people tell their keys apart")
    user_id: NotBlankStr = Field(
        description="Id of the user that owns the key, who must be stored; deleted together"
    )
    key_hash: NotBlankStr = Field(
        repr=False, description="HMAC-SHA256 of the raw key in hex, left out of ``repr``; unique"
    )
    role: HumanRole = Field(description="Role that requests with this key have")
    created_at: AwareDatetime = Field(
        description="When the key was made; later saves keep the first value"
    )
    expires_at: AwareDatetime | None = Field(
        default=None, description="When the key stops being valid; None for never"
    )
    revoked: bool = Field(
        default=False, description="True once the key was withdrawn; reads return it all the same"
    )
