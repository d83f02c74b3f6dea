"""No call of one tenant reads, changes, counts or deletes what is another's."""

from __future__ import annotations

import asyncio
from typing import Any

from holdfast.backend import PersistenceBackend
from holdfast.testing.subjects import Listed, Subject
from holdfast.testing.suite.base import Suite, fresh, needs
from holdfast.testing.suite.calls import Method, methods
from holdfast.testing.suite.lists import ListOf

__all__ = ["TenantSuite"]


def _reading(owner: Any, subject: Subject[Any]) -> list[Method]:
    """The methods that are known to change nothing."""
    lists = {listed.method for listed in subject.lists} | {one.count for one in subject.lists}
    names = {*lists, *subject.find, subject.get}
    return [method for method in methods(owner, subject) if method.name in names]


async def _seen(owner: Any, subject: Subject[Any], record: Any) -> list[Any]:
    found: list[Any] = [await subject.read(owner, record)]
    for method in _reading(owner, subject):
        found.append(await method.call(record))
    return found


class TenantSuite(Suite):
    """Tenants share a database and see nothing of it."""

    @needs(lambda subject: subject.save is not None)
    async def test_tenants_do_not_see_each_other(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any]
    ) -> None:
        mine, theirs = fresh(holdfast_shared), fresh(holdfast_shared)
        record = subject.full()
        nothing = await _seen(theirs, subject, record)
        await subject.put(mine, record)
        there = await _seen(mine, subject, record)
        assert there[0] == record
        assert await _seen(theirs, subject, record) == nothing

        await subject.ready(theirs, record)
        for method in methods(theirs, subject):
            if not method.saves:
                await method.try_on(record)
        assert await _seen(mine, subject, record) == there

    @needs(lambda subject: subject.save is not None)
    async def test_tenants_can_have_the_same_records(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any]
    ) -> None:
        mine, theirs = fresh(holdfast_shared), fresh(holdfast_shared)
        record = subject.full()
        await subject.put(mine, record)
        there = await _seen(mine, subject, record)
        await subject.put(theirs, record)  # the same keys, names and hashes, without a conflict
        assert await _seen(theirs, subject, record) == there
        if subject.taken is None and subject.version is None and subject.key:
            await subject.put(theirs, subject.rival(subject.required()))
            assert await _seen(mine, subject, record) == there
        if subject.delete is not None:
            assert await subject.remove(theirs, record) is True
            assert await _seen(mine, subject, record) == there

    async def test_a_place_in_a_list_is_of_its_tenant(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any], listed: Listed[Any]
    ) -> None:
        """To go on behind the key of another's record answers as if there were no such record."""
        mine, theirs = fresh(holdfast_shared), fresh(holdfast_shared)
        one = ListOf(mine, subject, listed)
        if not one.pages:
            return
        given = one.needed()
        answers = []
        for records in ((), one.records):
            await subject.put(theirs, *records)
            for _, place in one.places(given):
                call = one.call(**given, after=place)
                answers.append(repr(await asyncio.gather(call, return_exceptions=True)))
        assert answers[: len(answers) // 2] == answers[len(answers) // 2 :]

    async def test_every_method_can_be_called(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any]
    ) -> None:
        """The suite knows good arguments of each, or it could not tell what the bad ones do."""
        tenant = fresh(holdfast_shared)
        record = subject.full()
        await subject.ready(tenant, record)
        tried = [await method.try_on(record) for method in methods(tenant, subject)]
        assert tried
