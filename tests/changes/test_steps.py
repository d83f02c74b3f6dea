"""A watch's steps: cancelled, at once, and ended from elsewhere."""

from __future__ import annotations

import asyncio
import gc
from contextlib import aclosing, suppress

import pytest

from holdfast import (
    Change,
    InvalidArgumentError,
    PersistenceBackend,
    PersistenceConnectionError,
    Watch,
)
from holdfast.engines.postgres.connection import open_connection

from .conftest import brief, engine_of, put, take


@pytest.fixture
async def recording(backend: PersistenceBackend) -> PersistenceBackend:
    await backend.record_changes(backend.settings)
    return backend


async def patient(changes: Watch, count: int, seconds: float) -> list[Change]:
    """As `take`, but with a deadline of ``seconds`` for each step, as often as it takes."""
    found: list[Change] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    found.append(await anext(changes))
    return found


async def test_the_shortest_deadlines_get_there(
    recording: PersistenceBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = 0
    if recording.backend_name == "postgres":

        async def counting(*arguments: object, **options: object) -> object:
            nonlocal opened
            opened += 1
            return await open_connection(*arguments, **options)  # type: ignore[arg-type]

        monkeypatch.setattr("holdfast.engines.postgres.follow.open_connection", counting)
    async with aclosing(recording.watch(recording.settings, after=0)) as changes:
        for turn in range(3):
            await put(recording, *(f"{turn}{key}" for key in "abc"))
            found = await patient(changes, 3, 0.001)
            assert brief(found) == [("insert", f"{turn}{key}") for key in "abc"]
    assert opened <= 1


async def test_a_second_reader_is_refused(recording: PersistenceBackend) -> None:
    async with recording.watch(recording.settings) as changes:
        first = asyncio.create_task(anext(changes))
        await asyncio.sleep(0.05)
        for _ in range(2):
            with pytest.raises(InvalidArgumentError, match="another task"):
                await anext(changes)
        await put(recording, "a", "b")
        assert brief([await first, *await take(changes, 1)]) == [("insert", "a"), ("insert", "b")]


async def test_ending_it_ends_a_waiting_step(recording: PersistenceBackend) -> None:
    changes = recording.watch(recording.settings)
    async with changes:
        step = asyncio.create_task(anext(changes))
        await asyncio.sleep(0.05)
        async with asyncio.timeout(1):
            await asyncio.gather(changes.aclose(), changes.aclose())
            with pytest.raises(StopAsyncIteration):
                await step
    with pytest.raises(StopAsyncIteration):
        await anext(changes)
    assert not getattr(engine_of(recording), "_followers", None)


async def test_ending_it_ends_a_loop(recording: PersistenceBackend) -> None:
    changes = recording.watch(recording.settings)

    async def read() -> list[Change]:
        return [change async for change in changes]

    reading = asyncio.create_task(read())
    while changes.revision is None:  # noqa: ASYNC110 - a watch has no event for it
        await asyncio.sleep(0.005)
    await put(recording, "a")
    while changes.revision == 0:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    await changes.aclose()
    assert brief(await reading) == [("insert", "a")]


async def test_ended_before_it_began(recording: PersistenceBackend) -> None:
    changes = recording.watch(recording.settings)
    await changes.aclose()
    async with changes:
        with pytest.raises(StopAsyncIteration):
            await anext(changes)


async def test_left_in_a_step_it_ends_with_the_backend(
    recording: PersistenceBackend, caplog: pytest.LogCaptureFixture
) -> None:
    tasks = asyncio.all_tasks()
    with pytest.raises(TimeoutError):
        await take(recording.watch(recording.settings), 1, seconds=0.1)
    assert asyncio.all_tasks() - tasks
    await recording.disconnect()
    async with asyncio.timeout(5):
        while asyncio.all_tasks() - tasks:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    assert not getattr(engine_of(recording), "_followers", None)
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


async def test_disconnecting_before_the_first_step(
    recording: PersistenceBackend, engine_name: str
) -> None:
    await put(recording, "a")
    async with recording.watch(recording.settings, after=0) as changes:
        await recording.disconnect()
        for _ in range(2):
            with pytest.raises(PersistenceConnectionError, match="not connected"):
                await anext(changes)
        await recording.connect()
        if "memory" in engine_name:
            return  # it was another database
        assert brief(await take(changes, 1)) == [("insert", "a")]
