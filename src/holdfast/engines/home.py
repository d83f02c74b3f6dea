"""Where an engine was connected: it works on no other event loop and in no forked process."""

from __future__ import annotations

import asyncio
import os

from holdfast.errors import PersistenceConnectionError

__all__ = ["Home"]


class Home:
    """The event loop and the process it was made in."""

    __slots__ = ("loop", "pid")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.pid = os.getpid()

    def check(self) -> None:
        """Refuse a stranger: sockets, threads and futures do not survive the move."""
        if os.getpid() != self.pid:
            raise PersistenceConnectionError(
                "this process was forked after the backend had been connected: "
                "make and connect a backend of its own in the child"
            )
        if asyncio.get_running_loop() is not self.loop:
            raise PersistenceConnectionError(
                "the backend was connected on another event loop: use one backend per loop"
            )
