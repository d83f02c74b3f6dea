"""Row 8: a writer that runs out of memory leaves what it acknowledged, and no half of a group."""

from __future__ import annotations

import asyncio
from collections import Counter

from holdfast import create_backend
from holdfast.testing.databases import connected

from ..forked import Child
from .scorecard import SEED, Ledger, Record, sized

GROUP = 3
#: What a writer that can go on no longer has to end.
DEADLINE_SECONDS = 60.0

_WRITER = """
import asyncio, os, random, resource, sys
from holdfast import OutcomeUnknownError, PersistenceError, Task, create_backend

ROOM = 24 * 1024 * 1024
held = []

def task(key):
    return Task(
        id=key, title="t", description="d" * random.randrange(100_000), type="admin", project="p",
        created_by="m",
    )

async def one(backend, key):
    await backend.tasks.save(task(key))

async def together(backend, key):
    async with backend.transaction() as tx:
        for n in range(GROUP):
            await tx.tasks.save(task(f"{key}/{n}"))

def leak():
    # A cache that fills what there is and gives a little back: the rest fails in calls of Holdfast.
    try:
        held.append(os.urandom(random.randrange(400_000)))
    except MemoryError:
        del held[-2:]

async def main(url, mode, seed):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # where it says what it had no memory for
    random.seed(seed)
    errors_left = 1 if mode == "careless" else random.randrange(1, 6)
    backend = create_backend(url)
    await backend.connect()
    await backend.tasks.save(task(f"warm-{os.getpid()}"))
    size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, size + ROOM))

    def say(outcome, key):
        os.write(1, f"{outcome} {key}\\n".encode())

    async def writer(kind, number):
        nonlocal errors_left
        turn = 0
        while True:
            turn += 1
            key = f"{kind.__name__}-{os.getpid()}-{number}-{turn}"
            try:
                if mode == "careless":
                    say("acked", key)
                await kind(backend, key)
                if mode == "careful":
                    say("acked", key)
            except (MemoryError, PersistenceError) as error:
                if mode == "careful":
                    told = isinstance(error, PersistenceError)
                    sure = told and not isinstance(error, OutcomeUnknownError)
                    say("refused" if sure else "unknown", key)
                errors_left -= 1
                if errors_left == 0:
                    os._exit(9)
            leak()

    await asyncio.gather(*(writer(kind, n) for kind in (one, together) for n in range(6)))

asyncio.run(main(*sys.argv[1:]))
"""


async def _starve_writers(url: str, count: int, mode: str) -> tuple[Ledger, int]:
    """Let each writer use up its memory until it ends; the number of those that hung instead."""
    ledger, hung = Ledger(), 0
    program = _WRITER.replace("GROUP", str(GROUP))
    for number in range(count):
        writer = await Child.start(program, url, mode, f"{SEED} {mode} {number}")
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                lines = await writer.stdout.read()
        except TimeoutError:
            hung += 1
            writer.kill()
            lines = b""
        code, _ = await writer.wait()
        assert code != 0
        for line in lines.decode().split("\n")[:-1]:
            outcome, key = line.split(" ")
            into = {"acked": ledger.acked, "refused": ledger.refused, "unknown": ledger.unknown}
            into[outcome].add(key)
    return ledger, hung


async def _look(url: str) -> tuple[list[str], int]:
    """Operations that are stored whole, and the number of those that are stored in part."""
    parts: Counter[str] = Counter()
    async with connected(create_backend(url)) as backend:
        page = await backend.tasks.list_tasks(limit=100)
        while page:
            parts.update(task.id.split("/")[0] for task in page)
            page = await backend.tasks.list_tasks(limit=100, after=page[-1])
    whole = {key: GROUP if key.startswith("together") else 1 for key in parts}
    stored = [key for key, count in parts.items() for _ in range(count // whole[key])]
    return stored, sum(count % whole[key] > 0 for key, count in parts.items())


async def test_row_8_the_client_is_out_of_memory(shared_url: str, record: Record) -> None:
    writers = sized(2, 50)
    ledger, hung = await _starve_writers(shared_url, writers, "careful")
    stored, halves = await _look(shared_url)
    verdict = ledger.verdict(stored)

    control, _ = await _starve_writers(shared_url, sized(1, 5), "careless")
    control_stored, _ = await _look(shared_url)
    lost = control.verdict(control_stored)["lost"]
    record(
        8,
        f"out of memory, {shared_url.split(':')[0]}",
        f"{writers} writers, {len(ledger.acked):,} acked, {verdict}, {halves} half groups, "
        f"{len(ledger.refused)} refused, {len(ledger.unknown)} unknown, {hung} hung",
        f"acknowledging before the commit lost {lost}",
    )
    assert set(verdict.values()) == {0}
    assert halves == 0
    assert hung == 0
    assert ledger.refused | ledger.unknown  # it was Holdfast that had no memory
    assert {key.split("-")[0] for key in ledger.acked} == {"one", "together"}
    assert lost > 0
