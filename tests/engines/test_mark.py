"""The high-water mark beside a SQLite database, and what it says after a crash."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from holdfast import DatabaseCorruptError, create_backend
from holdfast.testing.databases import connected

from ..forked import Child

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no mark is kept there")

#: Saves, and ends as a process does that is killed.
_CRASH = """
import asyncio, os, sys
from holdfast import create_backend

async def main(url):
    backend = create_backend(url)
    await backend.connect()
    for number in range(20):
        await backend.set_setting(f"k{number}", "v" * 2_000)
    os._exit(0)

asyncio.run(main(sys.argv[1]))
"""


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.name}{ending}")


async def _crash(url: str) -> None:
    process = await Child.start(_CRASH, url)
    assert await process.wait() == (0, b"")


@pytest.fixture
async def crashed(sqlite_url: str) -> Path:
    """A database whose latest commits are in its log, and whose process is gone."""
    await _crash(sqlite_url)
    return Path(sqlite_url.removeprefix("sqlite:///"))


async def _read_elsewhere(path: Path) -> bytes:
    """Read by another process: closing the file in this one would drop SQLite's locks."""
    process = await asyncio.create_subprocess_exec("cat", path, stdout=asyncio.subprocess.PIPE)
    return (await process.communicate())[0]


async def _keys(path: Path) -> int:
    async with connected(create_backend(f"sqlite:///{path}")) as backend:
        return len(await backend.settings.get_all())


async def test_a_crash_is_no_damage(crashed: Path) -> None:
    assert _beside(crashed, "-mark").exists()
    assert await _keys(crashed) == 20
    # Everything is in the database now.
    assert not _beside(crashed, "-wal").exists()
    assert not _beside(crashed, "-mark").exists()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda log: log[: len(log) // 2], id="cut in the middle"),
        pytest.param(lambda log: log[:-1], id="cut by one byte"),
        pytest.param(lambda log: log[:10], id="cut within its head"),
        pytest.param(lambda log: log[:32], id="cut after its head"),
        pytest.param(lambda log: b"\1" + log[1:], id="its head"),
        pytest.param(lambda log: log[:-9] + bytes([log[-9] ^ 1]) + log[-8:], id="its last page"),
        pytest.param(lambda log: log[:9_000] + b"\xff" * 8 + log[9_008:], id="an early page"),
    ],
)
async def test_commits_that_are_missing_are_noticed(
    crashed: Path, damage: Callable[[bytes], bytes]
) -> None:
    database, log, mark = (_beside(crashed, ending) for ending in ("", "-wal", "-mark"))
    damaged = damage(log.read_bytes())
    log.write_bytes(damaged)
    before = database.read_bytes(), mark.read_bytes()
    for _ in range(2):  # it does not heal by being asked again
        with pytest.raises(DatabaseCorruptError, match=r"-wal.*is damaged.*remove .*-mark"):
            await _keys(crashed)
    assert (database.read_bytes(), mark.read_bytes()) == before
    assert log.read_bytes() == damaged
    mark.unlink()
    assert await _keys(crashed) < 20


async def test_a_log_that_had_only_just_begun_anew_is_no_damage(sqlite_url: str) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    async with connected(create_backend(sqlite_url)) as backend:
        await backend.set_setting("a", "1")
        mark = _beside(path, "-mark").read_bytes()
        await backend.get_db().run(
            lambda c: c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        )
        content = await _read_elsewhere(path)
        await backend.set_setting("a", "2")
        log = _beside(path, "-wal").read_bytes()
    # What a power cut leaves when the log's head was written, and nothing else.
    for ending, old in (("", content), ("-wal", log[:32]), ("-mark", mark)):
        _beside(path, ending).write_bytes(old)
    async with connected(create_backend(sqlite_url)) as backend:
        assert await backend.get_setting("a") == "1"


async def test_another_program_may_read_and_write(crashed: Path) -> None:
    with closing(sqlite3.connect(crashed)) as connection:
        connection.execute("DELETE FROM settings WHERE key = 'k0'")
        connection.commit()
        # While it is open, and when it has cleaned up the log.
        assert await _keys(crashed) == 19
    assert await _keys(crashed) == 19
    await _crash(f"sqlite:///{crashed}")
    with closing(sqlite3.connect(crashed)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("DELETE FROM settings WHERE key = 'k1'")
        connection.commit()
        assert await _keys(crashed) == 19


async def test_several_processes_and_backends_share_it(sqlite_url: str) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    async with connected(create_backend(sqlite_url)) as first:
        await first.set_setting("a", "1")
        async with connected(create_backend(sqlite_url)) as second:
            await _crash(sqlite_url)
            await second.set_setting("b", "2")
        await _crash(sqlite_url)
        # The descriptors that were closed with the second one were not those of the first's locks.
        await first.set_setting("c", "3")
        assert await _keys(path) == 23
        assert _beside(path, "-mark").exists()
    assert sorted(each.name for each in path.parent.glob(f"{path.name}*")) == [path.name]


async def test_a_mark_that_is_no_mark_is_ignored(crashed: Path) -> None:
    content = _beside(crashed, "-mark").read_bytes()
    _beside(crashed, "-mark").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    log = _beside(crashed, "-wal")
    log.write_bytes(log.read_bytes()[:-1])
    assert await _keys(crashed) == 19


@pytest.mark.parametrize("options", ["synchronous=normal", "wal_mode=false"])
async def test_none_is_kept_where_commits_may_be_lost(crashed: Path, options: str) -> None:
    async with connected(create_backend(f"sqlite:///{crashed}?{options}")) as backend:
        await backend.set_setting("a", "1")
        assert not _beside(crashed, "-mark").exists()


async def test_it_is_as_readable_as_the_database(sqlite_url: str) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    _beside(path, "").chmod(0o640)
    async with connected(create_backend(sqlite_url)) as backend:
        await backend.set_setting("a", "1")
        assert _beside(path, "-mark").stat().st_mode & 0o777 == 0o640
