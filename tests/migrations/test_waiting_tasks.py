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


async def test_rows_are_carried_over(empty: PersistenceBackend) -> None:
    await empty.migrate()
    complete = await everything(empty)
    await _fill(empty)
    await empty.record_changes(empty.tasks)
    recorded = (await empty.status()).tables["changes"].rows
    await empty.downgrade(BEFORE)
    await empty.migrate()
    assert (await empty.status()).tables["changes"].rows == recorded
    await empty.stop_recording(empty.tasks)
    assert await everything(empty) == complete
    other = empty.for_tenant("other")
    assert [await claimed(empty), await claimed(empty)] == ["free", "ready"]
    await save(empty, done("e"))
    assert await claimed(empty, project="nothing") is None
    await save(empty, done("f"))
    assert await claimed(empty) == "waits"
    assert await claimed(other) is None
    assert await waiting(empty) == {"waits": "d"}  # the other tenant's
    await save(other, done("d"))
    assert await claimed(other) == "waits"


async def test_the_rows_are_marked_as_if_they_were_saved_now(empty: PersistenceBackend) -> None:
    await empty.migrate()
    await save(empty, *(task(f"t{n}", dependencies=(f"d{n}",)) for n in range(50)))
    await empty.downgrade(BEFORE)
    await empty.migrate()
    assert await waiting(empty) == {f"t{n}": f"d{n}" for n in range(50)}
