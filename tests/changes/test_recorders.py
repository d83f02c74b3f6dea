"""Recording is switched per table, and costs nothing when it is off."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection

from holdfast import ChangesLostError, MigrationError, PersistenceBackend, create_backend
from holdfast.changes.recorders import is_recorder
from holdfast.schema import metadata
from holdfast.storage.triggers import existing
from holdfast.testing.databases import connected

from ..conformance.test_claims import done
from ..conformance.test_work import save, task
from ..forked import Child
from .conftest import brief, engine_of, put, take


async def recorders(backend: PersistenceBackend) -> set[str]:
    def look(connection: Connection) -> set[str]:
        found = {name for name in existing(connection, metadata.tables) if is_recorder(name)}
        if backend.backend_name == "postgres":
            found |= set(
                connection.exec_driver_sql(
                    "SELECT 'function ' || proname FROM pg_proc WHERE proname LIKE 'changes%%'"
                ).scalars()
            )
        return found

    return await engine_of(backend).run_sync(look)


async def logged(backend: PersistenceBackend) -> int:
    return (await backend.status()).tables["changes"].rows


async def test_off_by_default(backend: PersistenceBackend) -> None:
    assert await recorders(backend) == set()
    assert await backend.recorded_tables() == []
    await put(backend, "a")
    assert await logged(backend) == 0


async def test_on_and_off_again(backend: PersistenceBackend) -> None:
    for _ in range(2):
        await backend.record_changes(backend.settings, backend.tasks)
        assert await backend.recorded_tables() == ["settings", "tasks"]
    await put(backend, "a")
    assert await logged(backend) == 1
    for _ in range(2):
        await backend.stop_recording(backend.settings)
        assert await backend.recorded_tables() == ["tasks"]
    rows = await logged(backend)
    await put(backend, "a")
    assert await logged(backend) == rows
    await backend.stop_recording(backend.settings, backend.tasks)
    assert await recorders(backend) == set()


async def test_who_watches_is_told(backend: PersistenceBackend) -> None:
    other = backend.for_tenant("other")
    await backend.record_changes(backend.settings, backend.tasks)
    await put(other, "theirs")
    async with (
        backend.watch(backend.settings, backend.tasks) as changes,
        backend.watch(backend.tasks) as tasks,
        other.watch(other.settings) as theirs,
    ):
        await put(backend, "a")
        await take(changes, 1)
        place = changes.revision
        await backend.stop_recording(backend.settings)
        with pytest.raises(ChangesLostError, match="recording of settings"):
            await take(changes, 1)
        with pytest.raises(ChangesLostError, match="recording of settings"):
            await take(theirs, 1)
        await put(backend, "missed")
        await backend.record_changes(backend.settings)
        with pytest.raises(ChangesLostError, match="recording of settings"):
            await anext(backend.watch(backend.settings, after=place))
        async with backend.watch(backend.settings) as anew:
            await put(backend, "b")
            assert brief(await take(anew, 1)) == [("insert", "b")]
        with pytest.raises(TimeoutError):  # the other table's watcher is not concerned
            await take(tasks, 1, seconds=0.3)


async def test_a_tenant_that_the_log_does_not_know_yet(backend: PersistenceBackend) -> None:
    """Between off and on again its first records appear: whoever watched has missed them."""
    await backend.record_changes(backend.settings)
    async with backend.watch(backend.settings) as changes:
        assert changes.revision == 0
        await backend.stop_recording(backend.settings)
        await put(backend, "missed")
        await backend.record_changes(backend.settings)
        await put(backend, "seen")
        with pytest.raises(ChangesLostError):
            await take(changes, 1)


async def test_before_migrating(holdfast_backend: PersistenceBackend) -> None:
    await holdfast_backend.downgrade("base")
    with pytest.raises(MigrationError, match=r"backend.migrate\(\)"):
        await holdfast_backend.record_changes(holdfast_backend.settings)
    await holdfast_backend.stop_recording(holdfast_backend.settings)


async def test_recorders_are_no_drift(backend: PersistenceBackend) -> None:
    await backend.record_changes(backend.settings, backend.users)
    assert await backend.schema_drift() == []


async def test_migrating_and_downgrading(backend: PersistenceBackend) -> None:
    await backend.record_changes(backend.settings, backend.tasks, backend.workflow_definitions)
    await backend.migrate()
    assert len(await backend.recorded_tables()) == 3
    # The log itself goes: nothing must be left that would write to it.
    await backend.downgrade("0001")
    assert await recorders(backend) == set()
    await put(backend, "a")
    await backend.migrate()
    assert await backend.recorded_tables() == []
    await backend.record_changes(backend.settings)
    await backend.downgrade("base")
    assert await recorders(backend) == set()
    await backend.migrate()
    assert await backend.schema_drift() == []


async def test_a_rebuilt_table_stays_recorded(backend: PersistenceBackend) -> None:
    """As Alembic changes a table on SQLite; on PostgreSQL it only renames."""
    from holdfast.changes.recorders import kept

    await backend.record_changes(backend.settings)

    def rebuild(connection: Connection) -> None:
        with kept(connection):
            if backend.backend_name == "sqlite":
                connection.exec_driver_sql("CREATE TABLE anew AS SELECT * FROM settings")
                connection.exec_driver_sql("DROP TABLE settings")
                connection.exec_driver_sql("ALTER TABLE anew RENAME TO settings")
                connection.exec_driver_sql(
                    "CREATE UNIQUE INDEX pk ON settings (tenant, namespace, key)"
                )
            else:
                connection.exec_driver_sql("ALTER TABLE settings ADD COLUMN novel TEXT")

    await put(backend, "a")
    await engine_of(backend).run_sync(rebuild, exclusive=True)
    async with backend.watch(backend.settings) as changes:
        await put(backend, "a", "b")
        assert brief(await take(changes, 2)) == [("update", "a"), ("insert", "b")]


_SWITCH = """
import asyncio, sys
from holdfast import create_backend

async def main(url):
    async with create_backend(url) as backend:
        print("ready", flush=True)
        sys.stdin.readline()
        await backend.record_changes(backend.settings, backend.tasks)

asyncio.run(main(sys.argv[1]))
"""


async def test_many_processes_switch_it_on_at_once(shared_url: str) -> None:
    workers = [await Child.start(_SWITCH, shared_url) for _ in range(4)]
    for worker in workers:
        assert await worker.stdout.readline() == b"ready\n"
    for worker in workers:
        worker.tell("go")
    assert [await worker.wait() for worker in workers] == [(0, b"")] * 4
    async with connected(create_backend(shared_url)) as backend:
        assert await backend.recorded_tables() == ["settings", "tasks"]
        await put(backend, "a")
        assert await logged(backend) == 1


async def test_a_claim_that_is_lost_changes_nothing(backend: PersistenceBackend) -> None:
    keys = backend.idempotency_keys
    await backend.record_changes(keys)
    async with backend.watch(keys) as changes:
        for key in ("a", "a", "a", "b"):
            await keys.claim("s", key, 60)
        seen = [await anext(changes) for _ in range(2)]
    assert [(one.kind.value, one.key) for one in seen] == [
        ("insert", ("s", "a")),
        ("insert", ("s", "b")),
    ]


async def test_what_a_task_waits_for_is_no_change_of_it(backend: PersistenceBackend) -> None:
    await backend.record_changes(backend.tasks)
    before = await logged(backend)
    await save(backend, task("t", dependencies=("d", "e")), done("d"), done("e"))
    assert await logged(backend) == before + 3
    await backend.tasks.delete("d")
    assert await backend.tasks.claim("ada") is None  # and marks it
    assert await logged(backend) == before + 4
    async with backend.transaction() as tx:
        with pytest.raises(ZeroDivisionError):
            async with tx.transaction() as inner:
                await inner.tasks.save(done("d"))
                raise ZeroDivisionError
        await tx.tasks.save(done("d"))
    assert await backend.tasks.claim("ada") is not None
    assert await logged(backend) == before + 6
