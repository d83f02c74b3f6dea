"""One process of the organisation: a few agents that work side by side.

It is told what to do by one line of JSON on standard input, and writes a line for every write that
was acknowledged to standard output, after the acknowledgement and before anything else.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from holdfast import (
    AgentRuntimeState,
    Artifact,
    AuditEntry,
    Checkpoint,
    CostRecord,
    Heartbeat,
    Message,
    ParkedContext,
    PersistenceBackend,
    Task,
    TaskStatus,
    create_backend,
)
from holdfast.demo.ledger import digest
from holdfast.demo.organisation import Plan

_STATS_SECONDS = 0.2
_AT_ONCE = 4
_UNFINISHED = (TaskStatus.ASSIGNED, TaskStatus.IN_PROGRESS, TaskStatus.IN_REVIEW)


def report(kind: str, **facts: Any) -> None:
    """One line to the conductor, at once: what is still in a buffer dies with the process."""
    os.write(1, (json.dumps({"kind": kind, **facts}) + "\n").encode())


async def acknowledged(write: Awaitable[Any], repository: str, key: str, proof: str = "") -> None:
    await write
    report("ack", repository=repository, key=key, proof=proof)


class Agent:
    """Claims tasks and works on them, a few at a time, each one turn after the other."""

    def __init__(self, backend: PersistenceBackend, plan: Plan, name: str) -> None:
        self._backend = backend
        self._plan = plan
        self._name = name
        self._others = [other for other in plan.agents if other != name] or [name]

    async def work(self) -> None:
        left_over = [
            task
            for status in _UNFINISHED
            for task in await self._backend.tasks.list_tasks(
                assigned_to=self._name, status=status, project=self._plan.project
            )
        ]
        await asyncio.gather(
            *(self._resume(task) for task in left_over),
            *(self._claim() for _ in range(_AT_ONCE)),
        )

    async def _resume(self, task: Task) -> None:
        """Finish what this agent was doing when its process died."""
        report("resumed", task=task.id, turn=await self._do(task))

    async def _claim(self) -> None:
        backend, plan = self._backend, self._plan
        while True:
            claimed = await backend.tasks.claim(self._name, project=plan.project)
            if claimed is not None:
                await self._do(claimed)
            elif await backend.tasks.count_tasks(status=TaskStatus.CREATED, project=plan.project):
                await asyncio.sleep(0.02)  # somebody else works on what the rest depends on
            else:
                return

    async def _do(self, task: Task) -> int:
        """Finish a task from its last checkpoint; the turn it began with."""
        backend = self._backend
        found = await backend.checkpoints.get_latest(execution_id=task.id)
        first = 0 if found is None else found.turn_number + 1
        if task.status is TaskStatus.ASSIGNED:
            task = await self._move(task, TaskStatus.IN_PROGRESS)
        for turn in range(first, self._plan.turns(task.id)):
            await self._turn(task, turn)
        if task.status is TaskStatus.IN_PROGRESS:
            task = await self._move(task, TaskStatus.IN_REVIEW)
        await self._deliver(task)
        task = await self._move(task, TaskStatus.COMPLETED)
        report("ack", repository="completed", key=task.id, proof="")
        return first

    async def _move(self, task: Task, status: TaskStatus) -> Task:
        moved = task.with_transition(status)
        await acknowledged(self._backend.tasks.save(moved), "tasks", task.id)
        return moved

    async def _turn(self, task: Task, turn: int) -> None:
        backend, plan, name, now = self._backend, self._plan, self._name, datetime.now(UTC)
        chance = plan.random_for("turn", task.id, turn)
        model, tokens_in, tokens_out, dollars = plan.call(task.id, turn)
        message = Message(
            timestamp=now, sender=name, to=chance.choice(self._others), type="task_update",
            channel=plan.channel,
            parts=({"type": "text", "text": f"{task.title}: turn {turn + 1}"},),
        )  # fmt: skip
        cost = CostRecord(
            agent_id=name, task_id=task.id, project_id=plan.project, provider="example",
            model=model, input_tokens=tokens_in, output_tokens=tokens_out, cost_usd=dollars,
            timestamp=now, success=True,
        )  # fmt: skip
        entry = AuditEntry(
            id=str(message.id), timestamp=now, agent_id=name, task_id=task.id,
            tool_name="browser", tool_category="web", action_type="web:read",
            arguments_hash=f"{chance.getrandbits(256):064x}", verdict="allow", risk_level="low",
            reason="reading is allowed", evaluation_duration_ms=chance.random(),
        )  # fmt: skip
        beat = Heartbeat(
            execution_id=task.id, agent_id=name, task_id=task.id, last_heartbeat_at=now
        )
        state = AgentRuntimeState(
            agent_id=name, execution_id=task.id, task_id=task.id, status="executing",
            turn_count=turn + 1, last_activity_at=now, started_at=now,
        )  # fmt: skip
        await asyncio.sleep(chance.uniform(0.002, 0.012))  # where a model would think
        await asyncio.gather(
            acknowledged(
                backend.messages.save(message), "messages", str(message.id), digest(message)
            ),
            acknowledged(backend.cost_records.save(cost), "cost_records", task.id, digest(cost)),
            acknowledged(
                backend.audit_entries.save(entry), "audit_entries", entry.id, digest(entry)
            ),
            acknowledged(backend.heartbeats.save(beat), "heartbeats", task.id),
            acknowledged(backend.agent_states.save(state), "agent_states", name),
        )
        checkpoint = Checkpoint(
            execution_id=task.id, agent_id=name, task_id=task.id, turn_number=turn,
            context_json=json.dumps({"task": task.id, "turn": turn}),
        )  # fmt: skip
        await acknowledged(backend.checkpoints.save(checkpoint), "checkpoints", task.id, str(turn))

    async def _deliver(self, task: Task) -> None:
        backend, now = self._backend, datetime.now(UTC)
        artifact = Artifact(
            id=f"{task.id}-result", type="documentation", path=f"results/{task.id}.md",
            task_id=task.id, created_by=self._name, project_id=task.project, created_at=now,
        )  # fmt: skip
        await acknowledged(backend.artifacts.save(artifact), "artifacts", artifact.id)
        if self._plan.random_for("park", task.id).random() < 0.05:
            parked = ParkedContext(
                id=f"{task.id}-parked", execution_id=task.id, agent_id=self._name,
                approval_id=f"{task.id}-approval", task_id=task.id, parked_at=now,
                context_json="{}",
            )  # fmt: skip
            await acknowledged(backend.parked_contexts.save(parked), "parked_contexts", parked.id)


def _report_stats(backend: PersistenceBackend) -> None:
    stats = backend.stats()
    report("stats", commits=stats.commits, writes=asdict(stats.writes))


async def _send_stats(backend: PersistenceBackend) -> None:
    while True:
        await asyncio.sleep(_STATS_SECONDS)
        _report_stats(backend)


async def main() -> None:
    order = json.loads(sys.stdin.readline())
    plan = Plan(order["run"], order["seed"], tuple(order["team"]), order["tasks"])
    backend = create_backend(order["url"])
    await backend.connect()
    stats = asyncio.create_task(_send_stats(backend))
    try:
        report("ready", pid=os.getpid())
        await asyncio.gather(*(Agent(backend, plan, name).work() for name in order["agents"]))
        _report_stats(backend)
        report("done")
    finally:
        stats.cancel()
        await backend.disconnect()


if __name__ == "__main__":
    asyncio.run(main())
