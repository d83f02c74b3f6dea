"""Rows 23 and 26: many processes that migrate at once, or write to one file at once."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from holdfast import create_backend, migrations
from holdfast.migrations import history

from ..forked import Child
from .scorecard import Record, sized

#: The exit code of a process that was told that it could not migrate.
FAILED = 3

_MIGRATE = f"""
import asyncio, itertools, sys, time
from alembic import command
from holdfast import MigrationError, create_backend
from holdfast.migrations import Chain, runner

FAILED = {FAILED}
moment = 0.0

async def main(url, mode):
    global moment
    if mode == "victim":
        upgrade = command.upgrade
        def slow(*arguments):
            upgrade(*arguments)
            print("inside", flush=True)  # migrated, not committed
            time.sleep(60)
        command.upgrade = slow
    if mode == "unlocked":
        run, look, looks = runner.run, Chain.stands_at_head, itertools.count(1)
        async def unlocked(engine, work, *, exclusive=False):
            return await run(engine, work, exclusive=False)
        def slow(chain, connection):
            found = look(chain, connection)
            if next(looks) == 2:  # what it does next, it would do under the lock
                time.sleep(max(0.0, moment - time.time()))  # by then all have looked
            return found
        runner.run, Chain.stands_at_head = unlocked, slow
    backend = create_backend(url)
    await backend.connect()
    print("ready", flush=True)
    moment = float(sys.stdin.readline())
    try:
        await backend.migrate()
    except MigrationError:
        sys.exit(FAILED)
    await backend.disconnect()

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


async def _migrator(url: str, mode: str) -> Child:
    worker = await Child.start(_MIGRATE, url, mode)
    assert await worker.stdout.readline() == b"ready\n"
    return worker


def _go(worker: Child) -> None:
    # The control's processes wait for this moment between looking and working.
    worker.tell(f"{time.time() + sized(2, 5)}")


async def _migrate_at_once(url: str, processes: int, mode: str, *, victim: bool) -> list[int]:
    """Exit codes. The victim migrates first and is killed before it commits; the others wait."""
    workers = [await _migrator(url, mode) for _ in range(processes)]
    if victim:
        killed = await _migrator(url, "victim")
        _go(killed)
        assert await killed.stdout.readline() == b"inside\n"
    for worker in workers:
        _go(worker)
    if victim:
        await asyncio.sleep(0.3)
        killed.kill()
        await killed.wait()
    return [code for code, _ in await asyncio.gather(*(worker.wait() for worker in workers))]


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_row_23_many_processes_migrate_at_once(
    engine: str, tmp_path: Path, empty_postgres_url: str, record: Record
) -> None:
    processes = sized(8, 16)
    url = empty_postgres_url if engine == "postgres" else f"sqlite:///{tmp_path}/new.db"
    codes = await _migrate_at_once(url, processes - 1, "locked", victim=True)
    backend = create_backend(url)
    await backend.connect()
    revision = (await backend.status()).revision
    drift = await backend.schema_drift()
    await backend.downgrade("base")
    await backend.disconnect()
    control = await _migrate_at_once(url, processes, "unlocked", victim=False)
    failed = control.count(FAILED)
    record(
        23,
        f"{processes} processes migrate, {engine}",
        f"{codes.count(0)} of {processes - 1} up, one killed while migrating, "
        f"at {revision}, {len(drift)} differences",
        f"without the lock {failed} of {processes} fail",
    )
    assert codes == [0] * (processes - 1)
    assert revision == migrations.head() == history()[0].revision
    assert drift == []
    assert failed > 0
    assert set(control) <= {0, FAILED}


_WRITE = """
import asyncio, sys, time
from holdfast import Task, create_backend

async def main(url, name, seconds):
    backend = create_backend(url)
    await backend.connect()
    print("ready", flush=True)
    sys.stdin.readline()
    done, end = 0, time.monotonic() + seconds
    async def writer(number):
        nonlocal done
        turn = 0
        while time.monotonic() < end:
            turn += 1
            await backend.tasks.save(Task(
                id=f"{name}-{number}-{turn}", title="t", description="d", type="admin",
                project="p", created_by="m",
            ))
            done += 1
    await asyncio.gather(*(writer(n) for n in range(4)))
    await backend.disconnect()
    print(done)

asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
"""

_WRITE_NAIVELY = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
print("ready", flush=True)
sys.stdin.readline()
errors, end, turn = 0, time.monotonic() + float(sys.argv[3]), 0
while time.monotonic() < end:
    turn += 1
    try:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM settings").fetchall()
        connection.execute(
            "INSERT INTO settings VALUES ('naive', ?, ?, '', '')", (sys.argv[2], str(turn))
        )
        connection.execute("COMMIT")
    except sqlite3.OperationalError:
        errors += 1
        if connection.in_transaction:
            connection.execute("ROLLBACK")
print(errors)
"""


async def _write_at_once(program: str, where: str, processes: int, seconds: float) -> list[int]:
    workers = [
        await Child.start(program, where, f"w{number}", str(seconds)) for number in range(processes)
    ]
    for worker in workers:
        await worker.stdout.readline()
    for worker in workers:
        worker.tell("go")
    ends = [await worker.wait() for worker in workers]
    assert [code for code, _ in ends] == [0] * processes
    return [int(output) for _, output in ends]


async def test_row_26_processes_write_to_one_file(sqlite_url: str, record: Record) -> None:
    path = sqlite_url.removeprefix("sqlite:///")
    seconds, processes = float(sized(4, 20)), 6
    begun = time.monotonic()
    done = await _write_at_once(_WRITE, sqlite_url, processes, seconds)
    took = time.monotonic() - begun
    with closing(sqlite3.connect(path)) as connection:
        stored = connection.execute("SELECT count(*) FROM tasks").fetchone()[0]
    errors = await _write_at_once(_WRITE_NAIVELY, path, processes, 1.0)
    share = min(done) / max(done)
    record(
        26,
        f"{processes} processes write to one file",
        f"{stored:,} rows in {took:.0f} s, 0 errors, slowest at {share:.0%} of the fastest",
        f"BEGIN, read, then write: {sum(errors):,} times busy",
    )
    assert stored == sum(done)
    assert share >= 0.25
    assert sum(errors) > 0
