"""The lock of migrations: whoever could migrate keeps others waiting, and nobody else does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from sqlalchemy import Connection

from holdfast import MigrationError, migrations

from ..migrations.conftest import engine_of
from ..operations.test_roles import _as, _make, _migrate, prefix
from .opened import ask, opened, run

__all__ = ["prefix"]

KEY = "(hashtextextended('holdfast', 0))"
TAKE = {
    "exclusive": f"SELECT pg_advisory_lock{KEY}",
    "shared": f"SELECT pg_advisory_lock_shared{KEY}",
    "to the end of a transaction": f"BEGIN; SELECT pg_advisory_xact_lock{KEY}",
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.engines.postgres.admin.exclusive.PATIENCE_SECONDS", 0.3)


@asynccontextmanager
async def _holding(url: str, take: str = "exclusive") -> AsyncIterator[int]:
    connection = await asyncpg.connect(url, server_settings={"application_name": "reports"})
    try:
        await connection.execute(TAKE[take])
        yield await connection.fetchval("SELECT pg_backend_pid()")
    finally:
        await connection.close()


@pytest.mark.parametrize("take", TAKE)
async def test_a_role_that_only_reads_keeps_no_migration_away(
    prefix: str, empty_postgres_url: str, take: str, caplog: pytest.LogCaptureFixture
) -> None:
    await _make(empty_postgres_url, prefix, readonly=True)
    async with _holding(_as(empty_postgres_url, f"{prefix}_readonly"), take) as pid:
        await _migrate(_as(empty_postgres_url, f"{prefix}_migrator"))
    holder = f"the session {pid} of the role '{prefix}_readonly' ('reports')"
    assert [r.getMessage() for r in caplog.records if r.name == "holdfast.postgres"] == [
        f"{holder} has the lock of migrations and cannot migrate: going on without it"
    ]
    async with opened(empty_postgres_url, migrate=False) as backend:
        assert await backend.schema_drift() == []
    assert await ask(empty_postgres_url, "SELECT FROM pg_type WHERE typname ~ 'migrating'") == []


MAY_MIGRATE = {
    "the migrator": [],
    "a member": ["GRANT {prefix}_owner TO {prefix}_app"],
    "a member by name only": [
        "ALTER ROLE {prefix}_app NOINHERIT", "GRANT {prefix}_owner TO {prefix}_app",
    ],
    "one that may create": ["GRANT CREATE ON SCHEMA public TO {prefix}_app"],
    "an owner": ["CREATE TABLE own ()", "ALTER TABLE own OWNER TO {prefix}_app"],
    "a superuser": ["ALTER ROLE {prefix}_app SUPERUSER"],
}  # fmt: skip


@pytest.mark.parametrize("who", MAY_MIGRATE)
async def test_who_could_migrate_does(
    prefix: str, empty_postgres_url: str, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.engines.postgres.admin.exclusive.EXCLUSIVE_SECONDS", 0.8)
    await _make(empty_postgres_url, prefix)
    await run(empty_postgres_url, *(each.format(prefix=prefix) for each in MAY_MIGRATE[who]))
    holder = f"{prefix}_{'app' if MAY_MIGRATE[who] else 'migrator'}"
    async with _holding(_as(empty_postgres_url, holder)) as pid:
        with pytest.raises(MigrationError, match=f"session {pid} of the role '{holder}'"):
            await _migrate(_as(empty_postgres_url, f"{prefix}_migrator"))
    await _migrate(_as(empty_postgres_url, f"{prefix}_migrator"))


async def test_who_cannot_migrate_waits_for_whoever_has_it(
    prefix: str, empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can only find that somebody else did."""
    monkeypatch.setattr("holdfast.engines.postgres.admin.exclusive.EXCLUSIVE_SECONDS", 0.8)
    await _make(empty_postgres_url, prefix, readonly=True)
    async with _holding(_as(empty_postgres_url, f"{prefix}_readonly")) as pid:
        with pytest.raises(MigrationError, match=f"session {pid} of the role '{prefix}_readonly'"):
            await _migrate(_as(empty_postgres_url, f"{prefix}_app"))


@pytest.mark.parametrize("held", [True, False])
async def test_one_at_a_time_also_while_indexes_are_built(
    prefix: str, empty_postgres_url: str, held: bool
) -> None:
    """Several transactions each, and builds that wait for the snapshots of all others."""
    await _make(empty_postgres_url, prefix, readonly=True)
    url = _as(empty_postgres_url, f"{prefix}_migrator")
    inside: list[int] = []

    def work(connection: Connection) -> int:
        inside.append(len(inside))
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS built (id integer)")
        connection.commit()
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql("SET lock_timeout = 0")
        connection.exec_driver_sql("CREATE INDEX CONCURRENTLY ON built (id)")
        connection.exec_driver_sql("SELECT pg_sleep(0.1)")
        connection.rollback()
        connection.execution_options(isolation_level=connection.default_isolation_level)
        connection.exec_driver_sql("DROP TABLE built")
        connection.commit()
        seen = len(inside)
        inside.pop()
        return seen

    async with opened(url, migrate=False) as backend:
        engine = engine_of(backend)
        runs = [engine.run_sync(work, exclusive=True) for _ in range(4)]
        if held:
            async with _holding(_as(empty_postgres_url, f"{prefix}_readonly")):
                assert await asyncio.gather(*runs) == [1] * 4
        else:
            assert await asyncio.gather(*runs) == [1] * 4


async def test_many_start_while_a_reader_has_it(
    prefix: str, empty_postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "holdfast.migrations")
    await _make(empty_postgres_url, prefix, readonly=True)
    url = _as(empty_postgres_url, f"{prefix}_migrator")
    async with _holding(_as(empty_postgres_url, f"{prefix}_readonly")):
        await asyncio.gather(*(_migrate(url) for _ in range(4)))
    told = [r.getMessage() for r in caplog.records if r.name == "holdfast.migrations"]
    assert told == [f"migrated to revision {migrations.head()}"]


async def test_the_end_of_the_session_beside_undoes_nothing(empty_postgres_url: str) -> None:
    def work(connection: Connection) -> None:
        connection.exec_driver_sql("CREATE TABLE built (id integer)")
        ended = connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE query LIKE 'CREATE TYPE%' AND datname = current_database()"
        )
        assert ended.all() == [(True,)]

    async with opened(empty_postgres_url, migrate=False) as backend:
        await engine_of(backend).run_sync(work, exclusive=True)
    assert await ask(empty_postgres_url, "SELECT * FROM built") == []
