"""Group commit and coalescing as callers see them."""

from __future__ import annotations

import asyncio
from typing import Any

from holdfast import ConstraintViolationError, DuplicateRecordError, PersistenceBackend

from .test_records import NOW, message, user
from .test_work import task


async def test_many_at_once_share_commits(backend: PersistenceBackend) -> None:
    await asyncio.gather(*(backend.tasks.save(task(f"t{n}")) for n in range(200)))
    stats = backend.stats()
    assert stats.writes.items == 200
    assert stats.writes.batches == stats.commits <= 10
    found = await asyncio.gather(*(backend.tasks.get(f"t{n}") for n in range(250)))
    assert [one.id if one else None for one in found] == [f"t{n}" for n in range(200)] + [None] * 50
    assert backend.stats().reads.batches < 50


async def test_one_bad_write_among_many_fails_alone(backend: PersistenceBackend) -> None:
    await backend.messages.save(message(7, NOW))
    outcomes: list[Any] = await asyncio.gather(
        *(backend.messages.save(message(n, NOW)) for n in range(50)), return_exceptions=True
    )
    assert [n for n, outcome in enumerate(outcomes) if outcome is not None] == [7]
    assert isinstance(outcomes[7], DuplicateRecordError)
    assert len(await backend.messages.get_history("c")) == 50

    users = [user(f"u{n}", username="taken" if n in (3, 9) else f"n{n}") for n in range(30)]
    outcomes = await asyncio.gather(
        *(backend.users.save(one) for one in users), return_exceptions=True
    )
    (refused,) = [outcome for outcome in outcomes if outcome is not None]
    assert isinstance(refused, ConstraintViolationError)
    assert refused.constraint == "users.username"
    assert await backend.users.count() == 29


async def test_the_same_message_many_times_is_stored_once(backend: PersistenceBackend) -> None:
    outcomes = await asyncio.gather(
        *(backend.messages.save(message(1, NOW)) for _ in range(20)), return_exceptions=True
    )
    assert sum(outcome is None for outcome in outcomes) == 1
    assert sum(isinstance(outcome, DuplicateRecordError) for outcome in outcomes) == 19


async def test_saves_of_one_key_keep_their_order(backend: PersistenceBackend) -> None:
    for _ in range(5):
        await asyncio.gather(*(backend.tasks.save(task("t", title=f"{n}")) for n in range(20)))
        stored = await backend.tasks.get("t")
        assert stored is not None
        assert stored.title == "19"


async def test_cancelled_callers_take_nothing_with_them(backend: PersistenceBackend) -> None:
    calls = [asyncio.create_task(backend.tasks.save(task(f"t{n:03}"))) for n in range(100)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    stored = {one.id for one in await backend.tasks.list_tasks()}
    assert {f"t{n:03}" for n, outcome in enumerate(outcomes) if outcome is None} <= stored
    assert all(outcome is None for outcome in outcomes[1::2])
    await asyncio.gather(*(backend.tasks.save(task(f"t{n:03}")) for n in range(100)))
    assert await backend.tasks.count_tasks() == 100


async def test_short_lists_that_wait_together_do_not_mix(backend: PersistenceBackend) -> None:
    await asyncio.gather(
        *(
            backend.messages.save(message(10 * c + n, NOW, f"c{c}"))
            for c in range(20)
            for n in range(3)
        )
    )
    found = await asyncio.gather(
        *(backend.messages.get_history(f"c{c}", limit=1 + c % 3) for c in range(25))
    )
    for channel, messages in enumerate(found):
        expected = [10 * channel + n for n in (2, 1, 0)][: 1 + channel % 3]
        assert [one.id.int for one in messages] == [
            message(n, NOW).id.int for n in (expected if channel < 20 else [])
        ]


async def test_mixed_work_in_parallel(backend: PersistenceBackend) -> None:
    async def one(number: int) -> None:
        await backend.tasks.save(task(f"t{number}"))
        assert await backend.tasks.get(f"t{number}") is not None
        await backend.messages.save(message(number, NOW))
        async with backend.transaction() as tx:
            await tx.settings.set("n", f"{number}", "v", "1")
        assert await backend.tasks.delete(f"t{number}") is True

    await asyncio.gather(*(one(number) for number in range(30)))
    assert await backend.tasks.count_tasks() == 0
    assert len(await backend.settings.get_namespace("n")) == 30
