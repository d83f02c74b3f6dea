"""Lists that the suite's model of a list does not fit."""

from __future__ import annotations

from itertools import product
from typing import Any

from holdfast import CostRecord, PersistenceBackend, User
from holdfast.testing.catalogue import SUBJECTS
from holdfast.testing.samples import required
from holdfast.testing.subjects import NAMES, moment

USERS = next(subject for subject in SUBJECTS if subject.entity is User)


async def test_users_in_pages_by_id(backend: PersistenceBackend) -> None:
    records: list[User] = USERS.records()
    await USERS.put(backend, *records)
    expected = sorted((u for u in records if u.role != "system"), key=lambda user: user.id)
    for size in (1, 2, 3, 50):
        seen: list[Any] = []
        after: str | None = None
        while page := await backend.users.list_users_paginated(after_id=after, limit=size):
            seen += page
            after = page[-1].id
        assert seen == expected
    assert await backend.users.list_users_paginated(after_id="9a", limit=1) == tuple(expected[2:3])


async def test_costs_in_the_order_of_saving(backend: PersistenceBackend) -> None:
    made = [
        required(
            CostRecord, agent_id="ab"[n % 2], task_id="tuv"[n // 2 % 3], timestamp=moment(n),
            cost_usd=n / 4, input_tokens=1,
        )
        for n in range(20)
    ]  # fmt: skip
    for one in made:
        await backend.cost_records.save(one)
    costs = backend.cost_records
    for agent, task in product((None, "a", "A"), (None, "t", "v")):
        expected = [
            one for one in made if agent in (None, one.agent_id) and task in (None, one.task_id)
        ]
        given: dict[str, Any] = {"agent_id": agent, "task_id": task}
        assert await costs.query(**given) == tuple(expected)
        assert await costs.aggregate(**given) == sum(one.cost_usd for one in expected)
        seen: list[Any] = []
        while page := await costs.query(**given, limit=3, after=seen[-1] if seen else None):
            seen += page
        assert seen == expected


async def test_settings_by_namespace(backend: PersistenceBackend) -> None:
    items = [(space, key, f"{space}{key}", "1") for space in ("n", "m", "é") for key in NAMES]
    assert await backend.settings.set_many(list(reversed(items)))
    rows = tuple(item[1:] for item in sorted(items) if item[0] == "n")
    one = await backend.settings.get_namespace("n", limit=2)
    two = await backend.settings.get_namespace("n", after=one[-1])
    assert one + two == rows
    # A key that is not there any more, or never was, is a place as well.
    assert await backend.settings.get_namespace("n", after="aa") == rows[6:]
    assert await backend.settings.delete_namespace_returning_keys("é") == tuple(sorted(NAMES))
    assert await backend.settings.delete_namespace("n") == len(NAMES)
    assert len(await backend.settings.get_all()) == len(NAMES)
