"""The files beside a SQLite database: for whom to read, and what may lie in their place."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from holdfast import PersistenceConnectionError, create_backend

from ..conformance.test_work import task
from .test_files import at, beside, path

__all__ = ["path"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes and links are other there")


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


def set_mode(path: Path, mode: int) -> None:
    path.chmod(mode)


def changed_at(path: Path) -> int:
    return path.stat().st_mtime_ns


# -- for whom to read ------------------------------------------------------------------------------


@pytest.fixture(params=[0, 0o022, 0o077, 0o777])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(directory: Path) -> dict[str, int]:
    return {
        file.name: stat.S_IMODE(file.lstat().st_mode)
        for file in directory.iterdir()
        if not file.is_dir()
    }


@pytest.mark.usefixtures("umask")
async def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "org.db"
    async with at(path) as backend:
        await backend.tasks.save(task("t"))
        engine: Any = backend._core.engine  # type: ignore[attr-defined]
        engine._writer.checkpoints._enter()
        await backend.operations.backup(tmp_path / "backup")
        await backend.operations.export_tenant("default", tmp_path / "export.gz")
    restored = create_backend(f"sqlite:///{tmp_path}/restored.db")
    await restored.connect()
    await restored.operations.restore(tmp_path / "backup")
    found = modes(tmp_path)
    await restored.disconnect()
    assert found.keys() >= {"org.db", "org.db-checkpoint", "backup", "backup.json", "export.gz",
                            "restored.db", "restored.db-wal", "restored.db-shm"}  # fmt: skip
    assert set(found.values()) == {0o600}


@pytest.mark.usefixtures("umask")
async def test_so_are_those_of_a_database_that_is_open(tmp_path: Path) -> None:
    async with at(tmp_path / "org.db") as backend:
        await backend.tasks.save(task("t"))
        found = modes(tmp_path)
        assert found == dict.fromkeys(["org.db", "org.db-wal", "org.db-shm", "org.db-mark"], 0o600)
        found_by_doctor = {each.subject: each for each in await backend.operations.doctor()}
        assert found_by_doctor["permissions"].level == "ok"


async def test_so_is_a_file_that_sqlite_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a file cannot be made without opening it."""
    monkeypatch.setattr("holdfast.engines.sqlite.files.make_empty", lambda _: None)
    async with at(tmp_path / "org.db") as backend:
        await backend.tasks.save(task("t"))
        assert set(modes(tmp_path).values()) == {0o600}


@pytest.mark.usefixtures("umask")
async def test_so_is_a_rollback_journal(tmp_path: Path) -> None:
    async with at(tmp_path / "org.db", wal_mode=False) as backend, backend.transaction() as tx:
        await tx.tasks.save(task("t"))
        assert modes(tmp_path) == dict.fromkeys(["org.db", "org.db-journal"], 0o600)


@pytest.mark.parametrize(
    ("mode", "level", "whom"),
    [(0o640, "notice", "the group"), (0o660, "notice", "the group"),
     (0o644, "warning", "every user"), (0o604, "warning", "every user")],
)  # fmt: skip
async def test_a_wider_mode_stays_and_is_reported(
    path: Path, mode: int, level: str, whom: str
) -> None:
    set_mode(path, mode)
    async with at(path) as backend:
        await backend.tasks.save(task("t"))
        assert set(modes(path.parent).values()) == {mode}
        (found,) = [f for f in await backend.operations.doctor() if f.subject == "permissions"]
    assert (found.level, whom in found.message) == (level, True)
    assert found.advice.startswith(f"chmod 600 {path} {path}-wal")


async def test_the_advice_can_be_pasted(tmp_path: Path, sqlite_template: Path) -> None:
    path = tmp_path / "it's ours.db"
    shutil.copyfile(sqlite_template, path)
    set_mode(path, 0o644)
    async with at(path) as backend:
        (found,) = [f for f in await backend.operations.doctor() if f.subject == "permissions"]
        run("sh", "-c", found.advice)
        assert set(modes(tmp_path).values()) == {0o600}


# -- what lies in the place of one of them ---------------------------------------------------------


def put_link(place: Path, victim: Path) -> None:
    place.symlink_to(victim)


def put_second_name(place: Path, victim: Path) -> None:
    os.link(victim, place)


def put_pipe(place: Path, _: Path) -> None:
    os.mkfifo(place)


def put_directory(place: Path, _: Path) -> None:
    place.mkdir()


def put_link_to_nothing(place: Path, victim: Path) -> None:
    place.symlink_to(victim.with_name("nothing"))


PUT = [put_link, put_second_name, put_pipe, put_directory, put_link_to_nothing]


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    victim = tmp_path / "victim"
    victim.write_text("somebody else's")
    victim.chmod(0o644)
    return victim


def untouched(victim: Path) -> bool:
    nothing = victim.with_name("nothing").exists()
    return (
        victim.read_text() == "somebody else's"
        and not nothing
        and (stat.S_IMODE(victim.stat().st_mode) == 0o644)
    )


@pytest.mark.parametrize("put", PUT)
@pytest.mark.parametrize("ending", ["-mark", "-checkpoint"])
async def test_what_lies_in_the_place_of_our_files_is_not_followed(
    path: Path, victim: Path, put: Callable[[Path, Path], None], ending: str
) -> None:
    put(beside(path, ending), victim)
    before = changed_at(victim)
    async with asyncio.timeout(20), at(path, checkpoint_bytes=4096) as backend:
        for n in range(5):
            await backend.tasks.save(task(f"t{n}", description="x" * 5_000))
    assert untouched(victim)
    assert changed_at(victim) == before


@pytest.mark.parametrize("put", PUT)
async def test_nor_is_it_while_the_database_is_open(
    path: Path, victim: Path, put: Callable[[Path, Path], None]
) -> None:
    async with asyncio.timeout(20), at(path) as backend:
        await backend.tasks.save(task("t"))
        beside(path, "-mark").unlink()
        put(beside(path, "-mark"), victim)
        await backend.tasks.save(task("u"))
        await backend.tasks.save(task("v"))
    assert untouched(victim)


async def test_a_mark_that_is_the_database_does_not_drop_its_locks(path: Path) -> None:
    beside(path, "-mark").symlink_to(path)
    async with at(path) as backend:
        await backend.tasks.save(task("t"))
        other = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT 1 FROM tasks')"
        run(sys.executable, "-c", other, path)
        assert beside(path, "-wal").exists()  # it was not the last one, so it did not clean up
        await backend.tasks.save(task("u"))


@pytest.mark.parametrize("put", PUT)
@pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal"])
async def test_what_lies_in_the_place_of_sqlites_files_is_refused(
    path: Path, victim: Path, put: Callable[[Path, Path], None], ending: str
) -> None:
    put(beside(path, ending), victim)
    with pytest.raises(PersistenceConnectionError, match=rf"{ending} is no regular file") as found:
        async with asyncio.timeout(20), at(path):
            pass
    assert not found.value.is_retryable
    assert untouched(victim)


@pytest.mark.parametrize("mode", ["rwc", "rw"])
async def test_a_second_name_of_the_database_is_refused(path: Path, mode: str) -> None:
    other = path.with_name("other.db")
    os.link(path, other)
    for name in (path, other):
        with pytest.raises(PersistenceConnectionError, match=r"has 2 names .*hard links") as found:
            async with at(name, mode=mode):
                pass
        assert not found.value.is_retryable
    other.unlink()
    async with at(path, mode=mode) as backend:
        await backend.tasks.save(task("t"))


async def test_one_that_comes_later_is_reported(path: Path) -> None:
    async with at(path) as backend:
        os.link(path, path.with_name("other.db"))
        await backend.tasks.save(task("t"))  # nobody has opened it by that name yet
        (found,) = [f for f in await backend.operations.doctor() if f.subject == "names"]
        assert found.level == "problem"
        assert "2 names" in found.message


async def test_a_file_that_is_mounted_by_itself_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``docker run -v ./org.db:/app/org.db``: its log would be kept in the container."""
    name = str(path).replace(" ", "\\040")
    mounts = f"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n36 22 8:1 /x {name} rw - ext4 /dev/sda1 rw\n"
    read_text = Path.read_text

    def reading(file: Path, *args: Any, **options: Any) -> str:
        return mounts if str(file).endswith("mountinfo") else read_text(file, *args, **options)

    monkeypatch.setattr(Path, "read_text", reading)
    with pytest.raises(PersistenceConnectionError, match="mount the directory instead"):
        async with at(path):
            pass


@pytest.mark.parametrize("put", [put_pipe, put_directory])
async def test_a_database_that_is_no_file(
    tmp_path: Path, victim: Path, put: Callable[[Path, Path], None]
) -> None:
    put(tmp_path / "org.db", victim)
    with pytest.raises(PersistenceConnectionError, match=r"no regular file|cannot be opened"):
        async with asyncio.timeout(20), at(tmp_path / "org.db"):
            pass


async def test_a_link_that_leads_to_itself(tmp_path: Path) -> None:
    (tmp_path / "org.db").symlink_to(tmp_path / "org.db")
    with pytest.raises(PersistenceConnectionError, match=r"cannot be (reached|opened)"):
        async with at(tmp_path / "org.db"):
            pass


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
async def test_a_database_in_another_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "org.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA encoding='{encoding}'")
        connection.execute("CREATE TABLE notes (text)")
    before = path.read_bytes()
    with pytest.raises(PersistenceConnectionError, match=rf"encoded in {encoding}.*\.dump"):
        async with at(path):
            pass
    assert path.read_bytes() == before
