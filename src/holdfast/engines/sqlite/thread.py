"""One SQLite connection on a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

__all__ = ["ConnectionThread"]

T = TypeVar("T")
_Work = tuple[Callable[[sqlite3.Connection], Any], "asyncio.Future[Any]"]


class ConnectionThread:
    """Runs functions on its connection, one after the other, in the order they were given.

    A function that was given is run, even if its caller was cancelled meanwhile.
    """

    def __init__(self, name: str, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._inbox: SimpleQueue[_Work | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        # A daemon: a program that forgets to disconnect must still be able to end. What was
        # acknowledged is committed, so nothing is lost by it.
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()

    async def start(self) -> None:
        """Open the connection; raises what the driver raised."""
        self._thread.start()
        await self._opened

    def run(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self._loop.create_future()
        self._inbox.put((work, future))
        return future

    async def stop(self) -> None:
        """Finish what was given, close the connection and end the thread."""
        self._inbox.put(None)
        if self._thread.ident is not None:
            await self._ended

    def _main(self) -> None:
        try:
            connection = self._connect()
        except BaseException as error:
            self._answer(self._opened, None, error)
            self._answer(self._ended, None, None)
            return
        self._answer(self._opened, None, None)
        try:
            while (item := self._inbox.get()) is not None:
                work, future = item
                try:
                    value = work(connection)
                except BaseException as error:
                    self._answer(future, None, error)
                    del error
                else:
                    self._answer(future, value, None)
                    del value
                del item, work, future
        finally:
            connection.close()
            self._answer(self._ended, None, None)

    def _answer(self, future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(_settle, future, value, error)


def _settle(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
