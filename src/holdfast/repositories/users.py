"""Users and their API keys."""

from __future__ import annotations

import operator
from typing import Protocol, runtime_checkable

from sqlalchemy import func, literal_column

from holdfast import validation
from holdfast.entities import ApiKey, HumanRole, OrgRole, User
from holdfast.errors import InvalidArgumentError
from holdfast.schema.users import api_keys, users
from holdfast.storage.listing import EntityListing, Listing
from holdfast.storage.records import Keyed
from holdfast.storage.repository import Repository, provide

__all__ = ["ApiKeyRepository", "UserRepositories", "UserRepository"]


@runtime_checkable
class UserRepository(Protocol):
    """Users of the organisation, by ``id`` and by ``username``.

    The database keeps three rules, each a `ConstraintViolationError`: a username is taken once
    (``users.username``), there is at most one CEO (``users.single_ceo``), and the last CEO and
    the last owner can neither be deleted nor lose the role (``users.ceo_minimum``,
    ``users.owner_minimum``).
    """

    async def save(self, user: User) -> None:
        """Save a user: insert it, or replace the one with its id.

        ``created_at`` keeps its first value. One of the three rules broken is a
        `ConstraintViolationError`.
        """

    async def get(self, user_id: str) -> User | None:
        """Return the user with this id; ``None`` if there is none."""

    async def get_by_username(self, username: str) -> User | None:
        """Return the user with exactly this name, case included; ``None`` if there is none."""

    async def list_users(
        self, *, limit: int | None = None, after: User | str | None = None
    ) -> tuple[User, ...]:
        """Return the users without the system user, in order of ``created_at``, then id.

        ``after`` is the last user seen, or its id.
        """

    async def list_users_paginated(self, *, after_id: str | None, limit: int) -> tuple[User, ...]:
        """Return at most ``limit`` users without the system user, in order of id.

        Begins behind ``after_id`` (which need not exist any more), or with the first for ``None``.
        """

    async def count(self) -> int:
        """Count the users without the system user."""

    async def count_by_role(self, role: HumanRole) -> int:
        """Count the users with this role, the system user included."""

    async def delete(self, user_id: str) -> bool:
        """Delete the user with its API keys and sessions; False if there is none.

        The user with id ``system`` is an `InvalidArgumentError`, the last CEO or owner a
        `ConstraintViolationError`.
        """


@runtime_checkable
class ApiKeyRepository(Protocol):
    """API keys by ``id`` and by ``key_hash``; revoked and expired ones are returned too."""

    async def save(self, key: ApiKey) -> None:
        """Save a key: insert it, or replace the one with its id.

        ``created_at`` keeps its first value. A taken hash (``api_keys.key_hash``) or an unknown
        user (``api_keys.user_id``) is a `ConstraintViolationError`.
        """

    async def get(self, key_id: str) -> ApiKey | None:
        """Return the key with this id, also if revoked or expired; ``None`` if there is none."""

    async def get_by_hash(self, key_hash: str) -> ApiKey | None:
        """Return the key with this hash, also if revoked or expired; ``None`` if there is none."""

    async def list_by_user(
        self, user_id: str, *, limit: int | None = None, after: ApiKey | str | None = None
    ) -> tuple[ApiKey, ...]:
        """Return the keys of a user in order of ``created_at``, then id.

        ``after`` is the last key seen, or its id.
        """

    async def delete(self, key_id: str) -> bool:
        """Delete the key; False if there is none."""


class UserRepositories(Protocol):
    """The repositories of this module, as a backend or a transaction offers them."""

    @property
    def users(self) -> UserRepository:
        """Users by ``id`` and by ``username``."""
        return provide(self, _Users)

    @property
    def api_keys(self) -> ApiKeyRepository:
        """API keys by ``id`` and by ``key_hash``."""
        return provide(self, _ApiKeys)


_SYSTEM_USER = "system"
_NOT_SYSTEM = users.c.role != literal_column("'system'")

_USERS = Keyed(
    users,
    User,
    derived={"is_owner": lambda user: OrgRole.OWNER in user.org_roles},
    keep=("created_at",),
)
_BY_USERNAME = _USERS.by("get_by_username", "username")
_LIST_USERS = EntityListing(
    "users.list_users",
    _USERS.mapper,
    order=("created_at", "id"),
    where=_NOT_SYSTEM,
)
_PAGE_USERS = EntityListing(
    "users.list_users_paginated",
    _USERS.mapper,
    order=("id",),
    where=_NOT_SYSTEM,
)
_COUNT = (func.count().label("users"),)
_COUNT_USERS = Listing(
    "users.count",
    users,
    _COUNT,
    lambda row: int(row[0]),
    order=(),
    where=_NOT_SYSTEM,
)
_COUNT_BY_ROLE = Listing(
    "users.count_by_role",
    users,
    _COUNT,
    lambda row: int(row[0]),
    order=(),
    filters={"role": ("role", operator.eq)},
    replica=False,
)


class _Users(Repository, UserRepository):
    table = users

    async def save(self, user: User) -> None:
        await _USERS.save(self, user)

    async def get(self, user_id: str) -> User | None:
        return await _USERS.get(self, user_id)

    async def get_by_username(self, username: str) -> User | None:
        return await _USERS.one(self, _BY_USERNAME, username)

    async def list_users(
        self, *, limit: int | None = None, after: User | str | None = None
    ) -> tuple[User, ...]:
        return await _LIST_USERS.fetch(self, {}, limit=limit, after=after)

    async def list_users_paginated(self, *, after_id: str | None, limit: int) -> tuple[User, ...]:
        validation.integer(limit, f"{_PAGE_USERS.name}: limit")
        return await _PAGE_USERS.fetch(self, {}, limit=limit, after=after_id)

    async def count(self) -> int:
        return (await _COUNT_USERS.fetch(self, {}, limit=1))[0]

    async def count_by_role(self, role: HumanRole) -> int:
        chosen = validation.choice(role, HumanRole, f"{_COUNT_BY_ROLE.name}: role")
        return (await _COUNT_BY_ROLE.fetch(self, {"role": chosen}, limit=1))[0]

    async def delete(self, user_id: str) -> bool:
        if user_id == _SYSTEM_USER:
            raise InvalidArgumentError("System user cannot be deleted")
        return await _USERS.delete(self, user_id)


_KEYS = Keyed(api_keys, ApiKey, keep=("created_at",))
_BY_HASH = _KEYS.by("get_by_hash", "key_hash")
_BY_USER = EntityListing(
    "api_keys.list_by_user",
    _KEYS.mapper,
    order=("created_at", "id"),
    filters={"user_id": ("user_id", operator.eq)},
)


class _ApiKeys(Repository, ApiKeyRepository):
    table = api_keys

    async def save(self, key: ApiKey) -> None:
        await _KEYS.save(self, key)

    async def get(self, key_id: str) -> ApiKey | None:
        return await _KEYS.get(self, key_id)

    async def get_by_hash(self, key_hash: str) -> ApiKey | None:
        return await _KEYS.one(self, _BY_HASH, key_hash)

    async def list_by_user(
        self, user_id: str, *, limit: int | None = None, after: ApiKey | str | None = None
    ) -> tuple[ApiKey, ...]:
        filters = {"user_id": validation.not_blank(user_id, f"{_BY_USER.name}: user_id")}
        return await _BY_USER.fetch(self, filters, limit=limit, after=after)

    async def delete(self, key_id: str) -> bool:
        return await _KEYS.delete(self, key_id)
