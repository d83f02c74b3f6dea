"""``python -m benchmarks.row_security``: what the runtime role costs beside the owner's, as ratios.

Both roles work on the same tables of one server, in turns of the same length. The owner is exempt
from the policies, and its statements do not name their tenant.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
from typing import Annotated, Any

import typer

from benchmarks.contenders import POOL_SIZE
from benchmarks.measure import _round
from benchmarks.workloads import Workload, prepare, workloads
from holdfast import PersistenceBackend, create_backend
from holdfast.testing import PostgresCluster

_SHOWN = ("tasks.save", "tasks.get", "messages.save", "tasks.list")


def main(
    concurrency: Annotated[list[int] | None, typer.Option(help="concurrent callers")] = None,
    rounds: Annotated[int, typer.Option(help="turns of each role")] = 9,
    seconds: Annotated[float, typer.Option(help="of one turn")] = 0.5,
    tenants: Annotated[int, typer.Option(help="that the callers speak for, in turn")] = 1,
) -> None:
    """Save, get and list as the owner and as the runtime role, in turns."""
    with PostgresCluster.create(settings={"fsync": "on"}) as cluster:
        asyncio.run(_run(cluster.url(), concurrency or [1, 32], rounds, seconds, tenants))


async def _run(url: str, levels: list[int], rounds: int, seconds: float, tenants: int) -> None:
    options = f"?pool_max_size={POOL_SIZE}"
    owner = create_backend(url + options)
    await owner.connect()
    await owner.migrate()
    await owner.operations.create_roles()
    await prepare(owner)
    runtime = create_backend(
        url.replace("//postgres@", "//holdfast_app@") + options + "&row_security=required"
    )
    await runtime.connect()
    names = ["default", *(f"t{number}" for number in range(1, tenants))]
    for workload in (w for w in [*workloads(), _listing()] if _name(w) in _SHOWN):
        for level in levels:
            ratios, rates = [], []
            for number in range(rounds):
                pair = [("owner", owner), ("runtime", runtime)]
                found = {
                    role: await _turn(workload, backend, names, level, seconds)
                    for role, backend in (pair if number % 2 else reversed(pair))
                }
                ratios.append(found["runtime"] / found["owner"])
                rates.append(found["owner"])
            print(
                f"{_name(workload)} at {level}: owner {statistics.median(rates):,.0f} a second, "
                f"runtime {statistics.median(ratios):.2f}x ({min(ratios):.2f}-{max(ratios):.2f})"
            )
    await runtime.disconnect()
    await owner.disconnect()


async def _turn(
    workload: Workload, backend: PersistenceBackend, names: list[str], level: int, seconds: float
) -> float:
    views = itertools.cycle([backend.for_tenant(name) for name in names])

    def call(value: Any) -> Any:
        return workload.call(next(views), value)

    await _round(workload.make, call, level, seconds / 5)
    return await _round(workload.make, call, level, seconds)


def _listing() -> Workload:
    return Workload(
        "tasks", "list", lambda: 50, lambda b, limit: b.tasks.list_tasks(limit=limit),
        workloads()[0].statement, lambda limit: (limit,),
    )  # fmt: skip


def _name(workload: Workload) -> str:
    return f"{workload.entity}.{workload.operation}"


if __name__ == "__main__":
    typer.run(main)
