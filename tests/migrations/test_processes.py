"""Many processes that start at once."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
from multiprocessing.synchronize import Barrier

from holdfast import create_backend, migrations

from ..forked import PRELOADED

PROCESSES = 8


class _Told(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def _start(url: str, name: str, barrier: Barrier, results: multiprocessing.Queue[object]) -> None:
    """What an application does when it starts, with what it logged or the error."""
    told = _Told()
    log = logging.getLogger("holdfast.migrations")
    log.setLevel(logging.INFO)
    log.addHandler(told)

    async def start() -> None:
        backend = create_backend(url)
        await backend.connect()
        barrier.wait(60)
        await backend.migrate()
        await backend.set_setting(name, "started")
        await backend.disconnect()

    try:
        asyncio.run(start())
    except BaseException as error:
        results.put(repr(error))
    else:
        results.put(told.texts)


async def test_one_of_many_migrates(empty_url: str) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, __name__])
    barrier, results = context.Barrier(PROCESSES), context.Queue()
    processes = [
        context.Process(target=_start, args=(empty_url, str(n), barrier, results))
        for n in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    told = [await asyncio.to_thread(results.get, timeout=90) for _ in processes]
    for process in processes:
        await asyncio.to_thread(process.join, 30)
        assert process.exitcode == 0
    # One worked; the others found it done, whenever they came.
    migrated = [f"migrated to revision {migrations.head()}"]
    assert sorted(told, key=len) == [[]] * (PROCESSES - 1) + [migrated]

    backend = create_backend(empty_url)
    await backend.connect()
    assert await backend.schema_drift() == []
    assert (await backend.status()).revision == migrations.head()
    assert len(await backend.settings.get_namespace("_system")) == PROCESSES
    await backend.disconnect()
