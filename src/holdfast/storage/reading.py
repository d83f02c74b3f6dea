"""Rows become entities without keeping the event loop, and around rows that cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

from holdfast.errors import MalformedRowError
from holdfast.storage.session import Row, Session, Statement
from holdfast.validation.allowance import TooMuchError

__all__ = ["MalformedRow", "Report", "entities", "entity", "readable"]

T = TypeVar("T")

#: Seconds of decoding after which other tasks have a turn.
_TURN = 0.01


@dataclass(frozen=True, slots=True)
class MalformedRow:
    """A stored row that cannot be read: where it is, and why, without its values.

    Tenant and key are ``bytes`` where SQLite holds no text in UTF-8.
    """

    table: str
    tenant: str | bytes
    key: tuple[object, ...]
    reason: str = ""

    @classmethod
    def of(cls, error: MalformedRowError, tenant: str) -> MalformedRow:
        return cls(error.table, tenant, error.key, error.reason)


#: Is told of each row that a list leaves out.
Report = Callable[[MalformedRow], None]


async def entity(
    session: Session,
    statement: Statement,
    arguments: tuple[Any, ...],
    decode: Callable[..., T],
    owner: object,
) -> T | None:
    """What ``decode(owner, row)`` makes of the row of a point read; ``None`` if there is none.

    What would keep the event loop for long it makes on a thread.
    """
    row = await session.get(statement, arguments)
    if row is None:
        return None
    try:
        return decode(owner, row, patient=False)
    except TooMuchError:
        return await asyncio.to_thread(decode, owner, row)


async def entities(rows: Sequence[Row], decode: Callable[..., T]) -> list[T]:
    """The entities of rows, between which other tasks have their turn.

    A row of which ``decode`` says that it is too much is read on a thread, with ``patient=True``.
    """
    found: list[T] = []
    began = perf_counter()
    for row in rows:
        try:
            found.append(decode(row))
        except TooMuchError:
            found.append(await asyncio.to_thread(decode, row, patient=True))
        if perf_counter() - began > _TURN:
            await asyncio.sleep(0)
            began = perf_counter()
    return found


async def readable(rows: Sequence[Row], decode: Callable[..., T]) -> list[T | MalformedRowError]:
    """As `entities`, with the error in the place of each row that cannot be read."""

    def attempt(row: Row, **how: bool) -> T | MalformedRowError:
        try:
            return decode(row, **how)
        except MalformedRowError as error:
            return error

    return await entities(rows, attempt)
