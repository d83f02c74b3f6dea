"""The same processes break each rule when they look first and write then, as applications do."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from holdfast import ConstraintViolationError, PersistenceBackend, QueryTimeoutError
from holdfast.engines.sqlite.writer import Writer
from holdfast.entities import ApprovalStatus
from holdfast.repositories import decisions
from holdfast.schema.tasks import tasks
from holdfast.storage.session import Statement
from holdfast.storage.statements import where_equal
from holdfast.storage.tables import TENANT
from tests.entities.samples import NOW, make

from .racers import PROCESSES, Race, Racer
from .test_versions import CALLS, review


async def _add_naively(racer: Racer) -> None:
    settings = racer.backend.settings
    stored = await settings.get("n", "counter")
    assert stored is not None
    await racer.meet()
    await settings.set("n", "counter", str(int(stored[0]) + 1), racer.name)


async def test_a_naive_counter_loses(race: Race, backend: PersistenceBackend) -> None:
    await backend.settings.set("n", "counter", "0", "first")
    await race(_add_naively)
    stored = await backend.settings.get("n", "counter")
    assert stored is not None
    assert stored[0] == "1"


async def _decide_naively(racer: Racer) -> bool:
    item = await racer.backend.approvals.get("x")
    assert item is not None
    await racer.meet()
    if item.status is not ApprovalStatus.PENDING:
        return False
    decided = {"status": ApprovalStatus.APPROVED, "decided_by": racer.name, "decided_at": NOW}
    await racer.backend.approvals.save(item.model_copy(update=decided))
    return True


async def test_a_naive_decision_is_made_by_all(race: Race, backend: PersistenceBackend) -> None:
    await backend.approvals.save(make("ApprovalItem", id="x"))
    assert await race(_decide_naively) == [True] * PROCESSES


async def _create_naively(racer: Racer) -> bool:
    absent = await racer.backend.projects.get("p") is None
    await racer.meet()
    if absent:
        await racer.backend.projects.save(make("Project", id="p", name=racer.name))
    return absent


async def test_all_naively_make_the_same(race: Race, backend: PersistenceBackend) -> None:
    assert await race(_create_naively) == [True] * PROCESSES


async def _claim_naively(racer: Racer) -> bool:
    free = await racer.backend.idempotency_keys.get("s", "k") is None
    await racer.meet()
    await racer.backend.idempotency_keys.claim("s", "k", 60.0)
    return free


async def test_all_naively_do_the_work(race: Race) -> None:
    assert await race(_claim_naively) == [True] * PROCESSES


_LOOK_AT_TASK = Statement(
    "tasks.look", select(tasks.c.id).where(*where_equal(tasks, ("id",))), (TENANT, "id"), tasks
)


async def _review_unlocked(racer: Racer) -> int:
    """How many reviews were refused: somebody else had got their number, or had written since."""
    refused = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decisions, "_LOCK_TASK", _LOOK_AT_TASK)
        patch.setattr(Writer, "begin", lambda _, connection: connection.execute("BEGIN"))
        for n in range(CALLS):
            try:
                await review(racer, f"{racer.name}/{n}", "t")
            except ConstraintViolationError:
                refused += 1
            except QueryTimeoutError as error:
                assert "SQLITE_BUSY" in str(error)  # noqa: PT017 - not all are refused
                refused += 1
    return refused


async def test_without_the_lock_numbers_are_refused(
    race: Race, backend: PersistenceBackend
) -> None:
    await backend.tasks.save(make("Task"))
    assert sum(await race(_review_unlocked)) > 0
