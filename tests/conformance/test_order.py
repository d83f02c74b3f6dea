"""Histories: records of one time stand in the order in which they were saved."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from holdfast import PersistenceBackend, create_backend
from holdfast.extending import (
    STRING,
    EntityListing,
    Extension,
    Keyed,
    column,
    extra,
    index,
    new_metadata,
    saved_order,
    store_table,
)
from holdfast.testing.catalogue import SUBJECTS
from holdfast.testing.databases import connected
from holdfast.testing.subjects import Listed, Subject, plain
from holdfast.testing.suite.base import fresh

from ..extending.things import Note, make_notes, written
from ..migrations.conftest import run_sql
from .test_records import NOW, message

HISTORIES = [(subject, listed) for subject in SUBJECTS for listed in subject.lists if listed.saved]
COUNT = 24

Saving = Callable[[Subject[Any], PersistenceBackend, list[Any]], Awaitable[Any]]


class History:
    """Records of one time, in the order of saving, which is not that of their keys."""

    def __init__(self, subject: Subject[Any], listed: Listed[Any]) -> None:
        self.subject, self.listed = subject, listed
        base = subject.record(0)
        kind = plain(subject.entity.model_fields["id"].annotation)
        numbers = random.Random(COUNT).sample(range(10**9), COUNT)
        self.records = []
        for number in numbers:
            given = {"id": UUID(int=number) if kind is UUID else f"{number:09}"}
            if "task_id" in subject.belongs:
                given["task_id"] = str(number)
            self.records.append(base.model_copy(update={listed.order[0]: NOW, **given}))
        self.filters = {
            name: getattr(base, field)
            for name, field in listed.filters.items()
            if isinstance(field, str)
        }

    async def listed_in(self, owner: Any, **page: Any) -> list[Any]:
        method = getattr(self.subject.of(owner), self.listed.method)
        return list(await method(**self.filters, **self.listed.always, **page))


async def _one_by_one(subject: Subject[Any], tenant: PersistenceBackend, records: list[Any]) -> Any:
    await subject.put(tenant, *records)


async def _at_once(subject: Subject[Any], tenant: PersistenceBackend, records: list[Any]) -> Any:
    for record in records:
        await subject.ready(tenant, record)
    await asyncio.gather(*(subject.put_alone(tenant, record) for record in records))


async def _in_one_transaction(
    subject: Subject[Any], tenant: PersistenceBackend, records: list[Any]
) -> Any:
    async with tenant.transaction() as tx:
        await subject.put(tx, *records[:9])
        async with tx.transaction() as inner:
            await subject.put(inner, *records[9:15])
        await subject.put(tx, *records[15:])


async def _in_turn(subject: Subject[Any], tenant: PersistenceBackend, records: list[Any]) -> Any:
    async with tenant.transaction() as tx:
        await subject.put(tx, *records[:5])
    await _at_once(subject, tenant, records[5:19])
    await tenant.atomically(lambda tx: subject.put(tx, *records[19:]))


@pytest.mark.parametrize("save", [_one_by_one, _at_once, _in_one_transaction, _in_turn])
async def test_the_last_saved_comes_first(backend: PersistenceBackend, save: Saving) -> None:
    assert {subject.name for subject, _ in HISTORIES} == {
        "messages", "lifecycle_events", "task_metrics", "collaboration_metrics", "audit_entries",
        "decision_records", "ssrf_violations",
    }  # fmt: skip
    for subject, listed in HISTORIES:
        history, tenant = History(subject, listed), fresh(backend)
        await save(subject, tenant, history.records)
        expected = history.records[::-1]
        assert await history.listed_in(tenant, limit=None) == expected, subject
        for size in (1, 7):
            for places in (expected, [subject.key_of(one)[0] for one in expected]):
                seen: list[Any] = []
                while page := await history.listed_in(
                    tenant, limit=size, after=places[len(seen) - 1] if seen else None
                ):
                    seen += page
                assert seen == expected, (subject, size)


async def test_the_time_counts_first(backend: PersistenceBackend) -> None:
    saved = [message(number, NOW.replace(second=number % 3)) for number in range(12)]
    for one in saved:
        await backend.messages.save(one)
    expected = [one for n in (2, 1, 0) for one in saved[::-1] if one.timestamp.second == n]
    assert list(await backend.messages.get_history("c")) == expected


@pytest.mark.alone
@pytest.mark.owner
async def test_records_from_before_keep_their_order(backend: PersistenceBackend) -> None:
    """Those that were there, or are written by code that does not know of the order: by key."""
    for subject, listed in HISTORIES:
        history, tenant = History(subject, listed), fresh(backend)
        old, new = history.records[:12], history.records[12:]
        await subject.put(tenant, *old)
        table = subject.of(tenant).table.name
        await run_sql(
            backend, f"UPDATE {table} SET saved_order = 0 WHERE tenant = '{tenant.tenant}'"
        )
        await subject.put(tenant, *new)
        by_key = sorted(old, key=lambda one: str(one.id), reverse=True)
        expected = [*new[::-1], *by_key]
        assert await history.listed_in(tenant, limit=None) == expected, subject
        for number in (3, 14):
            page = await history.listed_in(tenant, limit=None, after=expected[number])
            assert page == expected[number + 1 :]


async def test_a_page_behind_a_record_that_is_not_stored(backend: PersistenceBackend) -> None:
    """Made by hand, or deleted since: those of its time come again, and none is left out."""
    before, at, later = (
        [message(10 * n + k, NOW.replace(second=n)) for k in range(3)] for n in range(3)
    )
    for one in (*before, *at, *later):
        await backend.messages.save(one)
    gone = message(99, at[0].timestamp)
    found = await backend.messages.get_history("c", after=gone)
    assert list(found) == [*at[::-1], *before[::-1]]
    assert list(await backend.messages.get_history("c", after=at[2])) == [
        *at[1::-1], *before[::-1],
    ]  # fmt: skip


@pytest.mark.alone
async def test_the_order_outlives_an_export(backend: PersistenceBackend, tmp_path: Path) -> None:
    """Into another tenant, and into the database of an engine that may be another."""
    files = [tmp_path / f"{number}.jsonl" for number in range(len(HISTORIES))]
    async with connected(create_backend(f"sqlite:///{tmp_path / 'other.db'}")) as other:
        for (subject, listed), file in zip(HISTORIES, files, strict=True):
            history, tenant = History(subject, listed), fresh(backend)
            await _at_once(subject, tenant, history.records)
            await backend.operations.export_tenant(tenant.tenant, file)
            for database in (backend, other):
                await database.operations.import_tenant(file, tenant=file.stem)
                copy = database.for_tenant(file.stem)
                expected = history.records[::-1]
                assert await history.listed_in(copy, limit=None) == expected, subject


@pytest.mark.alone
@pytest.mark.owner
async def test_old_rows_go_in_batches_of_one_time(backend: PersistenceBackend) -> None:
    """The ranges in which rows are deleted go by the same index."""
    sent = [message(number, NOW) for number in range(2_500)]
    await asyncio.gather(*(backend.messages.save(one) for one in sent))
    await backend.messages.save(message(9_999, NOW.replace(year=2100)))
    pruned = await backend.operations.prune(timedelta(0), tables=["messages"])
    assert [item.rows for item in pruned] == [2_500]
    assert len(await backend.messages.get_history("c")) == 1


@pytest.mark.owner
async def test_what_is_saved_again_keeps_its_place(url: str, tmp_path: Path) -> None:
    """In a table of an application's own, whose rows are replaced."""
    table = store_table(
        "pad_notes", column("id", STRING), column("text", STRING), extra(), saved_order(),
        index("ix_pad_notes_text", "text", "saved_order", "id"), key=("id",),
        metadata=new_metadata(),
    )  # fmt: skip
    listing = EntityListing(
        "pad_notes.list", Keyed(table, Note).mapper, order=("text", "saved_order", "id")
    )
    kind = make_notes(table)
    extension = Extension("pad", table.metadata, (kind,), tmp_path)
    await written(extension)
    async with connected(create_backend(url, extensions=[extension])) as backend:
        notes = backend.repository(kind)
        for key in ("c", "a", "b", "c", "a"):
            await notes.save(Note(id=key, text="x"))
        found = await listing.fetch(notes, {})
        assert [one.id for one in found] == ["c", "a", "b"]
        assert await listing.fetch(notes, {}, after=found[0]) == found[1:]
        assert await listing.fetch(notes, {}, after=Note(id="gone", text="x")) == found
