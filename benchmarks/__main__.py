"""``python -m benchmarks``: see README.md beside this file."""

from __future__ import annotations

import asyncio
import cProfile
import os
import pstats
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.contenders import POOL_SIZE, compiler, postgres_drivers, sqlite_drivers
from benchmarks.measure import Cell, measure
from benchmarks.report import missed, plot, print_tables, write_json
from benchmarks.workloads import prepare, workloads
from holdfast import PersistenceBackend, create_backend
from holdfast.testing import PostgresCluster

RESULTS = Path(__file__).with_name("results")
console = Console(width=150)


def main(
    only: Annotated[list[str] | None, typer.Option(help="sqlite or postgres")] = None,
    concurrency: Annotated[list[int] | None, typer.Option(help="concurrent callers")] = None,
    operation: Annotated[list[str] | None, typer.Option(help="such as tasks.save")] = None,
    rounds: Annotated[int, typer.Option(help="turns of each contender")] = 5,
    seconds: Annotated[float, typer.Option(help="of one turn")] = 0.5,
    profile: Annotated[bool, typer.Option(help="profile Holdfast instead of comparing")] = False,
) -> None:
    """Measure Holdfast and the drivers alone in turns, and print ratios."""
    engines = only or ["sqlite", "postgres"]
    levels = concurrency or [1, 8, 32, 128]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "benchmark.db"
        given = os.environ.get("HOLDFAST_TEST_POSTGRES_URL")
        cells: list[Cell] = []
        server: str | None = None
        for engine in engines:
            if engine == "sqlite":
                url = f"sqlite:///{path}"
                cells += asyncio.run(_run(url, levels, operation, rounds, seconds, profile))
            elif given:
                cells += asyncio.run(_run(given, levels, operation, rounds, seconds, profile))
            else:
                with PostgresCluster.create(settings={"fsync": "on"}) as cluster:
                    server = cluster.psql("SHOW server_version").strip()
                    cells += asyncio.run(
                        _run(cluster.url(), levels, operation, rounds, seconds, profile)
                    )
    if profile:
        return
    print_tables(console, cells)
    write_json(RESULTS / "latest.json", cells, server)
    plot(RESULTS / "latest.png", cells)
    for line in missed(cells):
        console.print(f"[red]missed:[/] {line}")
    console.print(f"also in {RESULTS.name}/latest.json and latest.png")


async def _run(
    url: str,
    levels: list[int],
    operations: list[str] | None,
    rounds: int,
    seconds: float,
    profile: bool,
) -> list[Cell]:
    cells = []
    async with _backend(url) as backend:
        sql = compiler(backend)
        drivers = (
            sqlite_drivers(Path(url.removeprefix("sqlite:///")), sql)
            if backend.backend_name == "sqlite"
            else postgres_drivers(url, sql)
        )
        async with drivers as contenders:
            for workload in workloads():
                name = f"{workload.entity}.{workload.operation}"
                if operations and name not in operations:
                    continue
                for level in levels:
                    console.print(f"[dim]{backend.backend_name} {name} at {level}[/]")
                    profiler = cProfile.Profile()
                    if profile:
                        profiler.enable()
                    cell = await measure(
                        backend, {} if profile else contenders, workload, sql(workload),
                        concurrency=level, rounds=rounds, seconds=seconds,
                    )  # fmt: skip
                    if profile:
                        profiler.disable()
                        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)
                    cells.append(cell)
    return cells


@asynccontextmanager
async def _backend(url: str) -> AsyncIterator[PersistenceBackend]:
    size = f"?pool_max_size={POOL_SIZE}" if url.startswith("postgres") else ""
    backend = create_backend(url + size)
    await backend.connect()
    try:
        await backend.migrate()
        await prepare(backend)
        yield backend
    finally:
        await backend.disconnect()


if __name__ == "__main__":
    typer.run(main)
