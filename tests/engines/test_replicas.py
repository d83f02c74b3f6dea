"""Standbys that answer reads: never less than this process wrote, never in the caller's way."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from holdfast import PersistenceBackend, create_backend
from holdfast.engines.postgres.replication.lsn import Position
from holdfast.testing import PostgresCluster
from holdfast.testing.standby import Standby

from ..conformance.test_work import task

_names = itertools.count()


@pytest.fixture(scope="module")
def primary() -> Iterator[PostgresCluster]:
    with PostgresCluster.create() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def followed(primary: PostgresCluster) -> Iterator[Standby]:
    with primary.standby() as standby:
        yield standby


@pytest.fixture
def standby(followed: Standby) -> Standby:
    """One that is as it should be, whatever the test before did to it."""
    followed.replay("resume")
    return followed


@asynccontextmanager
async def reading_from(
    primary: PostgresCluster,
    *standbys: Standby,
    ready: bool = True,
    database: str = "",
    **options: Any,
) -> AsyncIterator[PersistenceBackend]:
    """A backend on a database of its own, whose replicas answer already."""
    name = database or f"replicas_{next(_names)}"
    primary.psql(f"CREATE DATABASE {name}")
    settings = {"replicas": ",".join(f"127.0.0.1:{each.port}" for each in standbys), **options}
    query = "&".join(f"{key}={value}" for key, value in settings.items())
    backend = create_backend(f"{primary.url(name)}?{query}")
    await backend.connect()
    try:
        await backend.migrate()
        if ready:
            await answering(backend)
        yield backend
    finally:
        await backend.disconnect()


async def answering(backend: PersistenceBackend) -> None:
    before = backend.stats().replicas.answered
    async with asyncio.timeout(20):
        while backend.stats().replicas.answered == before:
            await backend.tasks.list_tasks(limit=1)
            await asyncio.sleep(0.02)


async def listed(backend: PersistenceBackend, limit: int | None = 100) -> set[str]:
    return {each.id for each in await backend.tasks.list_tasks(limit=limit)}


async def test_lists_come_from_the_replica_and_hold_what_was_written(
    primary: PostgresCluster, standby: Standby
) -> None:
    async with reading_from(primary, standby) as backend:
        before = backend.stats().replicas.answered
        saved = set()
        for number in range(40):
            saved.add(f"t{number}")
            await backend.tasks.save(task(f"t{number}"))
            assert await listed(backend) == saved
            assert await listed(backend, None) == saved  # a stream
        assert await backend.tasks.count_tasks() == 40
        assert backend.stats().replicas.answered - before == 81


async def test_a_question_serves_all_who_wait_and_is_asked_only_after_commits() -> None:
    asked, commits = 0, 1

    async def ask(_: str) -> list[tuple[int]]:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.01)
        return [(commits * 100,)]

    position = Position(ask, lambda: commits)
    assert set(await asyncio.gather(*(position.get() for _ in range(20)))) == {100}
    assert await position.get() == 100
    assert asked == 1
    under_way = [asyncio.ensure_future(position.get())]
    commits = 2
    under_way += [asyncio.ensure_future(position.get()) for _ in range(5)]
    assert await asyncio.gather(*under_way) == [200] * 6
    assert asked == 2
    position.forget()
    await position.get()
    assert asked == 3


async def test_who_joins_an_older_question_asks_again() -> None:
    commits, answers = 1, asyncio.Queue[int]()

    async def ask(_: str) -> list[tuple[int]]:
        return [(await answers.get(),)]

    position = Position(ask, lambda: commits)
    early = asyncio.ensure_future(position.get())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    commits = 2  # acknowledged while the question is on its way
    late = asyncio.ensure_future(position.get())
    answers.put_nowait(100)
    assert await early == 100
    assert not late.done()
    answers.put_nowait(200)
    assert await late == 200


async def test_an_answer_that_was_asked_for_before_is_forgotten_too() -> None:
    answers = asyncio.Queue[int]()

    async def ask(_: str) -> list[tuple[int]]:
        return [(await answers.get(),)]

    position = Position(ask, lambda: 1)
    waiting = asyncio.ensure_future(position.get())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    position.forget()
    answers.put_nowait(100)
    answers.put_nowait(200)
    assert await waiting == 200


async def _write_and_read(backend: PersistenceBackend, rounds: int) -> int:
    """Eight callers that save and list at once; how many lists lacked what their caller saved."""
    stale = 0

    async def caller(number: int) -> None:
        nonlocal stale
        view = backend.for_tenant(f"c{number}")
        for turn in range(rounds):
            if turn % 2:
                await view.tasks.save(task(f"t{turn}"))
            else:
                async with view.transaction() as tx:
                    await tx.tasks.save(task(f"t{turn}"))
            stale += len(await view.tasks.list_tasks(limit=1_000)) != turn + 1

    await asyncio.gather(*(caller(number) for number in range(8)))
    return stale


async def test_under_load_and_a_lagging_replica_every_caller_reads_what_he_wrote(
    primary: PostgresCluster, standby: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = False

    async def stutter() -> None:
        while not stop:
            await asyncio.to_thread(standby.replay, "pause")
            await asyncio.sleep(0.05)
            await asyncio.to_thread(standby.replay, "resume")
            await asyncio.sleep(0.05)

    async with reading_from(primary, standby) as backend:
        stuttering = asyncio.create_task(stutter())
        try:
            assert await _write_and_read(backend, 30) == 0
            assert backend.stats().replicas.answered > 20

            async def unasked(_: Position) -> int:
                return 0

            monkeypatch.setattr(Position, "get", unasked)
            other = backend.for_tenant("control")
            stale = 0
            for turn in range(40):
                await other.tasks.save(task(f"t{turn}"))
                stale += len(await other.tasks.list_tasks(limit=1_000)) != turn + 1
                await asyncio.sleep(0.005)
            assert stale > 0, "the control must see what waiting prevents"
        finally:
            stop = True
            await stuttering


async def test_what_a_frozen_replay_lacks_the_primary_answers_and_only_one_waits(
    primary: PostgresCluster, standby: Standby
) -> None:
    async with reading_from(primary, standby, replica_wait_seconds="0.3") as backend:
        standby.replay("pause")
        await backend.tasks.save(task("t"))
        clock = asyncio.get_running_loop().time
        begun = clock()
        assert await listed(backend) == {"t"}
        assert 0.2 < clock() - begun < 1.5
        begun = clock()
        for _ in range(10):
            assert await listed(backend) == {"t"}
            assert await listed(backend, None) == {"t"}
        assert clock() - begun < 3  # 20 times 0.3 s, had each waited
        figures = backend.stats().replicas
        # On a busy machine the one that waits may be out of time in the middle of its question.
        assert figures.behind + figures.refused == 21
        assert figures.behind >= 15
        standby.replay("resume")
        await answering(backend)
        assert await listed(backend) == {"t"}


async def test_what_decides_about_writes_is_never_asked_of_a_replica(
    primary: PostgresCluster, standby: Standby
) -> None:
    async with reading_from(primary, standby) as backend:
        await backend.tasks.save(task("t"))
        await listed(backend)
        before = backend.stats().replicas.answered
        await backend.tasks.get("t")
        await backend.lockouts.load_locked()
        await backend.sessions.load_revoked()
        await backend.checkpoints.get_latest(execution_id="e")
        async with backend.transaction() as tx:
            await tx.tasks.list_tasks(limit=10)
            await tx.tasks.list_tasks()
        assert backend.stats().replicas.answered == before


async def test_a_replica_that_dies_and_one_that_is_promoted_do_not_answer(
    primary: PostgresCluster,
) -> None:
    with primary.standby() as standby:
        name = f"replicas_{next(_names)}"
        async with reading_from(primary, standby, database=name) as backend:
            standby.kill()
            await backend.tasks.save(task("t"))
            for _ in range(5):
                assert await listed(backend) == {"t"}
            standby.start()
            await answering(backend)
            standby.catch_up()
            standby.promote()
            standby.psql("DELETE FROM tasks", name)
            before = backend.stats().replicas.answered
            for _ in range(20):
                assert await listed(backend) == {"t"}
            await asyncio.sleep(1.5)
            assert await listed(backend) == {"t"}
            assert backend.stats().replicas.answered == before


async def test_a_standby_of_another_cluster_never_answers(primary: PostgresCluster) -> None:
    with PostgresCluster.create() as other, other.standby() as stranger:
        name = f"replicas_{next(_names)}"
        async with reading_from(primary, stranger, ready=False, database=name) as backend:
            other.psql(f"CREATE DATABASE {name}")
            stranger.catch_up()
            await backend.tasks.save(task("t"))
            await asyncio.sleep(1)
            assert await listed(backend) == {"t"}
            assert backend.stats().replicas.answered == 0


async def test_a_read_that_is_cancelled_for_what_must_be_applied_is_the_primarys(
    primary: PostgresCluster,
) -> None:
    settings = {"max_standby_streaming_delay": "0", "hot_standby_feedback": "off"}
    with primary.standby(settings=settings) as standby:
        name = f"replicas_{next(_names)}"
        options: dict[str, Any] = {"database": name, "replica_wait_seconds": "5"}
        async with reading_from(primary, standby, **options) as backend:
            await asyncio.gather(*(backend.tasks.save(task(f"t{n:05}")) for n in range(6_000)))
            await listed(backend)
            refused = 0
            for _ in range(40):
                reading = asyncio.create_task(listed(backend, None))
                await asyncio.sleep(0.01)
                primary.psql("UPDATE tasks SET title = title WHERE id < 't00010'", name)
                primary.psql("VACUUM (FREEZE) tasks", name)
                assert len(await reading) == 6_000
                refused = backend.stats().replicas.refused
                if refused:
                    break
            assert refused > 0
