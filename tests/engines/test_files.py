"""Whether the files of a SQLite database are still those that were opened."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast import (
    DatabaseGoneError,
    DiskIOError,
    PersistenceBackend,
    SQLiteConfig,
    SQLitePersistenceBackend,
)
from holdfast.engines.sqlite.opened import OpenedFiles
from holdfast.testing.databases import connected

from ..conformance.test_work import task

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="an open file stays where it is")


def beside(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.name}{ending}")


# -- the file is not the one that was opened -----------------------------------------------------


def delete_all(path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


def delete(path: Path) -> None:
    path.unlink()


def move(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))


def put_another(path: Path) -> None:
    other = path.with_name("other.db")
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE tasks (id TEXT)")
    other.replace(path)


def write_over(path: Path) -> None:
    """As ``cp backup org.db``: the file's number stays."""
    other = path.with_name("other.db")
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE tasks (id TEXT)")
    # By another process: a file that is opened and closed in this one loses SQLite's locks.
    subprocess.run(["cp", other, path], check=True)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def remove_directory(path: Path) -> None:
    shutil.rmtree(path.parent)


def remake_directory(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))
    path.parent.mkdir()


def put_another_directory(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))
    shutil.copytree(path.parent.with_name("moved"), path.parent)


def delete_log(path: Path) -> None:
    beside(path, "-wal").unlink()


def put_another_log(path: Path) -> None:
    shutil.copy(beside(path, "-wal"), beside(path, "-other"))
    beside(path, "-other").replace(beside(path, "-wal"))


def cut_log_to_nothing(path: Path) -> None:
    os.truncate(beside(path, "-wal"), 0)


def cut_log_to_its_head(path: Path) -> None:
    os.truncate(beside(path, "-wal"), 32)


def cut_last_byte_of_log(path: Path) -> None:
    os.truncate(beside(path, "-wal"), beside(path, "-wal").stat().st_size - 1)


def cut_log_and_fill_up(path: Path) -> None:
    size = beside(path, "-wal").stat().st_size
    os.truncate(beside(path, "-wal"), 0)
    os.truncate(beside(path, "-wal"), size)


def write_over_head_of_log(path: Path) -> None:
    with beside(path, "-wal").open("r+b") as log:
        log.write(bytes(12))


def write_another_log_over(path: Path) -> None:
    """As ``cp other.db-wal org.db-wal``: the file's number stays."""
    other = path.with_name("other.db")
    with closing(sqlite3.connect(other, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE notes (id TEXT)")
        for _ in range(100):
            connection.execute("INSERT INTO notes VALUES ('')")
        subprocess.run(["cp", beside(other, "-wal"), beside(path, "-wal")], check=True)


def delete_index(path: Path) -> None:
    beside(path, "-shm").unlink()


OF_DATABASE = [delete_all, delete, move, put_another, write_over, empty, remove_directory,
               remake_directory, put_another_directory]  # fmt: skip
IN_LOG = [cut_log_to_nothing, cut_log_to_its_head, cut_last_byte_of_log, cut_log_and_fill_up,
          write_over_head_of_log, write_another_log_over]  # fmt: skip
OF_LOG = [delete_log, put_another_log, delete_index, *IN_LOG]


async def read_once(backend: PersistenceBackend) -> object:
    return await backend.tasks.get("before")


async def read_long(backend: PersistenceBackend) -> object:
    return await backend.settings.get_all()


async def save_alone(backend: PersistenceBackend) -> None:
    await backend.tasks.save(task("after"))


async def transact(backend: PersistenceBackend) -> None:
    async with backend.transaction() as tx:
        await tx.tasks.save(task("after"))


async def read_in_transaction(backend: PersistenceBackend) -> object:
    async with backend.transaction() as tx:
        return await tx.tasks.get("before")


async def claim(backend: PersistenceBackend) -> object:
    return await backend.tasks.claim("ada")


async def watch(backend: PersistenceBackend) -> object:
    async with asyncio.timeout(10):
        async for change in backend.watch(backend.tasks):
            return change
    return None


async def doctor(backend: PersistenceBackend) -> object:
    return await backend.operations.doctor()


async def status(backend: PersistenceBackend) -> object:
    return await backend.status()


READS = [read_once, read_long, read_in_transaction, watch, doctor, status]
WRITES = [save_alone, transact, claim]


@pytest.fixture
def path(tmp_path: Path, sqlite_template: Path) -> Path:
    """A migrated database, in a directory that can be moved."""
    path = tmp_path / "data" / "org.db"
    path.parent.mkdir()
    shutil.copyfile(sqlite_template, path)
    return path


def at(path: Path | str, **options: Any) -> AbstractAsyncContextManager[PersistenceBackend]:
    return connected(SQLitePersistenceBackend(SQLiteConfig(path=str(path), **options)))


@pytest.mark.parametrize("happens", OF_DATABASE)
async def test_whatever_is_called_next_says_so(path: Path, happens: Callable[[Path], None]) -> None:
    async with at(path) as backend:
        await backend.record_changes(backend.tasks)
        await backend.tasks.save(task("before"))
        happens(path)
        for call in (*READS, *WRITES):
            with pytest.raises(DatabaseGoneError, match=r"org\.db.* in use.* Disconnect"):
                await call(backend)
        assert not await backend.health_check()
        assert "in use" in (await backend.health()).reason


@pytest.mark.parametrize("happens", OF_LOG)
async def test_a_write_says_that_the_log_is_gone(
    path: Path, happens: Callable[[Path], None]
) -> None:
    async with at(path) as backend:
        await backend.tasks.save(task("before"))
        happens(path)
        for call in WRITES:
            with pytest.raises(DatabaseGoneError, match=r"org\.db-(wal|shm) .*in use"):
                await call(backend)
        assert not await backend.health_check()


@pytest.mark.parametrize("happens", [*OF_DATABASE, *OF_LOG])
async def test_every_caller_of_a_commit_is_told(
    path: Path, happens: Callable[[Path], None]
) -> None:
    async with at(path) as backend:
        await backend.tasks.save(task("before"))
        happens(path)
        saves = [backend.tasks.save(task(f"t{n}")) for n in range(40)]
        found = await asyncio.gather(*saves, return_exceptions=True)
        assert {type(each) for each in found} == {DatabaseGoneError}


@pytest.mark.parametrize("happens", [delete_all, move, put_another, delete_log, *IN_LOG])
async def test_a_commit_that_went_into_a_lost_file_is_not_acknowledged(
    path: Path, happens: Callable[[Path], None]
) -> None:
    """The file goes while the transaction is open."""
    async with at(path) as backend:
        await backend.tasks.save(task("before"))
        with pytest.raises(DatabaseGoneError):
            async with backend.transaction() as tx:
                await tx.tasks.save(task("after"))
                happens(path)
        # The writer is free, for whoever comes next, and says the same.
        with pytest.raises(DatabaseGoneError):
            await backend.tasks.save(task("later"))


async def test_a_long_read_and_a_snapshot_say_so(path: Path) -> None:
    async with at(path) as backend:
        await backend.settings.set_many([("n", f"{n:06}", "v", "now") for n in range(3_000)])
        core: Any = backend._core  # type: ignore[attr-defined]
        with pytest.raises(DatabaseGoneError):
            async with core.engine.snapshot() as session:
                repository = core.make(type(backend.tasks), session, "default")
                await repository.get("t")
                move(path)
                await repository.get("t")


async def test_the_rows_of_others_survive_the_disconnection(path: Path) -> None:
    """SQLite's last connection to a file removes what lies at its log's path, whosever it is."""
    async with at(path) as first:
        await first.tasks.save(task("first"))
        delete_all(path)
        async with at(path) as second:
            await second.tasks.save(task("second"))
            number = beside(path, "-wal").stat().st_ino
            await first.disconnect()
            assert beside(path, "-wal").stat().st_ino == number
            assert beside(path, "-mark").exists()
            await second.tasks.save(task("third"))
    async with at(path) as again:
        assert await again.tasks.count_tasks() == 2


async def test_what_was_acknowledged_outlives_its_log(path: Path) -> None:
    """A log that was removed is still open, and moved into the database at the end."""
    async with at(path) as backend:
        await backend.tasks.save(task("before"))
        delete_log(path)
        with pytest.raises(DatabaseGoneError):
            await backend.tasks.save(task("after"))
    async with at(path) as again:
        assert await again.tasks.get("before") is not None


async def test_the_way_out_is_to_connect_anew(path: Path) -> None:
    async with at(path) as backend:
        await backend.tasks.save(task("before"))
        move(path)
        for _ in range(2):
            with pytest.raises(DatabaseGoneError):
                await backend.tasks.save(task("after"))
        await backend.disconnect()
        path.with_name("elsewhere.db").rename(path)
        await backend.connect()
        assert await backend.health_check()
        assert await backend.tasks.get("before") is not None
        await backend.tasks.save(task("after"))


async def test_a_link_that_leads_elsewhere_now(path: Path) -> None:
    link, two = path.with_name("current.db"), path.with_name("two.db")
    link.symlink_to(path)
    shutil.copyfile(path, two)
    async with at(link) as backend:
        await backend.tasks.save(task("before"))
        link.unlink()
        link.symlink_to(two)
        with pytest.raises(DatabaseGoneError, match=r"current\.db is another file now"):
            await backend.tasks.save(task("after"))


async def test_the_process_may_go_to_another_directory(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    async with at(path.name) as backend:
        monkeypatch.chdir("/")
        await backend.tasks.save(task("t"))
        assert await backend.operations.doctor()
        await backend.disconnect()
        await backend.connect()
        assert await backend.tasks.get("t") is not None


@pytest.mark.parametrize("options", [{}, {"wal_mode": False}, {"synchronous": "normal"}])
async def test_what_belongs_to_the_day_is_no_alarm(path: Path, options: Any) -> None:
    """Checkpoints, a VACUUM, another program, and names that come and go."""
    async with at(path, checkpoint_bytes=4096, **options) as backend:
        for n in range(20):
            await backend.tasks.save(task(f"t{n}", description="x" * 3_000))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("DELETE FROM tasks WHERE id < 't5'")
            other.execute("VACUUM")
            await backend.tasks.save(task("z"))
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        await backend.tasks.save(task("z"))
        os.link(path, path.with_name("copy.db"))  # as some programs do that make backups
        await backend.tasks.save(task("y"))
        path.with_name("copy.db").unlink()
        os.utime(path)
        await backend.tasks.save(task("x"))
        assert await backend.health_check()
        assert await backend.tasks.get("x") is not None


# -- the log is cut off, or an older file is written over the open one ---------------------------


@pytest.mark.parametrize("happens", [each for each in IN_LOG if each != cut_last_byte_of_log])
@pytest.mark.parametrize("options", [{}, {"synchronous": "normal"}])
async def test_a_log_that_is_damaged_during_a_commit_is_noticed_after_it(
    path: Path, happens: Callable[[Path], None], options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at(path, **options) as backend:
        await backend.tasks.save(task("before"))
        check, looks = OpenedFiles.check_log, 0

        def between(files: OpenedFiles) -> None:
            nonlocal looks
            check(files)
            looks += 1
            if looks == 1:
                happens(path)

        monkeypatch.setattr(OpenedFiles, "check_log", between)
        with pytest.raises(DatabaseGoneError, match=r"cut off|written over"):
            await backend.tasks.save(task("after"))
        with pytest.raises(DatabaseGoneError, match=r"cut off|written over"):
            await backend.tasks.save(task("later"))
        assert not await backend.health_check()


@pytest.mark.parametrize("happens", [cut_log_to_nothing, cut_log_to_its_head])
async def test_who_comes_later_is_told_as_well(path: Path, happens: Callable[[Path], None]) -> None:
    async with at(path) as first:
        for n in range(50):
            await first.set_setting(f"n{n}", "x" * 30_000)
        happens(path)
        with pytest.raises(DatabaseGoneError, match="cut off"):  # not in what SQLite has read
            await first.settings.get_all()
        with pytest.raises((DatabaseGoneError, DiskIOError)):  # by what is read first
            async with at(path) as second:
                await second.tasks.save(task("after"))


def grow(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE notes (text TEXT)")
    connection.execute("INSERT INTO notes VALUES (zeroblob(50000))")


def change(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE settings SET value = 'other'")


def cp(source: Path, target: Path, *options: str) -> None:
    subprocess.run(["cp", *options, source, target], check=True)


def lengthen(path: Path) -> None:
    os.truncate(path, path.stat().st_size + 4096)


@contextmanager
def times_kept(path: Path) -> Iterator[None]:
    found = path.stat()
    yield
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


@pytest.mark.parametrize("later", [grow, change])
@pytest.mark.parametrize("options", [["-p"], []])
async def test_an_older_copy_put_over_the_open_file(
    path: Path, later: Callable[[sqlite3.Connection], None], options: list[str]
) -> None:
    """Also with its times, and where its header says the same."""
    async with at(path) as backend:
        await backend.set_setting("n", "v")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            cp(path, path.with_name("copy.db"), "-p")
            later(other)
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        await backend.tasks.save(task("before"))
        cp(path.with_name("copy.db"), path, *options)
        if later is change and not options:
            return  # as if it had been touched: docs/decisions/0034-known-limits.md
        for call in (*READS[:3], *WRITES):
            with pytest.raises(DatabaseGoneError, match="written over"):
                await call(backend)
        assert not await backend.health_check()


async def test_an_older_copy_with_the_time_of_the_newer(path: Path) -> None:
    async with at(path) as backend:
        cp(path, path.with_name("copy.db"))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            grow(other)
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        await backend.tasks.save(task("before"))
        with times_kept(path):
            cp(path.with_name("copy.db"), path)
        with pytest.raises(DatabaseGoneError, match="written over"):
            await backend.tasks.save(task("after"))


async def test_a_file_written_over_stays_so_after_a_checkpoint_of_another(path: Path) -> None:
    async with at(path) as backend:
        await backend.tasks.save(task("before"))
        lengthen(path)
        with pytest.raises(DatabaseGoneError, match="written over"):
            await backend.tasks.get("before")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with pytest.raises(DatabaseGoneError, match="written over"):
            await backend.tasks.get("before")


async def test_the_log_of_another_process_that_checkpoints_all_the_time(path: Path) -> None:
    """Which empties it, begins it anew and cuts it to a limit, between any two looks of ours."""
    script = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("PRAGMA journal_size_limit=20000")
connection.execute("CREATE TABLE notes (text TEXT)")
for turn in range(60):
    connection.execute("INSERT INTO notes VALUES (zeroblob(9000))")
    for mode in ("PASSIVE", "RESTART", "TRUNCATE"):
        connection.execute(f"PRAGMA wal_checkpoint({mode})")
        if turn % 3:
            connection.execute("UPDATE notes SET text = 't' WHERE rowid % 3 = 0")
    if turn % 10 == 9:
        connection.execute("VACUUM")
"""
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", script, path)
    async with at(path, checkpoint_bytes=20_000) as backend:
        saved = 0
        while other.returncode is None:
            await backend.tasks.save(task(f"t{saved}"))
            assert await backend.tasks.get(f"t{saved}") is not None
            assert await backend.health_check()
            saved += 1
        assert await other.wait() == 0
        assert await backend.tasks.count_tasks() == saved
