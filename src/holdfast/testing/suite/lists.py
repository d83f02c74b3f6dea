"""Lists against a model of them: filters alone and combined, order, limits, pages."""

from __future__ import annotations

import inspect
import operator
from functools import partial
from itertools import islice, product
from typing import Any
from weakref import WeakKeyDictionary

from holdfast.backend import PersistenceBackend
from holdfast.testing.subjects import Listed, Subject, plain
from holdfast.testing.suite.base import Suite, fresh

__all__ = ["ListOf", "ListSuite"]

#: Filters may be many; of their combinations no more than these are tried.
_COMBINATIONS = 80
#: What no record has.
_NOBODY = "nobody"


class ListOf:
    """A list method over all records of a subject."""

    def __init__(self, owner: Any, subject: Subject[Any], listed: Listed[Any]) -> None:
        repository = subject.of(owner)
        self.call = partial(getattr(repository, listed.method), **listed.always)
        self.count = getattr(repository, listed.count) if listed.count else None
        self.parameters = inspect.signature(self.call).parameters
        self.owner, self.subject, self.listed = owner, subject, listed
        self.records = subject.records()

    def needed(self) -> dict[str, Any]:
        """The filters that must be passed, with the value most records pass."""
        needed: dict[str, Any] = {}
        for name in self.listed.filters:
            if self.parameters[name].default is inspect.Parameter.empty:
                tried = [(self._passing(name, value), value) for value in self.values(name)]
                needed[name] = max(tried, key=lambda pair: pair[0])[1]
        return needed

    def _passing(self, name: str, value: Any) -> int:
        return len(self.listed.expected(self.records, {name: value}))

    def values(self, name: str) -> list[Any]:
        """Values of a filter that are worth trying."""
        between = self.listed.bound(name)
        found = {getattr(record, between.field) for record in self.records} - {None}
        there = sorted(found)
        if between.passes is not operator.eq:  # a bound: so that more pass than do not
            up = between.passes in (operator.ge, operator.gt)
            return [there[len(there) // 3 if up else -1 - len(there) // 3]]
        if plain(self.subject.entity.model_fields[between.field].annotation) is str:
            return [*there[:2], _NOBODY]
        return there[:2]

    def combinations(self) -> list[dict[str, Any]]:
        choices = []
        for name in self.listed.filters:
            optional = self.parameters[name].default is not inspect.Parameter.empty
            choices.append([*((None,) if optional else ()), *self.values(name)])
        found = [
            {name: v for name, v in zip(self.listed.filters, values, strict=True) if v is not None}
            for values in product(*choices)
        ]
        step = -(-len(found) // _COMBINATIONS)
        return list(islice(found, 0, None, step))

    def expected(self, given: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(map(self.listed.answers, self.listed.expected(self.records, given)))

    def places(self, given: dict[str, Any]) -> list[tuple[Any, Any]]:
        """What ``after`` may be to go on behind each entry."""
        found = []
        for record in self.listed.expected(self.records, given):
            key = self.subject.key_of(record)
            place = key[0] if len(key) == 1 else key
            if self.listed.place is not None:
                place = self.listed.place(record)
            found.append((self.listed.answers(record), place))
        return found

    @property
    def pages(self) -> bool:
        return "after" in self.parameters


#: By backend, the tenants that hold all records of a subject, for tests that only read them.
_tenants: WeakKeyDictionary[PersistenceBackend, dict[Subject[Any], PersistenceBackend]] = (
    WeakKeyDictionary()
)


async def _filled(
    backend: PersistenceBackend, subject: Subject[Any], listed: Listed[Any]
) -> ListOf:
    tenants = _tenants.setdefault(backend, {})
    made = ListOf(tenants.get(subject) or fresh(backend), subject, listed)
    made.records = [*made.records[1::2], *made.records[::2]]  # in no particular order
    if subject not in tenants:
        await subject.put(made.owner, *made.records)
        tenants[subject] = made.owner
    return made


class ListSuite(Suite):
    """Every list is totally ordered, and its pages make it up."""

    async def test_is_ordered_and_filtered(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any], listed: Listed[Any]
    ) -> None:
        one = await _filled(holdfast_shared, subject, listed)
        assert len(one.expected(one.needed())) >= 3, "too few records pass: see Subject.fields"
        for given in one.combinations():
            expected = one.expected(given)
            assert await one.call(**given) == expected, given
            assert await one.call(**given) == expected, given
            if "limit" in one.parameters:
                assert await one.call(**given, limit=2) == expected[:2], given
                assert await one.call(**given, limit=len(expected) + 1) == expected, given
            if one.count is not None:
                assert await one.count(**given) == len(expected), given

    async def test_pages_make_up_the_list(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any], listed: Listed[Any]
    ) -> None:
        one = await _filled(holdfast_shared, subject, listed)
        given = one.needed()
        expected, places = one.expected(given), one.places(given)
        if not one.pages:
            return
        for size in (1, 2, 3, len(expected), 100):
            for which in (0, 1):
                seen: list[Any] = []
                after: Any = None
                while page := await one.call(**given, limit=size, after=after):
                    assert len(page) <= size
                    seen += page
                    after = places[len(seen) - 1][which]
                assert tuple(seen) == expected
        for number, (entry, place) in enumerate(places):  # without a limit as well
            assert await one.call(**given, after=entry) == expected[number + 1 :]
            assert await one.call(**given, after=place) == expected[number + 1 :]

    async def test_pages_within_filters(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any], listed: Listed[Any]
    ) -> None:
        one = await _filled(holdfast_shared, subject, listed)
        if not one.pages:
            return
        for given in one.combinations():
            seen: list[Any] = []
            expected = one.expected(given)
            while page := await one.call(**given, limit=2, after=seen[-1] if seen else None):
                seen += page
                assert len(seen) <= len(expected), given  # or it may never end
            assert tuple(seen) == expected, given

    async def test_past_an_offset(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any], listed: Listed[Any]
    ) -> None:
        one = await _filled(holdfast_shared, subject, listed)
        if "offset" not in one.parameters:
            return
        given = one.needed()
        expected = one.expected(given)
        for offset in range(len(expected) + 2):
            assert await one.call(**given, offset=offset) == expected[offset:]
            assert await one.call(**given, offset=offset, limit=2) == expected[offset : offset + 2]
            behind = await one.call(**given, offset=offset, after=expected[1])
            assert behind == expected[2 + offset :]

    async def test_an_empty_list_is_a_tuple(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any], listed: Listed[Any]
    ) -> None:
        one = ListOf(fresh(holdfast_shared), subject, listed)
        given = one.needed()
        assert await one.call(**given) == ()
        if "limit" in one.parameters:
            assert await one.call(**given, limit=1) == ()
        if one.count is not None:
            assert await one.count(**given) == 0

    async def test_a_page_begins_where_a_deleted_record_was(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any], listed: Listed[Any]
    ) -> None:
        one = ListOf(tenant := fresh(holdfast_shared), subject, listed)
        await subject.put(tenant, *one.records)
        given = one.needed()
        chosen = listed.expected(one.records, given)
        if subject.delete is None or not one.pages:
            return
        assert await subject.remove(tenant, chosen[1]) is True
        after = listed.answers(chosen[1])
        assert await one.call(**given, after=after) == one.expected(given)[2:]

    async def test_is_the_same_within_a_transaction(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any], listed: Listed[Any]
    ) -> None:
        tenant = fresh(holdfast_shared)
        async with tenant.transaction() as tx:
            one = ListOf(tx, subject, listed)
            await subject.put(tx, *one.records)
            given = one.needed()
            assert await one.call(**given) == one.expected(given)
            async with tx.transaction() as inner:
                within = ListOf(inner, subject, listed)
                assert await within.call(**given) == one.expected(given)
        assert await ListOf(tenant, subject, listed).call(**given) == one.expected(given)
