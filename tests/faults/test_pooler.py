"""Row 22: two processes behind PgBouncer in transaction mode, which share its sessions."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter

import pytest

from holdfast.backend import create_backend
from holdfast.testing import PostgresCluster
from holdfast.testing.databases import connected
from holdfast.testing.pgbouncer import PgBouncer

from ..programs import need
from .scorecard import Record, sized

WORKERS = 20
#: Fewer than workers by far, so that sessions change hands all the time.
SETTINGS = {"default_pool_size": "4", "ignore_startup_parameters": "statement_timeout,jit"}


Run = tuple[str, int, str]


async def _run(*runs: Run) -> list[tuple[Counter[str], list[str]]]:
    """What came of each run of two processes, and its errors; see `pooler_client`."""
    halves = json.dumps([(url, count // 2, kind) for url, count, kind in runs])
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.faults.pooler_client", who, str(WORKERS), halves,
            stdout=asyncio.subprocess.PIPE,
        )
        for who in ("left", "right")
    ]  # fmt: skip
    outputs = await asyncio.gather(*(process.communicate() for process in processes))
    assert [process.returncode for process in processes] == [0, 0]
    totals = []
    for parts in zip(*(json.loads(output) for output, _ in outputs), strict=True):
        total: Counter[str] = Counter()
        for part in parts:
            total.update(part["outcomes"])
        totals.append((total, [text for part in parts for text, _ in part["errors"]]))
    return totals


@pytest.mark.needs("pgbouncer")
async def test_row_22_two_processes_behind_pgbouncer(record: Record) -> None:
    programs = [need("pgbouncer")]
    if other := os.environ.get("HOLDFAST_PGBOUNCER_124"):
        programs.append(other)
    count, control_count = sized(400, 50_000), sized(100, 4_000)
    measured, broken, reasons, bare, failures = [], [], [], [], []
    with PostgresCluster.create() as cluster:
        async with connected(create_backend(cluster.url())):
            pass
        for program in programs:
            pooler = PgBouncer(cluster, program=program, settings=SETTINGS)
            newer = tuple(map(int, pooler.version.split("."))) >= (1, 21)
            forgets = SETTINGS | ({"max_prepared_statements": "0"} if newer else {})
            with pooler, PgBouncer(cluster, program=program, settings=forgets) as forgetful:
                (total, errors), (control, refused), (driver, _) = await _run(
                    (pooler.through(cluster.url()), count, "holdfast"),
                    # The control takes the pooler for a server.
                    (f"{forgetful.through(cluster.url())}&pooler=none", control_count, "holdfast"),
                    (forgetful.url(), control_count, "asyncpg"),
                )
                measured.append(f"{pooler.version}: {_text(total)}")
                broken.append(control)
                reasons.append(refused)
                bare.append(driver)
                if total["wrong"] or total["failed"] or sum(total.values()) != count:
                    failures.append((pooler.version, total, errors))
    record(
        22,
        "PgBouncer, transaction mode",
        "; ".join(measured),
        "taken for a server, " + "; ".join(map(_text, broken)),
        "; ".join(map(_text, bare)),
    )
    assert not failures
    assert all(total["wrong"] + total["failed"] > 0 for total in broken)
    # A prepared statement that is there already, or that is not.
    assert all("42P05" in "".join(texts) or "26000" in "".join(texts) for texts in reasons)


def _text(total: Counter[str]) -> str:
    return f"{total['wrong']} wrong, {total['failed']} errors of {sum(total.values()):,}"
