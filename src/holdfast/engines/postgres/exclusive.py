"""Work on the schema: alone among its like, and never in the way of readers and writers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncConnection

from holdfast.engines.base import EXCLUSIVE_SECONDS
from holdfast.errors import PersistenceError, QueryTimeoutError

__all__ = ["exclude_others", "giving_way"]

T = TypeVar("T")

# Any role may take an advisory lock, so that it is told which one did.
_HOLDER = """
SELECT a.pid, a.usename::text, a.application_name
FROM pg_locks l JOIN pg_stat_activity a USING (pid),
  hashtextextended('holdfast', 0) AS key
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND (l.classid::bigint << 32) | l.objid::bigint = key LIMIT 1
"""

#: Who waits for the lock of a table keeps all behind him waiting that come later, readers too.
LOCK_MILLISECONDS = 200


async def giving_way(run: Callable[[], Awaitable[T]]) -> T:
    """Run, and run again as long as the reason to fail is a lock that was not free in time.

    What ``run`` did is rolled back in between, and those who queued behind it go first.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + EXCLUSIVE_SECONDS
    while True:
        try:
            return await run()
        except PersistenceError as error:
            if not _waited_for_a_lock(error) or loop.time() >= deadline:
                raise
        await asyncio.sleep(random.uniform(0.2, 1.0))  # noqa: S311


def _waited_for_a_lock(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, asyncpg.LockNotAvailableError):
            return True
        error = error.__cause__
    return False


async def exclude_others(connection: AsyncConnection) -> None:
    """Take the advisory lock by asking again and again.

    A blocking wait would hold a snapshot open, and CREATE INDEX CONCURRENTLY of the process that
    has the lock would wait for that snapshot: a deadlock. The session keeps the lock until it is
    closed.
    """
    await connection.execute(sqlalchemy.text(f"SET lock_timeout = {LOCK_MILLISECONDS}"))
    for _ in range(int(EXCLUSIVE_SECONDS / 0.1)):
        got = await connection.scalar(
            sqlalchemy.text("SELECT pg_try_advisory_lock(hashtextextended('holdfast', 0))")
        )
        await connection.commit()
        if got:
            return
        await asyncio.sleep(random.uniform(0.05, 0.15))  # noqa: S311
    holder = (await connection.execute(sqlalchemy.text(_HOLDER))).one_or_none()
    shown = (
        "another process"
        if holder is None
        else (f"the session {holder[0]} of the role {holder[1]!r} ({holder[2] or 'unnamed'!r})")
    )
    raise QueryTimeoutError(
        f"{shown} has had the lock of migrations for more than {EXCLUSIVE_SECONDS:g} s. If it does "
        "not migrate, end it: SELECT pg_terminate_backend(<its number>)"
    )
