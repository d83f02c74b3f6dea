"""Where an engine was connected: it works on no other event loop and in no forked process.

It can be closed from anywhere, though: what holds a backend need not be what connected it, and the
loop it was connected on may be gone.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

from holdfast.errors import PersistenceConnectionError

__all__ = ["Affinity", "Turn", "disconnected", "forget", "not_connected", "until"]

#: How often another loop or thread is looked at, which cannot wake this one.
_LOOK_SECONDS = 0.005
#: What closing may take after its deadline, or after it was cancelled.
_GRACE_SECONDS = 5.0


def not_connected() -> PersistenceConnectionError:
    """The one error for whatever is asked of a backend before `connect` and after `disconnect`."""
    return PersistenceConnectionError(
        "the backend is not connected: await backend.connect()", is_retryable=False
    )


def disconnected() -> PersistenceConnectionError:
    """For what `disconnect` found under way, or waiting, and ended."""
    return PersistenceConnectionError("the backend was disconnected", is_retryable=False)


def forget(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Let tasks of the engine vanish with their loop, if that is closed, without a line in the log.

    What is closing a loop cancels what runs on it; what that begins to clean up remains.
    """
    for task in tasks:
        if task.get_loop().is_closed():
            cast("Any", task)._log_destroy_pending = False


async def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition, of another loop or thread, came true in time."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        if asyncio.get_running_loop().time() >= deadline:
            return False
        await asyncio.sleep(_LOOK_SECONDS)
    return True


class _Process:
    """This process, told from the one it was forked from: asking the system takes longer."""

    __slots__ = ()


_process = _Process()


def _forked() -> None:
    global _process
    _process = _Process()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class Affinity:
    """The event loop and the process it was made in."""

    __slots__ = ("_process", "loop", "pid")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.pid = os.getpid()
        self._process = _process

    def check(self) -> None:
        """Refuse a stranger: sockets, threads and futures do not survive the move."""
        if self._process is not _process:
            raise PersistenceConnectionError(
                "this process was forked after the backend had been connected: "
                "make and connect a backend of its own in the child",
                is_retryable=False,
            )
        if asyncio.get_running_loop() is not self.loop:
            raise PersistenceConnectionError(
                "the backend was connected on another event loop: use one backend per loop, "
                "or disconnect it and connect it again on this loop",
                is_retryable=False,
            )

    async def close(
        self,
        close: Callable[[], Awaitable[None]],
        abandon: Callable[[], Awaitable[None]],
        seconds: float,
    ) -> None:
        """Run ``close`` on the loop of this home, whichever loop asks for it.

        ``abandon`` runs here if that loop is stopped or closed, or does not end ``close`` within
        ``seconds``. A forked process closes nothing: all of it is its parent's.
        """
        if os.getpid() != self.pid:
            return
        if asyncio.get_running_loop() is self.loop:
            await close()
        elif not await self._close_there(close, seconds):
            await abandon()

    async def _close_there(self, close: Callable[[], Awaitable[None]], seconds: float) -> bool:
        """Whether the home's own loop has done it, being run by another thread."""
        ended = threading.Event()
        closing: list[asyncio.Task[None]] = []

        async def run() -> None:
            await close()
            ended.set()

        def over() -> bool:
            return ended.is_set() or not self.loop.is_running()

        with suppress(RuntimeError):  # it is closed
            if self.loop.is_running():
                self.loop.call_soon_threadsafe(lambda: closing.append(self.loop.create_task(run())))
                try:
                    await until(over, seconds + _GRACE_SECONDS)
                finally:  # out of time, or cancelled: then what is under way is ended there at once
                    if not over():
                        self.loop.call_soon_threadsafe(lambda: [task.cancel() for task in closing])
                        await until(
                            lambda: over() or any(task.done() for task in closing), _GRACE_SECONDS
                        )
        return ended.is_set()


class Turn:
    """A lock between tasks of any event loops and threads, for what is seldom done."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._holder: Affinity | None = None

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        mine = Affinity()
        while not self._take(mine):  # noqa: ASYNC110 - given back on other loops and threads
            await asyncio.sleep(_LOOK_SECONDS)
        try:
            yield
        finally:
            with self._mutex:
                if self._holder is mine:
                    self._holder = None

    def _take(self, mine: Affinity) -> bool:
        with self._mutex:
            holder = self._holder
            # What was in the middle of it on a loop that is closed, or before a fork, never ends.
            free = holder is None or holder.loop.is_closed() or holder.pid != mine.pid
            if free:
                self._holder = mine
            return free
