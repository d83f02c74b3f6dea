"""Tasks that depend on others, saved, claimed, completed and reopened by all at once."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise
from time import monotonic

from holdfast import PersistenceBackend, Task, TaskStatus
from tests.entities.samples import make

from .racers import PROCESSES, Race, Racer

TASKS = 200
CLAIMERS = 4
REOPENED = 6
CALLERS = 48
CALLS = 4

#: A task's key, and from when to when it was in hand.
Held = tuple[str, float, float]


def _graph() -> list[Task]:
    """Each needs some that stand before it, by keys that do not."""
    chance = random.Random(13)
    keys = [f"{n:03}" for n in range(TASKS)]
    chance.shuffle(keys)
    return [
        make("Task", id=key, dependencies=tuple(chance.sample(keys[:n], min(n, n % 4))))
        for n, key in enumerate(keys)
    ]


def _with(task: Task, status: str) -> Task:
    agent = None if status == "created" else task.assigned_to
    return task.model_copy(update={"status": TaskStatus(status), "assigned_to": agent})


async def _work_off(racer: Racer) -> tuple[list[Held], int]:
    """Save a share of the graph, and work at it with the others to its end."""
    tasks, chance = racer.backend.tasks, random.Random(racer.number)
    held: list[Held] = []
    mine: list[Task] = []
    spare = REOPENED

    async def share() -> None:
        share = _graph()[racer.number :: PROCESSES]
        chance.shuffle(share)
        async with racer.backend.transaction() as tx:
            for task in share[:5]:
                await tx.tasks.save(task)
        await asyncio.gather(*map(tasks.save, share[5:]))

    async def reopen() -> None:
        """What others need, or have taken because of it."""
        for _ in range(REOPENED):
            await asyncio.sleep(chance.random() * 0.1)
            if mine:
                await tasks.save(_with(mine.pop(chance.randrange(len(mine))), "created"))

    async def claim(name: str) -> None:
        nonlocal spare
        while True:
            if (task := await tasks.claim(name)) is not None:
                since = monotonic()
                await asyncio.sleep(chance.random() * 0.004)
                back = spare > 0 and chance.random() < 0.2
                spare -= back
                held.append((task.id, since, monotonic()))
                await tasks.save(_with(task, "created" if back else "completed"))
                if not back:
                    mine.append(task)
            elif await tasks.count_tasks(status=TaskStatus.COMPLETED) == TASKS and not others:
                return
            else:
                await asyncio.sleep(0.01)

    others = {asyncio.ensure_future(share()), asyncio.ensure_future(reopen())}
    for other in others:
        other.add_done_callback(others.discard)
    async with asyncio.timeout(40):
        await asyncio.gather(*others, *(claim(f"{racer.name}-{n}") for n in range(CLAIMERS)))
    return held, _lost(racer)


def _lost(racer: Racer) -> int:
    """How often this process lost against another one and went on by itself: in deadlocks."""
    return racer.backend.stats().retries.serialization_failure


async def test_each_is_in_one_hand_at_a_time_and_none_is_left(
    race: Race, backend: PersistenceBackend
) -> None:
    answers = await race(_work_off)
    assert [lost for _, lost in answers] == [0] * PROCESSES
    held = sorted(one for each, _ in answers for one in each)
    for (key, _, until), (next_key, since, _) in pairwise(held):
        assert key != next_key or until <= since
    assert {key for key, _, _ in held} == {task.id for task in _graph()}
    stored = await backend.tasks.list_tasks()
    assert {task.status for task in stored} == {TaskStatus.COMPLETED}
    assert len(stored) == TASKS


async def _save_at_random(racer: Racer) -> int:
    """Tasks that wait for several others, and those others."""
    chance = random.Random(racer.number)

    async def save() -> None:
        for _ in range(CALLS):
            if chance.random() < 0.5:
                needed = chance.sample(range(TASKS), 3)
                await racer.backend.tasks.save(
                    make("Task", id=f"t{chance.randrange(TASKS)}", status="created",
                         dependencies=tuple(f"d{n}" for n in needed))
                )  # fmt: skip
            else:
                status = "completed" if chance.random() < 0.7 else "in_progress"
                await racer.backend.tasks.save(
                    make("Task", id=f"d{chance.randrange(TASKS)}", status=status, assigned_to="x")
                )

    await asyncio.gather(*(save() for _ in range(CALLERS)))
    return _lost(racer)


async def test_saves_that_meet_wait_for_no_lock_in_a_circle(
    race: Race, backend: PersistenceBackend
) -> None:
    """In batches of many names, some with more than are locked one by one."""
    assert await race(_save_at_random) == [0] * PROCESSES
    stored = {task.id: task for task in await backend.tasks.list_tasks()}
    completed = {key for key, task in stored.items() if task.status is TaskStatus.COMPLETED}
    claimable = {
        key
        for key, task in stored.items()
        if task.status is TaskStatus.CREATED and completed.issuperset(task.dependencies)
    }
    assert claimable
    assert {task.id for task in await _claim_all(backend)} == claimable


async def _claim_all(backend: PersistenceBackend) -> list[Task]:
    claimed = []
    while (task := await backend.tasks.claim("ada")) is not None:
        claimed.append(task)
    return claimed
