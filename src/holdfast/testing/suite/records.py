"""Single records: saved, read, replaced, deleted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from holdfast.backend import PersistenceBackend
from holdfast.errors import VersionConflictError
from holdfast.testing.subjects import NAMES, Subject
from holdfast.testing.suite.base import Suite, fresh, needs, same

__all__ = ["RecordSuite"]

_AT_ONCE = 12


def _saved(subject: Subject[Any]) -> bool:
    return subject.save is not None


def _keyed(subject: Subject[Any]) -> bool:
    return _saved(subject) and bool(subject.key)


class RecordSuite(Suite):
    """No field is lost, and a save does under a taken key what it says."""

    @needs(_saved)
    @pytest.mark.parametrize("sample", ["full", "required"])
    async def test_comes_back_whole(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any], sample: str
    ) -> None:
        tenant = fresh(holdfast_shared)
        record = subject.full() if sample == "full" else subject.required()
        await subject.put(tenant, record)
        assert same(await subject.read(tenant, record), record)
        if subject.version is not None:
            second = record.model_copy(update={subject.version: 2})
            await subject.put(tenant, second)
            assert same(await subject.read(tenant, record), second)

    @needs(_saved)
    @pytest.mark.parametrize("sample", ["full", "required"])
    async def test_comes_back_whole_within_a_transaction(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any], sample: str
    ) -> None:
        tenant = fresh(holdfast_shared)
        record = subject.full() if sample == "full" else subject.required()
        async with tenant.transaction() as tx:
            await subject.put(tx, record)
            assert same(await subject.read(tx, record), record)
        assert same(await subject.read(tenant, record), record)

    @needs(_saved)
    async def test_whatever_the_entity_accepts_comes_back(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any]
    ) -> None:
        for record in subject.drawn():
            tenant = fresh(holdfast_shared)
            await subject.put(tenant, record)
            assert same(await subject.read(tenant, record), record)

    @needs(_saved)
    async def test_what_was_not_saved_is_none(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any]
    ) -> None:
        tenant = fresh(holdfast_shared)
        record = subject.full()
        assert await subject.read(tenant, record) is None
        for finder in subject.find:
            assert await subject.found(tenant, finder, record) is None
        async with tenant.transaction() as tx:
            assert await subject.read(tx, record) is None

    @needs(lambda subject: subject.find)
    async def test_is_found_by_other_fields(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any]
    ) -> None:
        tenant = fresh(holdfast_shared)
        records = [subject.record(0), subject.record(1)]
        await subject.put(tenant, *records)
        for finder, fields in subject.find.items():
            for record in records:
                assert await subject.found(tenant, finder, record) in records
            found = await subject.found(tenant, finder, records[0])
            assert [getattr(found, f) for f in fields] == [getattr(records[0], f) for f in fields]

    @needs(_keyed)
    async def test_a_second_save(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any]
    ) -> None:
        tenant = fresh(holdfast_shared)
        first = subject.record(0)
        second = subject.rival(first)
        await subject.put(tenant, first)
        if subject.taken is None:
            await subject.put(tenant, second)
            kept = {name: getattr(first, name) for name in subject.keeps}
            assert await subject.read(tenant, first) == second.model_copy(update=kept)
            await subject.put(tenant, first)
        elif subject.taken is False:
            assert await subject.put_alone(tenant, second) is False
        else:
            with pytest.raises(subject.taken) as caught:
                await subject.put_alone(tenant, second)
            assert caught.value.is_retryable is False
        assert await subject.read(tenant, first) == first

    @needs(lambda subject: subject.version is not None)
    async def test_versions_are_compared_and_swapped(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any]
    ) -> None:
        tenant = fresh(holdfast_shared)
        name: str = subject.version or ""
        first = subject.record(0)
        versions = [first, *(subject.rival(first, **{name: n}) for n in (2, 3, 4))]
        kept = {field: getattr(first, field) for field in subject.keeps}
        await subject.put(tenant, first)
        await subject.put(tenant, versions[1])
        for stale in (versions[1], versions[3]):
            with pytest.raises(VersionConflictError):
                await subject.put_alone(tenant, stale)
        assert await subject.read(tenant, first) == versions[1].model_copy(update=kept)
        await subject.put(tenant, versions[2])
        absent = subject.record(1).model_copy(update={name: 2})
        with pytest.raises(VersionConflictError):
            await subject.put(tenant, absent)
        assert await subject.read(tenant, absent) is None

    @needs(lambda subject: _keyed(subject) and subject.delete is not None)
    async def test_deleting(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any]
    ) -> None:
        tenant = fresh(holdfast_shared)
        gone, other = subject.record(0), subject.record(1)
        assert await subject.remove(tenant, gone) is False
        await subject.put(tenant, gone, other)
        assert await subject.remove(tenant, gone) is True
        assert await subject.remove(tenant, gone) is False
        assert await subject.read(tenant, gone) is None
        assert await subject.read(tenant, other) == other
        await subject.put(tenant, gone)
        assert await subject.read(tenant, gone) == gone

    @needs(_keyed)
    async def test_many_saves_at_once(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any]
    ) -> None:
        tenant = fresh(holdfast_shared)
        records = [subject.record(number) for number in range(len(NAMES))]
        await asyncio.gather(*(subject.put(tenant, record) for record in records))
        for record in records:
            assert await subject.read(tenant, record) is not None

    @needs(_keyed)
    async def test_many_saves_of_one_key_at_once(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any]
    ) -> None:
        tenant = fresh(holdfast_shared)
        first = subject.record(0)
        await subject.ready(tenant, first)
        rivals = [first, subject.rival(first)] * (_AT_ONCE // 2)
        if subject.version is not None:
            await subject.put(tenant, first)
            rivals = [subject.rival(first, **{subject.version: 2})] * _AT_ONCE
        answers = await asyncio.gather(
            *(subject.put_alone(tenant, rival) for rival in rivals), return_exceptions=True
        )
        stored = await subject.read(tenant, first)
        refused = subject.taken if subject.version is None else VersionConflictError
        if refused is None:
            assert not [answer for answer in answers if isinstance(answer, BaseException)]
            kept = {name: getattr(stored, name) for name in subject.keeps}
            assert stored in [rival.model_copy(update=kept) for rival in rivals]
            return
        winners = [
            rival
            for rival, answer in zip(rivals, answers, strict=True)
            if answer is not False and not isinstance(answer, BaseException)
        ]
        assert len(winners) == 1
        losers = [answer for answer in answers if isinstance(answer, BaseException)]
        assert refused is False or all(isinstance(answer, refused) for answer in losers)
        if subject.version is None:
            assert stored == winners[0]
