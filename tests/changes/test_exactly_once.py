"""Eight processes change a few keys; a watcher that is cut three times gets each change once."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict

import asyncpg
import pytest

from holdfast import Change, PersistenceBackend, create_backend
from holdfast.testing.databases import connected

from ..faults.scorecard import sized
from ..forked import Child
from .conftest import put

COUNT, PROCESSES, KEYS, CUTS = sized(12_000, 100_000), 8, 50, 3

# Several callers at once, so that batches, of many keys, meet those of other processes. Prints
# what became of each key, by kind: an upsert does not say whether it inserted.
_WRITE = """
import asyncio, json, random, sys
from collections import Counter
from holdfast import create_backend

async def main(url, seed, share, keys):
    dice, done = random.Random(seed), Counter()
    left = share
    async with create_backend(url) as backend:
        async def caller():
            nonlocal left
            while left > 0:
                left -= 1
                key = f"k{dice.randrange(keys)}"
                if dice.random() < 0.3 and await backend.settings.delete("n", key):
                    done[key, "delete"] += 1
                else:
                    await backend.settings.set("n", key, f"{seed}-{left}", "t")
                    done[key, "set"] += 1
        print("ready", flush=True)
        sys.stdin.readline()
        await asyncio.gather(*(caller() for _ in range(16)))
    print(json.dumps([[*what, count] for what, count in done.items()]))

asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
"""


async def _write(url: str, count: int) -> Counter[tuple[str, str]]:
    """What all processes did, each thing acknowledged."""
    workers = [
        await Child.start(_WRITE, url, str(seed), str(count // PROCESSES), str(KEYS))
        for seed in range(PROCESSES)
    ]
    for worker in workers:
        assert await worker.stdout.readline() == b"ready\n"
    for worker in workers:
        worker.tell("go")
    total: Counter[tuple[str, str]] = Counter()
    for code, output in await asyncio.gather(*(worker.wait() for worker in workers)):
        assert code == 0
        for key, kind, number in json.loads(output):
            total[key, kind] += number
    return total


async def _watch(
    backend: PersistenceBackend, url: str, count: int, begun: asyncio.Event
) -> list[Change]:
    found: list[Change] = []
    cuts = [count * (n + 1) // (CUTS + 1) for n in range(CUTS)]
    after: int | None = None
    while True:
        async with backend.watch(backend.settings, after=after) as changes:
            begun.set()
            async for change in changes:
                if change.key[1] == "the end":
                    return found
                found.append(change)
                if len(found) in cuts:
                    if backend.backend_name == "postgres":
                        assert await _cut(url) >= 1
                    else:  # there is no connection to cut: stop, and go on from the revision
                        break
            after = changes.revision


async def _cut(url: str) -> int:
    """End the watcher's connection at the server."""
    connection = await asyncpg.connect(url)
    try:
        return len(
            await connection.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'watcher'"
            )
        )
    finally:
        await connection.close()


@pytest.mark.timeout(900)
async def test_each_change_once_and_in_order(shared_url: str) -> None:
    options = "?application_name=watcher" if shared_url.startswith("postgres") else ""
    async with (
        connected(create_backend(shared_url)) as writer,
        connected(create_backend(shared_url + options)) as reader,
    ):
        await writer.record_changes(writer.settings)
        begun = asyncio.Event()
        watching = asyncio.create_task(_watch(reader, shared_url, COUNT, begun))
        await begun.wait()
        done = await _write(shared_url, COUNT)
        await put(writer, "the end")
        found = await asyncio.wait_for(watching, 120)
        stored = {row[0] for row in await writer.settings.get_namespace("n")} - {"the end"}
    assert sum(done.values()) == len(found) == COUNT
    # Each once: what the processes did is what was handed out, by key and kind.
    seen = Counter((c.key[1], "delete" if c.kind == "delete" else "set") for c in found)
    assert seen == done
    revisions = [c.revision for c in found]
    assert revisions == sorted(set(revisions))
    # In order: only what is there can be updated or deleted, only what is not can be inserted.
    there: dict[str, bool] = defaultdict(bool)
    for change in found:
        key = change.key[1]
        assert there[key] == (change.kind != "insert"), change
        there[key] = change.kind != "delete"
    assert {key for key, is_there in there.items() if is_there} == stored
