"""Lists that go around rows that cannot be read: nothing else is left out, and pages fit."""

from __future__ import annotations

import random
from datetime import timedelta
from uuid import UUID

import pytest

from holdfast import (
    MalformedRow,
    MalformedRowError,
    Message,
    OrgFact,
    PersistenceBackend,
    Task,
)
from holdfast.testing.samples import required

from .test_bad_input import run_sql
from .test_json import NOW
from .test_work import task


def said(number: int) -> Message:
    return required(
        Message, id=UUID(int=number), channel="c", timestamp=NOW + timedelta(seconds=number)
    )


async def hurt(backend: PersistenceBackend, table: str, keys: list[str]) -> None:
    if keys:
        names = ", ".join(f"'{key}'" for key in keys)
        column = {"messages": "sender", "tasks": "title"}[table]
        await run_sql(backend, f"UPDATE {table} SET {column} = ' ' WHERE id IN ({names})")


MASKS = ["", "0", "9", "0123456789", "012", "789", "13579", "4", "012346789", "456"]


@pytest.mark.alone
async def test_pages_hold_every_row_that_can_be_read_once(backend: PersistenceBackend) -> None:
    for mask in MASKS:
        owner = backend.for_tenant(f"t{mask}")
        for number in range(10):
            await owner.messages.save(said(number))
    for mask in MASKS:
        bad = {int(digit) for digit in mask}
        owner = backend.for_tenant(f"t{mask}")
        ids = [str(UUID(int=number)) for number in sorted(bad)]
        for one in ids:
            await run_sql(
                backend,
                f"UPDATE messages SET sender = ' ' WHERE id = '{one}' AND tenant = 't{mask}'",
            )
        for limit in (1, 2, 3, 10, 11, 1001, None):
            report: list[MalformedRow] = []
            around = owner.skipping_malformed(report.append)
            seen: list[Message] = []
            while True:
                after = seen[-1] if seen else None
                page = await around.messages.get_history("c", limit=limit, after=after)
                assert limit is None or len(page) == min(limit, 10 - len(bad) - len(seen))
                seen += page
                if not page or limit is None:
                    break
            assert [one.id.int for one in seen] == [n for n in range(9, -1, -1) if n not in bad], (
                mask,
                limit,
            )
            assert sorted({str(row.key[0]) for row in report}) == sorted(ids)
            if limit is None:
                assert len(report) == len(bad)


@pytest.mark.alone
async def test_each_row_is_reported_with_its_page(backend: PersistenceBackend) -> None:
    for number in range(6):
        await backend.messages.save(said(number))
    await hurt(backend, "messages", [str(UUID(int=n)) for n in (1, 4)])
    report: list[MalformedRow] = []
    around = backend.skipping_malformed(report.append)
    first = await around.messages.get_history("c", limit=2)
    assert [one.id for one in first] == [UUID(int=5), UUID(int=3)]
    assert report == [MalformedRow("messages", "default", (str(UUID(int=4)),), report[0].reason)]
    assert report[0].reason.startswith("sender: ")
    second = await around.messages.get_history("c", limit=9, after=first[-1])
    assert [one.id for one in second] == [UUID(int=2), UUID(int=0)]
    assert [row.key for row in report[1:]] == [(str(UUID(int=1)),)]


@pytest.mark.alone
async def test_an_offset_counts_what_can_be_read(backend: PersistenceBackend) -> None:
    chance = random.Random(5)
    names = [f"t{number:02}" for number in range(30)]
    for name in names:
        await backend.tasks.save(task(name))
    bad = sorted(chance.sample(names, 11))
    await hurt(backend, "tasks", bad)
    report: list[MalformedRow] = []
    around = backend.skipping_malformed(report.append)
    seen: list[Task] = []
    while page := await around.tasks.list_tasks(limit=4, offset=len(seen)):
        seen += page
    assert [one.id for one in seen] == [name for name in names if name not in bad]
    assert sorted({str(row.key[0]) for row in report}) == bad
    assert await around.tasks.count_tasks() == 30  # nothing is decoded to be counted


@pytest.mark.alone
async def test_by_default_and_by_key_it_is_an_error(backend: PersistenceBackend) -> None:
    await backend.tasks.save(task("fine"))
    await backend.tasks.save(task("hurt"))
    await hurt(backend, "tasks", ["hurt"])
    report: list[MalformedRow] = []
    around = backend.skipping_malformed(report.append)
    for call in (backend.tasks.list_tasks(), around.tasks.get("hurt")):
        with pytest.raises(MalformedRowError, match="hurt"):
            await call
    assert report == []
    assert await around.tasks.list_tasks() == (task("fine"),)
    assert await around.for_tenant("default").tasks.list_tasks() == (task("fine"),)
    async with around.transaction() as tx:
        assert await tx.tasks.list_tasks(limit=1) == (task("fine"),)  # the other is behind it
        await tx.tasks.save(task("new"))
    async with backend.transaction() as tx:
        assert len(await tx.skipping_malformed(report.append).tasks.list_tasks()) == 2
        with pytest.raises(MalformedRowError):
            await tx.tasks.list_tasks()
    assert [row.key for row in report] == [("hurt",)] * 3
    assert await around.tasks.delete("hurt") is True
    assert len(await backend.tasks.list_tasks()) == 2


@pytest.mark.alone
async def test_a_search_goes_around_it_as_well(backend: PersistenceBackend) -> None:
    facts = [required(OrgFact, id=f"f{number}") for number in range(3)]
    for fact in facts:
        await backend.org_facts.save(fact)
    await run_sql(backend, "UPDATE org_facts_snapshot SET tags = '7' WHERE id = 'f1'")
    report: list[MalformedRow] = []
    around = backend.skipping_malformed(report.append)
    assert {fact.id for fact in await around.org_facts.query()} == {"f0", "f2"}
    assert [row.key for row in report] == [("f1",)]


@pytest.mark.alone
async def test_what_the_report_raises_reaches_the_caller(backend: PersistenceBackend) -> None:
    await backend.tasks.save(task("hurt"))
    await hurt(backend, "tasks", ["hurt"])

    def stop(row: MalformedRow) -> None:
        raise LookupError(row.table)

    with pytest.raises(LookupError, match="tasks"):
        await backend.skipping_malformed(stop).tasks.list_tasks()
    assert backend.stats().pool.lost == 0
