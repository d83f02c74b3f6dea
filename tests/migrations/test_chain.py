"""The sum of the revisions is the schema; what differs from it is seen."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Connection

from holdfast import PersistenceBackend, PersistenceConnectionError, create_backend, migrations
from holdfast.engines.protocol import EXCLUSIVE_SECONDS, Engine
from holdfast.schema import metadata, policies
from holdfast.testing.databases import SQLiteFiles, connected

from ..conformance.samples import full
from .conftest import engine_of, everything, run_sql


def _create_all(connection: Connection) -> None:
    metadata.create_all(connection)
    policies.enforce(connection, metadata.tables.values())


async def test_the_revisions_make_what_the_tables_say(empty: PersistenceBackend) -> None:
    """To the last check, collation, partial index and trigger; more than Alembic compares."""
    await empty.migrate()
    assert await empty.schema_drift() == []
    migrated = await everything(empty)
    await empty.downgrade("base")
    await engine_of(empty).run_sync(_create_all)
    declared = await everything(empty)
    assert migrated - declared == set()
    assert declared - migrated == set()
    assert {table for kind, table, *_ in declared if kind in ("table", "column")} == set(
        metadata.tables
    )


DRIFT = {
    "index": (["DROP INDEX ix_tasks_claim"], "add_index: ix_tasks_claim"),
    "unknown index": (["CREATE INDEX ix_x ON tasks (tenant, title)"], "remove_index: ix_x"),
    "column": (["ALTER TABLE settings ADD COLUMN novel TEXT"], "remove_column: settings.novel"),
    "missing column": (["ALTER TABLE users DROP COLUMN password_hash"], "users.password_hash"),
    "table": (["DROP TABLE checkpoints"], "add_table: checkpoints"),
}


@pytest.mark.parametrize("name", DRIFT)
async def test_drift_is_seen(migrated: PersistenceBackend, name: str) -> None:
    statements, expected = DRIFT[name]
    await run_sql(migrated, *statements)
    assert expected in "\n".join(await migrated.schema_drift())


DROPPED = {
    "sqlite": "DROP TRIGGER ck_users_ceo_minimum_UPDATE",
    "postgres": "DROP TRIGGER ck_users_ceo_minimum ON users",
}
ADDED = {
    "sqlite": "CREATE TRIGGER novel BEFORE DELETE ON tasks BEGIN SELECT 1; END",
    "postgres": "CREATE TRIGGER novel BEFORE DELETE ON tasks FOR EACH ROW"
    " EXECUTE FUNCTION ck_users_ceo_minimum()",
}


async def test_triggers_that_are_missing_or_unknown_are_seen(migrated: PersistenceBackend) -> None:
    await run_sql(migrated, DROPPED[migrated.backend_name], ADDED[migrated.backend_name])
    found = set(await migrated.schema_drift())
    # On SQLite a rule is kept by two triggers, and one of them is not enough.
    found -= {"unknown trigger ck_users_ceo_minimum_DELETE"}
    assert found == {"missing trigger ck_users_ceo_minimum", "unknown trigger novel"}


async def test_drift_of_a_database_without_a_schema(empty: PersistenceBackend) -> None:
    found = await empty.schema_drift()
    assert {f"add_table: {name}" for name in metadata.tables} <= set(found)


async def test_up_down_and_up_again(empty: PersistenceBackend) -> None:
    await empty.migrate()
    first = await everything(empty)
    for name, entity in full().items():
        await getattr(empty, name).save(entity)
    await empty.downgrade("base")
    assert await everything(empty) == set()
    assert (await empty.status()).revision is None
    await empty.migrate()
    assert await everything(empty) == first
    assert await empty.schema_drift() == []
    assert await empty.tasks.count_tasks() == 0  # downgrading drops data
    await empty.tasks.save(full()["tasks"])  # type: ignore[arg-type]


async def test_one_step_down(migrated: PersistenceBackend) -> None:
    await migrated.downgrade("-1")
    before = migrations.history()[0].down_revision
    assert (await migrated.status()).revision == before


async def test_migrating_twice_does_nothing(
    migrated: PersistenceBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await everything(migrated)
    engine = engine_of(migrated)
    run_sync, exclusive = engine.run_sync, []

    async def watched(work: Any, **options: bool) -> Any:
        exclusive.append(options.get("exclusive", False))
        return await run_sync(work, **options)

    monkeypatch.setattr(engine, "run_sync", watched)
    await migrated.migrate()
    assert exclusive == [False]  # not even a lock
    assert await everything(migrated) == before


async def test_head_history_and_current(empty: PersistenceBackend) -> None:
    engine = engine_of(empty)
    history = migrations.history()
    assert history[0].revision == migrations.head()
    assert history[-1].down_revision is None
    for newer, older in itertools.pairwise(history):  # one chain, no branches
        assert newer.down_revision == older.revision
    assert all(revision.message for revision in history)
    assert await migrations.current(engine) is None
    await migrations.migrate(engine)
    assert await migrations.current(engine) == migrations.head()
    assert await migrations.check(engine) == []


async def test_a_backend_must_be_connected(empty_url: str) -> None:
    backend = create_backend(empty_url)
    with pytest.raises(PersistenceConnectionError, match="not connected"):
        await backend.migrate()
    with pytest.raises(PersistenceConnectionError, match="not connected"):
        await backend.downgrade("base")
    await backend.connect()
    await backend.disconnect()
    with pytest.raises(PersistenceConnectionError, match="not connected"):
        await backend.schema_drift()


async def test_the_sql_for_sqlite_makes_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "by-hand.db"
    connection = sqlite3.connect(path)
    connection.executescript(migrations.migration_sql("sqlite"))
    connection.close()
    await _is_complete(f"sqlite:///{path}")


async def test_the_sql_for_postgres_makes_the_schema(empty_postgres_url: str) -> None:
    connection = await asyncpg.connect(empty_postgres_url)
    await connection.execute(migrations.migration_sql("postgresql"))
    await connection.close()
    await _is_complete(empty_postgres_url)


async def _is_complete(url: str) -> None:
    backend = create_backend(url)
    await backend.connect()
    assert await backend.schema_drift() == []
    assert (await backend.status()).revision == migrations.head()
    by_hand = await everything(backend)
    await backend.downgrade("base")
    await backend.migrate()
    assert await everything(backend) == by_hand
    await backend.disconnect()


async def test_who_finds_another_migrating_waits(empty: PersistenceBackend) -> None:
    """The lock is taken by an exclusive run, whose end lets the waiting one go on."""
    assert EXCLUSIVE_SECONDS > 60
    engine: Engine = engine_of(empty)
    entered, leave = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(_: Connection) -> None:
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(leave.wait(), loop).result(30)

    holder = asyncio.create_task(_hold(empty, engine, hold, entered, leave))
    await entered.wait()
    migrating = asyncio.create_task(empty.migrate())
    done, _ = await asyncio.wait([migrating], timeout=0.5)
    assert not done
    leave.set()
    await holder
    await migrating
    assert await empty.schema_drift() == []


async def _hold(
    backend: PersistenceBackend,
    engine: Engine,
    hold: object,
    entered: asyncio.Event,
    leave: asyncio.Event,
) -> None:
    if backend.backend_name == "sqlite":
        await engine.run_sync(hold, exclusive=True)  # type: ignore[arg-type]
        return
    # There the work runs on the event loop itself, so another connection takes the same lock.
    config = engine._config  # type: ignore[attr-defined]
    connection = await asyncpg.connect(
        host=config.host, port=config.port, user=config.username, database=config.database
    )
    await connection.execute("SELECT pg_advisory_lock(hashtextextended('holdfast', 0))")
    entered.set()
    await leave.wait()
    await connection.close()


async def test_a_test_database_in_memory_is_as_if_migrated(
    holdfast_sqlite_files: SQLiteFiles,
) -> None:
    found = []
    for like in (None, holdfast_sqlite_files):
        backend = create_backend("sqlite:///:memory:")
        async with connected(backend, like=like):
            assert await migrations.current(engine_of(backend)) == migrations.head()
            found.append(await everything(backend))
    assert found[0] == found[1] != set()
