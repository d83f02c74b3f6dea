"""One process of row 22: workers that ask through a pooler for what only they know.

Arguments: who it is, workers, and the runs as JSON, each a URL, calls, and ``holdfast`` or
``asyncpg``, whichever is to make them. Prints what came of each.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from typing import Any

import asyncpg

from holdfast import PersistenceBackend, PersistenceError, create_backend

from ..conformance.test_work import task
from .scorecard import SEED

__all__ = ["main"]

NOW = "2026-01-31T09:00:00+00:00"
#: Of a hundred calls, so many are cancelled at a random moment.
CANCELLED = 5


class Holdfast:
    """Calls of several kinds. Each takes a key and answers it, or something that is wrong."""

    def __init__(self, backend: PersistenceBackend, who: str) -> None:
        self.backend = backend
        self.who = who
        self.calls = [self.setting, self.saved, self.listed, self.together, self.streamed]

    async def setting(self, key: str) -> Any:
        await self.backend.settings.set(self.who, key, key, NOW)
        found = await self.backend.settings.get(self.who, key)
        return found and found[0]

    async def saved(self, key: str) -> Any:
        await self.backend.tasks.save(task(key, title=key))
        found = await self.backend.tasks.get(key)
        return found and found.title

    async def listed(self, key: str) -> Any:
        await self.backend.tasks.save(task(key, project=key))
        return [one.project for one in await self.backend.tasks.list_tasks(project=key)]

    async def together(self, key: str) -> Any:
        async with self.backend.transaction() as tx:
            await tx.settings.set(self.who, key, "other", NOW)
            async with tx.transaction() as inner:
                await inner.settings.set(self.who, key, key, NOW)
            found = await tx.settings.get(self.who, key)
        return found and found[0]

    async def streamed(self, key: str) -> Any:
        await self.backend.settings.set(f"{self.who}-{key}", "only", key, NOW)
        return [row[1] for row in await self.backend.settings.get_namespace(f"{self.who}-{key}")]


class Bare:
    """The same with asyncpg's own pool: statements that differ from process to process."""

    def __init__(self, pool: Any, who: str) -> None:
        self.calls = [self._call(pool, f"SELECT $1::text AS {who}_{n}") for n in range(5)]

    @staticmethod
    def _call(pool: Any, sql: str) -> Any:
        async def call(key: str) -> Any:
            (row,) = await pool.fetch(sql, key)
            return row[0] if sql.endswith(next(iter(row.keys()))) else row

        return call


async def main(url: str, who: str, count: int, workers: int, kind: str) -> dict[str, Any]:
    outcomes: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    chance = random.Random(f"{SEED} {who}")
    left = iter(range(count))

    async def once(calls: list[Any], key: str) -> None:
        doing = asyncio.ensure_future(chance.choice(calls)(key))
        if chance.randrange(100) < CANCELLED:
            await asyncio.sleep(chance.uniform(0, 0.01))
            doing.cancel()
        try:
            answer = await doing
        except asyncio.CancelledError:
            outcomes["cancelled"] += 1
        except Exception as error:
            outcomes["failed"] += 1
            errors[f"{type(error).__name__}: {error}"[:200]] += 1
        else:
            outcomes["right" if answer in (key, [key]) else "wrong"] += 1

    async def worker(calls: list[Any]) -> None:
        for number in left:
            await once(calls, f"{who}-{number}")

    async def run(calls: list[Any]) -> None:
        # In an order of their own: a statement's number then means another one to each process.
        calls = chance.sample(calls, len(calls))
        for call in calls:
            await asyncio.gather(call(f"{who}-first-{id(call)}"), return_exceptions=True)
        await asyncio.gather(*(worker(calls) for _ in range(workers)))

    try:
        if kind == "holdfast":
            backend = create_backend(url)
            await backend.connect()
            try:
                await run(Holdfast(backend, who).calls)
            finally:
                await backend.disconnect()
        else:
            async with asyncpg.create_pool(url, min_size=1, max_size=workers) as pool:
                await run(Bare(pool, who).calls)
    except (PersistenceError, asyncpg.PostgresError) as error:
        # Whoever takes a pooler for a server may not even get as far as the first call.
        outcomes["failed"] += len([*left])
        errors[f"connecting: {type(error).__name__}"] += 1
    return {"outcomes": outcomes, "errors": errors.most_common(3)}


if __name__ == "__main__":
    name, width, runs = sys.argv[1:]
    done = [asyncio.run(main(url, name, n, int(width), kind)) for url, n, kind in json.loads(runs)]
    sys.stdout.write(json.dumps(done))
