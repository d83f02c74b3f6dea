"""What is true behind a real PgBouncer in transaction mode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, select

from holdfast import (
    MigrationError,
    PersistenceConnectionError,
    PostgresConfig,
    QueryError,
    create_backend,
)
from holdfast.config import PersistenceConfig
from holdfast.engines.postgres.connection import Known, PooledConnection, open_connection
from holdfast.storage.session import Statement
from holdfast.testing.databases import run_sql
from holdfast.testing.pgbouncer import PgBouncer

from ..conformance.test_work import task
from ..programs import need

pytestmark = pytest.mark.needs("pgbouncer")

#: What a pooler may be told to swallow, so that it does not show itself by refusing it.
SWALLOWS = {"ignore_startup_parameters": "statement_timeout,jit"}


@pytest.fixture(scope="module")
def pooler(postgres_server: str) -> Iterator[PgBouncer]:
    with PgBouncer(postgres_server, program=need("pgbouncer")) as pooler:
        yield pooler


def settings(url: str, **options: Any) -> PostgresConfig:
    found = PersistenceConfig.from_url(url).postgres
    assert found is not None
    return found.model_copy(update=options)


def without_session(pooler: PgBouncer, url: str) -> str:
    return pooler.through(url).partition("?")[0]


@pytest.mark.parametrize("extra", [{}, SWALLOWS], ids=["refuses", "swallows"])
async def test_it_is_found_out_once(
    postgres_server: str, postgres_url: str, extra: dict[str, str]
) -> None:
    with PgBouncer(postgres_server, program=need("pgbouncer"), settings=extra) as pooler:
        known = Known()
        config = settings(pooler.through(postgres_url))
        for _ in range(2):
            raw = await open_connection(config, known)
            statement = await raw.prepare("SELECT $1::text")
            assert statement.get_name() == ""
            assert await statement.fetchval("a") == "a"
            await raw.close()
            assert known.poolers == {("127.0.0.1", pooler.port)}


async def test_a_server_is_not_taken_for_one(postgres_url: str) -> None:
    known = Known()
    raw = await open_connection(settings(postgres_url), known)
    assert (await raw.prepare("SELECT 1")).get_name() != ""
    assert not known.poolers
    await raw.close()


async def test_nobody_is_told_there_is_none(pooler: PgBouncer, postgres_url: str) -> None:
    with pytest.raises(PersistenceConnectionError, match="pooler='none' is not true"):
        await open_connection(settings(pooler.through(postgres_url), pooler="none"))


async def test_faster_commits_are_not_pretended(pooler: PgBouncer, postgres_url: str) -> None:
    config = settings(pooler.through(postgres_url), synchronous_commit="off")
    with pytest.raises(PersistenceConnectionError, match="set it on the database role"):
        await open_connection(config)


async def test_a_call_is_one_round_trip(pooler: PgBouncer, postgres_url: str) -> None:
    """The description is kept, and the text is sent again: the server prepares each time."""
    raw = await open_connection(settings(pooler.through(postgres_url)))
    connection = PooledConnection(raw, float("inf"), keep=8)
    sql = "SELECT count(*) FROM pg_prepared_statements WHERE $1::int = 1"
    statement = await connection.prepare(sql)
    assert connection.prepared(sql) is statement
    assert [await statement.fetchval(1) for _ in range(3)] == [0, 0, 0]
    await raw.close()


async def test_what_needs_a_session_is_refused(pooler: PgBouncer, empty_postgres_url: str) -> None:
    backend = create_backend(without_session(pooler, empty_postgres_url))
    await backend.connect()
    try:
        with pytest.raises(MigrationError, match="direct_host"):
            await backend.migrate()
    finally:
        await backend.disconnect()
    through = create_backend(pooler.through(empty_postgres_url))
    await through.connect()
    try:
        await through.migrate()
        assert not await through.schema_drift()
    finally:
        await through.disconnect()


async def test_at_the_newest_revision_it_only_reads(pooler: PgBouncer, postgres_url: str) -> None:
    backend = create_backend(without_session(pooler, postgres_url))
    await backend.connect()
    try:
        await backend.migrate()
        await backend.tasks.save(task("t"))
        assert await backend.tasks.get("t") == task("t")
    finally:
        await backend.disconnect()


async def test_watching_goes_to_the_server(pooler: PgBouncer, postgres_url: str) -> None:
    backend = create_backend(pooler.through(postgres_url))
    refused = create_backend(without_session(pooler, postgres_url))
    await backend.connect()
    await refused.connect()
    try:
        await backend.record_changes(backend.tasks)
        async with backend.watch(backend.tasks) as changes:
            await refused.tasks.save(task("t"))
            assert (await anext(changes)).key == ("t",)
        with pytest.raises(PersistenceConnectionError, match="direct_host"):
            async with refused.watch(refused.tasks) as changes:
                await anext(changes)
    finally:
        await backend.disconnect()
        await refused.disconnect()


async def test_a_pooler_is_not_behind_a_pooler(pooler: PgBouncer, postgres_url: str) -> None:
    config = settings(pooler.through(postgres_url), direct_host=f"127.0.0.1:{pooler.port}")
    with pytest.raises(PersistenceConnectionError, match="direct_host must name"):
        await open_connection(config, direct=True)


async def test_a_column_that_changes_is_noticed(pooler: PgBouncer, postgres_url: str) -> None:
    numbers = Table("numbers", MetaData(), Column("n", Integer))
    read = Statement("tests.numbers", select(numbers.c.n), (), numbers)
    await run_sql(postgres_url, "CREATE TABLE numbers AS SELECT 7 AS n")
    backend: Any = create_backend(f"{pooler.through(postgres_url)}&pool_max_size=1")
    await backend.connect()
    try:
        engine = backend._core.engine
        assert [tuple(row) for row in await engine.fetch(read, (), at_most=99)] == [(7,)]
        await run_sql(postgres_url, "ALTER TABLE numbers ALTER n TYPE bigint")
        with pytest.raises(QueryError):
            await engine.fetch(read, (), at_most=99)
        assert [tuple(row) for row in await engine.fetch(read, (), at_most=99)] == [(7,)]
    finally:
        await backend.disconnect()
