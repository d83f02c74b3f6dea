"""The doctor sees what is wrong, each thing made wrong for real, and says what to do."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Connection

from holdfast import PersistenceBackend, create_backend
from holdfast.operations import Finding
from holdfast.testing import PostgresCluster

from .. import forked
from ..conformance.test_work import task
from ..conftest import run_sql


async def look(url: str, *, thorough: bool = False) -> Sequence[Finding]:
    backend = create_backend(url)
    await backend.connect()
    try:
        return await backend.operations.doctor(thorough=thorough)
    finally:
        await backend.disconnect()


def about(found: Sequence[Finding], subject: str) -> list[tuple[str, str]]:
    return [(each.level, each.message) for each in found if each.subject == subject]


async def test_a_sound_database_has_no_problem(
    backend: PersistenceBackend, engine_name: str
) -> None:
    found = await backend.operations.doctor(thorough=True)
    wrong = [each for each in found if each.level == "problem"]
    if engine_name == "postgres":  # the tests' server is fast and careless, and it is seen
        assert {each.subject for each in wrong} == {"durability"}
    else:
        assert wrong == []
    levels = [each.level for each in found]
    assert levels == sorted(levels, key=["problem", "warning", "notice", "ok"].index)
    assert all(each.advice for each in found if each.level in ("problem", "warning"))
    assert about(found, "schema of holdfast")[0][0] == "ok"


async def test_a_schema_that_is_behind_or_was_changed_is_seen(
    postgres_url: str, empty_postgres_url: str
) -> None:
    found = await look(empty_postgres_url)
    assert about(found, "schema of holdfast")[0][0] == "problem"
    await run_sql(postgres_url, "DROP INDEX ix_tasks_status")
    assert any("ix_tasks_status" in said for _, said in about(await look(postgres_url), "schema"))
    await run_sql(postgres_url, "UPDATE holdfast_revision SET version_num = '9999'")
    assert "9999" in about(await look(postgres_url), "schema of holdfast")[0][1]


#: What the doctor says of each, and what ends it.
BROKEN_RULES = [
    (
        "trigger ck_users_owner_minimum on users is switched off: ALTER TABLE users ENABLE TRIGGER",
        "ALTER TABLE users DISABLE TRIGGER ck_users_owner_minimum",
        "ALTER TABLE users ENABLE TRIGGER ck_users_owner_minimum",
    ),
    (
        "trigger ck_users_owner_minimum on users is switched off",
        "ALTER TABLE users ENABLE REPLICA TRIGGER ck_users_owner_minimum",
        "ALTER TABLE users ENABLE TRIGGER ck_users_owner_minimum",
    ),
    (
        "on settings is switched off",
        "ALTER TABLE settings DISABLE TRIGGER USER",
        "ALTER TABLE settings ENABLE TRIGGER USER",
    ),
    (
        "foreign keys of sessions are switched off: ALTER TABLE sessions ENABLE TRIGGER ALL",
        "ALTER TABLE sessions DISABLE TRIGGER ALL",
        "ALTER TABLE sessions ENABLE TRIGGER ALL",
    ),
    (
        "row security of users is switched off: holdfast migrate",
        "ALTER TABLE users DISABLE ROW LEVEL SECURITY",
        "",
    ),
    ("missing policy of users", "DROP POLICY holdfast_tenant ON users", ""),
    ("missing trigger ck_users_owner_minimum", "DROP TRIGGER ck_users_owner_minimum ON users", ""),
]


async def test_rules_that_do_not_hold_are_seen(postgres_url: str) -> None:
    async with create_backend(postgres_url) as backend:
        await backend.record_changes(backend.settings)
        for says, breaks, mends in BROKEN_RULES:
            assert [level for level, _ in about(await look(postgres_url), "schema")] == ["ok"]
            await run_sql(postgres_url, breaks)
            found = about(await look(postgres_url), "schema")
            assert found
            assert all(level == "problem" and says in said for level, said in found)
            if mends:
                await run_sql(postgres_url, mends)
            else:
                await backend.migrate()


async def test_names_in_another_case_are_the_same_on_sqlite(sqlite_url: str) -> None:
    async with create_backend(sqlite_url) as backend:
        core: Any = backend._core  # type: ignore[attr-defined]

        def again(connection: Connection) -> None:
            find = "SELECT name, sql FROM sqlite_schema WHERE name LIKE 'ck_users_owner_minimum%'"
            for name, sql in connection.exec_driver_sql(find).all():
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
                connection.exec_driver_sql(sql.replace("ON users", 'ON "Users"'))

        await core.engine.run_sync(again)
    assert [level for level, _ in about(await look(sqlite_url), "schema")] == ["ok"]
    await asyncio.to_thread(
        run_on, sqlite_url, "CREATE TRIGGER evil AFTER INSERT ON TASKS BEGIN SELECT 1; END"
    )
    assert about(await look(sqlite_url), "schema") == [("problem", "unknown trigger evil")]


def run_on(url: str, sql: str) -> None:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        connection.execute(sql)


async def test_what_a_server_lacks_is_seen() -> None:
    durable = {"fsync": "on", "synchronous_commit": "off", "max_connections": "14"}
    with PostgresCluster.create(settings={**durable, "autovacuum": "off"}) as cluster:
        url = cluster.url()
        found = await look(f"{url}?pool_max_size=20")
        ((level, said),) = about(found, "durability")
        assert (level, "synchronous_commit is off" in said) == ("warning", True)
        assert about(found, "autovacuum")[0][0] == "problem"
        assert about(found, "connections")[0][0] == "problem"
        held = [await asyncpg.connect(url) for _ in range(8)]
        found = await look(f"{url}?pool_max_size=2")
        assert about(found, "connections")[0][0] == "warning"
        for connection in held:
            await connection.close()
        await run_sql(url, "CREATE TABLE t (a int)", "INSERT INTO t VALUES (1), (1)")
        with pytest.raises(asyncpg.UniqueViolationError):
            await run_sql(url, "CREATE UNIQUE INDEX CONCURRENTLY broken ON t (a)")
        assert about(await look(url), "indexes") == [
            ("problem", "broken is invalid: a build of it was cut short")
        ]


async def test_dead_rows_are_seen(postgres_url: str) -> None:
    await run_sql(
        postgres_url,
        "ALTER TABLE settings SET (autovacuum_enabled = off)",
        "INSERT INTO settings (tenant, namespace, key, value, updated_at)"
        " SELECT 't', 'n', g::text, 'v', now() FROM generate_series(1, 120000) g",
        "UPDATE settings SET value = 'w'",
    )
    async with asyncio.timeout(20):  # statistics come a little later
        bloat: list[tuple[str, str]] = []
        while not any("settings has" in said for _, said in bloat):
            await asyncio.sleep(0.2)
            bloat = about(await look(postgres_url), "bloat")


async def test_a_role_that_may_see_little_gets_the_rest(postgres_url: str) -> None:
    name = postgres_url.rpartition("/")[2].partition("?")[0]
    role = f"{name}_reader"
    await run_sql(
        postgres_url,
        f"CREATE ROLE {role} LOGIN",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
    )
    try:
        found = await look(postgres_url.replace("postgres@", f"{role}@"))
        assert about(found, "log") == [("notice", "this role may not see it")]
        assert about(found, "version")[0][0] == "ok"
        assert about(found, "transactions") == [
            ("notice", "this role may not see those of other roles")
        ]
    finally:
        await run_sql(postgres_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


async def test_a_damaged_file_is_seen(sqlite_url: str) -> None:
    backend = create_backend(sqlite_url)
    await backend.connect()
    for number in range(200):
        await backend.tasks.save(task(f"t{number}"))
    await backend.disconnect()
    assert about(await look(sqlite_url, thorough=True), "contents")[0][0] == "ok"
    damage(Path(sqlite_url.removeprefix("sqlite:///")))
    (level, said), *_ = about(await look(sqlite_url, thorough=True), "contents")
    assert (level, "damaged" in said) == ("problem", True)


def damage(path: Path) -> None:
    """Write over the last pages, where the newest rows are."""
    whole = path.read_bytes()
    path.write_bytes(whole[: -4096 * 4] + b"\x5a" * 4096 * 2 + whole[-4096 * 2 :])


async def test_a_weaker_file_is_seen(sqlite_url: str) -> None:
    found = await look(f"{sqlite_url}?synchronous=normal&wal_mode=false")
    assert about(found, "durability")[0][0] == "warning"
    assert about(found, "journal")[0][0] == "warning"


def test_the_command_says_it_with_its_exit_code(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'org.db'}"
    (tmp_path / "org.db").touch()

    def holdfast(*arguments: str) -> subprocess.CompletedProcess[str]:
        return forked.run("-m", "holdfast.cli", *arguments, "--url", url)

    behind = holdfast("doctor")
    assert behind.returncode == 1
    assert "run holdfast migrate" in behind.stdout
    holdfast("migrate")
    sound = holdfast("doctor", "--json", "--thorough")
    assert sound.returncode == 0
    assert '"level": "ok"' in sound.stdout
    assert holdfast("backup", str(tmp_path / "b.db")).returncode == 0
    assert "exists" in holdfast("backup", str(tmp_path / "b.db")).stderr
