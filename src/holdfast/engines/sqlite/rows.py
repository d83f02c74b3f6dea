"""What a statement answers, and texts among it that are not UTF-8.

The driver gives up on all rows of an answer when it meets such a text. The answer is read again
then, and the text comes as bytes, which the row's entity refuses.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from holdfast.engines.compiler import CompiledStatement
from holdfast.engines.sqlite.errors import is_undecodable
from holdfast.engines.transactions import Kind
from holdfast.storage.session import CHUNK, Row

__all__ = ["Pieces", "run"]


def run(
    connection: sqlite3.Connection, compiled: CompiledStatement, kind: Kind, arguments: Any
) -> Any:
    """Run one statement to its end: a cursor left half-way would pin its snapshot."""
    if kind is Kind.WRITE or kind is Kind.EXECUTE:
        cursor = connection.execute(compiled.sql, compiled.bind(arguments))
        return None if kind is Kind.WRITE else cursor.rowcount
    if kind is Kind.RETURNING:  # which cannot be run again
        with _as_bytes(connection):
            rows = connection.execute(compiled.sql, compiled.bind(arguments)).fetchall()
    else:
        try:
            rows = connection.execute(compiled.sql, compiled.bind(arguments)).fetchall()
        except sqlite3.OperationalError as error:
            if not is_undecodable(error):
                raise
            with _as_bytes(connection):
                rows = connection.execute(compiled.sql, compiled.bind(arguments)).fetchall()
    read = compiled.read
    if kind is Kind.GET:
        if not rows:
            return None
        return rows[0] if read is None else read(rows[0])
    return rows if read is None else [read(row) for row in rows]


@contextlib.contextmanager
def _as_bytes(connection: sqlite3.Connection) -> Iterator[None]:
    """Read what is no UTF-8 as bytes, for its entity to refuse; each text costs some 0.2 us."""
    connection.text_factory = _text
    try:
        yield
    finally:
        connection.text_factory = str


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


class Pieces:
    """The rows of a read, ``CHUNK`` at a time, from one snapshot."""

    def __init__(self, compiled: CompiledStatement, arguments: tuple[Any, ...]) -> None:
        self._compiled = compiled
        self._arguments = arguments
        self._cursor: sqlite3.Cursor | None = None
        self._given = 0
        self._damaged = self._begun = False

    def more(self, connection: sqlite3.Connection) -> Sequence[Row]:
        rows = self._fetch(connection)
        self._given += len(rows)
        read = self._compiled.read
        return rows if read is None else [read(row) for row in rows]

    def end(self, connection: sqlite3.Connection) -> None:
        if self._cursor is not None:
            self._cursor.close()
        if self._begun:
            with contextlib.suppress(sqlite3.Error, MemoryError):
                connection.execute("ROLLBACK")

    def _fetch(self, connection: sqlite3.Connection) -> list[Row]:
        if self._damaged:
            with _as_bytes(connection):
                return self._next(connection)
        try:
            return self._next(connection)
        except sqlite3.OperationalError as error:
            if not is_undecodable(error):
                raise
        # The cursor is of no more use. In the same snapshot the same rows come again.
        self._damaged, self._cursor = True, None
        with _as_bytes(connection):
            for _ in range(self._given // CHUNK):
                self._next(connection)
            return self._next(connection)

    def _next(self, connection: sqlite3.Connection) -> list[Row]:
        if self._cursor is None:
            if not connection.in_transaction:
                connection.execute("BEGIN")
                self._begun = True
            self._cursor = connection.execute(
                self._compiled.sql, self._compiled.bind(self._arguments)
            )
        return self._cursor.fetchmany(CHUNK)
