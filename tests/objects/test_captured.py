"""What the application's role can do with names: nothing that a rule or a policy would follow."""

from __future__ import annotations

import asyncpg
import pytest

from holdfast import MigrationError, TenantIsolationError, create_backend
from holdfast.migrations import migration_sql

from ..conformance.test_records import user
from ..conformance.test_work import task
from ..operations.test_roles import _as, _make, _migrate, prefix
from .opened import ask, opened, run

__all__ = ["prefix"]

CAPTURES = {
    "temporary table": ["CREATE TEMP TABLE users (LIKE users)",
        "INSERT INTO pg_temp.users SELECT * FROM users WHERE is_owner",
        "UPDATE pg_temp.users SET id = 'another'"],
    "temporary view": [("CREATE TEMP VIEW users AS SELECT tenant, 'another' AS id, role, is_owner"
        " FROM users")],
    "another schema": ["CREATE SCHEMA mine", "CREATE TABLE mine.users (LIKE users)",
        "INSERT INTO mine.users SELECT * FROM users WHERE is_owner",
        "UPDATE mine.users SET id = 'another'", "SET search_path = mine, public"],
    "operator": ["CREATE SCHEMA mine",
        "CREATE FUNCTION mine.always(text, text) RETURNS bool LANGUAGE sql AS 'SELECT true'",
        "CREATE OPERATOR mine.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = mine.always)",
        "SET search_path = mine, pg_catalog, public"],
    "function": ["CREATE SCHEMA mine",
        ("CREATE FUNCTION mine.format(text, name, name) RETURNS text LANGUAGE sql"
        " AS $$ SELECT 'SELECT true' $$"),
        "SET search_path = mine, pg_catalog, public"],
}  # fmt: skip


@pytest.mark.parametrize("name", CAPTURES)
async def test_the_last_owner_stays(prefix: str, empty_postgres_url: str, name: str) -> None:
    """Even for a role that was given more than `holdfast roles` gives."""
    await _make(empty_postgres_url, prefix)
    await _migrate(_as(empty_postgres_url, f"{prefix}_migrator"))
    database = empty_postgres_url.rpartition("/")[2]
    await run(empty_postgres_url, f"GRANT CREATE, TEMP ON DATABASE {database} TO {prefix}_app")
    url = _as(empty_postgres_url, f"{prefix}_app")
    async with opened(url) as backend:
        await backend.users.save(user("last", org_roles=("owner",)))
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SELECT set_config('holdfast.tenant', 'default', false)")
        for statement in CAPTURES[name]:
            await connection.execute(statement)
        for attack in ("DELETE FROM public.users", "UPDATE public.users SET is_owner = false"):
            with pytest.raises(asyncpg.CheckViolationError, match="ck_users_owner_minimum"):
                await connection.execute(attack)
    finally:
        await connection.close()


@pytest.mark.parametrize("name", ["table", "view"])
async def test_what_tasks_wait_for_is_looked_up_where_it_is(
    prefix: str, empty_postgres_url: str, name: str
) -> None:
    """By the role under row-level security, in a session with a temporary ``tasks``."""
    await _make(empty_postgres_url, prefix)
    await _migrate(_as(empty_postgres_url, f"{prefix}_migrator"))
    database = empty_postgres_url.rpartition("/")[2]
    await run(empty_postgres_url, f"GRANT TEMP ON DATABASE {database} TO {prefix}_app")
    async with opened(_as(empty_postgres_url, f"{prefix}_app")) as backend:
        other = backend.for_tenant("other")
        for view in (backend, other):
            await view.tasks.save(task("t", dependencies=("d",)))
        connection = await asyncpg.connect(_as(empty_postgres_url, f"{prefix}_app"))
        try:
            await connection.execute("SELECT set_config('holdfast.tenant', 'default', false)")
            await connection.execute(f"CREATE TEMP {name.upper()} tasks AS SELECT * FROM tasks")
            await connection.execute(
                "INSERT INTO public.tasks SELECT (jsonb_populate_record(null::public.tasks,"
                ' to_jsonb(t) || \'{"id": "d", "status": "completed", "dependencies": [],'
                ' "waits_for": null}\')).* FROM public.tasks t'
            )
        finally:
            await connection.close()
        found = await backend.tasks.claim("ada")
        assert found is not None
        assert found.id == "t"
        assert await other.tasks.claim("ada") is None


@pytest.mark.parametrize("attribute", ["TEMP TABLE t (a int)", "SCHEMA mine", "TABLE t (a int)"])
async def test_what_the_roles_may_not_make(
    prefix: str, empty_postgres_url: str, attribute: str
) -> None:
    await _make(empty_postgres_url, prefix, readonly=True)
    for role in ("app", "readonly"):
        connection = await asyncpg.connect(_as(empty_postgres_url, f"{prefix}_{role}"))
        try:
            await connection.execute("SET default_transaction_read_only = off")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"CREATE {attribute}")
        finally:
            await connection.close()


REFUSED = {
    "GRANT TEMP ON DATABASE {database} TO {app}": "may make temporary tables",
    "GRANT TEMP ON DATABASE {database} TO PUBLIC": "may make temporary tables",
    "GRANT CREATE ON SCHEMA public TO {app}": "may create in the schema",
    "ALTER ROLE {app} SET holdfast.tenant = 'x'": "the role carries a tenant",
    "ALTER ROLE {app} IN DATABASE {database} SET holdfast.tenant = 'x'": "the role carries",
    "ALTER ROLE {app} SET \"Holdfast.Tenant\" = 'x'": "the role carries a tenant",
    "ALTER DATABASE {database} SET holdfast.tenant = 'x'": "the database carries a tenant",
}


@pytest.mark.parametrize("statement", REFUSED)
async def test_a_role_that_is_more_than_it_should_be(
    prefix: str, empty_postgres_url: str, statement: str
) -> None:
    await _make(empty_postgres_url, prefix)
    await _migrate(_as(empty_postgres_url, f"{prefix}_migrator"))
    url = f"{_as(empty_postgres_url, f'{prefix}_app')}?row_security=required"
    async with opened(url):
        pass
    words = {"database": empty_postgres_url.rpartition("/")[2], "app": f"{prefix}_app"}
    await run(empty_postgres_url, statement.format(**words))
    with pytest.raises(TenantIsolationError, match=REFUSED[statement]):
        await create_backend(url).connect()
    if "SCHEMA" not in statement:  # the doctor sees it as well, whatever role asks
        async with opened(empty_postgres_url, migrate=False) as backend:
            found = [f for f in await backend.operations.doctor() if f.subject == "roles"]
        assert [f.level for f in found] == [
            "problem" if "tenant" in statement.lower() else "warning"
        ]


async def test_functions_name_no_table_without_its_schema(postgres_url: str) -> None:
    async with opened(postgres_url) as backend:
        await backend.record_changes(backend.tasks)
    paths = await ask(
        postgres_url,
        "SELECT proname, array_to_string(proconfig, '') FROM pg_proc p"
        " WHERE pronamespace = 'public'::regnamespace AND prorettype = 'trigger'::regtype"
        " AND proname ~ '^(ck|changes)_'",
    )
    assert {path for _, path in paths} == {"search_path=pg_catalog, pg_temp"}
    assert migration_sql("postgresql").count("TG_RELID::regclass") == 2


async def test_who_keeps_migrations_waiting_is_named(
    empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.engines.postgres.admin.exclusive.EXCLUSIVE_SECONDS", 0.5)
    settings = {"application_name": "reports"}
    other = await asyncpg.connect(empty_postgres_url, server_settings=settings)
    try:
        await other.execute("SELECT pg_advisory_lock(hashtextextended('holdfast', 0))")
        pid = await other.fetchval("SELECT pg_backend_pid()")
        async with opened(empty_postgres_url, migrate=False) as backend:
            with pytest.raises(MigrationError, match=f"session {pid} .*'postgres'.*'reports'"):
                await backend.migrate()
    finally:
        await other.close()
    async with opened(empty_postgres_url) as backend:
        assert await backend.schema_drift() == []
