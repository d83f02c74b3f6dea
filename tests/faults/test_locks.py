"""Rows 28 and 29: who may touch the file, where it may lie, and how it is checkpointed."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from holdfast import PersistenceConnectionError, create_backend
from holdfast.engines.sqlite import files

from .preload import Shims
from .scorecard import FULL, SEED, Ledger, Record, sized

pytestmark = pytest.mark.needs("cc")

TESTS = Path(__file__).parent.parent

#: A writer of ours; or one on the bare driver, and who moves its log meanwhile, in the mode in
#: which SQLite does it by itself; or one that is known to lose rows. An acknowledged key is a line
#: of the file beside the database. All are forked from one process, which has imported Holdfast.
_WRITE = """
import asyncio, os, random, sqlite3, sys, time
from contextlib import closing

from holdfast import create_backend

async def ours(url, name, seconds):
    backend = create_backend(url)
    await backend.connect()
    end = time.time() + seconds
    async def writer(number):
        turn = 0
        while time.time() < end:
            turn += 1
            key = f"{name}-{number}-{turn}"
            await backend.set_setting(key, "v" * 600)
            os.write(1, f"{key}\\n".encode())
            await asyncio.sleep(random.uniform(0, 0.01))
    await asyncio.gather(*(writer(n) for n in range(2)))
    await backend.disconnect()

def bare(path, name, seconds):
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    turn, end = 0, time.time() + seconds
    while time.time() < end:
        turn += 1
        write(connection, f"{name}-{turn}")
        time.sleep(random.uniform(0, 0.01))

def write(connection, key):
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO settings VALUES ('default', 'n', ?, ?, '')", (key, "v" * 600))
    connection.execute("COMMIT")
    os.write(1, f"{key}\\n".encode())

def careless(path, name, seconds):
    # It looks into the file, which loses its locks; the other one opens and closes the database.
    turn, end = 0, time.time() + seconds
    if name == "a":
        connection = sqlite3.connect(path, isolation_level=None, timeout=30)
        connection.execute("PRAGMA journal_mode=WAL")
    while time.time() < end:
        turn += 1
        if name == "a":
            write(connection, f"{name}-{turn}")
            open(path, "rb").close()
        else:
            with closing(sqlite3.connect(path)) as other:
                other.execute("SELECT 1 FROM settings").fetchone()
        time.sleep(random.uniform(0, 0.01))
    os._exit(0)  # closing would bring back what is in the log that was removed

def checkpoint(path, seconds):
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    end = time.time() + seconds
    while time.time() < end:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        time.sleep(random.uniform(0, 0.005))

def run(kind, name, path, seconds):
    if kind == "ours":
        asyncio.run(ours(f"sqlite:///{path}?checkpoint_bytes=20000", name, seconds))
    elif kind == "careless":
        careless(path, name, seconds)
    elif name.startswith("checkpointer"):
        checkpoint(path, seconds)
    else:
        bare(path, name, seconds)

kind, seconds, names, seed, *paths = sys.argv[1:]
children = []
for number, path in enumerate(paths):
    for name in names.split(","):
        if child := os.fork():
            children.append(child)
            continue
        os.environ["HOLDFAST_SEED"] = str(int(seed) + number)  # the delays'
        random.seed(f"{os.environ['HOLDFAST_SEED']} {name}")
        os.dup2(os.open(path + ".acked", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
        time.sleep(random.uniform(0, 0.3))  # one opens, or closes, while the other writes
        run(kind, name, path, float(seconds))
        os._exit(0)
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
"""


def _verdict(path: Path) -> dict[str, int]:
    """Broken promises to those who wrote there, and whether the file is sound."""
    ledger = Ledger(acked=set(Path(f"{path}.acked").read_text().split()))
    verdict = {"rounds": 1, "corrupt": 0, "acked": len(ledger.acked)}
    try:
        with closing(sqlite3.connect(path)) as connection:
            verdict["corrupt"] = int(
                connection.execute("PRAGMA integrity_check").fetchone() != ("ok",)
            )
            stored = [row[0] for row in connection.execute("SELECT key FROM settings")]
    except sqlite3.DatabaseError:
        verdict["corrupt"] = 1
        stored = []
    return verdict | ledger.verdict(stored)


#: Rounds at a time; each is asleep for most of it.
_TOGETHER = 8


async def _rounds(
    shims: Shims, template: bytes, place: Path, kind: str, rounds: int, seconds: float
) -> dict[str, int]:
    """What ``rounds`` came to, in each of which two processes write under delays."""
    total: Counter[str] = Counter()
    names = ["a", "b"] + [f"checkpointer {n}" for n in range(3)] * (kind == "bare")
    for begin in range(0, rounds, _TOGETHER):
        numbers = range(begin, min(begin + _TOGETHER, rounds))
        paths = [place / f"{kind}-{number}.db" for number in numbers]
        for path in paths:
            path.write_bytes(template)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _WRITE, kind, str(seconds), ",".join(names),
            str(SEED * 1_000 + begin), *map(str, paths), env=shims.environment("delay"),
        )  # fmt: skip
        assert await process.wait() == 0
        for path in paths:
            total.update(_verdict(path))
    return dict(total)


@pytest.fixture
def template(sqlite_template: Path) -> bytes:
    """A migrated database that nobody has open."""
    return sqlite_template.read_bytes()


async def _checkpoints_of(path: Path, patch: pytest.MonkeyPatch) -> tuple[set[str], set[int]]:
    """The checkpoints that were asked for, and `wal_autocheckpoint` of every connection."""
    asked: set[str] = set()
    automatic: list[int] = []
    open_ = files.Database._open

    def note(sql: str) -> None:
        if "wal_checkpoint" in sql.lower():
            asked.add(sql)

    def opened(database: files.Database, **options: Any) -> sqlite3.Connection:
        connection = open_(database, **options)
        automatic.append(connection.execute("PRAGMA wal_autocheckpoint").fetchone()[0])
        connection.set_trace_callback(note)
        return connection

    with patch.context() as context:
        context.setattr(files.Database, "_open", opened)
        backend = create_backend(f"sqlite:///{path}?checkpoint_bytes=20000")
        await backend.connect()
        await backend.migrate()
        for n in range(40):
            await backend.set_setting(f"k{n}", "v" * 600)
        await backend.disconnect()
    assert len(automatic) >= 4  # the writer, the readers, and the one that migrates
    return asked, set(automatic)


async def test_row_28_a_sqlite_that_loses_rows_at_checkpoints(
    shims: Shims,
    template: bytes,
    tmp_path: Path,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, automatic = await _checkpoints_of(tmp_path / "instrumented.db", monkeypatch)
    with closing(sqlite3.connect(tmp_path / "instrumented.db")) as stock:
        control = stock.execute("PRAGMA wal_autocheckpoint").fetchone()[0]
    rounds, seconds = sized(1, 200), float(sized(1, 5))
    total = await _rounds(shims, template, tmp_path, "ours", rounds, seconds)
    bare: dict[str, int] = {}
    careless = await _rounds(shims, template, tmp_path, "careless", 2, 1.0)
    if FULL:
        bare = await _rounds(shims, template, tmp_path, "bare", 40, seconds)
    with monkeypatch.context() as context:
        context.setattr(files, "file_system", lambda _: "nfs4")
        backend = create_backend(f"sqlite:///{tmp_path}/far.db")
        with pytest.raises(PersistenceConnectionError, match="network file system"):
            await backend.connect()
    record(
        28,
        f"SQLite {sqlite3.sqlite_version}, two writers, delays",
        f"{total}; checkpoints asked for: {', '.join(asked)}; nfs4 refused",
        f"a stock connection checkpoints by itself after {control} pages, as PASSIVE does; "
        f"a writer that loses its locks: {careless}",
        str(bare or ""),
    )
    assert total.pop("rounds") == rounds
    acked = total.pop("acked")
    assert acked > 5 * rounds
    assert set(total.values()) == {0}
    assert asked == {"PRAGMA wal_checkpoint(TRUNCATE)"}
    assert automatic == {0}
    assert control > 0
    assert careless["lost"] > 0


_WORK = """
import asyncio, sys
from holdfast import Task, create_backend
from holdfast.cli.app import app

url, backup, careless = sys.argv[1:]

async def work():
    backend = create_backend(url + "?checkpoint_bytes=20000")
    await backend.connect()
    await backend.migrate()
    for n in range(30):
        await backend.tasks.save(Task(
            id=str(n), title="t", description="d", type="admin", project="p", created_by="m"
        ))
    async with backend.transaction() as tx:
        await tx.tasks.delete("1")
    await backend.tasks.list_tasks()
    if careless:
        open(url.removeprefix("sqlite:///"), "rb").close()
    await backend.disconnect()

asyncio.run(work())
for arguments in (["migrate"], ["status"], ["backup", backup], ["doctor", "--thorough"]):
    try:
        app([*arguments, "--url", url], standalone_mode=False)
    except SystemExit:
        pass
"""


async def _closes(shims: Shims, place: Path, careless: str) -> list[str]:
    """Who closed a descriptor of the database; "sqlite" for each that SQLite opened itself."""
    # Any close; or, as for a suite, those of a file that SQLite has open.
    where = {"HOLDFAST_DATABASES": place} if careless else {"HOLDFAST_DATABASE": place / "org.db"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _WORK, f"sqlite:///{place}/org.db", str(place / "backup"), careless,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env=shims.environment("closes", HOLDFAST_CLOSES=place / "closes", **where),
    )  # fmt: skip
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    assert (place / "backup").exists(), output
    return (place / "closes").read_text().splitlines()


async def _closes_of_the_suite(shims: Shims, place: Path, *which: str) -> tuple[list[str], str]:
    """Who closed what SQLite had open, in these tests on SQLite; and the run's summary."""
    # What lies in memory is one process's own, and is not below this place.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
        "-k", "sqlite and not sqlite-memory or mark", f"--basetemp={place / 'databases'}", *which,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=TESTS,
        env=shims.environment(
            "closes", HOLDFAST_DATABASES=place, HOLDFAST_CLOSES=place / "closes"
        ),
    )  # fmt: skip
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output[-4_000:]
    return (place / "closes").read_text().splitlines(), output.splitlines()[-1]


async def test_row_29_nobody_else_opens_the_file(
    shims: Shims, tmp_path: Path, record: Record
) -> None:
    for name in ("ours", "careless", "suite"):
        (tmp_path / name).mkdir()
    closes = await _closes(shims, tmp_path / "ours", "")
    control = await _closes(shims, tmp_path / "careless", "open")
    which = ["conformance", "races", "engines", "operations", "changes", "cli"]
    suite, summary = await _closes_of_the_suite(
        shims,
        tmp_path / "suite",
        *(which if FULL else ["engines/test_mark.py"]),
    )
    foreign, careless, in_suite = (
        [close for close in each if close != "sqlite"] for each in (closes, control, suite)
    )
    record(
        29,
        "closes of the database behind SQLite",
        f"{len(foreign)}, while SQLite opened {closes.count('sqlite')} files: connect, migrate, "
        f"save, transaction, list, status, backup, doctor; {len(in_suite)} in the tests on SQLite, "
        f"where it opened {suite.count('sqlite'):,} ({summary.strip('= ')})",
        f"open(path).close() was seen {len(careless)} times",
    )
    assert closes.count("sqlite") > 10
    assert foreign == []
    assert suite.count("sqlite") > 50
    assert in_suite == []
    assert careless == ["foreign database"]
