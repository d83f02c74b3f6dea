"""One SQLite connection on a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from holdfast.engines.affinity import disconnected
from holdfast.errors import PersistenceConnectionError

__all__ = ["ConnectionThread"]

#: A function may run several statements, each to be interrupted.
_INTERRUPT_SECONDS = 0.02

T = TypeVar("T")
_Work = tuple[Callable[[sqlite3.Connection], Any], "asyncio.Future[Any]"]


class ConnectionThread:
    """Runs functions on its connection, one after the other, in the order they were given.

    A function that was given is run, even if its caller was cancelled meanwhile; after `refuse`
    and after `stop` it fails with `PersistenceConnectionError`.
    """

    def __init__(self, name: str, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._inbox: SimpleQueue[_Work | None] = SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._working = self._refusing = self._stopped = self._over = False
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
        if self._stopped:
            _settle(future, None, disconnected())
        else:
            self._inbox.put((work, future))
            if self._over:  # it was abandoned just now
                _settle(future, None, disconnected())
        return future

    def renew(self) -> sqlite3.Connection:
        """Close the connection, which undoes what is open on it, and open another.

        For functions that run here. If opening fails, the next function begins with it.
        """
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()
        self._connection = self._connect()
        return self._connection

    async def stop(self) -> None:
        """Finish what was given, close the connection and end the thread."""
        self.leave()
        if self._thread.ident is not None:
            while not self._ended.done():
                await asyncio.wait([self._ended], timeout=_INTERRUPT_SECONDS)
                self._interrupt()

    def leave(self) -> None:
        """Take nothing more, and let the thread end when it has finished what was given.

        From any thread; `alive` tells when.
        """
        self._stopped = True
        self._inbox.put(None)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def refuse(self) -> None:
        """Interrupt the statement that runs, and run nothing more."""
        self._refusing = True
        self._interrupt()

    def _interrupt(self) -> None:
        # Only while a function runs: closing moves the log into the database, and is to end well.
        connection = self._connection
        if self._refusing and self._working and connection is not None:
            with contextlib.suppress(sqlite3.ProgrammingError):  # closed meanwhile
                connection.interrupt()

    def _main(self) -> None:
        try:
            self.renew()
        except BaseException as error:
            self._answer(self._opened, None, error)
            self._answer(self._ended, None, None)
            return
        self._answer(self._opened, None, None)
        try:
            while (item := self._inbox.get()) is not None:
                work, future = item
                try:
                    if self._refusing:
                        raise disconnected()
                    self._working = True
                    value = work(self._connection or self.renew())
                except BaseException as error:
                    self._answer(future, None, error)
                    del error
                else:
                    self._answer(future, value, None)
                    del value
                finally:
                    self._working = False
                del item, work, future
        finally:
            if self._connection is not None:
                # Closing may have the log to clean up. An interruption, also one that came while
                # nothing ran, would end that; the next statement forgets it.
                connection, self._connection = self._connection, None
                with contextlib.suppress(sqlite3.Error, MemoryError):
                    connection.execute("SELECT 1").close()
                connection.close()
            self._over = True
            self._leave_nobody_waiting()
            self._answer(self._ended, None, None)

    def _leave_nobody_waiting(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                if (item := self._inbox.get_nowait()) is not None:
                    self._answer(item[1], None, disconnected())

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
        if isinstance(error, PersistenceConnectionError):
            future.exception()  # looked at: who is told that all is over may not be there any more
