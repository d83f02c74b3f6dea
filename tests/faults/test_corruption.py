"""Row 30: a database whose bytes were changed behind SQLite's back.

SQLite has checksums in its log and none in its pages. So a changed page is found where the
structure no longer holds, and a changed bit within a value is not to be seen, by anybody. A damaged
log ends where the damage is: the database is whole, at an earlier commit.
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

from .scorecard import SEED, Record, sized

COMMITS, ROWS = 30, 10

Rows = dict[str, str]


class _Files(NamedTuple):
    """A database and its log."""

    database: bytes
    log: bytes


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
    log = path.with_name(f"{path.name}-wal")
    copies = path.with_name("copy"), path.with_name("copy-wal")
    for source, copy in zip((path, log), copies, strict=True):
        # By another process: a file that is opened and closed in this one loses SQLite's locks.
        process = await asyncio.create_subprocess_exec("cp", str(source), str(copy))
        assert await process.wait() == 0
    await backend.disconnect()
    live = _Files(*(copy.read_bytes() for copy in copies))
    return states, live, _Files(path.read_bytes(), b"")  # noqa: ASYNC240 - it is small


def _clear(place: Path) -> None:
    for old in place.glob("org.db*"):
        old.unlink()


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
        "header bit": lambda: _Files(_flipped(closed.database, 0, 100, chance), b""),
        "page bit": lambda: _Files(_flipped(closed.database, 100, size, chance), b""),
        "database cut": lambda: _Files(_cut(closed.database, chance), b""),
        "log bit": lambda: _Files(live.database, _flipped(live.log, 0, len(live.log), chance)),
        "log cut": lambda: _Files(live.database, _cut(live.log, chance)),
        "log of another": lambda: _Files(live.database, strange.log),
    }
    path = tmp_path / "org.db"
    log = path.with_name("org.db-wal")
    found: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    errors: Counter[str] = Counter()
    silent = 0
    for number in range(sized(60, 500)):
        kind = list(kinds)[number % len(kinds)]
        _clear(tmp_path)
        files = kinds[kind]()
        path.write_bytes(files.database)
        log.write_bytes(files.log)
        try:
            rows = await _read(path)
        except PersistenceError as error:
            found[kind]["refused"] += 1
            errors[type(error).__name__] += 1
            continue
        verdict = _verdict(rows, states)
        found[kind][verdict] += 1
        if verdict in ("one value", "one key"):
            assert _bit_changed(rows, states[-1])
            silent += 1
    control = Counter[str]()
    damaged = bytearray(closed.database)
    for _ in range(20):
        _clear(tmp_path)
        damaged[:] = closed.database
        page = chance.randrange(size // 2, size - 4_096) // 4_096 * 4_096
        damaged[page : page + 8] = bytes(8)
        path.write_bytes(damaged)
        control[_verdict(_read_on(path), states)] += 1
    total = sum((counts for counts in found.values()), Counter[str]())
    record(
        30,
        "SQLite, damaged files",
        f"{dict(total)}, errors {dict(errors)}; "
        + "; ".join(f"{kind}: {dict(counts)}" for kind, counts in found.items()),
        f"a reader that goes on after an error: {dict(control)}",
    )
    assert total["wrong rows"] == 0
    assert silent == total["one value"] + total["one key"]
    assert errors[DatabaseCorruptError.__name__] > 0
    assert all(found[kind]["an earlier commit"] == 0 for kind in kinds if "log" not in kind)
    assert control["wrong rows"] + control["an earlier commit"] > 0
