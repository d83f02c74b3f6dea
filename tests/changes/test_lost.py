"""Nothing is missed silently: a watch that cannot go on says so."""

from __future__ import annotations

import asyncio
import sys

import asyncpg
import pytest
from sqlalchemy import Connection

from holdfast import (
    ChangesLostError,
    PersistenceBackend,
    QueryTimeoutError,
    Watch,
    create_backend,
)
from holdfast.engines.postgres.follow import Follower
from holdfast.engines.protocol import Engine
from holdfast.testing import PostgresCluster
from holdfast.testing.databases import connected

from ..conformance.test_work import task
from .conftest import brief, engine_of, put, take


async def execute(backend: PersistenceBackend, *statements: str) -> None:
    def work(connection: Connection) -> None:
        for statement in statements:
            connection.exec_driver_sql(statement)

    await engine_of(backend).run_sync(work, exclusive=True)


async def is_lost(changes: Watch, match: str) -> None:
    for _ in range(2):  # and says so again
        with pytest.raises(ChangesLostError, match=match):
            await take(changes, 1)


async def test_the_end_of_the_log_is_gone(backend: PersistenceBackend, impatient: None) -> None:
    """As a crash leaves it when commits do not wait for the disk."""
    await backend.record_changes(backend.settings)
    async with backend.watch(backend.settings) as changes:
        await put(backend, "a", "b", "c")
        a, b, _ = await take(changes, 3)
        await execute(backend, f"DELETE FROM changes WHERE revision > {a.revision}")
        await is_lost(changes, "lost its end")
    assert a.revision < b.revision


async def test_an_unsafe_commit_was_lost() -> None:
    settings = {"fsync": "on", "wal_writer_delay": "10s", "wal_writer_flush_after": "1GB"}
    with PostgresCluster.create(settings=settings) as cluster:
        url = f"{cluster.url()}?synchronous_commit=off"
        async with connected(create_backend(url)) as backend:
            await backend.record_changes(backend.settings)
            connection = await asyncpg.connect(cluster.url())
            await connection.execute("CHECKPOINT")
            await connection.close()
            async with backend.watch(backend.settings) as changes:
                await put(backend, *(f"k{n}" for n in range(50)))
                await take(changes, 50)
                await asyncio.to_thread(cluster.kill)
                await asyncio.to_thread(cluster.start)
                assert len(await backend.settings.get_namespace("n")) < 50
                await is_lost(changes, "lost its end")


async def test_switched_off_while_it_begins(
    backend: PersistenceBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    await backend.record_changes(backend.settings)
    await put(backend, "a")
    module = sys.modules[Watch.__module__]
    real = module.recorded_tables

    async def slow(engine: Engine) -> object:
        found = await real(engine)
        monkeypatch.undo()
        await backend.stop_recording(backend.settings)
        return found

    monkeypatch.setattr(module, "recorded_tables", slow)
    async with backend.watch(backend.settings) as changes:
        await is_lost(changes, "recording of settings")


async def test_a_tenant_of_whom_nothing_is_known(
    backend: PersistenceBackend, impatient: None
) -> None:
    await backend.record_changes(backend.settings)
    async with backend.watch(backend.settings) as changes:
        await backend.stop_recording(backend.settings)
        await is_lost(changes, "recording of settings")


async def test_its_table_was_dropped(backend: PersistenceBackend, impatient: None) -> None:
    await backend.record_changes(backend.settings)
    await put(backend, "a")
    async with backend.watch(backend.settings) as changes:
        step = asyncio.create_task(take(changes, 1))
        await asyncio.sleep(0.05)
        await execute(backend, "DROP TABLE settings")
        with pytest.raises(ChangesLostError, match="table is gone"):
            await step


async def test_what_was_read_comes_before_the_error(
    backend: PersistenceBackend, impatient: None
) -> None:
    await backend.record_changes(backend.settings, backend.tasks)
    async with backend.watch(backend.settings, backend.tasks) as changes:
        await backend.tasks.save(task("t"))
        await execute(backend, "DROP TABLE settings")
        await asyncio.sleep(0.15)
        assert brief(await take(changes, 1)) == [("insert", "t")]
        await is_lost(changes, "settings")


async def test_a_quiet_watch_goes_on(backend: PersistenceBackend, impatient: None) -> None:
    await backend.record_changes(backend.settings)
    async with backend.watch(backend.settings) as changes:
        step = asyncio.create_task(take(changes, 1))
        await asyncio.sleep(0.4)
        await put(backend, "a")
        assert brief(await step) == [("insert", "a")]


async def test_switched_off_after_a_step_was_cancelled(backend: PersistenceBackend) -> None:
    await backend.record_changes(backend.settings)
    await put(backend, "a")
    async with backend.watch(backend.settings) as changes:
        with pytest.raises(TimeoutError):
            await take(changes, 1, seconds=0.1)
        await put(backend, "b")
        await backend.stop_recording(backend.settings)
        assert brief(await take(changes, 1)) == [("insert", "b")]
        await is_lost(changes, "recording of settings")


async def test_the_log_is_gone(backend: PersistenceBackend, impatient: None) -> None:
    """Steps may fail before they know, and then begin anew: not as a watch of nothing recorded."""
    await backend.record_changes(backend.settings)
    await put(backend, "a")
    async with backend.watch(backend.settings) as changes:
        await backend.downgrade("base")
        with pytest.raises(Exception, match=r"migrated|recording of settings"):
            await take(changes, 1)
        await is_lost(changes, "recording of settings")


async def test_who_writes_while_it_is_switched_off(postgres_url: str) -> None:
    """The first of a tenant is under way: he gets his note as well, in the same transaction."""
    async with connected(create_backend(postgres_url)) as backend:
        await backend.record_changes(backend.settings)
        other = backend.for_tenant("other")
        connection = await asyncpg.connect(postgres_url)
        transaction = connection.transaction()
        async with other.watch(other.settings) as changes:
            await transaction.start()
            await connection.execute("INSERT INTO settings VALUES ('other', 'n', 'a', 'v', '')")
            stopping = asyncio.create_task(backend.stop_recording(backend.settings))
            while not await connection.fetchval(  # noqa: ASYNC110 - the server's
                "SELECT count(*) FROM pg_locks WHERE NOT granted"
                " AND relation = 'settings'::regclass"
            ):
                await asyncio.sleep(0.02)
            await transaction.commit()
            await connection.close()
            await stopping
            assert brief(await take(changes, 1)) == [("insert", "a")]
            await is_lost(changes, "recording of settings was switched off, or on again")


async def test_a_rare_table_far_behind(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading on takes longer than a statement may: smaller pieces, until it does not."""
    read, widths = Follower._read, []

    async def deadline(self: Follower, connection: object, *arguments: object) -> object:
        if len(arguments) == 4:
            after, upto = arguments[2:]
            assert isinstance(after, int)
            assert isinstance(upto, int)
            widths.append(upto - after)
            if upto - after > 30:
                raise QueryTimeoutError("too much")
        return await read(self, connection, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Follower, "_read", deadline)
    monkeypatch.setattr("holdfast.engines.postgres.follow._AWAY", (0.001, 0.01))
    async with connected(create_backend(postgres_url)) as backend:
        await backend.record_changes(backend.settings, backend.tasks)
        await asyncio.gather(*(put(backend, f"k{n}") for n in range(100)))
        await backend.tasks.save(task("t"))
        await put(backend, "end")
        async with backend.watch(backend.tasks, after=2) as changes:
            assert brief(await take(changes, 1)) == [("insert", "t")]
    assert max(widths) > 60
