"""Approvals: decided once, by whoever comes first."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from holdfast import (
    ApprovalItem,
    ApprovalStatus,
    InvalidArgumentError,
    PersistenceBackend,
)

NOW = datetime(2026, 1, 31, 9, 0, 0, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def item(key: str, **fields: Any) -> ApprovalItem:
    defaults = {
        "action_type": "deploy:production", "title": "t", "requested_by": "ada",
        "risk_level": "high", "created_at": NOW,
    }  # fmt: skip
    return ApprovalItem.model_validate({"id": key, **defaults, **fields})


def decided(one: ApprovalItem, **fields: Any) -> ApprovalItem:
    return ApprovalItem.model_validate({**one.model_dump(), **fields})


@pytest.mark.alone
async def test_what_is_pending_is_decided_once(backend: PersistenceBackend) -> None:
    approvals = backend.approvals
    yes, no, silent = item("yes"), item("no"), item("silent", expires_at=LATER)
    await approvals.save_many([yes, no, silent])
    there = LATER.astimezone(timezone(timedelta(hours=-7)))
    assert await approvals.decide(
        "yes", status=ApprovalStatus.APPROVED, decided_by="boss", decided_at=there
    )
    rejected = {"decided_by": "boss", "decided_at": LATER}
    assert await approvals.decide("no", status=ApprovalStatus.REJECTED, reason="no", **rejected)  # type: ignore[arg-type]
    assert await approvals.expire_if_pending("silent", expired_at=LATER)
    expected = {
        "yes": decided(yes, status="approved", decided_by="boss", decided_at=LATER),
        "no": decided(no, status="rejected", decision_reason="no", **rejected),
        "silent": decided(silent, status="expired", decided_at=LATER),
    }
    other = backend.for_tenant("other").approvals
    for name in ("yes", "no", "silent", "unknown"):
        for status in (ApprovalStatus.APPROVED, ApprovalStatus.REJECTED):
            again = {"status": status, "decided_by": "late", "decided_at": NOW, "reason": "late"}
            assert await approvals.decide(name, **again) is False  # type: ignore[arg-type]
            assert await other.decide(name, **again) is False  # type: ignore[arg-type]
        assert await approvals.expire_if_pending(name, expired_at=NOW) is False
        assert await approvals.get(name) == expected.get(name)


async def test_a_reason_may_come_with_an_approval(backend: PersistenceBackend) -> None:
    await backend.approvals.save(item("a", metadata={"k": "v"}, task_id="t"))
    assert await backend.approvals.decide(
        "a", status=ApprovalStatus.APPROVED, decided_by="boss", decided_at=LATER, reason="fine"
    )
    stored = await backend.approvals.get("a")
    assert stored is not None
    assert (stored.decision_reason, stored.metadata, stored.task_id) == ("fine", {"k": "v"}, "t")


async def test_of_many_deciders_one_decides(backend: PersistenceBackend) -> None:
    await backend.approvals.save(item("a"))
    answers = await asyncio.gather(
        *(
            backend.approvals.decide(
                "a", status=ApprovalStatus.APPROVED, decided_by=f"{n}", decided_at=LATER
            )
            for n in range(10)
        ),
        backend.approvals.expire_if_pending("a", expired_at=LATER),
    )
    assert answers.count(True) == 1
    stored = await backend.approvals.get("a")
    assert stored is not None
    winner = answers.index(True)
    assert stored.decided_by == (None if winner == 10 else f"{winner}")


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("a rejection needs a reason", {"status": "rejected"}),
    ("reason must not be blank", {"status": "rejected", "reason": " "}),
    ("status must be one of approved, rejected", {"status": "pending"}),
    ("status must be one of approved, rejected", {"status": "expired"}),
    ("decided_by must not be blank", {"decided_by": ""}),
    ("decided_at must carry a time zone", {"decided_at": NOW.replace(tzinfo=None)}),
    ("approval_id must not be blank", {"approval_id": " "}),
]


async def test_no_half_decision_is_written(backend: PersistenceBackend) -> None:
    await backend.approvals.save(item("a"))
    given = {"approval_id": "a", "status": "approved", "decided_by": "b", "decided_at": LATER}
    for match, fields in REFUSED:
        with pytest.raises(InvalidArgumentError, match=match):
            await backend.approvals.decide(**{**given, **fields})
    with pytest.raises(InvalidArgumentError, match="expired_at"):
        await backend.approvals.expire_if_pending("a", expired_at=NOW.replace(tzinfo=None))
    assert await backend.approvals.get("a") == item("a")


async def test_save_many_is_all_or_nothing(backend: PersistenceBackend) -> None:
    approvals = backend.approvals
    await approvals.save(item("b", title="old"))
    broken = item("c").model_copy(update={"title": " "})
    unstorable = item("c", title="a\0b")
    for bad in (broken, unstorable, "c"):
        with pytest.raises(InvalidArgumentError):
            await approvals.save_many([item("a"), item("b", title="new"), bad])  # type: ignore[list-item]
    assert await approvals.list_items() == (item("b", title="old"),)
    await approvals.save_many([])
    await approvals.save_many([item("a"), item("b", title="new"), item("a", title="last")])
    assert await approvals.list_items() == (item("b", title="new"), item("a", title="last"))


async def test_save_many_is_part_of_a_transaction(backend: PersistenceBackend) -> None:
    async with backend.transaction() as tx:
        await tx.approvals.save_many([item("kept")])
        with pytest.raises(ZeroDivisionError):
            async with tx.transaction() as inner:
                await inner.approvals.save_many([item("lost"), item("kept", title="lost")])
                assert await inner.approvals.decide(
                    "kept", status=ApprovalStatus.APPROVED, decided_by="b", decided_at=LATER
                )
                raise ZeroDivisionError
        assert await tx.approvals.list_items() == (item("kept"),)
    assert await backend.approvals.list_items() == (item("kept"),)


async def test_lists(backend: PersistenceBackend) -> None:
    approvals = backend.approvals
    await approvals.save_many(
        [
            item("1", created_at=NOW - timedelta(seconds=1)),
            item("2", risk_level="low", action_type="deploy"),
            item("3", status="expired", decided_at=LATER),
            item("4", risk_level="low", status="approved", decided_by="b", decided_at=LATER),
        ]
    )

    async def ids(**filters: Any) -> list[str]:
        return [one.id for one in await approvals.list_items(**filters)]

    assert await ids() == ["4", "3", "2", "1"]
    assert await ids(status=ApprovalStatus.PENDING) == ["2", "1"]
    assert await ids(status="approved") == ["4"]
    assert await ids(risk_level="low") == ["4", "2"]
    assert await ids(action_type="deploy") == ["2"]
    assert await ids(risk_level="high", status="pending", action_type="deploy:production") == ["1"]
    assert await ids(limit=2, offset=1) == ["3", "2"]
    assert await ids(limit=2, after="3") == ["2", "1"]
    for bad in ({"status": "open"}, {"risk_level": 1}, {"limit": 0}, {"offset": -1}):
        with pytest.raises(InvalidArgumentError):
            await ids(**bad)


async def test_the_first_hundred_unless_all_are_asked_for(backend: PersistenceBackend) -> None:
    await backend.approvals.save_many([item(f"{n:03}") for n in range(103)])
    assert len(await backend.approvals.list_items()) == 100
    assert len(await backend.approvals.list_items(limit=None)) == 103
