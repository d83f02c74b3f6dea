"""A backup holds one moment, says what it holds, and comes back as it was."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from holdfast import (
    BackupError,
    PersistenceBackend,
    PersistenceConnectionError,
    PostgresConfig,
    SQLiteConfig,
    create_backend,
)
from holdfast.engines.postgres.admin import dump
from holdfast.engines.sqlite.engine import SQLiteEngine
from holdfast.operations import verify_backup
from holdfast.testing.processes import find_programs

from ..changes.conftest import engine_of
from ..cli.test_commands import run
from ..conformance.test_claims import claimed, done
from ..conformance.test_records import cost
from ..conformance.test_work import save, task
from ..conftest import at, run_sql


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """pg_dump and pg_restore of the server's own version."""
    monkeypatch.setenv("PATH", f"{find_programs(None).folder}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def empty_url(engine_name: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if engine_name == "postgres":
        url: str = request.getfixturevalue("empty_postgres_url")
        return url
    return f"sqlite:///{tmp_path / 'restored.db'}"


def left(folder: Path) -> list[str]:
    """Backups, and pieces of them."""
    names = (path.name for pattern in ("*.backup*", ".*.part") for path in folder.glob(pattern))
    return sorted(set(names))


def everything(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[PersistenceBackend]:
    backend = create_backend(url)
    await backend.connect()
    try:
        yield backend
    finally:
        await backend.disconnect()


async def test_a_backup_is_restored_as_it_was(
    backend: PersistenceBackend, empty_url: str, tmp_path: Path
) -> None:
    await backend.record_changes(backend.tasks)
    for number in range(50):
        await backend.tasks.save(task(f"t{number}"))
        await backend.for_tenant("other").cost_records.save(cost("a", f"t{number}", 0.5))
    made = await backend.operations.backup(tmp_path / "org.backup")
    assert made.rows["tasks"] == made.rows["cost_records"] == made.rows["changes"] == 50
    assert stat.S_IMODE((tmp_path / "org.backup").stat().st_mode) == 0o600
    async with connected(empty_url) as restored:
        assert await restored.operations.restore(tmp_path / "org.backup") == made
        assert await restored.schema_drift() == []
        assert await restored.tasks.list_tasks() == await backend.tasks.list_tasks()
        assert await restored.recorded_tables() == ["tasks"]
        other = await restored.for_tenant("other").cost_records.query()
        assert other == await backend.for_tenant("other").cost_records.query()
        # And it is a database like any other: it counts on where the first one stopped.
        async with restored.watch(restored.tasks) as watch:
            await restored.tasks.save(task("new"))
            change = await anext(aiter(watch))
        assert (change.key, change.revision) == (("new",), 51)


async def test_what_tasks_wait_for_comes_back(
    backend: PersistenceBackend, empty_url: str, tmp_path: Path
) -> None:
    await save(backend, task("t", dependencies=("d",)), task("u", dependencies=("e",)), done("d"))
    await backend.operations.backup(tmp_path / "org.backup")
    async with connected(empty_url) as restored:
        await restored.operations.restore(tmp_path / "org.backup")
        assert [await claimed(restored), await claimed(restored)] == ["t", None]
        await save(restored, done("e"))
        assert await claimed(restored) == "u"


async def test_a_backup_is_of_one_moment_while_writers_go_on(
    backend: PersistenceBackend, tmp_path: Path
) -> None:
    """Pairs are written together, so a copy that holds half of one is of two moments."""
    stop = asyncio.Event()

    async def write(number: int) -> int:
        turn = 0
        while not stop.is_set():
            turn += 1
            async with backend.transaction() as tx:
                await tx.tasks.save(task(f"{number}-{turn}"))
                await tx.cost_records.save(cost("a", f"{number}-{turn}", 0.5))
        return turn

    writers = [asyncio.create_task(write(number)) for number in range(4)]
    while await backend.tasks.count_tasks() < 100:  # noqa: ASYNC110 - a load, not a wait
        await asyncio.sleep(0.01)
    before = await backend.tasks.count_tasks()
    made = [await backend.operations.backup(tmp_path / f"{n}.backup") for n in range(3)]
    after = await backend.tasks.count_tasks()
    stop.set()
    await asyncio.gather(*writers)
    assert before <= made[0].rows["tasks"] < made[2].rows["tasks"] <= after
    for each in made:
        assert each.rows["tasks"] == each.rows["cost_records"]


async def test_what_was_changed_since_is_refused(
    backend: PersistenceBackend, empty_url: str, tmp_path: Path
) -> None:
    await backend.tasks.save(task("t"))
    path = tmp_path / "org.backup"
    await backend.operations.backup(path)
    whole = path.read_bytes()
    async with connected(empty_url) as restored:
        for damaged in (whole[:-1], whole[:5000] + b"?" + whole[5001:], b""):
            path.write_bytes(damaged)
            with pytest.raises(BackupError, match="changed or cut"):
                await restored.operations.restore(path)
        path.write_bytes(whole)
        manifest = tmp_path / "org.backup.json"
        said = json.loads(manifest.read_text())
        manifest.write_text(json.dumps(said | {"rows": {**said["rows"], "tasks": 2}}))
        with pytest.raises(BackupError, match="in tasks: do not use"):
            await restored.operations.restore(path)
        manifest.write_text("{}")
        with pytest.raises(BackupError, match="not the manifest"):
            await verify_backup(path)
        manifest.unlink()
        with pytest.raises(BackupError, match="No such file"):
            await verify_backup(path)


async def test_nothing_is_overwritten(
    backend: PersistenceBackend, tmp_path: Path, engine_name: str
) -> None:
    path = tmp_path / "org.backup"
    path.write_text("mine")
    with pytest.raises(BackupError, match="new file"):
        await backend.operations.backup(path)
    assert path.read_text() == "mine"
    with pytest.raises(BackupError, match="directory"):
        await backend.operations.backup(tmp_path / "nowhere" / "org.backup")
    made = tmp_path / "second.backup"
    await backend.operations.backup(made)
    with pytest.raises(BackupError, match="not empty"):
        await backend.operations.restore(made)
    assert left(tmp_path) == ["org.backup", "second.backup", "second.backup.json"]


async def test_a_database_without_our_tables_is_refused(empty_url: str, tmp_path: Path) -> None:
    async with connected(empty_url) as backend:
        # Another program's table, though it has the name of ours.
        sql = "CREATE TABLE users (id integer)"
        await engine_of(backend).run_sync(lambda c: c.exec_driver_sql(sql).close())
        with pytest.raises(BackupError, match="no tables of Holdfast: look at the URL"):
            await backend.operations.backup(tmp_path / "org.backup")
        assert left(tmp_path) == []
        await engine_of(backend).run_sync(lambda c: c.exec_driver_sql("DROP TABLE users").close())
        await backend.migrate()
        made = await backend.operations.backup(tmp_path / "org.backup")
    assert made.rows["tasks"] == sum(made.rows.values()) == 0
    assert left(tmp_path) == ["org.backup", "org.backup.json"]


def test_the_command_for_an_empty_database_leaves_no_file(
    tmp_path: Path, empty_postgres_url: str
) -> None:
    target = tmp_path / "org.backup"
    (tmp_path / "empty.db").touch()
    for url in (f"sqlite:///{tmp_path / 'empty.db'}", empty_postgres_url):
        said = run("backup", str(target), code=1, url=url)
        assert said.startswith("BackupError: the database has no tables of Holdfast")
    assert everything(tmp_path) == ["empty.db"]


async def test_a_backup_of_another_engine_is_refused(
    backend: PersistenceBackend, tmp_path: Path
) -> None:
    path = tmp_path / "org.backup"
    await backend.operations.backup(path)
    manifest = tmp_path / "org.backup.json"
    said = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(said | {"engine": "another"}))
    with pytest.raises(BackupError, match="backup of another"):
        await backend.operations.restore(path)


async def test_a_backup_that_fails_leaves_no_file(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(sqlite_url) as backend:
        await backend.tasks.save(task("t"))
        path = Path(sqlite_url.removeprefix("sqlite:///"))
        # A page of the database itself is damaged: the copy is compared, and refused.
        await backend.disconnect()
        whole = path.read_bytes()  # noqa: ASYNC240
        path.write_bytes(whole[: 4096 * 3] + b"\xff" * 4096 + whole[4096 * 4 :])  # noqa: ASYNC240
        await backend.connect()
        with pytest.raises((BackupError, PersistenceConnectionError)):
            await backend.operations.backup(tmp_path / "org.backup")
    assert left(tmp_path) == []


async def test_a_memory_database_can_be_kept(tmp_path: Path) -> None:
    async with connected("sqlite:///:memory:") as backend:
        await backend.migrate()
        await backend.tasks.save(task("t"))
        await backend.operations.backup(tmp_path / "org.db")
    async with connected(f"sqlite:///{tmp_path / 'org.db'}") as opened:
        assert await opened.tasks.get("t") == task("t")


def _program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize(
    "name", ["dbname=victim", "-fvictim", "postgresql://victim", "port=15999", "it's\\a\"b%"]
)
async def test_no_name_is_read_as_an_option_or_a_connection_string(
    name: str,
    postgres_url: str,
    postgres_server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    kept = tmp_path / "victim"
    kept.write_text("mine")
    async with connected(postgres_url) as backend:
        await backend.tasks.save(task("t"))
        made = await backend.operations.backup("-l")
    quoted = '"' + name.replace('"', '""') + '"'
    await run_sql(postgres_server, f"CREATE DATABASE {quoted}")
    try:
        async with connected(at(postgres_server, quote(name, safe=""))) as named:
            assert await named.operations.restore("-l") == made
            assert await named.tasks.get("t") == task("t")
            again = await named.operations.backup("-f")
            assert again.rows == made.rows
    finally:
        await run_sql(postgres_server, f"DROP DATABASE {quoted} WITH (FORCE)")
    assert everything(tmp_path) == ["-f", "-f.json", "-l", "-l.json", "victim"]
    assert kept.read_text() == "mine"


async def test_a_quote_in_a_tables_name_does_not_break_the_counts(
    backend: PersistenceBackend,
) -> None:
    engine = engine_of(backend)
    sql = 'CREATE TABLE "a""b; c" (id integer)'
    await engine.run_sync(lambda c: c.exec_driver_sql(sql).close())
    assert await engine.count(['a"b; c', "tasks", 'x"; --']) == {'a"b; c': 0, "tasks": 0}


async def test_a_socket_directory_with_a_comma_is_refused() -> None:
    class Connected:
        _addr = "/run/a,b/.s.PGSQL.5432"

    config = PostgresConfig(host="/run/a,b", database="d", username="u", password="p")
    with pytest.raises(BackupError, match="has a comma in its name"):
        await dump._run(config, Connected(), "true")  # type: ignore[arg-type]


async def test_the_password_is_in_no_argument(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    real = find_programs(None).folder
    said = tmp_path / "said"
    _program(folder, "pg_dump", f'echo "$@" >> "{said}"; exec "{real / "pg_dump"}" "$@"')
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    url = postgres_url.replace("postgres@", "postgres:hunter2canary@")
    async with connected(url) as backend:
        await backend.operations.backup(tmp_path / "org.backup")
    assert "--snapshot=" in said.read_text()
    assert "canary" not in said.read_text()


async def test_a_program_that_is_missing_or_too_old_is_named(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    async with connected(postgres_url) as backend:
        with pytest.raises(BackupError, match="pg_dump is not installed"):
            await backend.operations.backup(tmp_path / "org.backup")
        _program(folder, "pg_dump", 'echo "pg_dump (PostgreSQL) 12.1"')
        with pytest.raises(BackupError, match="version 12 and the server"):
            await backend.operations.backup(tmp_path / "org.backup")
        _program(
            folder, "pg_dump",
            '[ "$1" = --version ] && echo "pg_dump (PostgreSQL) 99.1" && exit\n'
            "echo 'pg_dump: error: no space left' >&2; exit 1",
        )  # fmt: skip
        with pytest.raises(BackupError, match="no space left"):
            await backend.operations.backup(tmp_path / "org.backup")
    assert left(tmp_path) == []


async def test_the_engine_refuses_to_write_over_a_file(tmp_path: Path) -> None:
    engine = SQLiteEngine(SQLiteConfig(path=str(tmp_path / "org.db")))
    await engine.connect()
    target = tmp_path / "copy.db"
    target.touch()
    with pytest.raises(BackupError, match="new file"):
        await engine.backup(target, [])
    await engine.close()
