"""``python -m benchmarks.changes``: what recording and watching cost a save, as ratios."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.__main__ import _backend
from benchmarks.measure import _round
from benchmarks.workloads import workloads
from holdfast import PersistenceBackend
from holdfast.testing import PostgresCluster

MODES = ("off", "recorded", "watched")


def main(
    concurrency: Annotated[list[int] | None, typer.Option(help="concurrent callers")] = None,
    rounds: Annotated[int, typer.Option(help="turns of each mode")] = 5,
    seconds: Annotated[float, typer.Option(help="of one turn")] = 0.5,
) -> None:
    """Save tasks with recording off, on, and with a watcher in the same process, in turns."""
    levels = concurrency or [1, 32]
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_run(f"sqlite:///{Path(directory) / 'changes.db'}", levels, rounds, seconds))
    if url := os.environ.get("HOLDFAST_TEST_POSTGRES_URL"):
        asyncio.run(_run(url, levels, rounds, seconds))
    else:
        with PostgresCluster.create(settings={"fsync": "on"}) as cluster:
            asyncio.run(_run(cluster.url(), levels, rounds, seconds))


async def _run(url: str, levels: list[int], rounds: int, seconds: float) -> None:
    async with _backend(url) as backend:
        for level in levels:
            rates: dict[str, list[float]] = {mode: [] for mode in MODES}
            for _ in range(rounds):
                for mode in MODES:
                    rates[mode].append(await _turn(backend, mode, level, seconds))
            figures = [f"off {statistics.median(rates['off']):,.0f} a second"]
            for mode in MODES[1:]:
                ratios = [a / b for a, b in zip(rates[mode], rates["off"], strict=True)]
                figures.append(
                    f"{mode} {statistics.median(ratios):.2f}x ({min(ratios):.2f}-{max(ratios):.2f})"
                )
            print(f"{backend.backend_name} tasks.save at {level}: {', '.join(figures)}")
        await backend.stop_recording(backend.tasks)


async def _turn(backend: PersistenceBackend, mode: str, level: int, seconds: float) -> float:
    save = workloads()[0]

    def call(value: Any) -> Any:
        return save.call(backend, value)

    if mode == "off":
        await backend.stop_recording(backend.tasks)
    else:
        await backend.record_changes(backend.tasks)
    await _round(save.make, call, level, seconds / 5)  # switching replaced the connections
    if mode != "watched":
        return await _round(save.make, call, level, seconds)
    async with backend.watch(backend.tasks) as changes:

        async def read() -> None:
            async for _ in changes:
                pass

        reading = asyncio.create_task(read())
        rate = await _round(save.make, call, level, seconds)
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
    return rate


if __name__ == "__main__":
    typer.run(main)
