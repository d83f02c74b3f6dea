"""Disconnecting from elsewhere: another loop or thread, a loop that is gone, a forked process.

What holds a backend need not be what connected it: a second ``asyncio.run``, a fixture of another
scope, a thread that winds an application up.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

import asyncpg
import pytest

from holdfast import (
    PersistenceBackend,
    PersistenceConnectionError,
    PersistenceError,
    create_backend,
)
from holdfast.engines import affinity

from ..conformance.test_work import task

#: By this name the server lists the connections of one test.
NAME = "elsewhere"


def made(url: str, **options: Any) -> PersistenceBackend:
    if url.startswith("postgres"):
        options |= {"application_name": NAME, "pool_min_size": 3}
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return create_backend(f"{url}?{query}" if query else url)


def open_at(url: str) -> int:
    """What is open still: connections at the server, or threads of SQLite."""
    if not url.startswith("postgres"):
        return sum(thread.name.startswith("holdfast-sqlite") for thread in threading.enumerate())

    async def ask() -> int:
        server = await asyncpg.connect(url)
        try:
            count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1"
            return int(await server.fetchval(count, NAME))
        finally:
            await server.close()

    return asyncio.run(ask())


@contextmanager
def nothing_left(
    url: str, caplog: pytest.LogCaptureFixture, *, quiet: bool = True
) -> Iterator[None]:
    """Whatever is opened inside is closed soon after; ``quiet``: without a word of Python's."""
    before = open_at(url)
    with caplog.at_level(logging.ERROR), warnings.catch_warnings():
        warnings.simplefilter("error" if quiet else "ignore")
        yield
        gc.collect()
    for _ in range(500):
        if open_at(url) <= before:
            break
        time.sleep(0.01)
    assert open_at(url) <= before
    said = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert not (quiet and said)


async def filled(backend: PersistenceBackend) -> None:
    await backend.connect()
    await asyncio.gather(*(backend.tasks.save(task(f"t{n}")) for n in range(20)))


async def used_again(backend: PersistenceBackend) -> None:
    """It is disconnected, and can be connected on this loop."""
    assert not backend.is_connected
    with pytest.raises(PersistenceConnectionError, match="not connected"):
        await backend.tasks.get("t0")
    async with backend:
        assert await backend.tasks.count_tasks() >= 20
        await backend.tasks.save(task("again"))


class Loop:
    """An event loop that runs in a thread of its own until `stop`."""

    def __init__(self) -> None:
        self._executor = asyncio.Runner()
        self.loop = self._executor.get_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._executor.run(self._over_is_set()))
        self._thread.start()

    async def _over_is_set(self) -> None:
        await self._over.wait()

    def run(self, work: Any, seconds: float = 60) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(seconds)

    def stop(self, *, close: bool = True) -> None:
        """Also ``close`` it, which cancels what is on it."""
        self.loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        if close:
            self.close()

    def close(self) -> None:
        self._executor.close()


def test_from_a_second_run(shared_url: str, caplog: pytest.LogCaptureFixture) -> None:
    backend = made(shared_url)
    with nothing_left(shared_url, caplog):
        asyncio.run(filled(backend))
        asyncio.run(backend.disconnect())
        asyncio.run(used_again(backend))
        asyncio.run(backend.disconnect())  # and safe when not connected


def test_in_the_middle_of_work(shared_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """The loop was closed on saves and on an open transaction: the next one is not kept waiting.

    While the loop winds up, the pool replaces the connection that the transaction lost; a
    half-opened one is found by the garbage collector.
    """
    backend = made(shared_url)

    async def leave_in_the_middle() -> None:
        await filled(backend)
        inside = asyncio.Event()

        async def hold() -> None:
            async with backend.transaction() as tx:
                await tx.tasks.save(task("held"))
                inside.set()
                await asyncio.sleep(60)

        background = [asyncio.ensure_future(hold())]
        await inside.wait()
        background += [asyncio.ensure_future(backend.tasks.save(task("late"))) for _ in range(3)]
        await asyncio.sleep(0)

    async def look() -> None:
        await backend.disconnect()
        async with backend:
            assert await backend.tasks.get("held") is None

    with nothing_left(shared_url, caplog, quiet=shared_url.startswith("sqlite")):
        asyncio.run(leave_in_the_middle())
        asyncio.run(look())


def test_a_watch_is_left_behind(shared_url: str, caplog: pytest.LogCaptureFixture) -> None:
    backend = made(shared_url)
    kept: list[Any] = []

    async def begin() -> None:
        await filled(backend)
        await backend.record_changes(backend.tasks)
        watch = backend.watch(backend.tasks)
        await watch.__aenter__()
        kept.append(watch)

    with nothing_left(shared_url, caplog):
        asyncio.run(begin())
        asyncio.run(backend.disconnect())
        kept.clear()


def test_what_runs_elsewhere_is_waited_for(
    shared_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    backend, there = made(shared_url), Loop()

    async def transact(begun: threading.Event) -> str:
        async with backend.transaction() as tx:
            begun.set()
            await asyncio.sleep(0.3)
            await tx.tasks.save(task("kept"))
        return "committed"

    with nothing_left(shared_url, caplog):
        there.run(filled(backend))
        begun = threading.Event()
        working = asyncio.run_coroutine_threadsafe(transact(begun), there.loop)
        assert begun.wait(30)
        asyncio.run(backend.disconnect())
        assert working.result(0) == "committed"
        asyncio.run(used_again(backend))
        there.stop()


def test_a_loop_that_only_rests(shared_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """As pytest's: a loop per scope, and one of them runs. What waited there is told later."""
    backend = made(shared_url)

    async def begin() -> asyncio.Task[Any]:
        await filled(backend)
        return asyncio.ensure_future(backend.tasks.save(task("left")))

    async def end(left: asyncio.Task[Any]) -> object:
        async with asyncio.timeout(20):
            return (await asyncio.gather(left, return_exceptions=True))[0]

    with nothing_left(shared_url, caplog), asyncio.Runner() as resting:
        left = resting.run(begin())
        asyncio.run(backend.disconnect())
        asyncio.run(used_again(backend))
        outcome = resting.run(end(left))
        assert outcome is None or isinstance(outcome, PersistenceError)
        with pytest.raises(PersistenceConnectionError):
            resting.run(_get(backend))


def test_a_loop_that_is_stuck(
    shared_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread waits for ours: nothing can be done there, and it is done here in time."""
    monkeypatch.setattr(affinity, "_GRACE_SECONDS", 0.3)
    backend, there = made(shared_url, drain_timeout_seconds=0.3), Loop()
    free = threading.Event()
    with nothing_left(shared_url, caplog):
        there.run(filled(backend))
        there.loop.call_soon_threadsafe(free.wait)
        asyncio.run(asyncio.wait_for(backend.disconnect(), 30))
        free.set()
        there.stop()


@pytest.mark.parametrize("running", [True, False])
def test_it_can_be_cancelled(
    shared_url: str, caplog: pytest.LogCaptureFixture, running: bool
) -> None:
    """A transaction would keep it for its half minute; cancelled, it ends that and closes."""
    backend, there = made(shared_url), Loop()

    async def hold(begun: threading.Event) -> None:
        async with backend.transaction() as tx:
            await tx.tasks.save(task("held"))
            begun.set()
            await asyncio.sleep(60)

    async def cancel() -> None:
        closing = asyncio.ensure_future(backend.disconnect())
        await asyncio.sleep(0.2)
        closing.cancel()
        await asyncio.wait([closing], timeout=20)
        assert closing.done()
        assert not backend.is_connected

    with nothing_left(shared_url, caplog):
        there.run(filled(backend))
        begun = threading.Event()
        holding = asyncio.run_coroutine_threadsafe(hold(begun), there.loop)
        assert begun.wait(30)
        if not running:
            there.stop(close=False)
        asyncio.run(cancel())
        asyncio.run(used_again(backend))
        if running:
            there.stop()
        else:
            there.close()
        with pytest.raises((PersistenceError, CancelledError)):
            holding.result(0)


def test_several_at_once(shared_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """From three loops, while it is connected on a fourth, which ends at once.

    That may destroy the task by which it is closed there, which asyncio reports.
    """
    backend = made(shared_url)

    def on_a_loop(work: Callable[[], Awaitable[Any]]) -> threading.Thread:
        async def run() -> None:
            await work()

        thread = threading.Thread(target=lambda: asyncio.run(run()))
        thread.start()
        return thread

    with nothing_left(shared_url, caplog, quiet=False):
        for _ in range(5):
            connecting = on_a_loop(backend.connect)
            closing = [on_a_loop(backend.disconnect) for _ in range(3)]
            for thread in (connecting, *closing):
                thread.join(60)
                assert not thread.is_alive()
        asyncio.run(backend.disconnect())
        assert not backend.is_connected


@pytest.mark.parametrize("kind", ["sqlite-file", "postgres"])
def test_dropped_without_it(kind: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("sqlite_url" if "sqlite" in kind else "postgres_url")
    before = open_at(url)

    async def drop() -> None:
        backend = made(url)
        await filled(backend)
        del backend
        gc.collect()
        for _ in range(500):
            if await asyncio.to_thread(open_at, url) <= before:
                break
            await asyncio.sleep(0.01)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(drop())
        gc.collect()
    texts = [str(one.message) for one in caught if one.category is ResourceWarning]
    assert any("dropped while it was connected: await backend.disconnect()" in t for t in texts)
    assert open_at(url) <= before

    async def stored() -> int:
        async with made(url) as backend:
            return await backend.tasks.count_tasks()

    assert asyncio.run(stored()) == 20


_FORGETFUL = """
import asyncio, sys
from holdfast import create_backend

backend = create_backend(sys.argv[1])

async def main():
    await backend.connect()
    await backend.tasks.count_tasks()

asyncio.run(main())
print("over")
"""


def test_a_program_that_forgets_it_ends(shared_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", _FORGETFUL, shared_url],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout == "over\n"
    assert "Traceback" not in done.stderr.partition("ResourceWarning")[0]


def test_a_forked_process_leaves_its_parents_connections(postgres_url: str) -> None:
    backend, there = made(postgres_url), Loop()
    there.run(filled(backend))
    child = os.fork()
    if child == 0:  # pragma: no cover - measured in the parent
        code = 1
        try:
            with pytest.raises(PersistenceConnectionError, match="forked"):
                asyncio.run(_get(backend))
            asyncio.run(backend.disconnect())
            code = int(backend.is_connected)
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert there.run(_get(backend)) == task("t0")
    there.run(backend.disconnect())
    there.stop()


async def _get(backend: PersistenceBackend) -> Any:
    return await backend.tasks.get("t0")
