"""Databases without a schema, and a look at all that is in one."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from holdfast import PersistenceBackend, create_backend
from holdfast.engines.protocol import Engine
from holdfast.migrations import HOLDFAST


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each engine in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    url: str = request.getfixturevalue("empty_postgres_url")
    return url


@pytest.fixture
async def empty(empty_url: str) -> AsyncIterator[PersistenceBackend]:
    """A connected backend on an empty database."""
    backend = create_backend(empty_url)
    await backend.connect()
    yield backend
    await backend.disconnect()


@pytest.fixture
async def migrated(shared_url: str) -> AsyncIterator[PersistenceBackend]:
    """A connected backend on a copy of a migrated database, for what does not ask how it became
    one."""
    backend = create_backend(shared_url)
    await backend.connect()
    yield backend
    await backend.disconnect()


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Adds a revision ``9999`` behind the newest: as a newer Holdfast would have it."""
    copy = tmp_path / "versions"
    shutil.copytree(HOLDFAST.folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
    newest = HOLDFAST.head()
    monkeypatch.setitem(vars(HOLDFAST), "folder", copy)

    def add(upgrade: str) -> None:
        (copy / "9999_newer.py").write_text(
            "import sqlalchemy as sa\nfrom alembic import op\n"
            f"revision = '9999'\ndown_revision = {newest!r}\n"
            f"def upgrade():\n    {upgrade}\n"
            "def downgrade():\n    op.drop_table('novel')\n"
        )

    return add


def engine_of(backend: PersistenceBackend) -> Engine:
    backend_: Any = backend
    engine: Engine = backend_._core.engine
    return engine


async def run_sql(backend: PersistenceBackend, *statements: str) -> None:
    """SQL that a careless administrator sends."""

    def send(connection: Connection) -> None:
        for statement in statements:
            connection.exec_driver_sql(statement)

    await engine_of(backend).run_sync(send)


_POSTGRES = """
SELECT 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
       || coalesce(' ' || l.collname, '') || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
       || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
LEFT JOIN pg_collation l ON l.oid = a.attcollation
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped
  AND c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'index', tablename, indexname, indexdef
FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid)
FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'function', '', proname, pg_get_functiondef(oid)
FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'policy', tablename, policyname, concat_ws(' ', permissive, cmd, qual, with_check)
FROM pg_policies WHERE schemaname = 'public'
UNION ALL SELECT 'row security', '', relname, relrowsecurity::text
FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relrowsecurity
"""


async def everything(backend: PersistenceBackend) -> set[tuple[str, ...]]:
    """Whatever a database has but Alembic's own table: kind, table, name and definition."""

    def look(connection: Connection) -> set[tuple[str, ...]]:
        if backend.backend_name == "postgres":
            rows = connection.exec_driver_sql(_POSTGRES).all()
            return {tuple(map(str, row)) for row in rows if row[1] != "holdfast_revision"}
        found: set[tuple[str, ...]] = set()
        for kind, name, table, sql in connection.exec_driver_sql(
            "SELECT type, name, tbl_name, sql FROM sqlite_schema"
            " WHERE tbl_name <> 'holdfast_revision' AND sql IS NOT NULL"
        ):
            text = " ".join(sql.split())
            if kind == "table":  # its parts stand in the order of declaration, which says nothing
                text = ", ".join(sorted(_parts(text)))
            found.add((kind, table, name, text))
        return found

    return await engine_of(backend).run_sync(look)


def _parts(create_table: str) -> list[str]:
    """Columns and constraints: what commas outside of inner parentheses separate."""
    parts, depth = [""], 0
    for character in create_table.partition("(")[2].rstrip()[:-1]:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]
