"""Backup and restore through SQLite's own backup interface, which a writer does not disturb."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from holdfast.engines.sqlite.wrapping import for_sqlalchemy
from holdfast.engines.upkeep import Accept
from holdfast.errors import BackupError

__all__ = ["copy_from", "copy_to", "count_at_once"]


def copy_to(
    connection: sqlite3.Connection, target: Path, tables: Sequence[str]
) -> Mapping[str, int]:
    """Copy the database as one transaction sees it; answers its rows per table."""
    if target.exists():  # it would be overwritten page by page, under whoever has it open
        raise BackupError(f"{target} exists: a backup goes into a new file")
    # One snapshot for the counts and for the copy, which joins the transaction.
    connection.execute("BEGIN")
    try:
        rows = _count(connection, tables)
        with closing(sqlite3.connect(target, isolation_level=None)) as copy:
            # In one step: between steps, a commit of another connection would begin it anew.
            connection.backup(copy)
            # One file, which can be read from a place that cannot be written to.
            copy.execute("PRAGMA journal_mode=DELETE")
            problems = [row[0] for row in copy.execute("PRAGMA integrity_check(3)")]
            copied = _count(copy, tables)
    finally:
        connection.execute("ROLLBACK")
    if problems != ["ok"]:
        raise BackupError(
            f"the copy is damaged ({problems[0]}): so is the database, most likely; "
            "run holdfast doctor --thorough"
        )
    if copied != rows:
        raise BackupError("the copy has other rows than the database")
    return rows


def copy_from(connection: sqlite3.Connection, source: Path, accept: Accept) -> None:
    """Fill an empty database with the contents of a file, unless ``accept`` raises."""
    if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        raise BackupError(
            "the database is not empty: restore into a new one, then put it in the old one's place"
        )
    # Never as a writer: whatever lies beside the file is not to be recovered into it.
    uri = f"{source.absolute().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as backup:
        problems = [row[0] for row in backup.execute("PRAGMA integrity_check(3)")]
        if problems != ["ok"]:
            raise BackupError(f"{source} is damaged: {problems[0]}")
        with (
            closing(sqlite3.connect(":memory:", isolation_level=None)) as empty,
            for_sqlalchemy(backup).connect() as found,
            for_sqlalchemy(empty).connect() as reference,
        ):
            accept(found, reference)
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
        backup.backup(connection)
    # The copy's header came along.
    connection.execute(f"PRAGMA journal_mode={mode}")


def count_at_once(connection: sqlite3.Connection, tables: Sequence[str]) -> Mapping[str, int]:
    """Rows per table, of one snapshot."""
    connection.execute("BEGIN")
    try:
        return _count(connection, tables)
    finally:
        connection.execute("ROLLBACK")


def _count(connection: sqlite3.Connection, tables: Sequence[str]) -> Mapping[str, int]:
    stored = {
        row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
    }
    return {
        table: connection.execute(f"SELECT count(*) FROM {_quoted(table)}").fetchone()[0]  # noqa: S608
        for table in tables
        if table in stored
    }


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
