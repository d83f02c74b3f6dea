"""Rows 7 and 27: a disk that is full, and a log that a reader keeps from shrinking."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from holdfast import DiskFullError, PersistenceError, Task, create_backend
from holdfast.engines.sqlite.engine import SQLiteEngine

from .programs import lacking
from .scorecard import Ledger, Record, sized


def _task(key: str) -> Task:
    return Task(
        id=key, title="t", description="d" * 4_000, type="admin", project="p", created_by="m"
    )


def _run(*command: str) -> bool:
    return not subprocess.run(command, capture_output=True, check=False).returncode


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    place = tmp_path / "small"
    place.mkdir()
    if not _run("mount", "-t", "tmpfs", "-o", "size=8m,mode=0777", "tmpfs", str(place)):
        lacking("mounting a small file system is not allowed here: it needs root")
    yield place
    # Lazily: a test that failed has the database open.
    assert _run("umount", "--lazy", str(place))


def _fill(ballast: Path, size: int) -> None:
    """Take so many bytes, or all there are: a log that could not be cut leaves fewer."""
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.tell() < size:
            file.write(bytes(100_000))


async def _save(backend: Any, key: str, ledger: Ledger) -> PersistenceError | None:
    try:
        await backend.tasks.save(_task(key))
    except PersistenceError as error:
        ledger.refused.add(key)
        return error
    ledger.acked.add(key)
    return None


def _swallowing(path: Path, keys: list[str]) -> Ledger:
    """A harness that takes every statement for done."""
    ledger = Ledger()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for key in keys:
            with suppress(sqlite3.OperationalError):
                connection.execute(
                    "INSERT INTO settings VALUES ('full', 'n', ?, ?, '')", (key, "v" * 4_000)
                )
            ledger.acked.add(key)
    return ledger


async def test_row_7_the_disk_is_full(
    sqlite_template: Path, small_disk: Path, record: Record
) -> None:
    path, ballast = small_disk / "org.db", small_disk / "ballast"
    shutil.copy(sqlite_template, path)
    backend = create_backend(f"sqlite:///{path}?checkpoint_bytes=500000")
    await backend.connect()
    ledger, waited = Ledger(), 0.0
    errors: list[PersistenceError] = []
    for turn in range(sized(3, 20)):
        _fill(ballast, 2_000_000)
        keys = [f"{turn}-{n}" for n in range(10_000)]
        while keys and not (turn + 1) * 3 <= len(errors):
            saves = [_save(backend, keys.pop(), ledger) for _ in range(3)]
            errors += [error for error in await asyncio.gather(*saves) if error is not None]
        assert keys
        ballast.unlink()
        begun = time.monotonic()
        assert await _save(backend, f"{turn}-after", ledger) is None
        waited = max(waited, time.monotonic() - begun)
        await backend.tasks.delete(f"{turn}-after")
        ledger.acked.discard(f"{turn}-after")
        for key in list(ledger.acked):
            await backend.tasks.delete(key)
            ledger.acked.discard(key)
            if len(ledger.acked) < 100:
                break
    stored = [task.id for task in await backend.tasks.list_tasks()]
    await backend.disconnect()
    verdict = ledger.verdict(stored)
    _fill(ballast, 8_000_000)
    control = _swallowing(path, [f"{n}" for n in range(200)])
    ballast.unlink()
    with closing(sqlite3.connect(path)) as connection:
        sound = connection.execute("PRAGMA integrity_check").fetchone()[0]
        kept = [row[0] for row in connection.execute("SELECT key FROM settings")]
    lost = control.verdict(kept)["lost"]
    record(
        7,
        "SQLite, disk full",
        f"{len(ledger.acked):,} acked, {len(ledger.refused)} refused, {verdict}, "
        f"integrity {sound}, first write after {waited * 1000:.0f} ms",
        f"taking every statement for done lost {lost}",
    )
    assert set(verdict.values()) == {0}
    assert sound == "ok"
    assert {type(error) for error in errors} == {DiskFullError}
    assert "make room" in str(errors[0])
    assert waited < 1.0
    assert lost > 0


async def _pinned(path: Path, limit: int) -> tuple[int, float | None]:
    """The log's size under a pinned reader, and when after its release the log was small."""
    backend = create_backend(f"sqlite:///{path}?checkpoint_bytes={limit}")
    await backend.connect()
    log = path.with_name(f"{path.name}-wal")
    await backend.tasks.save(_task("first"))
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        seen = reader.execute("SELECT count(*) FROM tasks").fetchone()
        turn, end = 0, time.monotonic() + sized(1, 60)
        while log.stat().st_size < 12 * limit or time.monotonic() < end:
            turn += 1
            await backend.tasks.save(_task(f"{turn}"))
        assert reader.execute("SELECT count(*) FROM tasks").fetchone() == seen
        size = log.stat().st_size
    begun = time.monotonic()
    small = None
    while small is None and time.monotonic() - begun < 1.5:
        await asyncio.sleep(0.01)
        if log.stat().st_size <= limit:
            small = time.monotonic() - begun
    await backend.disconnect()
    return size, small


async def test_row_27_a_reader_keeps_the_log(
    sqlite_url: str,
    tmp_path: Path,
    record: Record,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, limit = Path(sqlite_url.removeprefix("sqlite:///")), 100_000
    other = tmp_path / "other.db"
    shutil.copy(path, other)
    with caplog.at_level(logging.WARNING, "holdfast.sqlite"):
        size, after = await _pinned(path, limit)
    warnings = [each for each in caplog.messages if "write-ahead log has grown" in each]
    monkeypatch.setattr(SQLiteEngine, "_watch_log", lambda _: None)
    control_size, control = await _pinned(other, limit)
    record(
        27,
        "SQLite log under a pinned reader",
        f"{size / 1e6:.1f} MB, back within the limit {after} s after the release, "
        f"{len(warnings)} warnings",
        f"without repeated checkpoints {control_size / 1e6:.1f} MB stay: {control}",
    )
    assert after is not None
    assert after < 1.0
    assert 1 <= len(warnings) <= 8  # one at eight times the limit, then at each doubling
    assert control is None
