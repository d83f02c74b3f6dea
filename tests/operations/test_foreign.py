"""A restore takes along what an application has of its own, and nothing that acts on our tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import Connection

from holdfast import BackupError, PersistenceBackend

from ..changes.conftest import engine_of
from ..conformance.test_work import task
from ..conftest import run_sql
from .test_backup import connected, empty_url, programs

__all__ = ["empty_url", "programs"]


async def run_on(backend: PersistenceBackend, statements: Sequence[str]) -> None:
    def run(connection: Connection) -> None:
        for statement in statements:
            connection.exec_driver_sql(statement)

    await engine_of(backend).run_sync(run)


#: What may be left on a table: the statements, and the name that is told.
ON_SQLITE = [
    (
        ["CREATE TRIGGER evil AFTER INSERT ON tasks BEGIN SELECT 1; END"],
        "trigger evil on tasks",
    ),
    (
        [
            "DROP TRIGGER changes_insert_settings",
            "CREATE TRIGGER changes_insert_settings AFTER INSERT ON tasks BEGIN SELECT 1; END",
        ],
        "trigger changes_insert_settings on tasks",
    ),
    # Names are the same in any case.
    (
        ["CREATE TRIGGER evil AFTER INSERT ON TASKS BEGIN SELECT 1; END"],
        "trigger evil on tasks",
    ),
    (
        ['CREATE TRIGGER evil AFTER INSERT ON "tAsks" BEGIN SELECT 1; END'],
        "trigger evil on tasks",
    ),
    (
        [
            "CREATE TRIGGER evil AFTER INSERT ON tasks BEGIN SELECT 1; END",
            "PRAGMA writable_schema = ON",
            "UPDATE sqlite_schema SET type = 'Trigger' WHERE name = 'evil'",
        ],
        "trigger evil on tasks",
    ),
    (
        [
            "DROP TABLE checkpoints",
            "CREATE VIEW Checkpoints AS SELECT 1",
        ],
        "view Checkpoints",
    ),
    (
        ["CREATE TRIGGER evil AFTER UPDATE ON holdfast_revision BEGIN SELECT 1; END"],
        "trigger evil on holdfast_revision",
    ),
]
#: On PostgreSQL a restore takes seconds, so that all of these are in one database.
ON_POSTGRES = {
    "trigger evil on tasks": """
        CREATE FUNCTION evil() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER evil BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION evil()
    """,
    "trigger evil on holdfast_revision": """
        CREATE TRIGGER evil AFTER UPDATE ON holdfast_revision FOR EACH ROW EXECUTE FUNCTION evil()
    """,
    "rule evil on tasks": "CREATE RULE evil AS ON INSERT TO tasks DO ALSO NOTIFY evil",
    "policy evil on users": "CREATE POLICY evil ON users USING (true)",
    "policy holdfast_tenant on users": "ALTER POLICY holdfast_tenant ON users USING (true)",
    "function ck_users_ceo_minimum()": """
        CREATE OR REPLACE FUNCTION ck_users_ceo_minimum() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN END'
    """,
    "trigger ck_users_owner_minimum on users": """
        ALTER TABLE users DISABLE TRIGGER ck_users_owner_minimum
    """,
    "default of tasks.title": """
        CREATE FUNCTION evil_text() RETURNS text LANGUAGE sql AS $$SELECT 'x'$$;
        ALTER TABLE tasks ALTER COLUMN title SET DEFAULT evil_text()
    """,
    "check evil on tasks": """
        CREATE FUNCTION evil(text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
        ALTER TABLE tasks ADD CONSTRAINT evil CHECK (evil(title))
    """,
    "type of settings.value": """
        CREATE DOMAIN evil AS text CHECK (evil(VALUE));
        ALTER TABLE settings ALTER COLUMN value TYPE evil
    """,
    "table evil_too inheriting from users": "CREATE TABLE evil_too () INHERITS (users)",
    "event trigger evil": """
        CREATE FUNCTION evil_event() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
        CREATE EVENT TRIGGER evil ON ddl_command_start EXECUTE FUNCTION evil_event()
    """,
    "index evil on tasks": """
        CREATE FUNCTION evil(text, text) RETURNS integer LANGUAGE sql IMMUTABLE
        AS 'SELECT bttextcmp($1, $2)';
        CREATE OPERATOR CLASS evil FOR TYPE text USING btree AS OPERATOR 1 <, OPERATOR 2 <=,
        OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 evil(text, text);
        CREATE INDEX evil ON tasks (description evil)
    """,
    "statistics evil_text on tasks": """
        CREATE FUNCTION evil_copy(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
        CREATE STATISTICS evil_text ON (evil_copy(description)), title FROM tasks
    """,
}


async def try_to_restore(
    url: str, statements: Sequence[str], told: str, into: str, path: Path
) -> None:
    async with connected(url) as backend:
        await backend.record_changes(backend.settings)
        await backend.tasks.save(task("t"))
        await run_on(backend, statements)
        made = await backend.operations.backup(path)
    async with connected(into) as restored:
        with pytest.raises(BackupError, match=told):
            await restored.operations.restore(path)
        assert await engine_of(restored).count(list(made.rows)) == {}
        # Nothing is left: the same place takes it if that is wanted.
        assert await restored.operations.restore(path, keep_foreign=True) == made


@pytest.mark.parametrize(("statements", "name"), ON_SQLITE, ids=lambda value: str(value)[:40])
async def test_foreign_objects_are_not_restored_on_sqlite(
    statements: list[str], name: str, sqlite_url: str, tmp_path: Path
) -> None:
    into = f"sqlite:///{tmp_path / 'restored.db'}"
    told = f"makes: {re.escape(name)}. It could"
    await try_to_restore(sqlite_url, statements, told, into, tmp_path / "org.backup")


async def test_foreign_objects_are_not_restored_on_postgres(
    postgres_url: str, empty_postgres_url: str, tmp_path: Path
) -> None:
    statements = [part for sql in ON_POSTGRES.values() for part in sql.split(";\n")]
    told = f"makes: {re.escape(', '.join(sorted(ON_POSTGRES)))}. It could"
    path = tmp_path / "org.backup"
    await try_to_restore(postgres_url, statements, told, empty_postgres_url, path)


async def test_an_applications_own_objects_are_restored(
    backend: PersistenceBackend, empty_url: str, tmp_path: Path, engine_name: str
) -> None:
    """A trigger on its own table, and on PostgreSQL a function; a recorder of ours."""
    sql = ["CREATE TABLE mine (a integer)"]
    if engine_name == "postgres":
        sql += [
            "CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "CREATE TRIGGER mine BEFORE INSERT ON mine FOR EACH ROW EXECUTE FUNCTION mine()",
        ]
    else:
        sql += ["CREATE TRIGGER mine_t AFTER INSERT ON mine BEGIN SELECT 1; END"]
    await backend.record_changes(backend.tasks, backend.users)
    await run_on(backend, sql)
    made = await backend.operations.backup(tmp_path / "org.backup")
    async with connected(empty_url) as restored:
        assert await restored.operations.restore(tmp_path / "org.backup") == made
        assert await restored.recorded_tables() == ["tasks", "users"]
        assert await engine_of(restored).count(["mine"]) == {"mine": 0}


@pytest.mark.parametrize("schema", ["t", "users", "Q\"x'\\y é"])
async def test_a_backup_goes_into_a_schema_of_its_own(
    schema: str, postgres_url: str, empty_postgres_url: str, tmp_path: Path
) -> None:
    """Whose name may be a part of other names; it is there, since `connect` wants it."""
    quoted = '"' + schema.replace('"', '""') + '"'
    urls = [f"{url}?schema={quote(schema, safe='')}" for url in (postgres_url, empty_postgres_url)]
    for url in (postgres_url, empty_postgres_url):
        await run_sql(url, f"CREATE SCHEMA {quoted}")
    async with connected(urls[0]) as backend:
        await backend.migrate()
        await backend.record_changes(backend.settings)
        await backend.tasks.save(task("t"))
        made = await backend.operations.backup(tmp_path / "org.backup")
    async with connected(urls[1]) as restored:
        assert await restored.operations.restore(tmp_path / "org.backup") == made
        assert await restored.schema_drift() == []
        assert await restored.tasks.get("t") == task("t")


#: What may have been taken away: the statements, and what is told.
TAKEN_ON_SQLITE = [
    (
        "DROP TRIGGER ck_users_owner_minimum_UPDATE",
        "trigger ck_users_owner_minimum_UPDATE on users",
    ),
    (
        "DROP TRIGGER ck_users_owner_minimum_DELETE",
        "trigger ck_users_owner_minimum_DELETE on users",
    ),
]
TAKEN_ON_POSTGRES = {
    "policy holdfast_tenant on settings": "DROP POLICY holdfast_tenant ON settings",
    "row security of users": "ALTER TABLE users DISABLE ROW LEVEL SECURITY",
    "trigger ck_users_owner_minimum on users": "DROP TRIGGER ck_users_owner_minimum ON users",
}


@pytest.mark.parametrize(("statement", "name"), TAKEN_ON_SQLITE)
async def test_what_was_taken_away_is_told_on_sqlite(
    statement: str, name: str, sqlite_url: str, tmp_path: Path
) -> None:
    into = f"sqlite:///{tmp_path / 'restored.db'}"
    told = f"lacks what keeps .*{re.escape(name)}"
    await try_to_restore(sqlite_url, [statement], told, into, tmp_path / "org.backup")


async def test_what_was_taken_away_is_told_on_postgres(
    postgres_url: str, empty_postgres_url: str, tmp_path: Path
) -> None:
    statements = list(TAKEN_ON_POSTGRES.values())
    told = f"lacks what keeps Holdfast's rules: {re.escape(', '.join(TAKEN_ON_POSTGRES))}. Some"
    path = tmp_path / "org.backup"
    await try_to_restore(postgres_url, statements, told, empty_postgres_url, path)


async def test_a_backup_from_before_there_were_policies_is_restored(
    postgres_url: str, empty_postgres_url: str, tmp_path: Path
) -> None:
    async with connected(postgres_url) as backend:
        await run_on(
            backend,
            [
                """
DO $$ DECLARE t text; BEGIN FOR t IN SELECT polrelid::regclass FROM pg_policy LOOP
EXECUTE format('DROP POLICY holdfast_tenant ON %I', t);
EXECUTE format('ALTER TABLE %I DISABLE ROW LEVEL SECURITY', t);
END LOOP; END $$
""",
                "DROP FUNCTION holdfast_tenant()",
            ],
        )
        made = await backend.operations.backup(tmp_path / "org.backup")
    async with connected(empty_postgres_url) as restored:
        assert await restored.operations.restore(tmp_path / "org.backup") == made
        await restored.migrate()
        assert await restored.schema_drift() == []
