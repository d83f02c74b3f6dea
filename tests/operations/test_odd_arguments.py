"""What is no path, no row and no list of names is refused before anything is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast import BackupError, InvalidArgumentError, MalformedRow, PersistenceBackend
from holdfast.operations import RawRow

ROW = MalformedRow("tasks", "t", ("k",))


async def test_what_is_no_path(backend: PersistenceBackend) -> None:
    do: Any = backend.operations
    path: Any
    for path in (None, 3, b"x", [], {}, "\0", "a\0b", "\ud800", Path("a\ud800")):
        for call, place in (
            (do.backup(path), "backup: target"),
            (do.restore(path), "restore: source"),
            (do.export_tenant("t", path), "export_tenant: target"),
            (do.import_tenant(path), "import_tenant: source"),
            (do.quarantine_row(ROW, path), "quarantine_row: target"),
        ):
            with pytest.raises(InvalidArgumentError, match=f"{place} (must be a path|holds a)"):
                await call


async def test_what_is_no_row(backend: PersistenceBackend, tmp_path: Path) -> None:
    do: Any = backend.operations
    for row in (None, 3, "tasks", ("tasks", "t", ("k",)), MalformedRow("tasks", "t", "k")):  # type: ignore[arg-type]
        for call in (do.read_row(row), do.quarantine_row(row, tmp_path / "q")):
            with pytest.raises(InvalidArgumentError, match=r"row(: key)? must be a"):
                await call
    columns: Any
    for columns in (None, 3, [("a", "b")]):
        with pytest.raises(InvalidArgumentError, match="replace_row: columns must be a Mapping"):
            await do.replace_row(RawRow("tasks", "t", columns))
    for row in (None, 3, "tasks", ROW):
        with pytest.raises(InvalidArgumentError, match="replace_row: row must be a RawRow"):
            await do.replace_row(row)


async def test_what_are_no_names(backend: PersistenceBackend) -> None:
    do: Any = backend.operations
    for names in (3, "tasks", b"tasks", [3], [None]):
        for place in ("tables", "tenants"):
            with pytest.raises(InvalidArgumentError, match=f"prune: {place} must be"):
                await do.prune(None, **{place: names})
    with pytest.raises(InvalidArgumentError, match="create_roles: passwords must be a mapping"):
        await do.create_roles("org", passwords=3)


async def test_a_backup_is_not_named_as_a_log(backend: PersistenceBackend, tmp_path: Path) -> None:
    """SQLite would take it for that of the database beside it, and write over it."""
    for ending in ("-wal", "-shm", "-journal", "-mark", "-checkpoint", "-WAL"):
        with pytest.raises(BackupError, match="must not end in"):
            await backend.operations.backup(tmp_path / f"copy.db{ending}")
