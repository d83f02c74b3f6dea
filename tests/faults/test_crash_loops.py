"""Row 2: a writer that is killed leaves what it acknowledged, and no half of a group."""

from __future__ import annotations

import signal
from collections import Counter

from holdfast import create_backend
from holdfast.testing.databases import connected

from ..forked import Child
from .scorecard import Ledger, Record, sized

GROUP = 5

_WRITER = """
import asyncio, os, random, sys
from datetime import UTC, datetime
from holdfast import ApprovalItem, Task, create_backend

NOW = datetime(2026, 1, 31, tzinfo=UTC)

def task(key):
    return Task(id=key, title="t", description="d", type="admin", project="p", created_by="m")

def item(key):
    return ApprovalItem(
        id=key, action_type="t", title="t", description="d", requested_by="a",
        risk_level="low", created_at=NOW, expires_at=None,
    )

async def one(backend, key):
    await backend.tasks.save(task(key))

async def many(backend, key):
    await backend.approvals.save_many([item(f"{key}/{n}") for n in range(GROUP)])

async def together(backend, key):
    async with backend.transaction() as tx:
        for n in range(GROUP):
            await tx.tasks.save(task(f"{key}/{n}"))

async def apart(backend, key):
    for n in range(GROUP):
        await backend.tasks.save(task(f"{key}/{n}"))
        await asyncio.sleep(random.uniform(0, 0.004))

async def main(url, mode):
    backend = create_backend(url)
    await backend.connect()
    early = mode == "careless"

    async def writer(kind, number):
        turn = 0
        while True:
            turn += 1
            key = f"{kind.__name__}-{os.getpid()}-{number}-{turn}"
            if early:
                os.write(1, f"{key}\\n".encode())
            await kind(backend, key)
            if not early:
                os.write(1, f"{key}\\n".encode())

    kinds = (one, apart) if early else (one, many, together)
    await asyncio.gather(*(writer(kind, n) for kind in kinds for n in range(6)))

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


async def _kill_writers(url: str, kills: int, mode: str) -> Ledger:
    """Let each writer acknowledge some writes, and kill it in the middle of others."""
    ledger = Ledger()
    program = _WRITER.replace("GROUP", str(GROUP))
    for _ in range(kills):
        writer = await Child.start(program, url, mode)
        for _ in range(150):
            ledger.acked.add((await writer.stdout.readline()).decode().strip())
        writer.kill()
        code, rest = await writer.wait()
        assert code == -signal.SIGKILL
        ledger.acked.update(line for line in rest.decode().split("\n")[:-1] if line)
    return ledger


async def _look(url: str) -> tuple[list[str], int]:
    """Operations that are stored whole, and the number of those that are stored in part."""
    async with connected(create_backend(url)) as backend:
        keys = [task.id for task in await backend.tasks.list_tasks()]
        keys += [item.id for item in await backend.approvals.list_items(limit=None)]
    parts = Counter(key.split("/")[0] for key in keys)
    whole = {key: 1 if key.startswith("one") else GROUP for key in parts}
    stored = [key for key, count in parts.items() for _ in range(count // whole[key])]
    return stored, sum(count % whole[key] > 0 for key, count in parts.items())


async def test_row_2_the_client_is_killed(shared_url: str, record: Record) -> None:
    kills = sized(2, 100)
    ledger = await _kill_writers(shared_url, kills, "careful")
    stored, halves = await _look(shared_url)
    verdict = ledger.verdict(stored)

    control = Ledger()
    for _ in range(10):  # whether one kill meets a group half-way is chance
        control.acked |= (await _kill_writers(shared_url, sized(1, 5), "careless")).acked
        control_stored, control_halves = await _look(shared_url)
        lost = control.verdict(control_stored)["lost"]
        if lost and control_halves:
            break
    record(
        2,
        f"client SIGKILL, {shared_url.split(':')[0]}",
        f"{kills} kills, {len(ledger.acked):,} acked, {verdict}, {halves} half groups",
        f"acknowledged early, one by one: {lost} lost, {control_halves} half groups",
    )
    assert set(verdict.values()) == {0}
    assert halves == 0
    assert {key.split("-")[0] for key in ledger.acked} == {"one", "many", "together"}
    assert lost > 0
    assert control_halves > 0
