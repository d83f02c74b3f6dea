"""Databases from before tasks were marked with what they wait for: carried over with their rows."""

from __future__ import annotations

from holdfast import PersistenceBackend

from ..conformance.test_claims import claimed, done, waiting
from ..conformance.test_work import save, task
from .conftest import everything, run_sql

BEFORE = "0006"


async def _fill(backend: PersistenceBackend) -> None:
    await save(
        backend,
        done("d"),
        task("free"),
        task("ready", dependencies=("d",)),
        task("waits", dependencies=("d", "e", "f")),
        task("blocked", dependencies=("e",), status="blocked"),
        task("damaged", dependencies=("e",)),
    )
    await save(backend.for_tenant("other"), done("e"), task("waits", dependencies=("d",)))
    await run_sql(backend, "UPDATE tasks SET dependencies = '{}' WHERE id = 'damaged'")


async def test_rows_are_carried_over(migrated: PersistenceBackend) -> None:
    complete = await everything(migrated)
    await _fill(migrated)
    await migrated.record_changes(migrated.tasks)
    recorded = (await migrated.status()).tables["changes"].rows
    await migrated.downgrade(BEFORE)
    await migrated.migrate()
    assert (await migrated.status()).tables["changes"].rows == recorded
    await migrated.stop_recording(migrated.tasks)
    assert await everything(migrated) == complete
    other = migrated.for_tenant("other")
    assert [await claimed(migrated), await claimed(migrated)] == ["free", "ready"]
    await save(migrated, done("e"))
    assert await claimed(migrated, project="nothing") is None
    await save(migrated, done("f"))
    assert await claimed(migrated) == "waits"
    assert await claimed(other) is None
    assert await waiting(migrated) == {"waits": "d"}  # the other tenant's
    await save(other, done("d"))
    assert await claimed(other) == "waits"


async def test_the_rows_are_marked_as_if_they_were_saved_now(migrated: PersistenceBackend) -> None:
    await save(migrated, *(task(f"t{n}", dependencies=(f"d{n}",)) for n in range(50)))
    await migrated.downgrade(BEFORE)
    await migrated.migrate()
    assert await waiting(migrated) == {f"t{n}": f"d{n}" for n in range(50)}
