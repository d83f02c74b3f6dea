"""Decisions: the next version of a task's reviews, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import pytest
from pydantic import Field, ValidationError

from holdfast import (
    ConfidenceMetadata,
    ConstraintViolationError,
    DecisionOutcome,
    DecisionRecord,
    DuplicateRecordError,
    InvalidArgumentError,
    LensAttribution,
    PersistenceBackend,
    RiskCard,
    Task,
    create_backend,
)
from holdfast.testing import samples

NOW = datetime(2026, 1, 31, 9, 0, 0, 1, tzinfo=UTC)
NAIVE = datetime(2026, 1, 31)  # noqa: DTZ001 - the point


async def with_tasks(backend: PersistenceBackend, *names: str) -> None:
    for name in names:
        await backend.tasks.save(samples.required(Task, id=name))


async def append(owner: Any, record_id: str, **fields: Any) -> DecisionRecord:
    defaults = {
        "task_id": "t", "approval_id": None, "executing_agent_id": "ada",
        "reviewer_agent_id": "bob", "decision": "approved", "reason": None,
        "criteria_snapshot": (), "recorded_at": NOW,
    }  # fmt: skip
    record: DecisionRecord = await owner.decision_records.append_with_next_version(
        record_id=record_id, **{**defaults, **fields}
    )
    return record


def versions(records: tuple[DecisionRecord, ...]) -> list[tuple[str, int]]:
    return [(record.id, record.version) for record in records]


async def test_the_answer_is_what_is_stored(backend: PersistenceBackend) -> None:
    await with_tasks(backend, "t")
    there = timezone(timedelta(hours=5, minutes=45))
    record = await append(
        backend, "d", approval_id="ap", decision="auto_rejected", reason="why",
        criteria_snapshot=("one", "two"), recorded_at=NOW.astimezone(there),
        metadata={"list": [1, [2.5, None]], "object": {"deep": [True]}, "text": "🦑"},
        risk_card=RiskCard(decision_type="launch", blast_radius="company_wide"),
        confidence_metadata=ConfidenceMetadata(
            level=0.5, range_lower=0.25, range_upper=0.75, assumptions=("a",),
            uncertainty_factors=("u", "v"),
        ),
        lens_attribution=(LensAttribution(lens="risk", insight="much", weight=0.1),),
    )  # fmt: skip
    assert record == await backend.decision_records.get("d")
    assert record.version == 1
    assert record.recorded_at == NOW
    assert record.recorded_at.utcoffset() == timedelta(0)
    stored = await backend.decision_records.get("d")
    assert stored is not None
    assert stored.risk_card is not None
    assert stored.risk_card.blast_radius == "company_wide"
    assert stored.confidence_metadata is not None
    assert stored.confidence_metadata.uncertainty_factors == ("u", "v")
    assert [lens.weight for lens in stored.lens_attribution] == [0.1]
    for one in (record, stored):
        assert one.metadata["list"] == (1, (2.5, None))
        assert isinstance(one.metadata["object"], MappingProxyType)
        with pytest.raises(ValidationError):
            one.version = 2  # type: ignore[misc]
        with pytest.raises(TypeError):
            one.metadata["more"] = 1  # type: ignore[index]


async def test_what_was_not_said(backend: PersistenceBackend) -> None:
    await with_tasks(backend, "t")
    metadata: dict[str, object] = {"list": [1]}
    for number, reason in enumerate((None, "", " \t\n")):
        await append(backend, f"{number}", reason=reason)
    changed = await append(backend, "changed", metadata=metadata)
    metadata["list"] = None
    assert changed.metadata == {"list": (1,)}
    plain = (await backend.decision_records.list_by_task("t"))[:3]
    assert [one.reason for one in plain] == [None] * 3
    for one in plain:
        assert one.metadata == {}
        assert one.risk_card is None
        assert one.confidence_metadata is None
        assert one.approval_id is None
        assert one.lens_attribution == ()
        assert one.criteria_snapshot == ()


@pytest.mark.alone
async def test_each_task_counts_its_own_reviews(backend: PersistenceBackend) -> None:
    await with_tasks(backend, "t", "u")
    other = backend.for_tenant("other")
    await with_tasks(other, "t")
    for number, task in enumerate("tutt"):
        await append(backend, f"d{number}", task_id=task)
    assert (await append(other, "d0")).version == 1
    by_task = backend.decision_records.list_by_task
    assert versions(await by_task("t")) == [("d0", 1), ("d2", 2), ("d3", 3)]
    assert versions(await by_task("u")) == [("d1", 1)]
    assert versions(await by_task("t", limit=1, after="d0")) == [("d2", 2)]
    assert await by_task("nobody's") == ()


REFUSED: list[tuple[dict[str, Any], tuple[type[Exception], ...]]] = [
    ({"recorded_at": NAIVE}, (InvalidArgumentError, ValueError)),
    ({"recorded_at": "2026-01-31"}, (InvalidArgumentError, ValueError)),
    ({"reviewer_agent_id": "ada"}, (ValidationError,)),
    ({"criteria_snapshot": ("same", "other", "same")}, (ValidationError,)),
    ({"record_id": " "}, (ValidationError,)),
    ({"task_id": ""}, (ValidationError,)),
    ({"approval_id": "\t"}, (ValidationError,)),
    ({"executing_agent_id": ""}, (ValidationError,)),
    ({"reviewer_agent_id": " "}, (ValidationError,)),
    ({"criteria_snapshot": (" ",)}, (ValidationError,)),
    ({"decision": "maybe"}, (ValidationError,)),
    ({"metadata": [1]}, (ValidationError,)),
    ({"metadata": {1: 2}}, (ValidationError,)),
    ({"metadata": {"what": object()}}, (TypeError, InvalidArgumentError)),
    ({"metadata": {"deep": [{"when": NOW}]}}, (TypeError, InvalidArgumentError)),
    ({"metadata": {"nan": float("nan")}}, (InvalidArgumentError,)),
    ({"metadata": {"nul": "a\0"}}, (InvalidArgumentError,)),
    ({"reason": "\ud800"}, (ValueError,)),
]


async def test_what_breaks_a_rule_is_refused_and_no_number_is_used(
    backend: PersistenceBackend,
) -> None:
    await with_tasks(backend, "t")
    for fields, kinds in REFUSED:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - the kinds are looked at
            await append(backend, **{"record_id": "d", **fields})
        assert all(isinstance(caught.value, kind) for kind in kinds), (fields, caught.value)
    assert (await append(backend, "d")).version == 1


@pytest.mark.alone
async def test_what_the_database_refuses(backend: PersistenceBackend) -> None:
    await with_tasks(backend, "t", "u")
    await with_tasks(backend.for_tenant("other"), "theirs")
    first = await append(backend, "d")
    for task in ("t", "u"):
        with pytest.raises(DuplicateRecordError):
            await append(backend, "d", task_id=task, reason="again")
    for unknown in ("unknown", "theirs"):
        with pytest.raises(ConstraintViolationError) as caught:
            await append(backend, "e", task_id=unknown)
        assert caught.value.constraint == "decision_records.task_id"
    assert await backend.decision_records.list_by_task("t") == (first,)
    assert await backend.decision_records.list_by_task("unknown") == ()
    assert (await append(backend, "e")).version == 2


async def test_a_task_with_decisions_cannot_be_deleted(backend: PersistenceBackend) -> None:
    await with_tasks(backend, "t", "free")
    record = await append(backend, "d")
    with pytest.raises(ConstraintViolationError) as caught:
        await backend.tasks.delete("t")
    assert caught.value.constraint == "decision_records.task_id"
    assert caught.value.is_retryable is False
    assert await backend.tasks.get("t") is not None
    assert await backend.decision_records.get("d") == record
    assert await backend.tasks.delete("free") is True


class _StopError(Exception):
    pass


async def test_versions_within_transactions(backend: PersistenceBackend) -> None:
    async with backend.transaction() as tx:
        await with_tasks(tx, "t")  # type: ignore[arg-type]
        assert (await append(tx, "1")).version == 1
        with pytest.raises(_StopError):
            async with tx.transaction() as inner:
                assert (await append(inner, "lost")).version == 2
                raise _StopError
        with pytest.raises(DuplicateRecordError):
            async with tx.transaction() as inner:
                await append(inner, "1")
        assert (await append(tx, "2")).version == 2
    with pytest.raises(_StopError):
        async with backend.transaction() as tx:
            assert (await append(tx, "lost")).version == 3
            raise _StopError
    assert (await append(backend, "3")).version == 3
    found = await backend.decision_records.list_by_task("t")
    assert versions(found) == [("1", 1), ("2", 2), ("3", 3)]


async def test_by_agent(backend: PersistenceBackend) -> None:
    await with_tasks(backend, "t", "u")
    await append(backend, "old", recorded_at=NOW - timedelta(days=1))
    for name in ("b", "B", "a"):
        await append(backend, name, task_id="u")
    await append(backend, "turned", executing_agent_id="bob", reviewer_agent_id="ada")
    by_agent = backend.decision_records.list_by_agent

    async def ids(agent: str, role: Any, **page: Any) -> list[str]:
        return [one.id for one in await by_agent(agent, role=role, **page)]

    assert await ids("ada", "executor") == await ids("bob", "reviewer") == ["a", "B", "b", "old"]
    assert await ids("bob", "executor") == await ids("ada", "reviewer") == ["turned"]
    assert await ids("ada", "executor", limit=2, after="a") == ["B", "b"]
    assert await ids("nobody", "reviewer") == []
    for role in ("boss", "", "Executor", None, 7, b"executor"):
        with pytest.raises(InvalidArgumentError, match="role must be one of executor, reviewer"):
            await ids("ada", role)


async def test_an_own_class_with_aliases_loses_nothing(url: str) -> None:
    class Verdict(DecisionRecord):
        task_id: str = Field(alias="taskId")
        note: str = Field(default="", alias="theNote")

    backend = create_backend(url, entities={DecisionRecord: Verdict})
    await backend.connect()
    try:
        await backend.migrate()
        await backend.tasks.save(samples.required(Task, id="t"))
        made: Any = await backend.decision_records.append_with_next_version(
            record_id="r", task_id="t", approval_id=None, executing_agent_id="a",
            reviewer_agent_id="b", decision=DecisionOutcome.APPROVED, reason=None,
            criteria_snapshot=(), recorded_at=datetime.now(UTC), extra={"note": "hello"},
        )  # fmt: skip
        assert (made.task_id, made.note) == ("t", "hello")
        assert await backend.decision_records.get("r") == made
    finally:
        await backend.disconnect()
