"""What the organisation knows, now and at any instant before."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from holdfast import (
    InvalidArgumentError,
    OperationLogEntry,
    OperationLogSnapshot,
    OrgFact,
    OrgFactAuthor,
    OrgFactCategory,
    PersistenceBackend,
    SeniorityLevel,
)

from .clock import NOW, Clock

HUMAN = OrgFactAuthor(is_human=True)
ADA = OrgFactAuthor(agent_id="ada", seniority=SeniorityLevel.LEAD, autonomy_level="semi")
ADR, POLICY = OrgFactCategory.ADR, OrgFactCategory.CORE_POLICY
THEN = datetime(2020, 2, 29, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
THERE = timezone(timedelta(hours=5, minutes=45))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch, "knowledge", "org_facts")


def fact(key: str, content: str = "c", **fields: Any) -> OrgFact:
    defaults = {"category": ADR, "author": HUMAN, "created_at": THEN}
    return OrgFact.model_validate({"id": key, "content": content, **defaults, **fields})


async def publish(backend: Any, *facts: OrgFact) -> None:
    for one in facts:
        await backend.org_facts.save(one)


def ids(found: tuple[OrgFact, ...]) -> list[str]:
    return [one.id for one in found]


async def test_publishing_anew(backend: PersistenceBackend, clock: Clock) -> None:
    facts = backend.org_facts
    await publish(backend, fact("f", tags=("z", "a", "z")))
    changed = fact("f", "new", category=POLICY, author=ADA, tags=("x",), created_at=NOW)
    await publish(backend, changed)
    expected = changed.model_copy(update={"created_at": THEN})
    assert await facts.get("f") == expected
    assert await facts.list_by_category(POLICY) == await facts.query() == (expected,)
    assert await facts.list_by_category(ADR) == ()
    assert await facts.delete("f", author=HUMAN) is True
    assert await facts.get("f") is None
    await publish(backend, fact("f", "again", created_at=NOW))
    assert await facts.get("f") == fact("f", "again")


@pytest.mark.alone
async def test_what_is_retracted_is_not_in_force(backend: PersistenceBackend) -> None:
    facts = backend.org_facts
    await publish(backend, fact("f", "text"), fact("other", "text"))
    assert await backend.for_tenant("other").org_facts.delete("f", author=HUMAN) is False
    assert await facts.delete("f", author=ADA) is True
    assert await facts.delete("f", author=ADA) is False
    assert await facts.delete("unknown", author=ADA) is False
    assert await facts.get("f") is None
    assert ids(await facts.query()) == ids(await facts.query(text="text")) == ["other"]
    assert ids(await facts.query(categories=[ADR])) == ["other"]
    assert ids(await facts.list_by_category(ADR)) == ["other"]
    assert await facts.get_operation_log("unknown") == ()
    for author in (None, "ada", {"is_human": True}):
        with pytest.raises(InvalidArgumentError, match="author must be OrgFactAuthor"):
            await facts.delete("other", author=author)  # type: ignore[arg-type]
    assert len(await facts.get_operation_log("other")) == 1


def entry(version: int, logged: OperationLogEntry, when: datetime, **what: Any) -> Any:
    return OperationLogEntry.model_validate(
        {
            "operation_id": logged.operation_id, "fact_id": "f", "version": version,
            "timestamp": when, "category": ADR, **what,
        }
    )  # fmt: skip


@pytest.mark.alone
async def test_every_change_is_logged(backend: PersistenceBackend, clock: Clock) -> None:
    await publish(backend, fact("f", "one", tags=("b", "a")), fact("other"))
    times = [NOW, *(clock.turn(1) for _ in range(4))]
    clock.now = times[1]
    await publish(backend, fact("f", "two", author=ADA, category=POLICY))
    clock.now = times[2]
    await backend.org_facts.delete("f", author=ADA)
    clock.now = times[3]
    await publish(backend, fact("f", "three", tags=("t",), author=ADA))
    clock.now = times[4]
    await backend.org_facts.delete("f", author=HUMAN)
    log = await backend.org_facts.get_operation_log("f")
    person = {"author_is_human": True}
    agent = {
        "author_agent_id": "ada", "author_seniority": "lead", "author_autonomy_level": "semi"
    }  # fmt: skip
    said, undone = {"operation_type": "PUBLISH"}, {"operation_type": "RETRACT"}
    assert log == (
        entry(1, log[0], times[0], content="one", tags=("b", "a"), **said, **person),
        entry(2, log[1], times[1], content="two", **{**said, **agent, "category": POLICY}),
        entry(3, log[2], times[2], **{**undone, **agent, "category": POLICY}),
        entry(4, log[3], times[3], content="three", tags=("t",), **said, **agent),
        entry(5, log[4], times[4], tags=("t",), **undone, **person),
    )
    assert len({one.operation_id for one in log}) == 5
    page = backend.org_facts.get_operation_log
    assert await page("f", limit=2) == log[:2]
    assert await page("f", limit=2, after=log[1]) == log[2:4]
    assert await page("f", after=("f", 4)) == log[4:]
    assert await backend.for_tenant("other").org_facts.get_operation_log("f") == ()


async def test_the_time_is_the_clocks_and_never_goes_back(
    backend: PersistenceBackend, clock: Clock
) -> None:
    await publish(backend, fact("f"))
    clock.turn(-60)
    await backend.org_facts.delete("f", author=ADA)
    await publish(backend, fact("f", "later"), fact("other"))
    log = await backend.org_facts.get_operation_log("f")
    assert [one.timestamp for one in log] == [NOW] * 3
    ((other),) = await backend.org_facts.get_operation_log("other")
    assert other.timestamp == NOW - timedelta(seconds=60)
    stored = await backend.org_facts.get("f")
    assert stored is not None
    assert stored.created_at == THEN  # its own, not the clock's
    found = await backend.org_facts.snapshot_at(NOW)
    assert [(one.fact_id, one.version, one.created_at) for one in found] == [
        ("f", 3, NOW), ("other", 1, other.timestamp)
    ]  # fmt: skip


STORY: list[tuple[str, str | None]] = [
    ("b", "b one"), ("a", "a one"), ("b", None), ("B", "B one"), ("b", "b two"), ("a", None),
    ("b", "b three"), ("é", "é one"), ("b", None), ("a", "a two"),
]  # fmt: skip


@pytest.mark.alone
async def test_every_instant_between_changes(backend: PersistenceBackend, clock: Clock) -> None:
    facts = backend.org_facts
    state: dict[str, OperationLogSnapshot] = {}
    history: list[tuple[datetime, tuple[OperationLogSnapshot, ...]]] = [(clock.now, ())]
    for number, (key, content) in enumerate(STORY):
        now = clock.turn(0.000_002)
        before = state.get(key)
        if content is None:
            assert before is not None
            assert await facts.delete(key, author=ADA) is True
            state[key] = before.model_copy(
                update={"retracted_at": now, "version": before.version + 1}
            )
        else:
            tags = (f"{number}",)
            await publish(backend, fact(key, content, tags=tags))
            state[key] = OperationLogSnapshot(
                fact_id=key, content=content, category=ADR, tags=tags,
                created_at=before.created_at if before else now,
                version=before.version + 1 if before else 1,
            )  # fmt: skip
        history.append((now, tuple(state[name] for name in sorted(state))))
    for (when, then), (_, earlier) in zip(history[1:], history, strict=False):
        assert await facts.snapshot_at(when) == then
        assert await facts.snapshot_at(when + MOMENT) == then
        assert await facts.snapshot_at(when - MOMENT) == earlier
        assert await facts.snapshot_at(when.astimezone(THERE)) == then
        assert await facts.snapshot_at(when.replace(tzinfo=None)) == then
    whole = history[-1][1]
    assert await facts.snapshot_at(NOW + timedelta(days=999)) == whole
    assert [one.retracted_at is None for one in whole] == [True, True, False, True]
    assert await facts.snapshot_at(THEN) == ()
    assert await backend.for_tenant("other").org_facts.snapshot_at(clock.now) == ()

    for size in (1, 2, 3):
        for by_key in (True, False):
            seen: list[OperationLogSnapshot] = []
            after: OperationLogSnapshot | str | None = None
            while page := await facts.snapshot_at(clock.now, limit=size, after=after):
                assert len(page) <= size
                seen += page
                after = seen[-1].fact_id if by_key else seen[-1]
            assert tuple(seen) == whole
    assert await facts.snapshot_at(clock.now, after="ab") == whole[2:]
    assert await facts.snapshot_at(history[2][0], limit=1, after="a") == history[2][1][1:]
    for bad in ("now", None, 7):
        with pytest.raises(InvalidArgumentError, match="timestamp must be a datetime"):
            await facts.snapshot_at(bad)  # type: ignore[arg-type]


async def test_an_instant_without_a_zone_is_in_utc_wherever_it_is_asked(
    backend: PersistenceBackend, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(backend, fact("f"))
    now = NOW.replace(tzinfo=None)
    for zone in ("UTC-5:45", "UTC+7"):
        try:
            with monkeypatch.context() as moved:
                moved.setenv("TZ", zone)
                time.tzset()
                (published,) = await backend.org_facts.snapshot_at(now)
                assert published.created_at == NOW
                assert await backend.org_facts.snapshot_at(now - MOMENT) == ()
        finally:
            time.tzset()


async def test_all_in_one_transaction(backend: PersistenceBackend, clock: Clock) -> None:
    await publish(backend, fact("before"))
    with pytest.raises(ZeroDivisionError):
        async with backend.transaction() as tx:
            await publish(tx, fact("f"), fact("before", "changed"))
            assert await tx.org_facts.delete("before", author=ADA) is True
            raise ZeroDivisionError
    assert await backend.org_facts.get("f") is None
    assert await backend.org_facts.get("before") == fact("before")
    assert len(await backend.org_facts.get_operation_log("before")) == 1
    assert await backend.org_facts.get_operation_log("f") == ()

    async with backend.transaction() as tx:
        await publish(tx, fact("f", "one"))
        with pytest.raises(ZeroDivisionError):
            async with tx.transaction() as inner:
                await inner.org_facts.delete("f", author=ADA)
                raise ZeroDivisionError
        assert await tx.org_facts.get("f") == fact("f", "one")
        await publish(tx, fact("f", "two"))
        assert await tx.org_facts.delete("f", author=ADA) is True
        assert await tx.org_facts.delete("f", author=ADA) is False
        assert ids(await tx.org_facts.query()) == ["before"]
        (_, gone) = await tx.org_facts.snapshot_at(NOW)
    log = await backend.org_facts.get_operation_log("f")
    assert [(one.version, one.operation_type, one.timestamp) for one in log] == [
        (1, "PUBLISH", NOW), (2, "PUBLISH", NOW), (3, "RETRACT", NOW)
    ]  # fmt: skip
    assert (await backend.org_facts.snapshot_at(NOW))[1] == gone
    assert (gone.content, gone.version, gone.retracted_at) == ("two", 3, NOW)


async def test_of_many_changes_each_has_its_version(backend: PersistenceBackend) -> None:
    await publish(backend, fact("f"))
    answers = await asyncio.gather(
        *(backend.org_facts.save(fact("f", f"{n}")) for n in range(8)),
        *(backend.org_facts.delete("f", author=ADA) for _ in range(4)),
    )
    log = await backend.org_facts.get_operation_log("f")
    assert [one.version for one in log] == list(range(1, 10 + answers.count(True)))
    times = [one.timestamp for one in log]
    assert times == sorted(times)
    stored = await backend.org_facts.get("f")
    assert (None if stored is None else stored.content) == log[-1].content
