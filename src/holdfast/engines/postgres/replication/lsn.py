"""How far a replica must have come before it may answer this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from holdfast.engines.transactions import own
from holdfast.errors import PersistenceError
from holdfast.storage.session import Row

__all__ = ["Position"]

#: Replicas answer no longer than this without a word of the primary: there may be a new one.
TRUST_SECONDS = 5.0

#: A commit that waited for the disk is flushed; others may only be in the log's buffers.
_ASK = """
SELECT (CASE WHEN current_setting('synchronous_commit') = 'off'
        THEN pg_current_wal_insert_lsn() ELSE pg_current_wal_flush_lsn() END - '0/0')::bigint
"""


class Position:
    """The place in the primary's log behind the last commit acknowledged in this process.

    Asked for when there was a commit since, once for all who wait; otherwise it is known.
    """

    def __init__(
        self, ask: Callable[[str], Awaitable[Sequence[Row]]], commits: Callable[[], int]
    ) -> None:
        self._ask = ask
        self._commits = commits
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking: asyncio.Future[None] | None = None
        self._place = 0
        #: The commits that lie before the place.
        self._counted = -1
        self._forgotten = 0
        self._trusted_until = 0.0

    def forget(self) -> None:
        """Something was written that is not counted, or the log is another one."""
        self._counted = -1
        self._forgotten += 1

    async def get(self) -> int | None:
        """``None`` if the primary cannot tell."""
        wanted = self._commits()
        while self._counted < wanted or self._loop.time() >= self._trusted_until:
            if self._asking is None:
                self._asking = own(self._look(), self._tasks)
            try:
                # Who joins a question that was sent before his commit asks once more.
                await asyncio.shield(self._asking)
            except PersistenceError:
                return None
        return self._place

    async def close(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _look(self) -> None:
        commits, forgotten = self._commits(), self._forgotten
        try:
            place = (await self._ask(_ASK))[0][0]
        finally:
            self._asking = None
        if forgotten != self._forgotten:
            return  # asked before: who waits asks again
        if commits != self._counted:
            self._counted, self._place = commits, place
        self._trusted_until = self._loop.time() + TRUST_SECONDS
