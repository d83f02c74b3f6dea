"""Row 16: workflows go on through a server that is killed again and again, and come out exact."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import asyncpg

from holdfast import (
    DuplicateRecordError,
    Message,
    OutcomeUnknownError,
    PersistenceBackend,
    PersistenceConnectionError,
    WorkflowDefinition,
    WorkflowExecution,
    WorkflowExecutionStatus,
    WorkflowNode,
    create_backend,
)
from holdfast.testing import PostgresCluster
from holdfast.testing.databases import run_sql

from ..conformance.test_records import cost
from .scorecard import FULL, SEED, Record, sized

WORKERS = 12
#: Of the control, which shares the machine.
BARE_WORKERS = 4 if FULL else 12
STEPS = 5
SECONDS = float(sized(3, 600))
BETWEEN = (5.0, 40.0) if FULL else (0.9, 1.2)
#: Where a step of a real workflow would think.
PAUSE = 0.015 if FULL else 0.0

_OVER = WorkflowExecutionStatus.COMPLETED
_DEFINITION = WorkflowDefinition(
    id="count", name="count", created_by="m",
    nodes=(
        WorkflowNode(id="first", type="start", label="first"),
        WorkflowNode(id="last", type="end", label="last"),
    ),
)  # fmt: skip


class Sum(WorkflowExecution):
    """An execution that carries its result along; a lost or a doubled step would change it."""

    total: int = 0


def after(total: int, step: int) -> int:
    return (31 * total + step) % 1_000_003


def result() -> int:
    return functools.reduce(after, range(1, STEPS + 1), 0)


@dataclass(slots=True)
class StatsCollector:
    """What one kind of workers did, and how often they were told nothing certain, or nothing."""

    done: set[str] = field(default_factory=set)
    unknown: int = 0
    away: int = 0
    #: Steps that were called failed, and are stored.
    misreported: int = 0


async def _begin(backend: PersistenceBackend, who: str, key: str) -> WorkflowExecution:
    run = Sum(id=key, definition_id="count", definition_version=1, activated_by=who, project="p")
    await backend.workflow_executions.save(run)
    return run


async def _advance(backend: PersistenceBackend, run: WorkflowExecution) -> WorkflowExecution:
    """The next step and its event, in one transaction."""
    assert isinstance(run, Sum)
    step = run.version
    changes: dict[str, Any] = {"version": step + 1, "total": after(run.total, step)}
    if step == STEPS:
        changes |= {"status": _OVER, "completed_at": run.created_at}
    advanced = run.model_copy(update=changes)
    async with backend.transaction() as tx:
        await tx.workflow_executions.save(advanced)
        # Cost records have no natural key: a repeated event would show.
        await tx.cost_records.save(cost(run.activated_by, f"{run.id}/{step}", 0.5))
    await asyncio.sleep(PAUSE)
    return advanced


async def _announce(backend: PersistenceBackend, run: WorkflowExecution) -> None:
    """An event with a key of its own: it is simply sent again."""
    said = Message(
        id=uuid5(NAMESPACE_OID, run.id), timestamp=run.created_at, sender=run.activated_by, to="m",
        type="task_update", channel=run.activated_by, parts=({"type": "text", "text": run.id},),
    )  # fmt: skip
    with contextlib.suppress(DuplicateRecordError):
        await backend.messages.save(said)


async def _workflow(backend: PersistenceBackend, tally: StatsCollector, who: str, key: str) -> None:
    """From its start to its end; after every doubt it goes on from what is stored."""
    run: WorkflowExecution | None = None
    doubtful, tried, denied = False, 0, 0
    while key not in tally.done:
        try:
            if doubtful:
                run = await backend.workflow_executions.get(key)
                tally.misreported += 0 < denied <= (run.version if run else 0)
                denied = 0
            doubtful, tried = True, 1 if run is None else run.version + 1
            if run is None:
                run = await _begin(backend, who, key)
            elif run.status is _OVER:
                await _announce(backend, run)
                tally.done.add(key)
            else:
                run = await _advance(backend, run)
            doubtful, tried = False, 0
        except OutcomeUnknownError:
            tally.unknown += 1
            tried = 0
        except PersistenceConnectionError:
            tally.away += 1
            denied, tried = denied or tried, 0
            await asyncio.sleep(0.01)


_BARE_TABLES = (
    "CREATE TABLE bare_runs (id text PRIMARY KEY, total integer NOT NULL)",
    "CREATE TABLE bare_events (run text NOT NULL, step integer NOT NULL)",
)
_BARE_BEGIN = "INSERT INTO bare_runs VALUES ($1, 0) ON CONFLICT (id) DO NOTHING"
_BARE_STEP = "UPDATE bare_runs SET total = (31 * total + $2) % 1000003 WHERE id = $1"
_BARE_EVENT = "INSERT INTO bare_events VALUES ($1, $2)"
_BARE_DOUBLED = "SELECT count(*) - count(DISTINCT (run, step)) FROM bare_events"
_BARE_WRONG = "SELECT count(*) FROM bare_runs WHERE total != $1"


async def _bare_workflow(pool: Any, tally: StatsCollector, who: str, key: str) -> None:
    """The control: what failed did not happen, so it is done again."""
    for step in range(STEPS + 1):
        while True:
            try:
                async with pool.acquire() as connection, connection.transaction():
                    if step == 0:
                        await connection.execute(_BARE_BEGIN, key)
                    else:
                        await connection.execute(_BARE_STEP, key, step)
                        await connection.execute(_BARE_EVENT, key, step)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                tally.away += 1
                await asyncio.sleep(0.1)  # more often, and the server is busy with refusing
            else:
                await asyncio.sleep(PAUSE)
                break
    tally.done.add(key)


async def _work(
    workflow: Any, database: Any, tally: StatsCollector, over: asyncio.Event, who: str
) -> None:
    turn = 0
    while not over.is_set():
        turn += 1
        await workflow(database, tally, who, f"{who}-{turn}")


async def _restart_again_and_again(cluster: PostgresCluster) -> int:
    chance = random.Random(SEED)
    kills, end = 0, time.monotonic() + SECONDS
    while time.monotonic() < end:
        await asyncio.sleep(chance.uniform(*BETWEEN))
        cluster.kill()
        await asyncio.to_thread(cluster.start)
        kills += 1
    return kills


async def _verdict(backend: PersistenceBackend, tally: StatsCollector) -> dict[str, int]:
    """Broken promises; all zero is a pass."""
    right = {"total": result(), "version": STEPS + 1, "status": _OVER}
    runs = await backend.workflow_executions.list_by_definition("count")
    wrong = [run for run in runs if right != {name: getattr(run, name) for name in right}]
    stored = Counter(run.id for run in runs)
    wanted = Counter(tally.done)
    for worker in range(WORKERS):
        events = await backend.cost_records.query(agent_id=f"w{worker}")
        stored.update(event.task_id for event in events)
        said = await backend.messages.get_history(f"w{worker}")
        stored.update(f"{message.text} is over" for message in said)
    for key in tally.done:
        wanted.update([f"{key} is over", *(f"{key}/{step}" for step in range(1, STEPS + 1))])
    return {
        "wrong results": len(wrong),
        "misreported": tally.misreported,
        "lost": (wanted - stored).total(),
        "too many": (stored - wanted).total(),
    }


async def test_row_16_the_server_is_restarted_again_and_again(record: Record) -> None:
    careful, bare, over = StatsCollector(), StatsCollector(), asyncio.Event()
    # A process that is killed takes nothing from the system's cache: a short run spares the disk.
    with PostgresCluster.create(settings={"fsync": "on" if FULL else "off"}) as cluster:
        backend = create_backend(
            f"{cluster.url()}?pool_timeout_seconds=20", entities={WorkflowExecution: Sum}
        )
        await backend.connect()
        await backend.migrate()
        await backend.workflow_definitions.save(_DEFINITION)
        await run_sql(cluster.url(), *_BARE_TABLES)
        async with asyncpg.create_pool(cluster.url(), min_size=0, max_size=WORKERS) as pool:
            # Side by side: both meet the same ends of the same server.
            async with asyncio.TaskGroup() as group:
                for worker in range(WORKERS):
                    group.create_task(_work(_workflow, backend, careful, over, f"w{worker}"))
                for worker in range(BARE_WORKERS):
                    group.create_task(_work(_bare_workflow, pool, bare, over, f"w{worker}"))
                kills = await _restart_again_and_again(cluster)
                over.set()
            doubled = await pool.fetchval(_BARE_DOUBLED)
            wrong = await pool.fetchval(_BARE_WRONG, result())
        verdict = await _verdict(backend, careful)
        await backend.disconnect()
    workflows = len(careful.done)
    record(
        16,
        f"{kills} restarts in {SECONDS:.0f} s",
        f"{workflows:,} workflows of {STEPS} steps and {STEPS + 1} events, {verdict}, "
        f"{careful.unknown} unknown",
        f"bare asyncpg, blind retries: {doubled} events doubled, {wrong} wrong results of "
        f"{len(bare.done):,}",
    )
    assert set(verdict.values()) == {0}
    assert workflows * STEPS >= sized(WORKERS, 20_000)
    assert careful.unknown + careful.away > 0
    assert doubled > 0
    assert wrong > 0
