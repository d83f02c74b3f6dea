"""What runs on a reader's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from holdfast.engines.batching import Request
from holdfast.engines.compiler import Compiler
from holdfast.engines.sqlite.errors import translate
from holdfast.engines.sqlite.files import Database
from holdfast.engines.sqlite.rows import run

__all__ = ["check_files", "read_batch"]


def read_batch(
    connection: sqlite3.Connection, database: Database, compiler: Compiler, batch: list[Request]
) -> Sequence[tuple[Any, Exception | None]]:
    """Run the statements of a batch; return the value of each, or the error that it fails with."""
    database.check_opened()
    outcomes: list[tuple[Any, Exception | None]] = []
    for request in batch:
        statement = request.statement
        try:
            value = run(connection, compiler(statement), request.kind, request.arguments)
            outcomes.append((value, None))
        except Exception as error:
            database.check_failed(error)
            problem = translate(error, statement)
            problem.__cause__ = error
            outcomes.append((None, problem))
    if database.is_fixed:
        database.check_opened()
    return outcomes


def check_files(connection: sqlite3.Connection, database: Database) -> None:
    """Raise unless the connection answers and every file is the one that was opened."""
    connection.execute("SELECT 1").fetchall()
    database.opened.check_all()
