"""Row 10: one bad row in a batch is refused, alone, however the database refuses it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Column, MetaData, PrimaryKeyConstraint, Table, Text
from sqlalchemy.dialects.postgresql import insert

from holdfast import ConstraintViolationError, PersistenceBackend, Project
from holdfast.repositories import tasks
from holdfast.storage.session import Statement

from ..conformance.test_bad_input import run_sql
from ..conformance.test_records import user
from .scorecard import Record

BATCH, BAD = 50, 17

_CHILDREN = Table(
    "children",
    MetaData(),
    Column("tenant", Text),
    Column("id", Text),
    Column("parent", Text),
    PrimaryKeyConstraint("tenant", "id"),
    info={"key": ("id",)},
)
_SAVE_CHILD = Statement("children.save", insert(_CHILDREN), ("tenant", "id", "parent"), _CHILDREN)

Save = Callable[[PersistenceBackend, int], Awaitable[None]]


async def _unique(backend: PersistenceBackend, number: int) -> None:
    await backend.users.save(user(f"u{number}", username="boss" if number == BAD else f"n{number}"))


async def _check(backend: PersistenceBackend, number: int) -> None:
    arguments = list(tasks._PROJECTS.mapper.encode("default", Project(id=f"p{number}", name="n")))
    if number == BAD:  # past the entity's own rule, so that the database's is met
        arguments[tasks._PROJECTS.mapper.parameters.index("budget")] = -1.0
    engine = backend._core.engine  # type: ignore[attr-defined]
    await engine.write(tasks._PROJECTS._save, tuple(arguments))


async def _deferred(backend: PersistenceBackend, number: int) -> None:
    engine = backend._core.engine  # type: ignore[attr-defined]
    parent = "nobody" if number == BAD else "parent"
    await engine.write(_SAVE_CHILD, ("default", f"c{number}", parent))


SAVES: dict[str, tuple[Save, str]] = {
    "unique": (_unique, "SELECT count(*) FROM users WHERE id <> 'boss'"),
    "check": (_check, "SELECT count(*) FROM projects"),
    "deferred foreign key": (_deferred, "SELECT count(*) FROM children"),
}


async def _count(backend: PersistenceBackend, sql: str) -> int:
    handle = backend.get_db()
    if backend.backend_name == "sqlite":
        rows: Any = await handle.run(lambda connection: connection.execute(sql).fetchall())
        return int(rows[0][0])
    connection = await handle.acquire()
    try:
        return int(await connection.raw.fetchval(sql))
    finally:
        handle.release(connection)


async def _naive(backend: PersistenceBackend) -> int:
    """The control: a committer of one transaction, without savepoints; rows that are kept."""
    await run_sql(backend, "CREATE TABLE control (id INTEGER PRIMARY KEY)")
    rows = [(5 if number == BAD else number,) for number in range(BATCH)]
    insert_one = "INSERT INTO control VALUES ({})"
    handle = backend.get_db()
    if backend.backend_name == "sqlite":

        def together(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.executemany(insert_one.format("?"), rows)
            except sqlite3.IntegrityError:
                connection.execute("ROLLBACK")
            else:
                connection.execute("COMMIT")

        await handle.run(together)
    else:
        connection = await handle.acquire()
        try:
            async with connection.raw.transaction():  # leaves cleanly, whatever happened inside
                for row in rows:
                    with contextlib.suppress(asyncpg.PostgresError):
                        await connection.raw.execute(insert_one.format("$1"), *row)
        finally:
            handle.release(connection)
    return await _count(backend, "SELECT count(*) FROM control")


@pytest.mark.parametrize("kind", SAVES)
async def test_row_10_one_bad_row_in_a_batch(
    backend: PersistenceBackend, engine_name: str, kind: str, record: Record
) -> None:
    await backend.users.save(user("boss"))
    await run_sql(backend, "CREATE TABLE parents (id TEXT PRIMARY KEY)")
    await run_sql(backend, "INSERT INTO parents VALUES ('parent')")
    await run_sql(
        backend,
        "CREATE TABLE children (tenant TEXT, id TEXT, parent TEXT, PRIMARY KEY (tenant, id),"
        " FOREIGN KEY (parent) REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)",
    )
    save, count = SAVES[kind]
    outcomes = await asyncio.gather(
        *(save(backend, number) for number in range(BATCH)), return_exceptions=True
    )
    refused = [number for number, outcome in enumerate(outcomes) if outcome is not None]
    assert refused == [BAD]
    assert isinstance(outcomes[BAD], ConstraintViolationError)
    present = await _count(backend, count)

    kept = await _naive(backend)
    record(
        10,
        f"{kind}, {engine_name}",
        f"1 refused, {BATCH - 1} acked, {present} present",
        f"one transaction, nobody told apart: {kept} of {BATCH - 1} kept",
    )
    assert present == BATCH - 1
    assert kept == 0


async def test_row_10_the_driver_calls_a_rollback_success(
    postgres_url: str, record: Record
) -> None:
    """Why the engine reads the answer to COMMIT: the bare driver does not."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("CREATE TABLE t (id int PRIMARY KEY)")
    acked = 0
    async with connection.transaction():
        for number in (1, 2, 2, 3):
            try:
                await connection.execute("INSERT INTO t VALUES ($1)", number)
            except asyncpg.PostgresError:
                continue
            acked += 1
    stored = await connection.fetchval("SELECT count(*) FROM t")
    await connection.close()
    record(
        10,
        "COMMIT answered ROLLBACK",
        "read and refused",
        f"bare driver: {acked} acked, {stored} stored",
    )
    assert acked == 2
    assert stored == 0
