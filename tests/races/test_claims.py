"""Processes that claim tasks from one database share them out without overlap or loss."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

from holdfast import Task, TaskStatus, create_backend

from ..faults.scorecard import sized
from ..forked import Child

PROCESSES = 8
CLAIMERS = 8
TASKS = sized(2_000, 10_000)

_WORKER = """
import asyncio, json, sys
from holdfast import create_backend

async def main(url, name, claimers):
    backend = create_backend(url)
    await backend.connect()
    got = []
    async def claimer(number):
        while (task := await backend.tasks.claim(f"{name}-{number}")) is not None:
            got.append((task.id, task.assigned_to))
    await asyncio.gather(*[claimer(n) for n in range(claimers)])
    await backend.disconnect()
    print(json.dumps(got))

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


async def test_every_task_is_handed_out_exactly_once(shared_url: str) -> None:
    backend = create_backend(shared_url)
    await backend.connect()
    tasks = [
        Task(id=f"t-{n}", title="t", description="d", type="admin", project="p", created_by="me")
        for n in range(TASKS)
    ]
    await asyncio.gather(*[backend.tasks.save(task) for task in tasks])

    workers = [
        await Child.start(_WORKER, shared_url, f"w{n}", str(CLAIMERS)) for n in range(PROCESSES)
    ]
    done = [await worker.wait() for worker in workers]

    assert [code for code, _ in done] == [0] * PROCESSES
    claims = [tuple(claim) for _, output in done for claim in json.loads(output)]
    assert Counter(task_id for task_id, _ in claims) == Counter(task.id for task in tasks)
    assert len({agent.split("-")[0] for _, agent in claims}) > 1  # they did compete
    stored = await backend.tasks.list_tasks(status=TaskStatus.ASSIGNED)
    assert {(task.id, task.assigned_to) for task in stored} == set(claims)
    await backend.disconnect()
