"""``mode=ro``: reading a SQLite database, and changing nothing."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from holdfast import (
    MigrationError,
    PersistenceBackend,
    PersistenceConnectionError,
    ReadOnlyError,
    create_backend,
)

from ..conformance.test_work import task
from ..forked import forks
from .test_files import at, beside, path
from .test_foreign_logs import crash

__all__ = ["path"]


@pytest.fixture
async def filled(path: Path) -> Path:
    async with at(path) as backend:
        await backend.record_changes(backend.tasks)
        await backend.tasks.save(task("t"))
        await backend.set_setting("k", "v")
    return path


def reading(path: Path) -> PersistenceBackend:
    return create_backend(f"sqlite:///{path}?mode=ro")


def found_in(directory: Path) -> dict[str, tuple[bytes, int, int]]:
    return {
        file.name: (file.read_bytes(), file.stat().st_mtime_ns, file.stat().st_mode)
        for file in directory.iterdir()
        if not file.name.endswith("-shm")
    }


async def _transact(backend: PersistenceBackend) -> None:
    async with backend.transaction() as tx:
        await tx.tasks.save(task("u"))


async def _nested(backend: PersistenceBackend) -> None:
    async with backend.transaction() as tx, tx.transaction() as inner:
        await inner.tasks.save(task("u"))


async def _atomically(backend: PersistenceBackend) -> None:
    await backend.atomically(lambda tx: tx.tasks.save(task("u")))


WRITES: list[Callable[[PersistenceBackend], Awaitable[object]]] = [
    lambda b: b.tasks.save(task("u")),
    lambda b: b.tasks.delete("t"),
    lambda b: b.tasks.claim("ada"),
    lambda b: b.set_setting("k", "w"),
    lambda b: b.for_tenant("acme").tasks.save(task("u")),
    _transact,
    _atomically,
    lambda b: b.record_changes(b.users),
    lambda b: b.stop_recording(b.tasks),
    lambda b: b.prune_changes(through=1),
    lambda b: b.operations.erase_tenant("default"),
]


async def test_everything_can_be_read(filled: Path, tmp_path: Path) -> None:
    before = found_in(filled.parent)
    backend = reading(filled)
    await backend.connect()
    assert await backend.health_check()
    await backend.migrate()  # there is nothing to do
    assert await backend.tasks.get("t") is not None
    assert len(await backend.tasks.list_tasks()) == 1
    assert await backend.get_setting("k") == "v"
    async with backend.transaction() as tx:
        assert await tx.tasks.get("t") is not None
    assert (await backend.status()).tables["tasks"].rows == 1
    assert await backend.schema_drift() == []
    found = await backend.operations.doctor(thorough=True)
    assert [each for each in found if each.level == "problem"] == []
    await backend.operations.backup(tmp_path / "backup")
    with pytest.raises(ReadOnlyError):
        await backend.operations.restore(tmp_path / "backup")
    await backend.operations.export_tenant("default", tmp_path / "export")
    assert await backend.operations.tenants() == ("default",)
    assert await backend.operations.count_tenant("default") == {
        "changes": 1,
        "settings": 1,
        "tasks": 1,
    }
    await backend.disconnect()
    assert found_in(filled.parent) == before
    new = create_backend(f"sqlite:///{tmp_path}/restored.db")
    await new.connect()
    await new.operations.restore(tmp_path / "backup")
    assert await new.tasks.get("t") is not None
    await new.disconnect()


async def test_every_write_is_refused_at_once(filled: Path) -> None:
    before = found_in(filled.parent)
    backend = reading(filled)
    await backend.connect()
    for write in WRITES:
        with pytest.raises(ReadOnlyError):
            await write(backend)
    with pytest.raises(ReadOnlyError, match=r"org\.db was opened for reading \(mode=ro\)"):
        await backend.tasks.save(task("u"))
    assert await backend.health_check()
    assert await backend.tasks.count_tasks() == 1
    await backend.disconnect()
    assert found_in(filled.parent) == before


async def test_none_is_made(tmp_path: Path) -> None:
    for mode in ("ro", "rw"):
        backend = create_backend(f"sqlite:///{tmp_path}/missing.db?mode={mode}")
        with pytest.raises(PersistenceConnectionError, match=rf"no database .*mode={mode}"):
            await backend.connect()
        await backend.disconnect()
    assert not found_in(tmp_path)


async def test_rw_writes_what_is_there(filled: Path) -> None:
    async with at(filled, mode="rw") as backend:
        await backend.tasks.save(task("u"))
        assert await backend.tasks.count_tasks() == 2


async def test_a_schema_that_is_behind_is_not_migrated(tmp_path: Path) -> None:
    (tmp_path / "org.db").touch()
    backend = reading(tmp_path / "org.db")
    await backend.connect()
    with pytest.raises((MigrationError, ReadOnlyError), match="mode=ro"):
        await backend.migrate()
    await backend.disconnect()
    assert (tmp_path / "org.db").stat().st_size == 0


@pytest.mark.parametrize("wal_mode", [True, False])
async def test_beside_a_writer(path: Path, wal_mode: bool) -> None:
    async with at(path, wal_mode=wal_mode) as writer:
        await writer.tasks.save(task("t"))
        backend = reading(path)
        await backend.connect()
        assert await backend.tasks.count_tasks() == 1
        await writer.tasks.save(task("u"))
        assert await backend.tasks.count_tasks() == 2
        await backend.disconnect()
        await writer.tasks.save(task("v"))
        if wal_mode:
            assert beside(path, "-wal").exists()
            assert beside(path, "-mark").exists()


async def test_the_log_of_a_crash_is_read_and_left(path: Path) -> None:
    await crash(path)
    before = found_in(path.parent)
    for _ in range(2):
        backend = reading(path)
        await backend.connect()
        assert len(await backend.settings.get_all()) == 40
        await backend.disconnect()
        assert found_in(path.parent) == before


async def test_who_writes_later_finds_everything_in_order(filled: Path) -> None:
    backend = reading(filled)
    await backend.connect()
    async with at(filled) as writer:
        await writer.tasks.save(task("u"))
        assert await backend.tasks.count_tasks() == 2
    assert await backend.tasks.count_tasks() == 2
    await backend.disconnect()
    async with at(filled) as writer:
        assert await writer.tasks.count_tasks() == 2


@pytest.mark.parametrize("mode", ["ro", "rw"])
def test_a_database_in_memory_is_always_new(mode: str) -> None:
    with pytest.raises(ValueError, match="leave mode out"):
        create_backend(f"sqlite:///:memory:?mode={mode}")


@pytest.mark.parametrize("mode", ["rc", "memory", "RO", "", "r"])
def test_other_modes_are_refused(mode: str) -> None:
    with pytest.raises(ValueError, match=r"sqlite\.mode: .*'rwc', 'rw' or 'ro'"):
        create_backend(f"sqlite:///org.db?mode={mode}")


# -- where nothing may be written ------------------------------------------------------------------

_UNPRIVILEGED = 65_534


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that another user can reach."""
    directory = Path(tempfile.mkdtemp(prefix="holdfast-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def as_somebody_else(
    work: Callable[..., Coroutine[Any, Any, object]], warm: Path, path: Path, mode: str = "ro"
) -> str:
    """What it answers in a process that may write neither the directory nor what is in it."""
    for file in path.parent.iterdir():
        file.chmod(0o444)
    path.parent.chmod(0o555)
    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = forks().Process(target=_do_as_somebody_else, args=(sender, work, warm, path, mode))
    child.start()
    child.join(60)
    path.parent.chmod(0o755)
    said: str = receiver.recv()
    return said


def _do_as_somebody_else(
    sender: Connection,
    work: Callable[..., Coroutine[Any, Any, object]],
    warm: Path,
    path: Path,
    mode: str,
) -> None:
    asyncio.run(count(warm))  # imports everything: another user may not be able to
    if os.geteuid() == 0:
        os.setgid(_UNPRIVILEGED)
        os.setuid(_UNPRIVILEGED)
    try:
        said = repr(asyncio.run(work(path, mode)))
    except BaseException as error:
        said = f"{type(error).__name__}: {error}"
    sender.send(said)


async def count(path: Path, mode: str = "ro") -> int:
    backend = create_backend(f"sqlite:///{path}?mode={mode}")
    await backend.connect()
    try:
        found = await backend.tasks.count_tasks()
        assert await backend.health_check()
        assert await backend.operations.doctor(thorough=True)
        assert (await backend.status()).tables["tasks"].rows == found
        with pytest.raises(ReadOnlyError):
            await backend.tasks.save(task("v"))
        return found
    finally:
        await backend.disconnect()


async def read_until_told(path: Path, mode: str) -> None:
    backend: Any = create_backend(f"sqlite:///{path}?mode={mode}")
    await backend.connect()
    await backend.tasks.get("t")
    # As if there were a log by now.
    backend._core.engine._database.opened._log_path = Path(__file__)
    assert not await backend.health_check()
    try:
        await backend.tasks.get("t")
    finally:
        await backend.disconnect()


def test_a_place_where_nothing_may_be_written(filled: Path, shared: Path) -> None:
    path = shared / "org.db"
    shutil.copyfile(filled, path)
    assert as_somebody_else(count, filled, path) == "1"
    for mode in ("rw", "rwc"):
        said = as_somebody_else(count, filled, path, mode)
        assert said.startswith("ReadOnlyError: cannot open")
        assert "mode=ro reads it" in said
    said = as_somebody_else(read_until_told, filled, path)
    assert said.startswith(f"DatabaseGoneError: {path} is being written to")
    assert found_in(shared).keys() == {"org.db"}


async def test_its_log_needs_an_index(filled: Path, shared: Path) -> None:
    path = shared / "org.db"
    shutil.copyfile(filled, path)
    await crash(path)
    index = beside(path, "-shm").read_bytes()
    beside(path, "-shm").unlink()
    beside(path, ".backup").unlink()
    said = as_somebody_else(count, filled, path)
    assert said.startswith(f"ReadOnlyError: the latest commits are in {path}-wal")
    beside(path, "-shm").write_bytes(index)
    assert as_somebody_else(count, filled, path) == "1"


@pytest.mark.skipif(sys.platform != "linux", reason="a mount is made")
async def test_a_mount_for_reading(filled: Path, tmp_path: Path) -> None:
    """In a name space of its own, where that is allowed; else the directory as it is."""
    script = (
        "import asyncio, sys; from holdfast import create_backend\n"
        "async def main():\n"
        "    b = create_backend(f'sqlite:///{sys.argv[1]}?mode=ro'); await b.connect()\n"
        "    print(await b.tasks.count_tasks(), await b.health_check()); await b.disconnect()\n"
        "asyncio.run(main())\n"
    )
    mount = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1"; shift; exec "$@"'
    command = ["unshare", "-m", "sh", "-c", mount, "sh", str(filled.parent), sys.executable,
               "-c", script, str(filled)]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *(command if os.geteuid() == 0 and shutil.which("unshare") else command[7:]),
        stdout=subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert out == b"1 True\n"
