"""The connection threads of one engine: the writer, readers, and those for readers that stay."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

from holdfast.engines.affinity import until
from holdfast.engines.sqlite.thread import ConnectionThread
from holdfast.engines.transactions import own

__all__ = ["Threads"]

#: How long a thread may take to end that was interrupted.
_END_SECONDS = 5.0


class Threads:
    """``idle`` and ``streamers`` are readers that nobody uses; whoever takes one puts it back."""

    def __init__(self, owned: set[asyncio.Task[Any]]) -> None:
        self._owned = owned
        self.all: list[ConnectionThread] = []
        self.streamers: list[ConnectionThread] = []
        self.idle: list[ConnectionThread] = []

    def __len__(self) -> int:
        return len(self.all)

    @property
    def unused(self) -> int:
        """How many readers nobody uses, of both kinds."""
        return len(self.idle) + len(self.streamers)

    async def start(self, name: str, connect: Callable[[], sqlite3.Connection]) -> ConnectionThread:
        thread = ConnectionThread(f"holdfast-sqlite-{name}", connect)
        self.all.append(thread)  # first: whoever closes meanwhile must end it as well
        try:
            await thread.start()
        except BaseException:
            await own(thread.stop(), self._owned)
            if thread in self.all:
                self.all.remove(thread)
            raise
        return thread

    async def streamer(
        self, connect: Callable[[], sqlite3.Connection]
    ) -> tuple[ConnectionThread, Callable[[], None]]:
        """One for a reader that stays, and what gives it back to where it came from."""
        idle = self.streamers
        thread = idle.pop() if idle else await self.start("streamer", connect)
        return thread, lambda: idle.append(thread)

    def leave(self) -> None:
        """Let them end when they have finished what they were given; from any thread."""
        for thread in reversed(self.all):  # the writer last, as in `stop`
            thread.leave()

    async def abandon(self, seconds: float) -> bool:
        """Whether all ended after `leave`, as they do unless the disk hangs; from any event loop.

        What they were given they finish within ``seconds``; after that it is interrupted.
        """
        threads, self.all = self.all, []
        self.idle, self.streamers = [], []

        def over() -> bool:
            return not any(thread.alive for thread in threads)

        def interrupted() -> bool:
            for thread in threads:
                thread.refuse()
            return over()

        try:
            await until(over, seconds)
        finally:
            await until(interrupted, _END_SECONDS)
        return over()

    async def stop(self) -> None:
        # The writer was started first and stops last: it cleans up the log when it closes.
        for thread in self.all:
            thread.refuse()
        while self.all:
            await self.all.pop().stop()
        self.idle.clear()
        # Another list than before: who is late gives back to the old one.
        self.streamers = []
