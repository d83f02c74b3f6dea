"""What the entries of the catalogue have in common."""

from __future__ import annotations

import operator
from collections.abc import Awaitable, Callable
from typing import Any

from holdfast.errors import DuplicateRecordError
from holdfast.testing.subjects import NAMES, Between

__all__ = [
    "ONCE",
    "among",
    "backwards",
    "its_id",
    "its_owner",
    "nth_name",
    "since",
    "turn",
    "until",
]

#: Records that are written once.
ONCE: dict[str, Any] = {"taken": DuplicateRecordError, "delete": None}


def turn(*values: Any, each: int = 1) -> Callable[[int], Any]:
    """Each of the values in turn, ``each`` times."""
    return lambda number: values[number // each % len(values)]


def nth_name(number: int) -> str:
    return NAMES[number]


def backwards(number: int) -> str:
    """Another order than that of the keys."""
    return NAMES[-number]


def since(field: str) -> Between:
    return Between(field, operator.ge)


def until(field: str) -> Between:
    return Between(field, operator.le)


def its_id(record: Any) -> str:
    return str(record.id)


async def among(found: Awaitable[Any], record: Any) -> Any:
    """What has the record's id, of a list."""
    return next((one for one in await found if one.id == record.id), None)


async def its_owner(backend: Any, record: Any, make: Any) -> None:
    """Save the user whom a record belongs to."""
    from holdfast.entities import User

    await backend.users.save(make(User, id=record.user_id, username=record.user_id))
