"""Row 6: each sync, write and truncation below SQLite fails in turn, once and for ever."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from .preload import Shims
from .scorecard import Ledger, Record, sized

pytestmark = pytest.mark.needs("cc")

#: Reads a line for each round, forks, and the child lets one call fail. It ends by `os._exit`, as a
#: process that is killed does: what lies in the log goes through SQLite's recovery.
_ROUNDS = """
import asyncio, ctypes, errno, json, os, sys, time, traceback
from holdfast import OutcomeUnknownError, PersistenceError, Task, create_backend
from holdfast.engines.sqlite.writer import Writer

fault = ctypes.CDLL(None)

def blindly(self, connection):
    try:
        connection.execute("COMMIT")
    except Exception:
        pass

def take_its_word(self, error):
    pass

async def round(url, kind, at, times, killed, control):
    if control == "acknowledges":
        Writer.commit = blindly
    if control == "forgets":
        Writer._make_sure = take_its_word
    backend = create_backend(url)
    await backend.connect()
    ledger = {"acked": [], "refused": [], "unknown": []}
    errors = []

    async def note(keys, work):
        try:
            await work
        except OutcomeUnknownError as error:
            outcome = "unknown"
            errors.append(type(error).__name__)
        except PersistenceError as error:
            outcome = "refused"
            errors.append(type(error).__name__)
        else:
            outcome = "acked"
        ledger[outcome] += keys
        return outcome == "acked"

    def save(session, key):
        return session.tasks.save(Task(
            id=key, title="t", description="d" * 900, type="admin", project="p", created_by="m"
        ))

    async def both(first, second):
        async with backend.transaction() as tx:
            await save(tx, first)
            await save(tx, second)

    async def work():
        batch = [f"batch-{n}" for n in range(3)]
        done = await asyncio.gather(*(note([key], save(backend, key)) for key in batch))
        if killed and not all(done):
            return
        if not await note(["tx-1", "tx-2"], both("tx-1", "tx-2")) and killed:
            return
        await note(["last"], save(backend, "last"))

    fault.fault_arm(kind, errno.EIO, at, times)
    await work()
    hits = fault.fault_hits()
    waited = None
    if not killed:
        fault.fault_arm(0, 0, 0, 0)
        begun = time.monotonic()
        await note(["after"], save(backend, "after"))
        waited = time.monotonic() - begun
    print(json.dumps([ledger, hits, errors, waited]), flush=True)
    os._exit(0)

for line in sys.stdin:
    if os.fork() == 0:
        try:
            asyncio.run(round(*json.loads(line)))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    print("failed" if os.wait()[1] else "ended", flush=True)
"""

_SYNC, _WRITE, _TRUNCATE = 1, 2, 4
_KINDS = {_SYNC: "sync", _WRITE: "write", _TRUNCATE: "truncate"}


class _Rounds:
    """A process that plays rounds, each on a database of its own."""

    def __init__(self, shims: Shims, place: Path, template: bytes) -> None:
        self._shims = shims
        self._place = place
        self._template = template
        self._count = 0
        self.broken: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.played = self.unknown = 0
        self.slowest = 0.0

    async def __aenter__(self) -> _Rounds:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _ROUNDS,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env=self._shims.environment("fault", HOLDFAST_DIRECTORY=self._place),
        )  # fmt: skip
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def play(
        self, kind: int, at: int, times: int, *, killed: bool, options: str, control: str
    ) -> bool:
        """One round; whether anything failed in it."""
        self._count += 1
        path = self._place / f"{self._count}.db"
        path.write_bytes(self._template)
        order = [f"sqlite:///{path}?{options}", kind, at, times, killed, control]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(30):
            answer: Any = json.loads(await self._process.stdout.readline())
            # Not before: a process that lives keeps the log from being recovered.
            assert await self._process.stdout.readline() == b"ended\n"
        outcomes, hits, errors, waited = answer
        ledger = Ledger(**{name: set(keys) for name, keys in outcomes.items()})
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA synchronous=OFF")
            stored = [row[0] for row in connection.execute("SELECT id FROM tasks")]
            sound = connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        for old in self._place.glob(f"{self._count}.db*"):
            old.unlink()
        self.played += 1
        self.broken += Counter({"corrupt": int(not sound)}) + Counter(ledger.verdict(stored))
        self.broken["half a transaction"] += ("tx-1" in stored) != ("tx-2" in stored)
        self.broken["not back"] += waited is not None and "after" not in ledger.acked
        self.errors.update(errors)
        self.unknown += len(ledger.unknown)
        self.slowest = max(self.slowest, waited or 0.0)
        return bool(hits)

    async def play_all(self, options: str, kinds: list[int], control: str = "") -> None:
        """For each kind and way, let the first call fail, the second, ... until none does."""
        for kind in kinds:
            for times, killed in ((1, False), (-1, False), (1, True), (-1, True)):
                at = 1
                while await self.play(
                    kind, at, times, killed=killed, options=options, control=control
                ):
                    at += 1


#: So small that every commit is followed by a checkpoint.
_CHECKPOINTS = "checkpoint_bytes=1"


@pytest.fixture
def template(sqlite_template: Path) -> bytes:
    """A migrated database that nobody has open."""
    return sqlite_template.read_bytes()


async def test_row_6_every_call_fails_in_turn(
    shims: Shims, template: bytes, tmp_path: Path, record: Record
) -> None:
    async with _Rounds(shims, tmp_path, template) as rounds:
        await rounds.play_all(_CHECKPOINTS, [_SYNC] if sized(1, 0) else list(_KINDS))
        if sized(0, 1):
            await rounds.play_all("checkpoint_bytes=100000000", list(_KINDS))
            await rounds.play_all("wal_mode=false", list(_KINDS))
    controls = {}
    for control in ("acknowledges", "forgets"):
        async with _Rounds(shims, tmp_path, template) as broken:
            for at in range(1, 5):  # the log's head, the directory, the pages, the checkpoint
                await broken.play(_SYNC, at, -1, killed=True, options=_CHECKPOINTS, control=control)
        controls[control] = +broken.broken
    record(
        6,
        "SQLite, EIO at the n-th call",
        f"{rounds.played} rounds, broken promises {dict(+rounds.broken)}, "
        f"{rounds.unknown} unknown, {dict(rounds.errors)}, back within {rounds.slowest:.2f} s",
        f"acknowledging regardless: {dict(controls['acknowledges'])}; "
        f"not making sure of the rollback: {dict(controls['forgets'])}",
    )
    assert rounds.played > 20
    assert +rounds.broken == {}
    assert rounds.errors["DiskIOError"] > 0
    assert rounds.slowest < 5
    assert controls["acknowledges"]["lost"] > 0
    assert controls["forgets"]["refused but stored"] > 0
