"""Row 30: a database whose bytes were changed behind SQLite's back.

SQLite has checksums in its log and none in its pages. So a changed page is found where its
structure no longer holds; now and then only if all of it is read, as `holdfast doctor --thorough`
and every backup do. A changed bit within a value is not to be seen, by anybody. A damaged log ends
for SQLite where the damage is, at an earlier commit; the high-water mark knows better.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from holdfast import DatabaseCorruptError, PersistenceError, create_backend
from holdfast.testing.databases import connected

from .scorecard import SEED, Record, sized

COMMITS, ROWS = 30, 10

Rows = dict[str, str]


class _Files(NamedTuple):
    """A database, its log and its mark; what is empty is not there."""

    database: bytes
    log: bytes = b""
    mark: bytes = b""

    def put(self, path: Path) -> None:
        for old in path.parent.glob(f"{path.name}*"):
            old.unlink()
        for ending, content in zip(("", "-wal", "-mark"), self, strict=True):
            if content:
                path.with_name(f"{path.name}{ending}").write_bytes(content)


async def _written(path: Path, salt: str) -> tuple[list[Rows], _Files, _Files]:
    """The rows after each commit; the files with a third of them in the log; and without one."""
    backend = create_backend(f"sqlite:///{path}?checkpoint_bytes=100000000")
    await backend.connect()
    await backend.migrate()
    states: list[Rows] = [{}]
    for commit in range(COMMITS):
        if commit == 2 * COMMITS // 3:
            await backend.get_db().run(
                lambda c: c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            )
        new = {f"{salt}{commit}-{n}": f"{commit:04}{n:04}" * 40 for n in range(ROWS)}
        await backend.settings.set_many([("n", key, value, "now") for key, value in new.items()])
        states.append(states[-1] | new)
    sources = [path.with_name(f"{path.name}{ending}") for ending in ("", "-wal", "-mark")]
    copies = [path.with_name(f"copy-{number}") for number in range(3)]
    for source, copy in zip(sources, copies, strict=True):
        # By another process: a file that is opened and closed in this one loses SQLite's locks.
        process = await asyncio.create_subprocess_exec("cp", str(source), str(copy))
        assert await process.wait() == 0
    await backend.disconnect()
    live = _Files(*(copy.read_bytes() for copy in copies))
    assert sorted(each.name for each in path.parent.glob("org.db*")) == ["org.db"]
    return states, live, _Files(path.read_bytes())  # noqa: ASYNC240 - it is small


def _flipped(content: bytes, begin: int, end: int, chance: random.Random) -> bytes:
    changed = bytearray(content)
    changed[chance.randrange(begin, end)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(1, len(content))]


async def _read(path: Path) -> Rows:
    """Everything, as an application reads it."""
    backend = create_backend(f"sqlite:///{path}")
    try:
        await backend.connect()
        return {key: value for _, key, value, *_ in await backend.settings.get_all()}
    finally:
        await backend.disconnect()


async def _doctor_objects(path: Path) -> bool:
    """Whether reading everything, which is not done before every start, finds the damage."""
    async with connected(create_backend(f"sqlite:///{path}")) as backend:
        findings = await backend.operations.doctor(thorough=True)
    return any(each.level == "problem" for each in findings)


def _read_on(path: Path) -> Rows:
    """The control: a reader that takes what came before an error for everything."""
    rows: Rows = {}
    with closing(sqlite3.connect(path)) as connection:
        try:
            for key, value in connection.execute("SELECT key, value FROM settings"):
                rows[key] = value
        except sqlite3.DatabaseError:
            pass
    return rows


def _verdict(rows: Rows, states: list[Rows]) -> str:
    whole = states[-1]
    if rows == whole:
        return "correct"
    if rows in states:
        return "an earlier commit"
    same_keys = rows.keys() == whole.keys()
    if same_keys and sum(rows[key] != whole[key] for key in whole) == 1:
        return "one value"
    if len(rows) == len(whole) and len(rows.keys() ^ whole.keys()) == 2:
        return "one key"
    return "wrong rows"


def _bit_changed(rows: Rows, whole: Rows) -> bool:
    old = "".join(sorted(f"{key}={value}" for key, value in whole.items() - rows.items()))
    new = "".join(sorted(f"{key}={value}" for key, value in rows.items() - whole.items()))
    differences = [ord(a) ^ ord(b) for a, b in zip(old, new, strict=False) if a != b]
    return len(old) == len(new) and len(differences) == 1 and differences[0].bit_count() == 1


async def test_row_30_the_database_is_damaged(tmp_path: Path, record: Record) -> None:
    chance = random.Random(SEED)
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    states, live, closed = await _written(tmp_path / "one" / "org.db", "")
    _, strange, _ = await _written(tmp_path / "other" / "org.db", "other-")
    size = len(closed.database)
    kinds: dict[str, Callable[[], _Files]] = {
        "header bit": lambda: _Files(_flipped(closed.database, 0, 100, chance)),
        "page bit": lambda: _Files(_flipped(closed.database, 100, size, chance)),
        "database cut": lambda: _Files(_cut(closed.database, chance)),
        "log bit": lambda: live._replace(log=_flipped(live.log, 0, len(live.log), chance)),
        "log cut": lambda: live._replace(log=_cut(live.log, chance)),
        "log of another": lambda: live._replace(log=strange.log),
    }
    path = tmp_path / "org.db"
    found: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    errors: Counter[str] = Counter()
    for number in range(sized(60, 500)):
        kind = list(kinds)[number % len(kinds)]
        kinds[kind]().put(path)
        try:
            rows = await _read(path)
        except PersistenceError as error:
            found[kind]["refused"] += 1
            errors[type(error).__name__] += 1
            continue
        verdict = _verdict(rows, states)
        silent = verdict in ("one value", "one key") and _bit_changed(rows, states[-1])
        if verdict not in ("correct", "an earlier commit") and not silent:
            # A bit that orders or connects rows: one row's value may be another's.
            verdict = "found by the doctor" if await _doctor_objects(path) else "wrong rows"
        found[kind][verdict] += 1
    reads_on, unmarked = Counter[str](), Counter[str]()
    for _ in range(20):
        page = chance.randrange(size // 2, size - 4_096) // 4_096 * 4_096
        damaged = closed.database[:page] + bytes(8) + closed.database[page + 8 :]
        _Files(damaged).put(path)
        reads_on[_verdict(_read_on(path), states)] += 1
        _Files(live.database, _cut(live.log, chance)).put(path)
        unmarked[_verdict(await _read(path), states)] += 1
    total = sum((counts for counts in found.values()), Counter[str]())
    record(
        30,
        "SQLite, damaged files",
        f"{dict(total)}, errors {dict(errors)}; "
        + "; ".join(f"{kind}: {dict(counts)}" for kind, counts in found.items()),
        f"a reader that goes on after an error: {dict(reads_on)}; "
        f"a log that is cut, and no mark: {dict(unmarked)}",
    )
    assert (total["wrong rows"], total["an earlier commit"]) == (0, 0)
    assert errors[DatabaseCorruptError.__name__] > 0
    assert reads_on["wrong rows"] + reads_on["an earlier commit"] > 0
    assert unmarked["an earlier commit"] > 0
