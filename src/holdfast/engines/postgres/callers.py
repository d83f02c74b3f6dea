"""Those who wait for a connection, first come first served."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from holdfast.engines.postgres.connection import PooledConnection
from holdfast.errors import PersistenceConnectionError

__all__ = ["Callers"]


class Callers:
    """Futures of connections, in the order in which they were asked for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: deque[asyncio.Future[PooledConnection]] = deque()
        #: Those that were neither served nor gave up.
        self.waiting = 0

    def join(self) -> asyncio.Future[PooledConnection]:
        """A place at the end. Who cancels the future calls `leave`."""
        place: asyncio.Future[PooledConnection] = self._loop.create_future()
        self._queue.append(place)
        self.waiting += 1
        return place

    def leave(self) -> None:
        self.waiting -= 1

    def serve(self, connection: PooledConnection) -> bool:
        """Give it to who has waited longest; ``False`` if nobody waits."""
        while self._queue:
            place = self._queue.popleft()
            if not place.done():
                self.waiting -= 1
                place.set_result(connection)
                return True
        return False

    def tell(self, why: Callable[[], PersistenceConnectionError | None]) -> None:
        """Raise an error for each, as long as there is a reason to."""
        while self._queue and (error := why()) is not None:
            place = self._queue.popleft()
            if not place.done():
                self.waiting -= 1
                place.set_exception(error)
