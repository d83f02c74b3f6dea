"""An application's own classes, with fields that have no column: nothing of them is lost."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.backend import PersistenceBackend
from holdfast.storage.mapping import MAPPERS
from holdfast.testing.extended import VALIDATED
from holdfast.testing.subjects import Listed, Subject
from holdfast.testing.suite.base import Suite, fresh, needs, same
from holdfast.testing.suite.lists import ListOf

__all__ = ["BoundSuite"]


def _stored(subject: Subject[Any]) -> bool:
    return subject.save is not None and any(m.entity is subject.entity for m in MAPPERS)


class BoundSuite(Suite):
    """Repositories take and answer the classes that stand for the entities."""

    @needs(_stored)
    @pytest.mark.parametrize("sample", ["full", "required"])
    async def test_an_own_class_comes_back_whole(
        self, holdfast_bound: PersistenceBackend, subject: Subject[Any], sample: str
    ) -> None:
        own = subject.extended
        for owner in (fresh(holdfast_bound), fresh(holdfast_bound)):
            record = own.full() if sample == "full" else own.required()
            async with owner.transaction() as tx:
                await own.put(tx, record)
                assert same(await own.read(tx, record), record)
            assert same(await own.read(owner, record), record)

    @needs(_stored)
    async def test_whatever_an_own_class_accepts_comes_back(
        self, holdfast_bound: PersistenceBackend, subject: Subject[Any]
    ) -> None:
        own = subject.extended
        for record in own.drawn():
            owner = fresh(holdfast_bound)
            await own.put(owner, record)
            assert same(await own.read(owner, record), record)

    @needs(lambda subject: _stored(subject) and isinstance(subject.save, str))
    async def test_an_own_class_validates_once_for_a_save_and_once_for_a_read(
        self, holdfast_bound: PersistenceBackend, subject: Subject[Any]
    ) -> None:
        """The instance itself not at all: it was, when it was made."""
        own, owner = subject.extended, fresh(holdfast_bound)
        record = own.full()
        await own.ready(owner, record)
        kind = type(getattr(record, "snapshot", record))
        made = VALIDATED[kind]
        await own.put_alone(owner, record)
        saved = VALIDATED[kind]
        await own.read(owner, record)
        assert made > 0
        assert saved - made <= 1
        assert VALIDATED[kind] - saved == 1

    @needs(_stored)
    async def test_lists_answer_the_own_class(
        self, holdfast_bound: PersistenceBackend, subject: Subject[Any], listed: Listed[Any]
    ) -> None:
        own, owner = subject.extended, fresh(holdfast_bound)
        one = ListOf(owner, own, listed)
        await own.put(owner, *one.records)
        given = one.needed()
        expected = one.expected(given)
        found = await one.call(**given)
        assert found == expected
        assert all(same(*pair) for pair in zip(found, expected, strict=True))
        if one.pages:
            assert await one.call(**given, after=expected[0]) == expected[1:]
