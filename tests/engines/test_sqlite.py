"""What is true of SQLite only."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from holdfast import (
    DatabaseCorruptError,
    MalformedRowError,
    PersistenceConnectionError,
    PoolTimeoutError,
    QueryTimeoutError,
    SQLiteConfig,
    SQLitePersistenceBackend,
    create_backend,
)
from holdfast.engines.sqlite.engine import SQLiteEngine
from holdfast.storage.session import CHUNK
from holdfast.testing.suite.base import apart

from ..conformance.test_work import task
from ..forked import PRELOADED


@asynccontextmanager
async def opened(path: Path | str, **options: Any) -> AsyncIterator[SQLitePersistenceBackend]:
    """A connected and migrated backend."""
    backend = SQLitePersistenceBackend(SQLiteConfig(path=str(path), **options))
    await backend.connect()
    try:
        await backend.migrate()
        yield backend
    finally:
        await backend.disconnect()


def engine_of(backend: Any) -> SQLiteEngine:
    engine: SQLiteEngine = backend._core.engine._engine
    return engine


def wal_of(path: Path) -> int:
    return path.with_name(f"{path.name}-wal").stat().st_size


PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL
    "foreign_keys": 1,
    "wal_autocheckpoint": 0,
    "trusted_schema": 0,
    "cell_size_check": 1,
    "journal_size_limit": 64 * 1024 * 1024,
}


async def settings_of(thread: Any, names: Any = PRAGMAS) -> dict[str, Any]:
    def ask(connection: sqlite3.Connection) -> dict[str, Any]:
        return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}

    found: dict[str, Any] = await thread.run(ask)
    return found


async def test_every_connection_is_set_up(tmp_path: Path) -> None:
    async with opened(tmp_path / "org.db", readers=3) as backend:
        engine = engine_of(backend)
        async for _ in engine.stream(_LIST, ("default",)):
            pass
        names = [thread._thread.name.rsplit("-", 2)[-1] for thread in engine._threads.all]
        assert len(names) == 5
        for thread in engine._threads.all:
            assert await settings_of(thread) == PRAGMAS
        for reader in engine._threads.all[1:]:
            assert await settings_of(reader, ["query_only"]) == {"query_only": 1}
            assert await settings_of(reader, ["busy_timeout"]) == {"busy_timeout": 5000}
        assert await settings_of(engine.raw, ["query_only"]) == {"query_only": 0}


async def test_what_is_configured_is_set(tmp_path: Path) -> None:
    options: dict[str, Any] = {"wal_mode": False, "synchronous": "normal", "journal_size_limit": 7}
    async with opened(tmp_path / "org.db", **options) as backend:
        assert await settings_of(backend.get_db()) == {
            **PRAGMAS, "journal_mode": "delete", "synchronous": 1, "journal_size_limit": 7,
        }  # fmt: skip
        await backend.tasks.save(task("t"))
        assert await backend.tasks.get("t") is not None
        assert not (tmp_path / "org.db-wal").exists()


async def test_a_rollback_journal_is_synced_with_its_directory(tmp_path: Path) -> None:
    async with opened(tmp_path / "org.db", wal_mode=False) as backend:
        assert await settings_of(backend.get_db(), ["synchronous"]) == {"synchronous": 3}  # EXTRA


async def test_a_reader_cannot_write(tmp_path: Path) -> None:
    async with opened(tmp_path / "org.db") as backend:
        reader = engine_of(backend)._threads.idle[0]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await reader.run(lambda c: c.execute("DELETE FROM tasks"))


# -- the write-ahead log -----------------------------------------------------------------------


async def test_the_log_is_moved_into_the_database(tmp_path: Path) -> None:
    path = tmp_path / "org.db"
    limit = 256 * 1024
    async with opened(path, checkpoint_bytes=limit) as backend:
        sizes = []
        for n in range(60):
            await backend.tasks.save(task(f"t{n}", description="x" * 10_000))
            sizes.append(wal_of(path))
        assert max(sizes) <= limit + 64 * 1024
        shrunk = sum(after < before for before, after in itertools.pairwise(sizes))
        assert shrunk >= 2
        assert path.stat().st_size > 300_000
        assert await backend.tasks.count_tasks() == 60
    assert not (tmp_path / "org.db-wal").exists()  # the last connection cleans up


async def test_without_a_checkpoint_the_log_grows(tmp_path: Path) -> None:
    """The control: nothing but our checkpoints keeps it small."""
    path = tmp_path / "org.db"
    async with opened(path) as backend:
        for n in range(60):
            await backend.tasks.save(task(f"t{n}", description="x" * 10_000))
        assert wal_of(path) > 600_000


async def test_a_reader_that_stays_delays_the_checkpoint_alone(tmp_path: Path) -> None:
    path = tmp_path / "org.db"
    limit = 128 * 1024
    async with opened(path, checkpoint_bytes=limit) as backend:
        await backend.tasks.save(task("t"))
        pin = sqlite3.connect(path, isolation_level=None)
        pin.execute("BEGIN")
        assert pin.execute("SELECT count(*) FROM tasks").fetchone() == (1,)
        checkpoints = engine_of(backend)._writer.checkpoints
        tries: list[int] = []
        run = checkpoints.run

        def counted(connection: sqlite3.Connection) -> bool:
            tries.append(wal_of(path))
            return run(connection)

        checkpoints.run = counted  # type: ignore[method-assign]
        count = 0
        while wal_of(path) < 3 * limit:
            count += 1
            await backend.tasks.save(task(f"t{count}", description="x" * 10_000))
        # It did not try at every commit, but when the log had grown by as much again, and on its
        # timer.
        assert checkpoints.overdue
        assert 2 <= len(tries) < count // 2
        assert pin.execute("SELECT count(*) FROM tasks").fetchone() == (1,)  # its snapshot
        pin.execute("COMMIT")
        pin.close()
        async with asyncio.timeout(5):
            while checkpoints.overdue:  # noqa: ASYNC110 - nobody writes, so nothing tells
                await asyncio.sleep(0.02)
        assert wal_of(path) == 0
        assert await backend.tasks.count_tasks() == count + 1


async def test_writers_wait_while_another_process_moves_the_log(tmp_path: Path) -> None:
    path = tmp_path / "org.db"
    turnstile = tmp_path / "org.db-checkpoint"
    async with opened(path) as backend:
        turnstile.touch()
        waiting = asyncio.ensure_future(backend.tasks.save(task("t")))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        turnstile.unlink()
        await waiting
        turnstile.touch()
        os.utime(turnstile, (0, 0))  # whoever made it was killed
        async with asyncio.timeout(1):
            await backend.tasks.save(task("t2"))


async def test_a_link_leads_to_the_log_of_its_file(tmp_path: Path) -> None:
    path, link = tmp_path / "there" / "org.db", tmp_path / "org.db"
    path.parent.mkdir()
    link.symlink_to(path)
    async with opened(link, checkpoint_bytes=128 * 1024) as backend:
        for n in range(40):
            await backend.tasks.save(task(f"t{n}", description="x" * 10_000))
        assert engine_of(backend)._database.wal_bytes() == wal_of(path) <= 192 * 1024


# -- places --------------------------------------------------------------------------------------


async def refused(path: Path | str, says: str, **options: Any) -> None:
    backend = SQLitePersistenceBackend(SQLiteConfig(path=str(path), **options))
    with pytest.raises(PersistenceConnectionError, match=says):
        await backend.connect()
    assert not backend.is_connected
    await backend.disconnect()


async def test_a_directory_that_is_missing(tmp_path: Path) -> None:
    await refused(tmp_path / "missing" / "org.db", "directory .* does not exist: .*missing")


@pytest.mark.skipif(sys.platform == "win32", reason="there it is one")
@pytest.mark.parametrize("path", ["C:/data/org.db", "c:\\data\\org.db", "\\\\server\\org.db"])
async def test_a_path_of_another_system(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    await refused(path, "is a path of Windows")
    assert not [*tmp_path.iterdir()]  # noqa: ASYNC240 - it is empty


async def test_a_directory_instead_of_a_file(tmp_path: Path) -> None:
    await refused(tmp_path, "cannot open .*cannot be opened")


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear reader, " * 1000)
    before = path.read_bytes()
    await refused(path, "is not an SQLite database")
    assert path.read_bytes() == before


async def test_a_database_that_may_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permissions do not stop an administrator, so the read-only state is SQLite's own here."""
    path = tmp_path / "org.db"
    async with opened(path, wal_mode=False):
        pass
    connect = sqlite3.connect

    def read_only(database: str, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(database.replace("mode=rwc", "mode=ro"), **options)
        return connection

    monkeypatch.setattr(sqlite3, "connect", read_only)
    await refused(path, "read-only")


async def test_a_database_that_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "org.db"
    async with opened(path) as backend:
        for n in range(200):
            await backend.tasks.save(task(f"t{n}", description="x" * 100))
    content = bytearray(path.read_bytes())
    content[4096:-4096] = os.urandom(len(content) - 8192)
    path.write_bytes(content)
    backend = SQLitePersistenceBackend(SQLiteConfig(path=str(path)))
    with pytest.raises(PersistenceConnectionError, match="damaged"):
        await backend.connect()
        await backend.tasks.list_tasks()
    await backend.disconnect()


async def test_damage_that_the_driver_cannot_decode(tmp_path: Path) -> None:
    """Of the schema, which SQLite's message quotes; and of a value, which is one row's."""
    path = tmp_path / "org.db"
    async with opened(path) as backend:
        await backend.tasks.save(task("t", title="as it was written"))
    sound = path.read_bytes()
    path.write_bytes(sound.replace(b"CREATE TABLE tasks", b"CREATE TAB\xf4E tasks"))
    backend = SQLitePersistenceBackend(SQLiteConfig(path=str(path)))
    with pytest.raises(DatabaseCorruptError, match=r"cannot open .* is damaged"):
        await backend.connect()
    path.write_bytes(sound.replace(b"as it was written", b"as it was writt\xf4n"))
    await backend.connect()
    for read in (backend.tasks.get("t"), backend.tasks.list_tasks(), _in_transaction(backend)):
        with pytest.raises(MalformedRowError, match=r"id='t' cannot be read as Task: title"):
            await read
    await backend.disconnect()


async def _in_transaction(backend: SQLitePersistenceBackend) -> None:
    async with backend.transaction() as tx:
        await tx.tasks.get("t")


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
36 22 0:31 / {point} rw,relatime shared:2 - {kind} server:/export rw
"""


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs"])
async def test_a_network_file_system_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    far = tmp_path / "far away"
    far.mkdir()
    mounts = MOUNTS.format(point=str(far).replace(" ", "\\040"), kind=kind)
    read_text = Path.read_text

    def reading(path: Path, *args: Any, **options: Any) -> str:
        return mounts if path == Path("/proc/self/mountinfo") else read_text(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", reading)
    await refused(far / "org.db", rf"network file system \({kind}\).*allow_network_filesystem")
    async with opened(far / "org.db", allow_network_filesystem=True) as backend:
        assert await backend.health_check()
    async with opened(tmp_path / "near.db") as backend:
        assert await backend.health_check()


# -- sharing -------------------------------------------------------------------------------------


async def test_two_backends_of_one_process_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "org.db"
    async with opened(path) as first, opened(path) as second:
        saves = [(first, second)[n % 2].tasks.save(task(f"t{n}")) for n in range(60)]
        await asyncio.gather(*saves)
        assert await first.tasks.count_tasks() == await second.tasks.count_tasks() == 60
        # And with an application's own connection to the same file.
        own = sqlite3.connect(path)
        assert own.execute("SELECT count(*) FROM tasks").fetchone() == (60,)
        own.close()
        await first.tasks.save(task("after"))
        assert await second.tasks.get("after") is not None


def _save_many(path: str, name: str) -> None:
    async def save() -> None:
        async with opened(path) as backend:
            for n in range(30):
                await asyncio.gather(*(backend.tasks.save(task(f"{name}-{n}-{m}")) for m in "ab"))

    asyncio.run(save())


async def test_two_processes_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "org.db"
    async with opened(path) as backend:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        process = context.Process(target=_save_many, args=(str(path), "theirs"))
        process.start()
        n = 0
        while process.is_alive() or n < 30:
            await backend.tasks.save(task(f"ours-{n}"))
            n += 1
            await asyncio.sleep(0.002)
        await asyncio.to_thread(process.join)
        assert process.exitcode == 0
        assert await backend.tasks.count_tasks() == 60 + n


async def test_a_database_in_memory_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = create_backend("sqlite:///:memory:")
    other = create_backend("sqlite:///:memory:")
    for each in (backend, other):
        await each.connect()
        await each.migrate()
    path = engine_of(backend)._database.path
    assert path.exists()
    assert path.parent.stat().st_mode & 0o077 == 0  # nobody else may look
    await backend.tasks.save(task("t"))
    assert await other.tasks.count_tasks() == 0
    assert await settings_of(backend.get_db(), ["synchronous"]) == {"synchronous": 0}
    await backend.disconnect()
    assert not path.parent.exists()
    await backend.connect()  # a new one
    await backend.migrate()
    assert await backend.tasks.count_tasks() == 0
    await backend.disconnect()
    await other.disconnect()
    assert not engine_of(other)._database.path.parent.exists()


# -- the one writer -------------------------------------------------------------------------------


async def nothing(_: object) -> None:
    pass


async def test_who_waits_for_the_writer_is_told_in_time(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with opened(tmp_path / "org.db", pool_timeout_seconds=0.3) as backend:
        async with backend.transaction() as tx:
            await tx.tasks.save(task("held"))
            begun = loop.time()
            waiting = [
                apart(backend.tasks.save(task("t1"))),
                apart(backend.tasks.save(task("t2"))),
                apart(backend.set_setting("k", "v")),
                apart(backend.tasks.delete("t")),
            ]
            for call in waiting:
                with pytest.raises(PoolTimeoutError, match="has the writer"):
                    await call
            with pytest.raises(PoolTimeoutError, match="no turn on the SQLite writer"):
                await apart(backend.atomically(nothing))
            assert loop.time() - begun < 3 * 0.3 + 0.3
            assert await apart(backend.tasks.count_tasks()) == 0  # readers do not wait
        assert await backend.tasks.count_tasks() == 1
        await backend.tasks.save(task("t1"))
        assert await backend.tasks.count_tasks() == 2


async def test_another_process_that_writes_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "org.db"
    async with opened(path, busy_timeout_seconds=5) as backend:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.ensure_future(backend.tasks.save(task("t")))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        assert await backend.tasks.get("t") is None  # who reads does not wait
        other.execute("COMMIT")
        other.close()
        await waiting


async def test_but_not_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "org.db"
    async with opened(path, busy_timeout_seconds=0.2) as backend:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(QueryTimeoutError, match="another process kept the database locked"):
            await backend.tasks.save(task("t"))
        other.execute("ROLLBACK")
        other.close()
        await backend.tasks.save(task("t"))


async def test_the_threads_end(tmp_path: Path) -> None:
    async with opened(tmp_path / "org.db") as backend:
        engine = engine_of(backend)
        threads = [thread._thread for thread in engine._threads.all]
        assert len(threads) == 3
        assert all(thread.daemon for thread in threads)
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
    assert not [t for t in threading.enumerate() if t in threads]


async def test_a_thread_whose_start_is_cancelled_ends(tmp_path: Path) -> None:
    async with opened(tmp_path / "org.db") as backend:
        engine = engine_of(backend)
        before = set(threading.enumerate())
        start = asyncio.ensure_future(engine._threads.streamer(engine._database.open_reader))
        await asyncio.sleep(0)
        (thread,) = set(threading.enumerate()) - before
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        thread.join(5)
        assert not thread.is_alive()
        assert len(engine._threads) == 3


async def test_who_leaves_late_takes_nobodys_turn_away(tmp_path: Path) -> None:
    async with opened(tmp_path / "org.db", drain_timeout_seconds=0) as backend:
        engine = engine_of(backend)
        late, reading = engine.transaction(), engine.snapshot()
        await late.__aenter__()
        await reading.__aenter__()
        await backend.disconnect()
        await backend.connect()
        async with backend.transaction() as tx:
            await tx.tasks.save(task("t"))
            with pytest.raises(PersistenceConnectionError):
                await late.__aexit__(None, None, None)
            with pytest.raises(PersistenceConnectionError):
                await reading.__aexit__(None, None, None)
            assert engine._turn.locked()
        async for rows in engine.stream(_SETTINGS, ("default",)):
            raise AssertionError(rows)


async def test_a_commit_does_not_fail_for_the_file_of_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path / "org.db", checkpoint_bytes=4096) as backend:
        refused = 0

        def refuse(_: Path, missing_ok: bool = False) -> None:
            nonlocal refused
            refused += 1
            raise PermissionError

        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", refuse)
            await backend.tasks.save(task("t"))
        assert refused == 1
        assert await backend.tasks.get("t") is not None


async def test_a_long_list_is_one_snapshot_and_frees_its_thread(tmp_path: Path) -> None:
    async with opened(tmp_path / "org.db") as backend:
        engine = engine_of(backend)
        items = [("n", f"{n:06}", "v", "now") for n in range(2 * CHUNK + 1)]
        await backend.settings.set_many(items)
        pieces = []
        async for rows in engine.stream(_SETTINGS, ("default",)):
            pieces.append(len(rows))
            if len(pieces) == 1:
                await backend.settings.delete_namespace("n")
        assert pieces == [CHUNK, CHUNK, 1]
        assert await backend.settings.get_all() == ()
        assert len(engine._threads.streamers) == 1
        async for rows in engine.stream(_SETTINGS, ("default",)):
            raise AssertionError(rows)
        assert len(engine._threads) == 4  # the thread is used again


def _listing(module: str, name: str) -> Any:
    listing = getattr(import_module(f"holdfast.repositories.{module}"), name)
    return listing._build((), False, False, False)


_LIST = _listing("tasks", "_LIST_TASKS")
_SETTINGS = _listing("settings", "_ALL")
