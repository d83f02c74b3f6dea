"""What is measured: three kinds of records, saved and read, as Holdfast calls and as bare SQL."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from holdfast import CostRecord, Message, PersistenceBackend, Task
from holdfast.repositories import claims, costs, messages
from holdfast.storage.session import Statement

__all__ = ["KNOWN", "Workload", "prepare", "workloads"]

#: Rows that reads look for.
KNOWN = 500
_NOW = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)
_RUN = uuid.uuid4().hex[:8]
_numbers = itertools.count()

Call = Callable[[PersistenceBackend, Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Workload:
    """``make`` gives a call's input, ``call`` is Holdfast's way, ``arguments`` the driver's.

    The driver's arguments are encoded before the clock starts, and it answers raw rows: both
    favour the driver.
    """

    entity: str
    operation: str
    make: Callable[[], Any]
    call: Call
    statement: Statement
    arguments: Callable[[Any], tuple[Any, ...]]


def _task(key: str) -> Task:
    return Task(
        id=key,
        title="Look up the prices of three shops",
        description="Compare them and write down which one is the cheapest, and why.",
        type="research",
        priority="high",
        project="benchmark",
        created_by="ada",
        reviewers=("grace", "linus"),
        acceptance_criteria=({"description": "three shops"}, {"description": "one answer"}),
        budget_limit=1.5,
    )


def _message(channel: str) -> Message:
    return Message(
        timestamp=_NOW,
        sender="ada",
        to="grace",
        type="question",
        channel=channel,
        parts=({"type": "text", "text": "Which of the three shops is the cheapest?"},),
    )


def _cost(task_id: str) -> CostRecord:
    return CostRecord(
        agent_id="ada",
        task_id=task_id,
        provider="example",
        model="example-large",
        project_id="benchmark",
        input_tokens=1200,
        output_tokens=340,
        cost_usd=0.031,
        timestamp=_NOW,
        latency_ms=812.5,
        success=True,
    )


def _fresh() -> str:
    return f"{_RUN}-{next(_numbers)}"


def _known() -> str:
    return f"known-{next(_numbers) % KNOWN}"


async def prepare(backend: PersistenceBackend) -> None:
    """Rows for the reads, and the list statements, which are built on first use."""
    async with backend.transaction() as tx:
        for number in range(KNOWN):
            key = f"known-{number}"
            await tx.tasks.save(_task(key))
            await tx.messages.save(_message(key))
            await tx.cost_records.save(_cost(key))
    await backend.messages.get_history("known-0", limit=1)
    await backend.cost_records.query(task_id="known-0", limit=1)


def workloads() -> list[Workload]:
    """After `prepare`. Messages and costs have no read by key: theirs is one row by index."""
    tenant = "default"
    (history,) = (s for s in messages._HISTORY._statements.values() if "limit" in s.parameters)
    (query,) = (s for s in costs._QUERY._statements.values() if "limit" in s.parameters)
    return [
        Workload(
            "tasks", "save", lambda: _task(_fresh()), lambda b, task: b.tasks.save(task),
            claims.TASKS._save, lambda task: claims.TASKS.mapper.encode(tenant, task),
        ),
        Workload(
            "messages", "save", lambda: _message(_fresh()), lambda b, m: b.messages.save(m),
            messages._MESSAGES._save, lambda m: messages._MESSAGES.mapper.encode(tenant, m),
        ),
        Workload(
            "cost_records", "save", lambda: _cost(_fresh()), lambda b, c: b.cost_records.save(c),
            costs._SAVE, lambda cost: costs._MAPPER.encode(tenant, cost),
        ),
        Workload(
            "tasks", "get", _known, lambda b, key: b.tasks.get(key),
            claims.TASKS._get, lambda key: (tenant, key),
        ),
        Workload(
            "messages", "get", _known, lambda b, key: b.messages.get_history(key, limit=1),
            history, lambda key: (tenant, key, 1),
        ),
        Workload(
            "cost_records", "get", _known,
            lambda b, key: b.cost_records.query(task_id=key, limit=1),
            query, lambda key: (tenant, key, 1),
        ),
    ]  # fmt: skip
