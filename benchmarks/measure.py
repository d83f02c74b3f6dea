"""Closed loops in short rounds that take turns, so that a slow moment hits every contender."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.contenders import Contender
from benchmarks.workloads import Workload
from holdfast import PersistenceBackend
from holdfast.engines.compiler import CompiledStatement

__all__ = ["Cell", "measure"]


@dataclass(slots=True)
class Cell:
    """One workload at one concurrency; rates are calls a second, one per round."""

    engine: str
    entity: str
    operation: str
    concurrency: int
    rates: dict[str, list[float]] = field(default_factory=dict)
    batches: int = 0
    commits: int = 0
    calls: int = 0

    def rate(self, name: str) -> float:
        return statistics.median(self.rates[name])

    def ratio(self, peer: str) -> float:
        """How many times as fast as the peer Holdfast is: the median over the rounds."""
        pairs = zip(self.rates["Holdfast"], self.rates[peer], strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)

    def spread(self, peer: str) -> tuple[float, float]:
        ratios = [
            ours / theirs
            for ours, theirs in zip(self.rates["Holdfast"], self.rates[peer], strict=True)
        ]
        return min(ratios), max(ratios)


async def measure(
    backend: PersistenceBackend,
    drivers: dict[str, Contender],
    workload: Workload,
    sql: CompiledStatement,
    *,
    concurrency: int,
    rounds: int,
    seconds: float,
) -> Cell:
    cell = Cell(backend.backend_name, workload.entity, workload.operation, concurrency)

    def holdfast() -> tuple[Callable[[], Any], Callable[[Any], Awaitable[Any]]]:
        return workload.make, lambda value: workload.call(backend, value)

    def driver(run: Contender) -> tuple[Callable[[], Any], Callable[[Any], Awaitable[Any]]]:
        through_core = run is drivers.get("SQLAlchemy")

        def make() -> tuple[Any, ...]:
            arguments = workload.arguments(workload.make())
            return arguments if through_core else sql.bind(arguments)

        return make, lambda arguments: run(workload, arguments)

    contenders = {"Holdfast": holdfast(), **{n: driver(run) for n, run in drivers.items()}}
    for name, (make, call) in contenders.items():
        # One prepared connection speaks for one caller at a time.
        if name == "prepared" and concurrency > 1:
            continue
        cell.rates[name] = []
        await _round(make, call, concurrency, seconds / 5)  # warm up
    for _ in range(rounds):
        for name in cell.rates:
            make, call = contenders[name]
            before = _figures(backend)
            cell.rates[name].append(await _round(make, call, concurrency, seconds))
            if name == "Holdfast":
                after = _figures(backend)
                cell.calls += after[0] - before[0]
                cell.batches += after[1] - before[1]
                cell.commits += after[2] - before[2]
    return cell


def _figures(backend: PersistenceBackend) -> tuple[int, int, int]:
    stats = backend.stats()
    return (
        stats.writes.items + stats.reads.items,
        stats.writes.batches + stats.reads.batches,
        stats.commits,
    )


async def _round(
    make: Callable[[], Any],
    call: Callable[[Any], Awaitable[Any]],
    concurrency: int,
    seconds: float,
) -> float:
    """Calls a second, the making of their input not counted."""
    prepared = [make() for _ in range(min(200, 50 * concurrency))]
    done, busy = 0, 0.0
    gc.collect()
    while busy < seconds:
        queue = iter(prepared)

        async def caller(queue: Any = queue) -> None:
            for value in queue:
                await call(value)

        begun = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(concurrency)))
        busy += time.perf_counter() - begun
        done += len(prepared)
        size = max(concurrency * 10, min(5_000, int(done / busy * seconds / 4)))
        prepared = [make() for _ in range(size)]
    return done / busy
