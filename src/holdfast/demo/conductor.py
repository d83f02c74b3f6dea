"""Runs the organisation in two processes, kills one half-way, and counts what is left."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from holdfast import PersistenceBackend, PersistenceError, Status, TaskStatus
from holdfast.demo.ledger import Ledger
from holdfast.demo.organisation import Plan, found

__all__ = ["Outcome", "conduct"]

_WORKERS = 2


@dataclass(slots=True)
class Outcome:
    """What happened, for the report."""

    plan: Plan
    ledger: Ledger = field(default_factory=Ledger)
    killed_pid: int | None = None
    acknowledged_at_kill: int = 0
    resumed: list[tuple[str, int]] = field(default_factory=list)
    seconds: float = 0.0
    #: As the database has it: a completion may be stored and its worker killed before it told.
    completed: int = 0
    commits: int = 0
    batched_writes: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    spend: dict[str, float] = field(default_factory=dict)
    status: Status | None = None

    @property
    def intact(self) -> bool:
        return (
            self.killed_pid is not None
            and not any(self.missing.values())
            and self.completed == self.plan.tasks
        )


class _Worker:
    """A worker process, restarted under the same agents after it was killed."""

    def __init__(
        self, outcome: Outcome, order: dict[str, Any], tick: Callable[[int], None]
    ) -> None:
        self._outcome = outcome
        self._order = order
        self._tick = tick
        self._stats: dict[str, Any] = {}
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> int:
        """Start it and read what it reports until it ends; its exit code."""
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "holdfast.demo.worker",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        # Not on the command line, where everybody could read the URL's password.
        process.stdin.write((json.dumps(self._order) + "\n").encode())
        await process.stdin.drain()
        process.stdin.close()
        while line := await process.stdout.readline():
            if not line.endswith(b"\n"):
                break  # cut off by the kill: nobody was told of it
            self._read(json.loads(line))
        code = await process.wait()
        self._outcome.commits += self._stats.get("commits", 0)
        self._outcome.batched_writes += self._stats.get("writes", {}).get("items", 0)
        self._stats = {}
        return code

    def kill(self) -> int:
        assert self._process is not None  # noqa: S101 - called while it runs
        self._process.kill()
        return self._process.pid

    def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    def _read(self, line: dict[str, Any]) -> None:
        ledger = self._outcome.ledger
        if line["kind"] == "ack":
            before = ledger.completed
            ledger.add(line["repository"], line["key"], line["proof"])
            if ledger.completed > before:
                self._tick(ledger.completed)
        elif line["kind"] == "stats":
            self._stats = line
        elif line["kind"] == "resumed":
            self._outcome.resumed.append((line["task"], line["turn"]))


async def conduct(
    backend: PersistenceBackend, url: str | None, plan: Plan, tick: Callable[[int], None]
) -> Outcome:
    """Let the organisation work; ``tick`` hears how many tasks are completed."""
    outcome = Outcome(plan)
    since = datetime.now(UTC)
    await found(backend, plan)
    half = asyncio.Event()

    def progress(completed: int) -> None:
        if completed * 2 >= plan.tasks:
            half.set()
        tick(completed)

    orders = [
        {
            "url": url, "run": plan.run, "seed": plan.seed, "tasks": plan.tasks,
            "team": plan.agents, "agents": plan.agents[number::_WORKERS],
        }
        for number in range(_WORKERS)
    ]  # fmt: skip
    workers = [_Worker(outcome, order, progress) for order in orders]
    victim, *others = workers
    begun = time.monotonic()
    try:
        running = [asyncio.create_task(worker.run()) for worker in others]
        first = asyncio.create_task(victim.run())
        await asyncio.wait([first, asyncio.create_task(half.wait())], return_when="FIRST_COMPLETED")
        if not first.done():
            outcome.acknowledged_at_kill = outcome.ledger.writes
            outcome.killed_pid = victim.kill()
        await first
        codes = [await victim.run(), *await asyncio.gather(*running)]
    finally:
        for worker in workers:
            worker.stop()
    outcome.seconds = time.monotonic() - begun
    if any(codes):
        raise PersistenceError(f"a worker process failed (exit codes {codes}); its error is above")
    outcome.completed = await backend.tasks.count_tasks(
        status=TaskStatus.COMPLETED, project=plan.project
    )
    outcome.missing = await outcome.ledger.missing(backend, plan, since)
    for agent in plan.agents:
        outcome.spend[agent] = await backend.cost_records.aggregate(agent_id=agent)
    outcome.status = await backend.status()
    return outcome
