"""Where calls enter an engine, and how the last ones are seen out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType

from holdfast.errors import PersistenceConnectionError

__all__ = ["Drain"]

logger = logging.getLogger("holdfast")


class Drain:
    """Counts the calls inside (``with drain:``); once `see_out` has begun, it lets none in.

    A transaction is one call, from its begin to its end, whatever is done inside.
    """

    __slots__ = ("_empty", "_shut", "cut", "inside")

    def __init__(self) -> None:
        self.inside = 0
        self._shut = False
        self._empty = asyncio.Event()
        #: Set when what is left is being ended: from here on nothing more may begin.
        self.cut = asyncio.Event()

    def __enter__(self) -> None:
        if self._shut:
            raise PersistenceConnectionError("the backend is disconnecting", is_retryable=False)
        self.inside += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.inside -= 1
        if self._shut and not self.inside:
            self._empty.set()

    def shut(self) -> None:
        """Refuse who comes, and wait for nobody; from any thread."""
        self._shut = True

    async def see_out(
        self,
        seconds: float,
        finish: Callable[[], Awaitable[None]],
        end: Callable[[], Awaitable[None]],
    ) -> None:
        """Refuse who comes, wait for who is inside and ``finish`` up to ``seconds``, then ``end``.

        ``end`` must be brief and tell whoever is left. A caller that is cancelled waits for nobody
        any more, but for ``end``: nothing stays open behind him.
        """
        self._shut = True
        if not self.inside:
            self._empty.set()
        closing = asyncio.get_running_loop().create_task(self._close(seconds, finish, end))
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            self.cut.set()
            await asyncio.shield(closing)
            raise

    async def _close(
        self,
        seconds: float,
        finish: Callable[[], Awaitable[None]],
        end: Callable[[], Awaitable[None]],
    ) -> None:
        loop = asyncio.get_running_loop()
        finishing = loop.create_task(self._finish(finish))
        cut = loop.create_task(self.cut.wait())
        await asyncio.wait([finishing, cut], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not finishing.done():
            logger.warning("disconnecting ends %d calls that are under way", self.inside)
        self.cut.set()
        await cut
        finishing.cancel()
        await asyncio.wait([finishing])
        await end()
        if not finishing.cancelled():
            finishing.result()

    async def _finish(self, finish: Callable[[], Awaitable[None]]) -> None:
        await self._empty.wait()
        await finish()
