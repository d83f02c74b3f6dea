"""Row 25: while a new version of the application is rolled out, the old one goes on working."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from holdfast import create_backend
from holdfast.testing.databases import connected, run_sql

from ..extending.things import written
from ..forked import Child
from .notes_client import COLOURED, SHARED, Version, colour, version
from .scorecard import Ledger, Record, sized

MIXED_SECONDS = float(sized(1, 600))
PAUSE = "0.02"
_CLIENTS: tuple[tuple[Version, str], ...] = (("old", "first"), ("new", "new"), ("old", "late"))
_CLIENT = "import runpy; runpy.run_module('tests.faults.notes_client', run_name='__main__')"
_CONTRACT = "ALTER TABLE pad_notes RENAME COLUMN text TO body"


class _Client:
    """A process that runs `notes_client`."""

    def __init__(self, process: Child) -> None:
        self._process = process

    @classmethod
    async def start(cls, url: str, folder: Path, which: Version, name: str) -> _Client:
        return cls(await Child.start(_CLIENT, url, str(folder), which, name, PAUSE))

    async def begin(self) -> None:
        self._process.tell("go")
        assert await self._process.stdout.readline() == b"ready\n"

    async def figures(self) -> dict[str, Counter[str]]:
        """What was acknowledged, and the errors, so far."""
        self._process.tell("?")
        figures = json.loads(await self._process.stdout.readline())
        return {name: Counter(counts) for name, counts in figures.items()}

    async def failed(self) -> int:
        return (await self.figures())["errors"].total()

    async def stop(self) -> None:
        self._process.end_input()
        assert await self._process.wait() == (0, b"")

    def kill(self) -> None:
        self._process.kill()


async def _prepare(folder: Path, url: str) -> None:
    """The revisions of both versions, and a database that stands at the old one's."""
    for which in ("old", "new"):
        (folder / which).mkdir()
    old = version(folder, "old")
    await written(old)
    async with connected(create_backend(url, extensions=[old])):
        pass
    for revision in (folder / "old").glob("*.py"):
        shutil.copy(revision, folder / "new")
    (folder / "new" / "0002_colour.py").write_text(COLOURED)


async def _contract(url: str) -> None:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.execute(_CONTRACT)
    else:
        await run_sql(url, _CONTRACT)


async def _stored(folder: Path, url: str, acked: set[str]) -> tuple[list[str], int]:
    """Which of the notes are there, and how many shared ones have lost their colour."""
    extension = version(folder, "new")
    async with connected(create_backend(url, extensions=[extension])) as backend:
        notes: Any = backend.repository(extension.repositories[0])
        found = [note.id for note in await asyncio.gather(*map(notes.get, acked)) if note]
        shared = [await notes.get(f"shared-{number}") for number in range(SHARED)]
    return found, sum(note.colour != colour(number) for number, note in enumerate(shared))


async def test_row_25_old_and_new_code_together(
    tmp_path: Path, shared_url: str, record: Record
) -> None:
    await _prepare(tmp_path, shared_url)
    clients: list[_Client] = []

    try:
        for which, name in _CLIENTS:  # all at once: starting takes longest
            clients.append(await _Client.start(shared_url, tmp_path, which, name))
        first, new, late = clients
        await first.begin()
        await new.begin()  # it migrates, and the old one works meanwhile
        before = (await first.figures())["acked"].total()
        await late.begin()  # an old one that is started behind the migration
        await asyncio.sleep(MIXED_SECONDS)
        figures = [await client.figures() for client in clients]
        await asyncio.gather(new.stop(), late.stop())

        # The control: the old version's column is taken away before the old version is.
        ledger = Ledger()
        for one in figures:
            for series, turns in one["acked"].items():
                ledger.acked.update(f"{series}-{turn}" for turn in range(1, turns + 1))
        stored, faded = await _stored(tmp_path, shared_url, ledger.acked)
        whole = await first.failed()
        await _contract(shared_url)
        async with asyncio.timeout(10):
            while (broken := await first.failed() - whole) < 10:  # noqa: ASYNC110 - a process
                await asyncio.sleep(0.05)
        await first.stop()
    finally:
        for client in clients:
            client.kill()
    errors = sum((one["errors"] for one in figures), Counter())
    verdict = ledger.verdict(stored)
    record(
        25,
        f"old and new code, {shared_url.split(':')[0]}",
        f"{MIXED_SECONDS:.0f} s, {len(ledger.acked):,} turns of 2 old and 1 new process, "
        f"{errors.total()} errors, {verdict['lost']} lost, {faded} colours lost",
        f"a contract migration: {broken} calls of the old code failed",
    )
    assert errors == Counter()
    assert set(verdict.values()) == {0}
    assert faded == 0
    assert before > 0
    assert whole == 0
    assert all(one["acked"].total() > 0 for one in figures)
    assert broken >= 10
