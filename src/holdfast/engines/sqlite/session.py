"""The writer, lent to one transaction; and reading a long list from any connection."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from holdfast.engines.compiler import CompiledStatement, Compiler
from holdfast.engines.sqlite.errors import translate
from holdfast.engines.sqlite.files import Database
from holdfast.engines.sqlite.rows import Pieces, run
from holdfast.engines.sqlite.thread import ConnectionThread
from holdfast.engines.sqlite.writer import Writer
from holdfast.engines.transactions import Kind
from holdfast.errors import PersistenceConnectionError
from holdfast.storage.session import CHUNK, Row, Statement

__all__ = ["SnapshotSession", "WriterSession", "stream_on"]

#: The thread ended; or its connection was given up, and another cannot be opened. With a connection
#: everything ends that was open on it.
_NOTHING_OPEN = (PersistenceConnectionError, sqlite3.Error, MemoryError)


class _ThreadSession:
    """What both sessions do alike; see `holdfast.engines.transactions.LentSession`.

    Before each statement it looks whether the file is the one that was opened.
    """

    def __init__(
        self,
        thread: ConnectionThread,
        compiler: Compiler,
        database: Database,
        release: Callable[[], None],
    ) -> None:
        self._thread = thread
        self._compile = compiler
        self._database = database
        self.release = release
        self._run = run

    async def run(self, kind: Kind, statement: Statement, arguments: tuple[Any, ...]) -> Any:
        compiled = self._compile(statement)

        def checked(connection: sqlite3.Connection) -> Any:
            self._database.check_opened()
            try:
                return self._run(connection, compiled, kind, arguments)
            except sqlite3.Error as error:
                self._database.check_failed(error)
                raise

        try:
            return await self._thread.run(checked)
        except (sqlite3.Error, MemoryError, OverflowError, UnicodeError) as error:
            raise translate(error, statement) from error

    async def command(self, sql: str) -> None:
        try:
            await self._thread.run(lambda connection: self._obey(connection, sql))
        except (sqlite3.Error, MemoryError) as error:
            raise translate(error, None) from error

    def _obey(self, connection: sqlite3.Connection, sql: str) -> None:
        connection.execute(sql)

    def stream(
        self, statement: Statement, arguments: tuple[Any, ...]
    ) -> AsyncIterator[Sequence[Row]]:
        compiled = self._compile(statement)
        return stream_on(self._thread, compiled, statement, arguments, self._database)


class WriterSession(_ThreadSession):
    """The writer, for one transaction."""

    begin_sql = "BEGIN IMMEDIATE"

    def __init__(
        self,
        thread: ConnectionThread,
        writer: Writer,
        compiler: Compiler,
        database: Database,
        release: Callable[[], None],
    ) -> None:
        super().__init__(thread, compiler, database, release)
        self._writer = writer
        self._run = writer.run

    def _obey(self, connection: sqlite3.Connection, sql: str) -> None:
        if sql == self.begin_sql:
            self._writer.begin(connection)
        elif sql == "COMMIT":
            self._writer.commit(connection)
        else:
            super()._obey(connection, sql)

    async def rollback(self) -> None:
        # What still runs for a cancelled caller ends first: a thread does one thing at a time.
        with contextlib.suppress(*_NOTHING_OPEN):
            await self._thread.run(self._writer.rollback)


class SnapshotSession(_ThreadSession):
    """A reader, held to one snapshot."""

    begin_sql = "BEGIN"

    def _obey(self, connection: sqlite3.Connection, sql: str) -> None:
        super()._obey(connection, sql)
        if sql == self.begin_sql:  # which fixes nothing: the moment is that of the first read
            connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()

    async def rollback(self) -> None:
        with contextlib.suppress(*_NOTHING_OPEN):
            await self._thread.run(_roll_back)


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


async def stream_on(
    thread: ConnectionThread,
    compiled: CompiledStatement,
    statement: Statement,
    arguments: tuple[Any, ...],
    database: Database,
) -> AsyncIterator[Sequence[Row]]:
    """Rows in pieces; between two pieces the thread is free for others."""
    pieces = Pieces(compiled, arguments)

    def more(connection: sqlite3.Connection) -> Sequence[Row]:
        database.check_opened()
        try:
            return pieces.more(connection)
        except sqlite3.Error as error:
            database.check_failed(error)
            raise

    try:
        while rows := await thread.run(more):
            yield rows
            if len(rows) < CHUNK:
                break
    except (sqlite3.Error, MemoryError) as error:
        raise translate(error, statement) from error
    finally:
        thread.run(pieces.end)  # in its turn on the thread; nobody needs to wait for it
