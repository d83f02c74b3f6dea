"""Objects with our names that are not ours: named before anything is changed, all at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast import MigrationError, Project, migrations

from ..migrations.conftest import empty, empty_url, engine_of, everything, scripts
from .opened import ask, in_schema, opened, run

__all__ = ["empty", "empty_url", "scripts"]

BOTH = {
    'table "users"': ["CREATE TABLE users (id integer)"],
    'view "sessions"': ["CREATE VIEW sessions AS SELECT 1 AS id"],
    'table "settings"': ["CREATE TABLE settings (tenant text, namespace text, key text)"],
    'index "ix_tasks_claim"': [
        "CREATE TABLE a (b integer)",
        "CREATE INDEX ix_tasks_claim ON a (b)",
    ],
    'table "ix_users_role"': ["CREATE TABLE ix_users_role (id integer)"],
    'table "holdfast_revision"': ["CREATE TABLE holdfast_revision (id integer)"],
}
SQLITE = {
    'table "Users"': ["CREATE TABLE Users (id integer)"],
    'trigger "ck_users_ceo_minimum_UPDATE"': [
        "CREATE TABLE a (b integer)",
        "CREATE TRIGGER ck_users_ceo_minimum_UPDATE BEFORE UPDATE ON a BEGIN SELECT 1; END",
    ],
}
POSTGRES = {
    'materialized view "tasks"': ["CREATE MATERIALIZED VIEW tasks AS SELECT 1 AS id"],
    'sequence "messages"': ["CREATE SEQUENCE messages"],
    'type "projects"': ["CREATE TYPE projects AS ENUM ('a')"],
    'type "artifacts"': ["CREATE TYPE artifacts AS (a integer)"],
    'type "changes"': ["CREATE DOMAIN changes AS integer"],
    'table "heartbeats"': ["CREATE TABLE heartbeats (id integer) PARTITION BY RANGE (id)"],
    'foreign table "approvals"': [
        "CREATE FOREIGN DATA WRAPPER w",
        "CREATE SERVER s FOREIGN DATA WRAPPER w",
        "CREATE FOREIGN TABLE approvals (id integer) SERVER s",
    ],
    'index "pk_api_keys"': ["CREATE TABLE a (b integer CONSTRAINT pk_api_keys PRIMARY KEY)"],
    'index "uq_users_username"': ["CREATE TABLE a (b integer CONSTRAINT uq_users_username UNIQUE)"],
    'function "ck_users_owner_minimum"': [
        "CREATE FUNCTION ck_users_owner_minimum() RETURNS int LANGUAGE sql AS 'SELECT 1'"
    ],
    'procedure "ck_users_ceo_minimum"': [
        "CREATE PROCEDURE ck_users_ceo_minimum() LANGUAGE sql AS 'SELECT 1'"
    ],
    'function "holdfast_tenant"': [
        "CREATE FUNCTION holdfast_tenant() RETURNS int LANGUAGE sql AS 'SELECT 1'"
    ],
}


async def _refused(url: str, *named: str) -> str:
    async with opened(url, migrate=False) as backend:
        before = await everything(backend)
        with pytest.raises(MigrationError) as refused:
            await backend.migrate()
        assert await everything(backend) == before
        assert (await backend.status()).revision is None
    said = str(refused.value)
    assert said.startswith("nothing was changed: ")
    assert [name for name in named if name not in said] == []
    assert said.count('"') == 2 * len(named)
    return said


@pytest.mark.parametrize("named", BOTH)
async def test_an_object_in_the_way(empty_url: str, named: str) -> None:
    await run(empty_url, *BOTH[named])
    assert f"{named} exists already and is not Holdfast's" in await _refused(empty_url, named)


@pytest.mark.parametrize("named", SQLITE)
async def test_an_object_in_the_way_on_sqlite(tmp_path: Path, named: str) -> None:
    url = f"sqlite:///{tmp_path / 'org.db'}"
    await run(url, *SQLITE[named])
    assert "file of its own" in await _refused(url, named)


async def test_objects_in_the_way_on_postgres(empty_postgres_url: str) -> None:
    for n, statements in enumerate(POSTGRES.values()):
        await run(
            empty_postgres_url, *(s.replace("TABLE a (", f"TABLE a{n} (") for s in statements)
        )
    said = await _refused(empty_postgres_url, *POSTGRES)
    assert "exist already and are not Holdfast's" in said
    await run(empty_postgres_url, "CREATE SCHEMA holdfast")  # the way out that it names
    assert "?schema=holdfast" in said
    async with opened(in_schema(empty_postgres_url, "holdfast")) as backend:
        await backend.projects.save(Project(id="p", name="P"))
        assert await backend.schema_drift() == []


@pytest.mark.parametrize(
    "harmless",
    [
        "CREATE FUNCTION ck_users_owner_minimum(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SEQUENCE changes_revision_seq",
        "CREATE TYPE _users AS ENUM ('a')",
        "CREATE TYPE ix_tasks_claim AS ENUM ('a')",
        "CREATE SCHEMA users",
        "CREATE SCHEMA other CREATE TABLE users (id integer)",
        'CREATE TABLE "Users" (id integer)',
        "CREATE TABLE invoices (id integer)",
    ],
)
async def test_what_is_in_nobodys_way(empty_postgres_url: str, harmless: str) -> None:
    await run(empty_postgres_url, harmless)
    async with opened(empty_postgres_url) as backend:
        await backend.projects.save(Project(id="p", name="P"))
        assert await backend.schema_drift() == []


async def test_a_later_revision_names_what_is_in_its_way(
    empty_url: str, scripts: Callable[[str], None]
) -> None:
    first = migrations.history()[-1].revision
    async with opened(empty_url) as backend:
        await backend.downgrade(first)
    await run(empty_url, "CREATE TABLE approvals (id integer)", "CREATE VIEW sessions AS SELECT 1")
    async with opened(empty_url, migrate=False) as backend:
        with pytest.raises(MigrationError, match='table "approvals", view "sessions" exist'):
            await backend.migrate()
        assert (await backend.status()).revision == first
    await run(empty_url, "DROP TABLE approvals", "DROP VIEW sessions")
    await run(empty_url, "CREATE TABLE novel (id integer)")
    # What no declaration tells beforehand is at least named.
    scripts("op.create_table('novel', sa.Column('id', sa.Text))")
    async with opened(empty_url, migrate=False) as backend:
        with pytest.raises(MigrationError, match=r"undone: .*novel.*already exists"):
            await backend.migrate()


async def test_an_applications_own_tables_are_no_drift(empty_url: str) -> None:
    await run(empty_url, "CREATE TABLE invoices (id integer)")
    if empty_url.startswith("postgres"):
        await run(
            empty_url,
            "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "CREATE TRIGGER noted BEFORE INSERT ON invoices FOR EACH ROW EXECUTE FUNCTION noted()",
        )
    async with opened(empty_url) as backend:
        assert await backend.schema_drift() == []
        found = {
            f.level: f.message for f in await backend.operations.doctor() if f.subject == "schema"
        }
        assert "invoices" in found["notice"]
        assert "problem" not in found
        assert "invoices" not in (await backend.status()).tables
        await backend.downgrade("base")
        assert await migrations.current(engine_of(backend)) is None
    table = "sqlite_schema" if empty_url.startswith("sqlite") else "pg_tables"
    column = "name" if empty_url.startswith("sqlite") else "tablename"
    assert await ask(empty_url, f"SELECT 1 FROM {table} WHERE {column} = 'invoices'") == [(1,)]
