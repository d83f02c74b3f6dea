"""PostgreSQL: numbers appear out of order, and a watch must neither lose nor reorder a change."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import asyncpg
import pytest

from holdfast import Change, PersistenceBackend, create_backend
from holdfast.testing import PostgresCluster
from holdfast.testing.databases import connected
from holdfast.testing.suite.base import apart

from .conftest import brief, nothing_comes, put, take

KEYS = 6


@pytest.fixture
async def backend(postgres_url: str) -> AsyncIterator[PersistenceBackend]:
    async with connected(create_backend(postgres_url)) as backend:
        await backend.record_changes(backend.settings)
        yield backend


class Naive:
    """The control: reads what is behind the largest number it has seen."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.seen: list[int] = []

    async def __aenter__(self) -> Naive:
        self._connection = await asyncpg.connect(self._url)
        await self.look()
        self.seen.clear()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    async def look(self) -> list[int]:
        rows = await self._connection.fetch(
            "SELECT revision FROM changes WHERE revision > $1 ORDER BY revision",
            max(self.seen, default=getattr(self, "_place", 0)),
        )
        self.seen += [row[0] for row in rows]
        self._place = max(self.seen, default=0)
        return self.seen


async def test_who_commits_late_is_waited_for(
    backend: PersistenceBackend, postgres_url: str
) -> None:
    async with backend.watch(backend.settings) as changes, Naive(postgres_url) as naive:
        async with backend.transaction() as tx:
            await put(tx, "late")
            await apart(put(backend, "early"))
            await naive.look()
            await apart(nothing_comes(changes))
        await naive.look()
        found = await take(changes, 2)
    assert brief(found) == [("insert", "late"), ("insert", "early")]
    assert naive.seen == [found[1].revision]  # it has lost the other one


async def test_the_bounds_of_a_snapshot_would_not_do(
    backend: PersistenceBackend, postgres_url: str
) -> None:
    """The transaction that is under way has the newest id and a number below the visible one."""
    old = await asyncpg.connect(postgres_url)
    new = await asyncpg.connect(postgres_url)
    try:
        async with backend.watch(backend.settings) as changes:
            first, second = old.transaction(), new.transaction()
            await first.start()
            await old.execute("SELECT pg_current_xact_id()")
            await second.start()
            await new.execute("INSERT INTO settings VALUES ('default', 'n', 'below', 'v', '')")
            await old.execute("INSERT INTO settings VALUES ('default', 'n', 'above', 'v', '')")
            await first.commit()
            bounds = await old.fetchrow(
                "SELECT pg_snapshot_xmin(s) = pg_snapshot_xmax(s) FROM pg_current_snapshot() s"
            )
            assert bounds is not None
            assert bounds[0]  # it looks as if nothing were under way
            await nothing_comes(changes)
            await second.commit()
            found = await take(changes, 2)
    finally:
        await old.close()
        await new.close()
    assert brief(found) == [("insert", "below"), ("insert", "above")]


async def test_a_watch_begins_after_what_is_under_way(backend: PersistenceBackend) -> None:
    await put(backend, "known")
    async with backend.transaction() as tx:
        await put(tx, "before")
        changes = backend.watch(backend.settings)
        beginning = apart(changes.__aenter__())
        await apart(put(backend, "meanwhile"))
        await asyncio.sleep(0.2)
        await put(tx, "before")
    await beginning
    async with changes:
        await put(backend, "after")
        found = brief(await take(changes, 1))
        # What was committed while it began may come; what is committed after that must.
        while found[-1] != ("insert", "after"):
            found += brief(await take(changes, 1))


async def test_rolled_back_numbers_are_not_waited_for(backend: PersistenceBackend) -> None:
    async with backend.watch(backend.settings) as changes:
        async with backend.transaction() as tx:
            with pytest.raises(RuntimeError):
                async with tx.transaction() as inner:
                    await put(inner, "undone")
                    raise RuntimeError
            await apart(put(backend, "other"))
            # Nothing of the log is held any more, though the transaction goes on.
            assert brief(await apart(take(changes, 1, seconds=3))) == [("insert", "other")]
        await put(backend, "end")
        assert brief(await take(changes, 1)) == [("insert", "end")]


async def test_others_writes_are_not_waited_for(backend: PersistenceBackend) -> None:
    """A long transaction that changes nothing that is recorded holds nobody up."""

    async def watch_and_write() -> None:
        async with backend.watch(backend.settings) as changes:
            await put(backend, "a")
            assert brief(await take(changes, 1, seconds=3)) == [("insert", "a")]

    await backend.tasks.claim("nobody")
    async with backend.transaction() as tx:
        await tx.heartbeats.get("x")
        await tx.messages.get_history("x")
        await tx.tasks.claim("ada")
        await apart(watch_and_write())


async def test_a_watch_outlives_the_server(caplog: pytest.LogCaptureFixture) -> None:
    with PostgresCluster.create() as cluster:
        async with connected(create_backend(cluster.url())) as backend:
            await backend.record_changes(backend.settings)
            async with backend.watch(backend.settings) as changes:
                await put(backend, "before")
                step = asyncio.create_task(take(changes, 2))
                await asyncio.sleep(0.1)
                await asyncio.to_thread(cluster.kill)
                await asyncio.sleep(0.5)
                assert not step.done()
                await asyncio.to_thread(cluster.start)
                while not await backend.health_check():  # noqa: ASYNC110 - the server's
                    await asyncio.sleep(0.05)
                await put(backend, "after")
                assert brief(await step) == [("insert", "before"), ("insert", "after")]
    assert sum("goes on" in record.message for record in caplog.records) == 1


async def test_against_an_adversary(backend: PersistenceBackend, postgres_url: str) -> None:
    """Long and short transactions write a few keys by turns, with savepoints and rollbacks.

    Each takes a key's next number in a table of its own, under a lock, and notes there what it
    does. That is the order of commits, and not the log's.
    """
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(
        "CREATE TABLE turns (key TEXT PRIMARY KEY, n BIGINT);"
        "CREATE TABLE truth (key TEXT, n BIGINT, kind TEXT)"
    )
    for key in range(KEYS):
        await connection.execute("INSERT INTO turns VALUES ($1, 0)", f"k{key}")
    stop = asyncio.Event()

    async def looking(naive: Naive) -> None:
        while not stop.is_set():
            await naive.look()
            await asyncio.sleep(0.001)

    async with backend.watch(backend.settings) as changes, Naive(postgres_url) as naive:
        look = asyncio.create_task(looking(naive))
        reading = asyncio.create_task(_until_the_end(changes))
        await asyncio.gather(*(_adversary(postgres_url, seed) for seed in range(8)))
        await put(backend, "the end")
        found = await asyncio.wait_for(reading, 60)
        stop.set()
        await look
    truth = await connection.fetch("SELECT key, n, kind FROM truth ORDER BY key, n")
    await connection.close()
    assert len(truth) > 500
    for key in {row["key"] for row in truth}:
        expected = [row["kind"] for row in truth if row["key"] == key]
        assert [c.kind.value for c in found if c.key[1] == key] == expected
    revisions = [c.revision for c in found]
    assert revisions == sorted(set(revisions))
    assert len(found) == len(truth)
    assert len(set(naive.seen)) < len(found)  # the control loses some


async def _until_the_end(changes: AsyncIterator[Change]) -> list[Change]:
    found: list[Change] = []
    async for change in changes:
        if change.key[1] == "the end":
            break
        found.append(change)
    return found


async def _adversary(url: str, seed: int) -> None:
    dice = random.Random(seed)
    connection = await asyncpg.connect(url)
    try:
        for _ in range(60):
            transaction = connection.transaction()
            await transaction.start()
            for key in sorted(dice.sample(range(KEYS), dice.randint(1, 3))):
                for _ in range(dice.randint(1, 2)):
                    savepoint = connection.transaction()
                    await savepoint.start()
                    await _change(connection, f"k{key}", dice)
                    await (savepoint.rollback if dice.random() < 0.2 else savepoint.commit)()
                if dice.random() < 0.3:
                    await asyncio.sleep(dice.random() * 0.02)
            await (transaction.rollback if dice.random() < 0.15 else transaction.commit)()
    finally:
        await connection.close()


async def _change(connection: asyncpg.Connection, key: str, dice: random.Random) -> None:
    n = await connection.fetchval("UPDATE turns SET n = n + 1 WHERE key = $1 RETURNING n", key)
    there = await connection.fetchval("SELECT count(*) FROM settings WHERE key = $1", key)
    kind = dice.choice(["update", "delete"]) if there else "insert"
    if kind == "delete":
        await connection.execute("DELETE FROM settings WHERE key = $1", key)
    else:
        await connection.execute(
            "INSERT INTO settings VALUES ('default', 'n', $1, 'v', '')"
            " ON CONFLICT (tenant, namespace, key) DO UPDATE SET value = excluded.value",
            key,
        )
    await connection.execute("INSERT INTO truth VALUES ($1, $2, $3)", key, n, kind)
