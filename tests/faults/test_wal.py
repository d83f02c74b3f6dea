"""Rows 7 and 27: a disk that is full, and a log that a reader keeps from shrinking."""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from holdfast import DiskFullError, PersistenceError, Task, create_backend
from holdfast.engines.sqlite.engine import SQLiteEngine
from holdfast.testing import PostgresCluster
from holdfast.testing.databases import connected, run_sql

from .scorecard import Ledger, Record, sized


def _task(key: str) -> Task:
    return Task(
        id=key, title="t", description="d" * 4_000, type="admin", project="p", created_by="m"
    )


def _run(*command: str) -> bool:
    return not subprocess.run(command, capture_output=True, check=False).returncode


@contextmanager
def _mounted(place: Path, options: str) -> Iterator[None]:
    """A file system in memory."""
    if not _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)):
        pytest.fail("a small file system could not be mounted: containers want SYS_ADMIN for it")
    try:
        yield
    finally:
        # Lazily: a test that failed has the database open.
        assert _run("umount", "--lazy", str(place))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    place = tmp_path / "small"
    place.mkdir()
    with _mounted(place, "size=8m,mode=0777"):
        yield place


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


def _swallowing(path: Path, ballast: Path, keys: list[str]) -> Ledger:
    """A harness that takes every statement for done."""
    ledger = Ledger()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM settings")  # which opens the log while there is room
        _fill(ballast, 8_000_000)
        for key in keys:
            try:
                connection.execute(
                    "INSERT INTO settings VALUES ('full', 'n', ?, ?, '')", (key, "v" * 4_000)
                )
            except sqlite3.OperationalError as error:
                assert error.sqlite_errorname == "SQLITE_FULL"  # noqa: PT017 - some are stored
            ledger.acked.add(key)
    return ledger


@dataclass(slots=True)
class _Filled:
    ledger: Ledger = field(default_factory=Ledger)
    errors: list[PersistenceError] = field(default_factory=list)
    #: The longest wait for the first write after there was room again.
    waited: float = 0.0


async def _fill_and_free(backend: Any, ballast: Path, size: int, turns: int) -> _Filled:
    """Take the room away while writers write, and give it back, again and again."""
    found = _Filled()
    for turn in range(turns):
        _fill(ballast, size)
        keys = [f"{turn}-{n}" for n in range(10_000)]
        while keys and not (turn + 1) * 3 <= len(found.errors):
            saves = [_save(backend, keys.pop(), found.ledger) for _ in range(3)]
            found.errors += [error for error in await asyncio.gather(*saves) if error is not None]
        assert keys
        ballast.unlink()  # noqa: ASYNC240 - nothing else is to run before there is room
        begun = time.monotonic()
        assert await _save(backend, f"{turn}-after", found.ledger) is None
        found.waited = max(found.waited, time.monotonic() - begun)
        for key in sorted(found.ledger.acked)[100:]:
            await backend.tasks.delete(key)
            found.ledger.acked.discard(key)
    return found


def _check(found: _Filled, verdict: dict[str, int], lost: int) -> None:
    assert set(verdict.values()) == {0}
    assert {type(error) for error in found.errors} == {DiskFullError}
    assert "make room" in str(found.errors[0])
    assert found.waited < 1.0
    assert lost > 0


@pytest.mark.needs("mount")
async def test_row_7_the_disk_is_full(
    sqlite_template: Path, small_disk: Path, record: Record
) -> None:
    path, ballast = small_disk / "org.db", small_disk / "ballast"
    shutil.copy(sqlite_template, path)
    async with connected(create_backend(f"sqlite:///{path}?checkpoint_bytes=500000")) as backend:
        found = await _fill_and_free(backend, ballast, 2_000_000, sized(3, 20))
        verdict = found.ledger.verdict(task.id for task in await backend.tasks.list_tasks())
    control = _swallowing(path, ballast, [f"{n}" for n in range(200)])
    ballast.unlink()
    with closing(sqlite3.connect(path)) as connection:
        sound = connection.execute("PRAGMA integrity_check").fetchone()[0]
        kept = [row[0] for row in connection.execute("SELECT key FROM settings")]
    lost = control.verdict(kept)["lost"]
    record(
        7,
        "SQLite, disk full",
        f"{len(found.ledger.acked):,} acked, {len(found.ledger.refused)} refused, {verdict}, "
        f"integrity {sound}, first write after {found.waited * 1000:.0f} ms",
        f"taking every statement for done lost {lost}",
    )
    assert sound == "ok"
    _check(found, verdict, lost)


async def _swallowing_on_postgres(url: str, keys: list[str]) -> Ledger:
    ledger = Ledger()
    bare = await asyncpg.connect(url)
    for key in keys:
        with suppress(asyncpg.DiskFullError):
            # Not to be compressed, nor to be put aside.
            text = random.Random(key).randbytes(3_000).hex()
            await bare.execute("INSERT INTO settings VALUES ('full', 'n', $1, $2, '')", key, text)
        ledger.acked.add(key)
    await bare.close()
    return ledger


@pytest.mark.needs("mount")
async def test_row_7_the_disk_of_the_server_is_full(record: Record) -> None:
    with PostgresCluster.create() as cluster:
        place = cluster.data.parent / "small"
        place.mkdir()
        owner = cluster.data.stat()
        with _mounted(place, f"size=40m,mode=0700,uid={owner.st_uid},gid={owner.st_gid}"):
            # Tables only: a server whose own log has no room stops.
            await run_sql(cluster.url(), f"CREATE TABLESPACE small LOCATION '{place}'")
            await run_sql(cluster.url(), "CREATE DATABASE org TABLESPACE small")
            url, ballast = cluster.url("org"), place / "ballast"
            async with connected(create_backend(url)) as backend:
                found = await _fill_and_free(backend, ballast, 40_000_000, sized(2, 20))
                verdict = found.ledger.verdict(task.id for task in await backend.tasks.list_tasks())
            _fill(ballast, 40_000_000)
            control = await _swallowing_on_postgres(url, [f"{n}" for n in range(200)])
            ballast.unlink()
            bare = await asyncpg.connect(url)
            kept = [row["key"] for row in await bare.fetch("SELECT key FROM settings")]
            await bare.close()
    lost = control.verdict(kept)["lost"]
    record(
        7,
        "PostgreSQL, disk full",
        f"{len(found.ledger.acked):,} acked, {len(found.ledger.refused)} refused, {verdict}, "
        f"first write after {found.waited * 1000:.0f} ms",
        f"taking every statement for done lost {lost}",
    )
    _check(found, verdict, lost)


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
        f"{size / 1e6:.1f} MB, back within the limit {after and round(after, 2)} s after "
        f"the release, {len(warnings)} warnings",
        f"without repeated checkpoints {control_size / 1e6:.1f} MB stay: {control}",
    )
    assert after is not None
    assert after < 1.0
    assert 1 <= len(warnings) <= 8  # one at eight times the limit, then at each doubling
    assert control is None
