"""What `holdfast doctor` and `holdfast status` look at in a SQLite database."""

from __future__ import annotations

import shlex
import shutil
import sqlite3
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from holdfast.engines.sqlite.files import Database
from holdfast.engines.sqlite.plain import beside
from holdfast.engines.upkeep import Finding

__all__ = ["bytes_of_tables", "inspect", "only_text"]

_MIB = 1024 * 1024
#: Releases that repaired the loss of committed rows when a connection checkpoints while another
#: writes (sqlite.org/wal.html, "the WAL-reset bug"); branches in between were not repaired.
_REPAIRED = ((3, 51, 3), (3, 50, 7), (3, 44, 6))


def inspect(connection: sqlite3.Connection, *, database: Database, thorough: bool) -> list[Finding]:
    return [
        *_library(),
        *_settings(connection, database),
        *_place(database),
        *_modes(database),
        *_sizes(connection, database),
        *_contents(connection, thorough),
    ]


def _library() -> Iterator[Finding]:
    version = sqlite3.sqlite_version_info
    repaired = any(
        version[:2] == fixed[:2] and version >= fixed for fixed in _REPAIRED
    ) or version > max(_REPAIRED)
    if repaired:
        yield Finding("ok", "SQLite library", f"version {sqlite3.sqlite_version}")
        return
    yield Finding(
        "notice",
        "SQLite library",
        f"version {sqlite3.sqlite_version} can lose committed rows when one connection checkpoints "
        "while another writes; Holdfast checkpoints from its writer alone, in a mode that is safe",
        "let no other program with automatic checkpoints write to the file, or take a Python with "
        "SQLite 3.51.3 or newer",
    )


def _settings(connection: sqlite3.Connection, database: Database) -> Iterator[Finding]:
    config = database.config
    if database.in_memory:
        yield Finding("notice", "durability", "in memory: nothing survives this process")
        return
    if config.synchronous == "normal":
        yield Finding(
            "warning",
            "durability",
            "synchronous=normal: a power cut can take back the latest acknowledged writes",
            "leave synchronous at full, unless losing the last moments is acceptable",
        )
    else:
        yield Finding("ok", "durability", "synchronous=full: what was acknowledged is on disk")
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    if mode != "wal":
        yield Finding(
            "warning",
            "journal",
            f"journal_mode={mode}: readers wait for the writer",
            "leave wal_mode on",
        )


def _place(database: Database) -> Iterator[Finding]:
    if database.in_memory:
        return
    kind = database.file_system
    if database.is_remote:
        yield Finding(
            "problem",
            "file system",
            f"{kind} is a network file system: its locks do not hold",
            "move the file to a local disk, or the organisation to PostgreSQL",
        )
    else:
        yield Finding("ok", "file system", kind or "unknown, taken for local")
    found = database.path.stat()
    if found.st_nlink > 1:
        yield Finding(
            "problem",
            "names",
            f"the file has {found.st_nlink} names (hard links), and each has a log of its own: "
            "two processes that open it by different ones corrupt it",
            "remove the others, which `find -samefile` shows",
        )
    size = found.st_size
    free = shutil.disk_usage(database.path.parent).free
    if free < max(2 * size, 512 * _MIB):
        yield Finding(
            "warning",
            "disk",
            f"{free // _MIB:,} MiB are free, the database has {size // _MIB:,} MiB",
            "keep twice the database's size free: a backup and a VACUUM each need it once",
        )
    else:
        yield Finding("ok", "disk", f"{free // _MIB:,} MiB are free")


def _modes(database: Database) -> Iterator[Finding]:
    """For whom the files are to read: they hold the hashes of passwords and what agents said."""
    if database.in_memory or sys.platform == "win32":
        return
    wide: dict[str, int] = {}
    for ending in ("", "-wal", "-shm", "-mark"):
        file = beside(database.path, ending)
        with suppress(FileNotFoundError):
            if (mode := stat.S_IMODE(file.lstat().st_mode)) & 0o077:
                wide[str(file)] = mode
    if not wide:
        yield Finding("ok", "permissions", "the files are their owner's alone")
        return
    modes = sorted({f"{mode:04o}" for mode in wide.values()})
    everyone = any(mode & 0o007 for mode in wide.values())
    yield Finding(
        "warning" if everyone else "notice",
        "permissions",
        f"{', '.join(Path(name).name for name in wide)}: mode {', '.join(modes)} lets "
        f"{'every user of this machine' if everyone else 'the group'} in",
        f"chmod 600 {shlex.join(wide)}",
    )


def _sizes(connection: sqlite3.Connection, database: Database) -> Iterator[Finding]:
    wal, limit = database.wal_bytes(), database.config.checkpoint_bytes
    if wal > 8 * limit:
        yield Finding(
            "warning",
            "write-ahead log",
            f"{wal // _MIB:,} MiB, where {limit // _MIB:,} MiB are meant: a reader keeps it",
            "look for a process that holds a stream or a read transaction open",
        )
    else:
        yield Finding("ok", "write-ahead log", f"{wal / _MIB:.1f} MiB")
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    unused = connection.execute("PRAGMA freelist_count").fetchone()[0]
    if pages > 25_000 and unused > pages // 4:
        yield Finding(
            "notice",
            "unused space",
            f"{100 * unused // pages} % of the file is empty after deletes; new rows use it first",
            "VACUUM gives it back, while nobody uses the database",
        )


def _contents(connection: sqlite3.Connection, thorough: bool) -> Iterator[Finding]:
    if not thorough:
        yield Finding("notice", "contents", "not read through", "holdfast doctor --thorough does")
        return
    try:
        problems = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
    except sqlite3.DatabaseError as error:  # too damaged to be read to the end
        problems = [str(error)]
    if problems != ["ok"]:
        yield Finding(
            "problem",
            "contents",
            f"the file is damaged: {problems[0]}",
            "stop writing, keep a copy of the file and its -wal, and restore the latest backup",
        )
        return
    orphans = connection.execute("PRAGMA foreign_key_check").fetchall()
    if orphans:
        yield Finding(
            "problem",
            "references",
            f"{len(orphans):,} rows refer to rows that do not exist, first in {orphans[0][0]}",
            "somebody wrote with foreign_keys off: delete or repair these rows",
        )
    else:
        yield Finding("ok", "contents", "structure and references hold")


def only_text(connection: sqlite3.Connection, table: str, column: str) -> str | None:
    """Of a table with one row; ``None`` without it, or without the table."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchall():
        return None
    rows = connection.execute(f"SELECT {column} FROM {table}").fetchall()  # noqa: S608
    return rows[0][0] if rows else None


def bytes_of_tables(connection: sqlite3.Connection) -> Mapping[str, int | None]:
    """On disk, indexes included; ``None`` where SQLite cannot tell."""
    tables = [
        row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
    ]
    try:
        sizes = dict(
            connection.execute(
                "SELECT s.tbl_name, sum(b.pgsize) FROM dbstat b"
                " JOIN sqlite_schema s ON s.name = b.name WHERE b.aggregate = TRUE GROUP BY 1"
            )
        )
    except sqlite3.OperationalError:  # built without dbstat, as most are on macOS
        return dict.fromkeys(tables)
    return {table: sizes.get(table, 0) for table in tables}
