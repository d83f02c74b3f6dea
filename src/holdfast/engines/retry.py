"""Running again what lost against a concurrent transaction: the database rolled it back whole."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from holdfast.engines.stats import RetryStats
from holdfast.errors import SerializationFailureError
from holdfast.storage.session import TransactionScope

__all__ = ["ATTEMPTS", "in_transaction", "repeat"]

T = TypeVar("T")

#: How often it is tried. Each wait doubles the range the next is drawn from, so that even a crowd
#: that meets on one row gets through one after the other.
ATTEMPTS = 6
_FIRST_SECONDS = 0.04


async def repeat(work: Callable[[], Awaitable[T]], deadline: float, retries: RetryStats) -> T:
    """``work``'s value; again after `SerializationFailureError`, not beyond ``deadline``."""
    loop = asyncio.get_running_loop()
    for attempt in range(1, ATTEMPTS):
        try:
            return await work()
        except SerializationFailureError:
            pause = random.uniform(0, _FIRST_SECONDS * 2 ** (attempt - 1))  # noqa: S311
            if loop.time() + pause >= deadline:
                raise
            await asyncio.sleep(pause)
            retries.serialization_failure += 1
    return await work()


async def in_transaction(
    scope: AbstractAsyncContextManager[TransactionScope],
    work: Callable[[TransactionScope], Awaitable[T]],
) -> T:
    """``work``'s value, once the transaction is over."""
    async with scope as session:
        return await work(session)
