"""Recorders among other transactions, other programs and odd names."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import asyncpg
import pytest
from sqlalchemy import Connection, Table, event

from holdfast import (
    ChangesLostError,
    InvalidArgumentError,
    PersistenceBackend,
    QueryError,
    QueryTimeoutError,
    create_backend,
)
from holdfast.changes import recorders
from holdfast.storage.repository import Repository
from holdfast.storage.tables import column, new_metadata, store_table
from holdfast.storage.types import STRING, Timestamp
from holdfast.testing.databases import connected
from holdfast.testing.suite.base import apart

from .conftest import brief, engine_of, put, take


@asynccontextmanager
async def server(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def of_table(backend: PersistenceBackend, table: Table) -> Repository:
    await engine_of(backend).run_sync(table.create)
    kind = type("Own", (Repository,), {"table": table})
    repository: Repository = kind(engine_of(backend), backend.tenant)
    return repository


async def test_statements_that_touch_nothing_hold_nobody_up(postgres_url: str) -> None:
    async with connected(create_backend(postgres_url)) as backend:
        await backend.record_changes(backend.settings, backend.tasks)
        async with backend.watch(backend.settings) as changes, backend.transaction() as tx:
            assert await tx.tasks.claim("nobody") is None
            await apart(put(backend, "a"))
            assert brief(await apart(take(changes, 1, seconds=3))) == [("insert", "a")]


async def test_every_tenant_gets_its_note(backend: PersistenceBackend) -> None:
    """Those of the log, those of the table, and in one statement however many they are."""
    statements = 0

    def count(connection: Connection) -> None:
        @event.listens_for(connection, "before_cursor_execute")
        def counted(*_: object) -> None:
            nonlocal statements
            statements += 1

        recorders.stop(connection, backend.settings.table)  # type: ignore[attr-defined]

    await backend.record_changes(backend.settings)
    tenants = [backend.for_tenant(f"t{n}") for n in range(40)]
    for tenant in tenants:
        await put(tenant, "a")
    places = [tenant.watch(tenant.settings) for tenant in tenants]
    for watch in places:
        await watch.__aenter__()
    await tenants[0].settings.delete("n", "a")  # of the log alone
    await tenants[1].prune_changes(through=2**62)
    await engine_of(backend).run_sync(count, exclusive=True)
    assert statements < 20
    for watch in places:
        with pytest.raises(ChangesLostError, match="switched off"):
            await take(watch, 2)
        await watch.aclose()


@pytest.mark.parametrize("name", ["Notes", "ä" * 25, "with space", "a-b", "x" * 49])
async def test_a_name_it_cannot_use(backend: PersistenceBackend, name: str) -> None:
    table = store_table(name, column("id", STRING), key=("id",), metadata=new_metadata())
    own = await of_table(backend, table)
    with pytest.raises(InvalidArgumentError, match="a-z, 0-9 and _"):
        await backend.record_changes(own)
    assert await backend.recorded_tables() == []


async def test_the_longest_name(backend: PersistenceBackend) -> None:
    name = "x" * 48
    table = store_table(name, column("id", STRING), key=("id",), metadata=new_metadata())
    own = await of_table(backend, table)
    await backend.record_changes(own)
    assert await backend.recorded_tables() == [name]
    await backend.stop_recording(own)
    assert await backend.recorded_tables() == []


async def test_programs_with_other_settings(postgres_url: str) -> None:
    """Another time zone, another search path: the same rows in the log."""
    table = store_table("readings", column("at", Timestamp()), key=("at",), metadata=new_metadata())
    async with connected(create_backend(postgres_url)) as backend, server(postgres_url) as other:
        readings = await of_table(backend, table)
        await backend.record_changes(readings)
        await other.execute("CREATE SCHEMA elsewhere; SET search_path = elsewhere")
        async with backend.watch(readings) as changes:
            for zone in ("Asia/Tokyo", "UTC"):
                await other.execute(f"SET timezone = '{zone}'")
                await other.execute(
                    "INSERT INTO public.readings VALUES ('default', '2026-01-01 00:00:00+00');"
                    "DELETE FROM public.readings"
                )
            keys = {change.key for change in await take(changes, 4)}
    assert keys == {("2026-01-01T00:00:00.000000+00:00",)}


async def test_a_changed_key_comes_under_the_new_one(backend: PersistenceBackend) -> None:
    await backend.record_changes(backend.settings)
    await put(backend, "old")
    async with backend.watch(backend.settings) as changes:
        await engine_of(backend).run_sync(
            lambda connection: connection.exec_driver_sql("UPDATE settings SET key = 'new'").close()
        )
        assert brief(await take(changes, 1)) == [("update", "new")]


async def test_a_reader_is_in_the_way_of_switching_off(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.engines.postgres.admin.exclusive.EXCLUSIVE_SECONDS", 2.0)
    async with connected(create_backend(postgres_url)) as backend, server(postgres_url) as other:
        await other.execute("BEGIN; SELECT * FROM settings")
        await backend.record_changes(backend.settings)  # not of switching on
        with pytest.raises(QueryTimeoutError, match=r"settings .*if only to read"):
            await backend.stop_recording(backend.settings)
        await other.execute("ROLLBACK")
        assert await backend.recorded_tables() == ["settings"]


async def test_a_writer_is_in_the_way(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.engines.sqlite.engine.EXCLUSIVE_SECONDS", 0.05)
    async with connected(create_backend(f"{sqlite_url}?busy_timeout_seconds=0.05")) as backend:
        path = sqlite_url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(QueryTimeoutError, match="settings could not be switched"):
                await backend.record_changes(backend.settings)
            other.execute("ROLLBACK")
        await backend.record_changes(backend.settings)


async def test_direct_runs_raise_holdfast_errors(backend: PersistenceBackend) -> None:
    with pytest.raises(QueryError, match="the statement failed"):
        await engine_of(backend).run_sync(
            lambda connection: connection.exec_driver_sql("SELECT * FROM nowhere").close()
        )
