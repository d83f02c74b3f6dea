"""A log beside a database that it was not written for, and those that only look as if they were."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast import DatabaseCorruptError
from holdfast.engines.sqlite.log import Log

from ..forked import Child
from .test_files import at, beside, path

__all__ = ["path"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no mark is kept there")

#: Saves what goes into the database, saves what stays in the log, and ends as if it were killed.
_CRASH = """
import asyncio, os, sys
from holdfast import create_backend

async def main(url, name, program):
    backend = create_backend(url)
    await backend.connect()
    await backend.migrate()
    for number in range(40):
        await backend.set_setting(f"{name}-{number}", "v" * 2_000)
        if number == 19:
            await backend.operations.backup(f"{url[len('sqlite:///'):].split('?')[0]}.backup")
            move = "PRAGMA wal_checkpoint(TRUNCATE)"
            await backend.get_db().run(lambda c: c.execute(move).fetchall())
    if program:
        await backend.get_db().run(lambda c: c.execute(program).fetchall())
    os._exit(0)

asyncio.run(main(*sys.argv[1:]))
"""


async def crash(path: Path, name: str = "a", *, options: str = "", program: str = "") -> None:
    process = await Child.start(_CRASH, f"sqlite:///{path}{options}", name, program)
    assert await process.wait() == (0, b"")


@pytest.fixture(scope="module")
def template(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two databases of crashed processes, with other histories; of one, as it was before."""
    path = tmp_path_factory.mktemp("crashed") / "org.db"
    other = path.with_name("other.db")

    async def make() -> None:
        shutil.copyfile(sqlite_template, path)
        async with at(path) as backend:
            await backend.set_setting("first", "v")
        shutil.copyfile(path, beside(path, "-before"))
        for number in range(3):  # in sessions, as a database that has lived
            async with at(other) as backend:
                await backend.set_setting(f"{number}", "o" * 30_000)
        await crash(other, "other")
        await crash(path)

    asyncio.run(make())
    return path.parent


@pytest.fixture
def two_crashed(template: Path, tmp_path: Path) -> tuple[Path, Path]:
    shutil.copytree(template, tmp_path / "crashed")
    return tmp_path / "crashed" / "org.db", tmp_path / "crashed" / "other.db"


async def keys(path: Path) -> int:
    async with at(path) as backend:
        return len(await backend.settings.get_all())


def contents(path: Path) -> dict[str, bytes]:
    return {
        file.name: file.read_bytes()
        for file in path.parent.glob(f"{path.name}*")
        if not file.name.endswith("-shm")
    }


# -- refused -------------------------------------------------------------------------------------


def copy_backup_over(path: Path, _: Path) -> None:
    shutil.copyfile(f"{path}.backup", path)


def copy_backup_over_with_its_times(path: Path, _: Path) -> None:
    subprocess.run(["cp", "-a", f"{path}.backup", path], check=True)


def move_backup_there(path: Path, _: Path) -> None:
    Path(f"{path}.backup").rename(path)


def copy_backup_over_without_mark(path: Path, other: Path) -> None:
    copy_backup_over(path, other)
    beside(path, "-mark").unlink()


def copy_old_file_over(path: Path, other: Path) -> None:
    """As it lay there before the process began, closed in good order."""
    shutil.copyfile(beside(path, "-before"), path)


def move_old_file_there(path: Path, other: Path) -> None:
    beside(path, "-before").rename(path)


def copy_other_over(path: Path, other: Path) -> None:
    shutil.copyfile(other, path)


def move_other_there(path: Path, other: Path) -> None:
    other.rename(path)


def put_log_beside(path: Path, other: Path) -> None:
    """The log, and its mark, of another one."""
    for ending in ("-wal", "-mark", "-shm"):
        shutil.copyfile(beside(other, ending), beside(path, ending))


def put_log_alone_beside(path: Path, other: Path) -> None:
    for ending in ("-wal", "-mark", "-shm"):
        beside(path, ending).unlink()
    shutil.copyfile(beside(other, "-wal"), beside(path, "-wal"))


def delete(path: Path, _: Path) -> None:
    path.unlink()


def empty(path: Path, _: Path) -> None:
    os.truncate(path, 0)


REPLACED = [copy_backup_over, copy_backup_over_with_its_times, copy_backup_over_without_mark,
            move_backup_there, copy_old_file_over, move_old_file_there, copy_other_over,
            move_other_there, put_log_beside, put_log_alone_beside, delete, empty]  # fmt: skip


@pytest.mark.parametrize("replace", REPLACED)
async def test_a_log_of_another_database_is_refused(
    two_crashed: tuple[Path, Path], replace: Callable[[Path, Path], None]
) -> None:
    path, other = two_crashed
    replace(path, other)
    before = contents(path)
    for _ in range(2):
        with pytest.raises(DatabaseCorruptError, match=r"not that of .*org\.db.*-wal, .*away"):
            await keys(path)
    assert contents(path) == before
    # The way out.
    for ending in ("-wal", "-shm", "-mark"):
        beside(path, ending).unlink(missing_ok=True)
    assert await keys(path) in (0, 1, 21, 23)


async def test_the_old_file_put_back_finds_its_log(path: Path) -> None:
    """The other way out: the log is the one that is wanted."""
    await crash(path)
    aside = beside(path, "-aside")
    shutil.copy2(path, aside)
    shutil.copyfile(f"{path}.backup", path)
    with pytest.raises(DatabaseCorruptError):
        await keys(path)
    aside.rename(path)
    assert await keys(path) == 40


# -- opened --------------------------------------------------------------------------------------


def leave(path: Path) -> Path:
    return path


def copy_all(path: Path) -> Path:
    """With other numbers and other times."""
    copy = path.parent.with_name("copy") / path.name
    shutil.copytree(path.parent, copy.parent, copy_function=shutil.copyfile)
    return copy


def copy_all_with_times(path: Path) -> Path:
    copy = path.parent.with_name("copy") / path.name
    shutil.copytree(path.parent, copy.parent)
    return copy


def move_directory(path: Path) -> Path:
    return path.parent.rename(path.parent.with_name("moved")) / path.name


def rename_all(path: Path) -> Path:
    for ending in ("-wal", "-mark", ""):
        beside(path, ending).rename(beside(path.with_name("new.db"), ending))
    return path.with_name("new.db")


def copy_without_mark(path: Path) -> Path:
    beside(path, "-mark").unlink()
    return copy_all(path)


def copy_without_index(path: Path) -> Path:
    beside(path, "-shm").unlink()
    return copy_all(path)


def touch(path: Path) -> Path:
    path.touch()
    return path


KEPT = [leave, copy_all, copy_all_with_times, move_directory, rename_all, copy_without_mark,
        copy_without_index, touch]  # fmt: skip


@pytest.mark.parametrize("keep", KEPT)
async def test_its_own_log_is_no_alarm(
    two_crashed: tuple[Path, Path], keep: Callable[[Path], Path]
) -> None:
    path, _ = two_crashed
    assert len(contents(path)["org.db-wal"]) > 32
    assert await keys(keep(path)) == 41


@pytest.mark.parametrize(
    ("program", "options"),
    [("VACUUM", ""), ("PRAGMA wal_checkpoint(PASSIVE)", ""), ("PRAGMA user_version=7", ""),
     ("DELETE FROM settings", ""), ("CREATE TABLE theirs (x)", "?synchronous=normal"),
     ("VACUUM", "?synchronous=normal"), ("REINDEX", "?checkpoint_bytes=20000")],
)  # fmt: skip
async def test_nor_is_what_a_program_did_before_the_crash(
    path: Path, program: str, options: str
) -> None:
    await crash(path, options=options, program=program)
    assert await keys(copy_all(path)) == (0 if program.startswith("DELETE") else 40)


async def test_a_restored_file_that_is_put_in_place_in_good_order(path: Path) -> None:
    await crash(path)
    assert await keys(path) == 40  # which cleans up
    new = path.with_name("new.db")
    async with at(new):
        pass
    new.unlink()
    shutil.copyfile(f"{path}.backup", new)
    new.rename(path)
    assert await keys(path) == 20


@pytest.mark.parametrize("left", [0, 1, 31, 32])
async def test_a_log_that_is_emptied_while_it_is_looked_at(
    path: Path, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process moves it into the database between two looks at it."""
    await crash(path)
    log = Log(path)
    found = log.head()
    pages = 10

    def cut() -> int:
        os.truncate(log.path, left)
        return pages

    monkeypatch.setattr(log, "head", lambda: found)
    assert log.stranger(None, cut) is None
    assert log.stranger(None, lambda: pages) is None
