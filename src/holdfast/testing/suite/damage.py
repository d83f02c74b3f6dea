"""A row that no longer fits its entity is named, never skipped, and hurts nothing else."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import Double, Integer, Table, column, literal_column, update

from holdfast.backend import PersistenceBackend
from holdfast.backend.core import Backend
from holdfast.errors import MalformedRowError, QueryError
from holdfast.storage.mapping import MAPPERS
from holdfast.storage.reading import MalformedRow
from holdfast.storage.session import Statement
from holdfast.storage.statements import where_equal
from holdfast.storage.tables import TENANT, is_internal
from holdfast.storage.types import CodePointText, JsonText
from holdfast.testing.subjects import Subject
from holdfast.testing.suite.base import Suite, fresh, needs

__all__ = ["DamageSuite", "damage"]


async def damage(backend: PersistenceBackend, subject: Subject[Any], record: Any) -> None:
    """Make a tenant's row unreadable with what the database's own rules let happen."""
    table: Table = type(subject.of(backend)).table
    for assignment in _assignments(subject, table, record):
        name, _, value = assignment.partition(" = ")
        change = update(table).values({name.strip('"'): literal_column(value)})
        statement = Statement(
            f"{table.name}.damage", change.where(*where_equal(table, ())), (TENANT,), table
        )
        assert isinstance(backend, Backend)
        try:
            assert await backend._core.engine.execute(statement, (backend.tenant,)) == 1
        except QueryError:
            continue  # a rule of the database; the next one then
        return
    raise TypeError(f"{subject}: say in damage= what makes a row unreadable")


def _assignments(subject: Subject[Any], table: Table, record: Any) -> Iterator[str]:
    if subject.damage is not None:
        yield subject.damage
        return
    filters = [listed.bound(name).field for listed in subject.lists for name in listed.filters]
    found_by = {*subject.key, *table.info["key"], *subject.belongs, *filters}
    for name in subject.entity.model_fields:
        if name not in table.c or name in found_by:
            continue
        kind = table.c[name].type
        if isinstance(kind, JsonText):
            yield f"{column(name)} = '['"
        elif isinstance(kind, CodePointText) and not _valid(record, name, ""):
            yield f"{column(name)} = ''"
        elif isinstance(kind, Integer | Double) and not _valid(record, name, -1):
            yield f"{column(name)} = -1"


def _valid(record: Any, name: str, value: Any) -> bool:
    """Whether the field could have this value."""
    try:
        type(record).model_validate({**dict(record), name: value}, by_name=True)
    except ValidationError:
        return False
    return True


def _mapped(subject: Subject[Any]) -> bool:
    return subject.save is not None and any(m.entity is subject.entity for m in MAPPERS)


class DamageSuite(Suite):
    """Rows that others have changed."""

    @needs(_mapped)
    async def test_a_damaged_row_is_named(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any]
    ) -> None:
        tenant, other = fresh(holdfast_shared), fresh(holdfast_shared)
        record = subject.full()
        await subject.put(tenant, record)
        await subject.put(other, record)
        await damage(tenant, subject, record)
        with pytest.raises(MalformedRowError) as caught:
            await subject.read(tenant, record)
        table: Table = type(subject.of(tenant)).table
        assert caught.value.is_retryable is False
        assert caught.value.table == table.name
        assert None not in caught.value.key
        if table.info["key"] == subject.key and subject.damage is None:
            assert caught.value.key == subject.key_of(record)
            assert repr(caught.value.key[0]) in str(caught.value)
        assert await subject.read(other, record) == record

    @needs(lambda subject: _mapped(subject) and subject.lists)
    async def test_a_list_over_a_damaged_row_leaves_nothing_behind(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any]
    ) -> None:
        """Neither a connection half-way through an answer, nor an error that nobody waits for."""
        tenant = fresh(holdfast_shared)
        record = next(r for r in subject.records() if all(one.where(r) for one in subject.lists))
        await subject.put(tenant, record)
        calls = [
            (
                listed.method,
                {n: subject.passing(listed, n, record) for n in listed.filters} | {**listed.always},
            )
            for listed in subject.lists
        ]
        await damage(tenant, subject, record)
        unheard: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: unheard.append(context))
        try:
            for method, given in calls:
                for _ in range(3):
                    with pytest.raises(MalformedRowError):
                        await getattr(subject.of(tenant), method)(**given)
                    await tenant.set_setting("k", "v")
                async with tenant.transaction() as tx:
                    with pytest.raises(MalformedRowError):
                        await getattr(subject.of(tx), method)(**given)
                    await tx.settings.set("n", method, "v", "1")
                assert await tenant.settings.get("n", method) == ("v", "1")
            gc.collect(1)
            await asyncio.sleep(0.01)
        finally:
            loop.set_exception_handler(None)
        assert unheard == []
        assert tenant.stats().pool.lost == 0

    @needs(lambda subject: _mapped(subject) and subject.lists)
    async def test_a_damaged_row_can_be_gone_around_and_found(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any]
    ) -> None:
        tenant = fresh(holdfast_shared)
        record = next(r for r in subject.records() if all(one.where(r) for one in subject.lists))
        await subject.put(tenant, record)
        calls = [
            (
                listed.method,
                {n: subject.passing(listed, n, record) for n in listed.filters} | {**listed.always},
            )
            for listed in subject.lists
        ]
        await damage(tenant, subject, record)
        report: list[MalformedRow] = []
        around = tenant.skipping_malformed(report.append)
        for count, (method, given) in enumerate(calls, 1):
            assert await getattr(subject.of(around), method)(**given) == ()
            assert len(report) == count
        # A method may read a table that is not its repository's own.
        assert {row.tenant for row in report} == {tenant.tenant}
        found = [row async for row in tenant.operations.malformed_rows(tenant=tenant.tenant)]
        table: Table = type(subject.of(tenant)).table
        assert [(row.table, row.tenant) for row in found] == [(table.name, tenant.tenant)]
        raw = await tenant.operations.read_row(found[0])
        stored = {c.name for c in table.columns if not is_internal(c)}
        assert raw.columns.keys() == stored - {TENANT}
