"""A block that is entered once."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Generic, TypeVar

from holdfast.errors import InvalidArgumentError

__all__ = ["Once", "awaitable", "callable_"]

T = TypeVar("T")


class Once(AbstractAsyncContextManager[T, bool | None], Generic[T]):
    """Refuses a second ``async with``, also one within the first."""

    def __init__(self, block: AbstractAsyncContextManager[T, bool | None], way: str) -> None:
        self._block, self._way = block, way
        self._begun = False

    async def __aenter__(self) -> T:
        if self._begun:
            raise InvalidArgumentError(
                f"this transaction was begun already: each takes a new {self._way}()"
            )
        self._begun = True
        return await self._block.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return await self._block.__aexit__(kind, error, trace)


def callable_(work: Any) -> None:
    """Refuse what cannot be called with a transaction."""
    if not callable(work):
        raise InvalidArgumentError(
            f"atomically: work must be an async function of a transaction, "
            f"not {type(work).__name__}"
        )


def awaitable(found: Any) -> Awaitable[Any]:
    """Return what ``work`` answered, if it can be awaited."""
    if not inspect.isawaitable(found):
        raise InvalidArgumentError(
            f"atomically: work must be an async function; it returned {type(found).__name__}"
        )
    return found
