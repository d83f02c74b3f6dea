"""Rows 1 and 3: what was acknowledged survives SIGKILL of the server and of the client."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from holdfast import OutcomeUnknownError, PersistenceError, create_backend
from holdfast.testing import PostgresCluster

from ..conformance.test_records import cost
from ..forked import Child
from .scorecard import Ledger, Record, sized

WRITERS = 32


async def _kill_rounds(settings: dict[str, str], rounds: int, acks: int) -> tuple[Ledger, Any]:
    """Write through a server that is killed again and again; the ledger and what is stored."""
    ledger = Ledger()
    with PostgresCluster.create(settings={"fsync": "on", **settings}) as cluster:
        backend = create_backend(f"{cluster.url()}?pool_timeout_seconds=20")
        await backend.connect()
        await backend.migrate()
        stop = False

        async def writer(number: int) -> None:
            turn = 0
            while not stop:
                turn += 1
                operation = f"{number}-{turn}"
                try:
                    # Cost records have no natural key: a repeated insert would show.
                    await backend.cost_records.save(cost("a", operation, 0.5))
                except OutcomeUnknownError:
                    ledger.unknown.add(operation)
                except PersistenceError:
                    ledger.refused.add(operation)
                else:
                    ledger.acked.add(operation)

        writers = [asyncio.create_task(writer(number)) for number in range(WRITERS)]
        for turn in range(1, rounds + 1):
            async with asyncio.timeout(120):
                while len(ledger.acked) < turn * acks / rounds:  # noqa: ASYNC110 - a load, not a wait
                    await asyncio.sleep(0.01)
            cluster.kill()
            await asyncio.to_thread(cluster.start)
        stop = True
        await asyncio.gather(*writers)
        stored = [record.task_id for record in await backend.cost_records.query()]
        await backend.disconnect()
    return ledger, stored


async def test_row_1_the_server_is_killed(record: Record) -> None:
    rounds, acks = sized(3, 100), sized(15_000, 200_000)
    ledger, stored = await _kill_rounds({}, rounds, acks)
    verdict = ledger.verdict(stored)
    # Nothing the server did not say reaches the disk for a long time: what it "committed" is gone.
    loose = {"synchronous_commit": "off", "wal_writer_delay": "10s", "wal_writer_flush_after": "0"}
    control, control_stored = await _kill_rounds(loose, 2, 2_000)
    lost = control.verdict(control_stored)["lost"]
    record(
        1,
        "PostgreSQL SIGKILL in group commit",
        f"{rounds} kills, {len(ledger.acked):,} acked, {verdict}, {len(ledger.unknown)} unknown",
        f"synchronous_commit=off lost {lost}",
    )
    assert len(ledger.acked) >= acks
    assert set(verdict.values()) == {0}
    assert lost > 0


_WRITER = """
import asyncio, os, sys
from holdfast import Task, create_backend

async def main(url, early):
    backend = create_backend(url)
    await backend.connect()
    async def writer(number):
        turn = 0
        while True:
            turn += 1
            key = f"{os.getpid()}-{number}-{turn}"
            task = Task(
                id=key, title="t", description="d", type="admin", project="p", created_by="m"
            )
            if early:
                os.write(1, f"{key}\\n".encode())
            await backend.tasks.save(task)
            if not early:
                os.write(1, f"{key}\\n".encode())
    await asyncio.gather(*(writer(n) for n in range(16)))

asyncio.run(main(sys.argv[1], sys.argv[2] == "early"))
"""


async def _kill_writers(url: str, kills: int, mode: str) -> tuple[Ledger, list[str]]:
    path = Path(url.removeprefix("sqlite:///"))
    ledger, integrity = Ledger(), []
    for _ in range(kills):
        process = await Child.start(_WRITER, url, mode)
        for _ in range(300):
            line = await process.stdout.readline()
            ledger.acked.add(line.decode().strip())
        process.kill()
        code, rest = await process.wait()
        assert code == -signal.SIGKILL
        ledger.acked.update(line for line in rest.decode().split("\n")[:-1] if line)
        with closing(sqlite3.connect(path)) as connection:
            integrity.append(connection.execute("PRAGMA integrity_check").fetchone()[0])
    assert set(integrity) == {"ok"}
    with closing(sqlite3.connect(path)) as connection:
        return ledger, [row[0] for row in connection.execute("SELECT id FROM tasks")]


async def test_row_3_the_client_is_killed(sqlite_url: str, record: Record) -> None:
    kills = sized(5, 100)
    ledger, stored = await _kill_writers(sqlite_url, kills, "late")
    verdict = ledger.verdict(stored)
    control, control_stored = await _kill_writers(sqlite_url, 3, "early")
    lost = control.verdict(control_stored)["lost"]
    record(
        3,
        "SQLite client SIGKILL",
        f"{kills} kills, {len(ledger.acked):,} acked, {verdict}, integrity ok {kills}/{kills}",
        f"acknowledging before the commit lost {lost}",
    )
    assert set(verdict.values()) == {0}
    assert lost > 0
