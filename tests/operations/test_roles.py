"""The roles of a database: who owns, who migrates, and what the application's role may do."""

from __future__ import annotations

import asyncio
import logging
import os
import traceback
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from holdfast import (
    InvalidArgumentError,
    MigrationError,
    QueryError,
    TenantIsolationError,
    create_backend,
)
from holdfast.cli.app import app
from holdfast.operations.roles import RoleNames, verifier
from holdfast.testing import PostgresCluster
from holdfast.testing.databases import run_sql
from holdfast.testing.processes import find_programs

from ..conformance.test_records import entry, user
from ..conformance.test_work import task

PASSWORD = "correct horse"


@pytest.fixture
async def prefix(postgres_server: str) -> AsyncIterator[str]:
    """Of roles, which belong to the server: asked for before a database, they go after it."""
    name = f"hf_{uuid.uuid4().hex[:12]}"
    yield name
    roles = ("readonly", "app", "migrator", "owner")
    await run_sql(postgres_server, *(f"DROP ROLE IF EXISTS {name}_{role}" for role in roles))


def _as(url: str, role: str) -> str:
    head, _, tail = url.partition("//")
    return f"{head}//{role}:{PASSWORD.replace(' ', '%20')}@{tail.rpartition('@')[2]}"


async def _ask(url: str, sql: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch(sql))
    finally:
        await connection.close()


async def _make(url: str, prefix: str, *, readonly: bool = False) -> list[str]:
    roles = ["migrator", "app", *(["readonly"] if readonly else [])]
    backend = create_backend(url)
    await backend.connect()
    try:
        return list(
            await backend.operations.create_roles(
                prefix, passwords=dict.fromkeys(roles, SecretStr(PASSWORD)), readonly=readonly
            )
        )
    finally:
        await backend.disconnect()


async def _migrate(url: str) -> None:
    backend = create_backend(url)
    await backend.connect()
    try:
        await backend.migrate()
    finally:
        await backend.disconnect()


@pytest.mark.parametrize("order", ["roles, tables", "tables, roles", "roles, tables, roles"])
async def test_whatever_comes_first(prefix: str, empty_postgres_url: str, order: str) -> None:
    for step in order.split(", "):
        if step == "roles":
            await _make(empty_postgres_url, prefix)
        elif order.startswith("roles"):
            await _migrate(_as(empty_postgres_url, f"{prefix}_migrator"))
        else:
            await _migrate(empty_postgres_url)
    owners = await _ask(
        empty_postgres_url,
        "SELECT DISTINCT rolname FROM pg_class c JOIN pg_roles r ON r.oid = relowner"
        " WHERE relnamespace = 'public'::regnamespace"
        " UNION SELECT rolname FROM pg_proc p JOIN pg_roles r ON r.oid = proowner"
        " WHERE pronamespace = 'public'::regnamespace",
    )
    assert [row[0] for row in owners] == [f"{prefix}_owner"]

    url = _as(empty_postgres_url, f"{prefix}_app")
    backend = create_backend(f"{url}?row_security=required", tenant="acme")
    await backend.connect()
    await backend.migrate()  # at the newest revision already: nothing to do, and no rights to do it
    await backend.tasks.save(task("a"))
    assert await backend.for_tenant("other").tasks.get("a") is None
    assert (await backend.status()).tables["tasks"].rows == 1
    assert (await backend.for_tenant("other").status()).tables["tasks"].rows == 0
    assert backend.stats().errors == {"TenantIsolationError": 2}  # one for each look
    assert await backend.recorded_tables() == []
    assert await backend.health_check()
    assert await backend.schema_drift() == []
    await backend.disconnect()


async def test_a_usual_start_by_the_app_needs_the_migrator_when_it_is_behind(
    prefix: str, empty_postgres_url: str
) -> None:
    await _make(empty_postgres_url, prefix)
    with pytest.raises(MigrationError, match="the database role must own the tables"):
        await _migrate(_as(empty_postgres_url, f"{prefix}_app"))
    strict = create_backend(f"{_as(empty_postgres_url, f'{prefix}_app')}?row_security=required")
    with pytest.raises(TenantIsolationError, match="no table with tenants"):
        await strict.connect()


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE mine (id text)",
        "ALTER TABLE tasks DISABLE ROW LEVEL SECURITY",
        "DROP POLICY holdfast_tenant ON tasks",
        "TRUNCATE tasks CASCADE",
        "CREATE TRIGGER t AFTER INSERT ON tasks EXECUTE FUNCTION unique_key_recheck()",
        "UPDATE holdfast_revision SET version_num = '0001'",
        "ALTER FUNCTION holdfast_tenant() COST 1",
    ],
)
async def test_the_app_reads_and_writes_rows_and_no_more(
    prefix: str, postgres_url: str, sql: str
) -> None:
    await _make(postgres_url, prefix)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await _ask(_as(postgres_url, f"{prefix}_app"), sql)


async def test_the_app_never_writes_to_the_table_of_revisions(
    prefix: str, empty_postgres_url: str
) -> None:
    """Though the roles come first, with default privileges for every table."""
    await _make(empty_postgres_url, prefix, readonly=True)
    await _migrate(_as(empty_postgres_url, f"{prefix}_migrator"))
    rights = await _ask(
        empty_postgres_url,
        "SELECT grantee::regrole::text, string_agg(privilege_type, ',') FROM pg_class,"
        " aclexplode(relacl) WHERE relname = 'holdfast_revision' AND grantee <> relowner"
        " GROUP BY 1 ORDER BY 1",
    )
    assert [tuple(row) for row in rights] == [
        (f"{prefix}_app", "SELECT"),
        (f"{prefix}_readonly", "SELECT"),
    ]


async def test_a_refusal_names_the_tables_and_stays_short(prefix: str, postgres_url: str) -> None:
    await _make(postgres_url, prefix)
    await run_sql(
        postgres_url,
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {prefix}_app",
        "ALTER TABLE tasks DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE messages DISABLE ROW LEVEL SECURITY",
    )
    url = f"{_as(postgres_url, f'{prefix}_app')}?row_security=required"
    with pytest.raises(TenantIsolationError) as refused:
        await create_backend(url).connect()
    assert "there is no row-level security on messages, tasks" in str(refused.value)
    every = "the role may use REFERENCES, TRIGGER, TRUNCATE, which no policy looks at, on a"
    assert every in str(refused.value)
    assert str(refused.value).count(";") == 1


async def test_a_view_on_views_is_seen_however_deep(prefix: str, postgres_url: str) -> None:
    await _make(postgres_url, prefix)
    await run_sql(
        postgres_url,
        "CREATE VIEW one AS SELECT * FROM tasks",
        "CREATE VIEW two AS SELECT * FROM one",
        f"CREATE ROLE {prefix}_readonly",  # who is nobody's owner
        f"GRANT SELECT ON two TO {prefix}_readonly",
        "CREATE VIEW three AS SELECT id FROM two",
        f"ALTER VIEW three OWNER TO {prefix}_readonly",
        f"GRANT SELECT (id) ON three TO {prefix}_app",
    )
    url = f"{_as(postgres_url, f'{prefix}_app')}?row_security=required"
    with pytest.raises(TenantIsolationError, match="the view three reads with the rights"):
        await create_backend(url).connect()
    await run_sql(postgres_url, "ALTER VIEW three SET (security_invoker = true)")
    strict = create_backend(url)
    await strict.connect()
    await strict.disconnect()


async def test_a_reader_reads_one_tenant(prefix: str, postgres_url: str) -> None:
    await _make(postgres_url, prefix, readonly=True)
    owner = create_backend(postgres_url, tenant="acme")
    await owner.connect()
    await owner.tasks.save(task("a"))
    await owner.disconnect()
    reader = create_backend(_as(postgres_url, f"{prefix}_readonly"), tenant="acme")
    await reader.connect()
    assert (await reader.tasks.get("a")) is not None
    assert await reader.for_tenant("other").tasks.get("a") is None
    await reader.disconnect()
    with pytest.raises(asyncpg.PostgresError):
        await _ask(_as(postgres_url, f"{prefix}_readonly"), "DELETE FROM tasks")


async def test_what_is_wrong_is_put_right(prefix: str, postgres_url: str) -> None:
    first = await _make(postgres_url, prefix)
    await run_sql(
        postgres_url,
        f"ALTER ROLE {prefix}_app BYPASSRLS",
        f"GRANT {prefix}_owner TO {prefix}_app",
        f"GRANT TRUNCATE ON tasks TO {prefix}_app",
    )
    url = f"{_as(postgres_url, f'{prefix}_app')}?row_security=required"
    with pytest.raises(TenantIsolationError, match="BYPASSRLS"):
        await create_backend(url).connect()
    again = await _make(postgres_url, prefix)
    assert any("NOBYPASSRLS" in statement for statement in again)
    assert not any("BYPASSRLS" in statement for statement in first)
    backend = create_backend(url)
    await backend.connect()
    await backend.disconnect()


async def test_no_password_is_shown(
    prefix: str, empty_postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = "\n".join(await _make(empty_postgres_url, prefix))
    assert "PASSWORD '***'" in shown
    assert "SCRAM" not in shown
    assert PASSWORD not in shown + caplog.text
    assert "SCRAM" not in caplog.text
    with pytest.raises(QueryError, match="lacks the privilege") as refused:
        await _make(_as(empty_postgres_url, f"{prefix}_app"), prefix)
    assert "SCRAM" not in "".join(traceback.format_exception(refused.value))
    with pytest.raises(InvalidArgumentError, match="printable ASCII"):
        verifier(SecretStr("pässword"))
    with pytest.raises(InvalidArgumentError, match="prefix"):
        RoleNames.of("x; DROP", readonly=False)


async def test_the_server_knows_the_password() -> None:
    cluster = PostgresCluster.create()
    lines = ["local all all trust", "host all postgres all trust", "host all all all scram-sha-256"]
    (cluster.data / "pg_hba.conf").write_text("\n".join(lines) + "\n")
    with cluster:
        await _make(cluster.url(), "hf")
        assert await _ask(_as(cluster.url(), "hf_app"), "SELECT 1")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await _ask(cluster.url().replace("postgres@", "hf_app:wrong@"), "SELECT 1")


def test_the_command(postgres_server: str) -> None:
    runner = CliRunner(env={"HOLDFAST_APP_PASSWORD": PASSWORD})
    shown = runner.invoke(
        app, ["roles", "--dry-run", "--prefix", "hf_dry", "--url", postgres_server]
    )
    assert shown.exit_code == 0
    assert "CREATE ROLE hf_dry_app LOGIN PASSWORD '***';" in shown.output
    assert PASSWORD not in shown.output


async def test_what_concerns_all_tenants_leads_the_app_to_the_migrator(
    prefix: str, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{find_programs(None).folder}{os.pathsep}{os.environ['PATH']}")
    await _make(postgres_url, prefix)
    app_url, migrator_url = (_as(postgres_url, f"{prefix}_{role}") for role in ("app", "migrator"))
    app, migrator = create_backend(app_url, tenant="acme"), create_backend(migrator_url)
    await app.connect()
    await migrator.connect()
    await app.users.save(user("u", role="ceo"))
    await app.audit_entries.save(entry("old", datetime(2020, 1, 1, tzinfo=UTC)))
    operations = app.operations
    age, target = timedelta(days=1), tmp_path / "org.backup"
    for name, work in (
        ("prune", operations.prune(age)),
        ("prune", operations.prune(age, dry_run=True)),
        ("the list of tenants", operations.tenants()),
        ("backup", operations.backup(target)),
    ):
        with pytest.raises(TenantIsolationError, match=f"^{name}: .*such as the migrator that"):
            await work
    assert not target.exists()
    # What names its tenant works.
    (pruned,) = await operations.prune(age, tenants=["acme"])
    assert (pruned.table, pruned.rows) == ("audit_entries", 1)
    await operations.export_tenant("acme", tmp_path / "acme.jsonl")
    with pytest.raises(QueryError, match=r"last rows of users .* erase again as the migrator"):
        await operations.erase_tenant("acme")
    assert await migrator.operations.prune(age) == ()
    assert await migrator.operations.tenants() == ("acme",)
    assert await migrator.operations.erase_tenant("acme") == {"users": 1}
    await app.disconnect()
    await migrator.disconnect()


async def test_another_prefix_takes_no_tables_over_unasked(prefix: str, postgres_url: str) -> None:
    url, second = postgres_url, prefix.replace("hf_", "hg_")
    sql = (
        "SELECT relname, relowner::regrole::text, relacl::text FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
    )
    await _make(url, prefix)
    before = await _ask(url, sql)
    both = (
        rf"belong to {prefix}_owner, .* by {second}_owner: use the prefix '{prefix}', .*take-over"
    )
    async with create_backend(url) as backend:
        for dry_run in (True, False):
            with pytest.raises(InvalidArgumentError, match=both):
                await backend.operations.create_roles(second, dry_run=dry_run)
        assert await _ask(url, sql) == before
        assert await _ask(url, f"SELECT FROM pg_roles WHERE rolname ~ '^{second}'") == []
        await backend.operations.create_roles(prefix)
    try:
        command = ["roles", "--url", url, "--prefix", second, "--take-over"]
        taken = await asyncio.to_thread(CliRunner().invoke, app, command)
        assert taken.exit_code == 0, taken.output
        assert {row[1] for row in await _ask(url, sql)} == {f"{second}_owner"}
        async with create_backend(url) as backend:
            with pytest.raises(InvalidArgumentError, match=f"belong to {second}_owner"):
                await backend.operations.create_roles(prefix)
            await backend.operations.create_roles(prefix, take_over=True)
        assert {row[1] for row in await _ask(url, sql)} == {f"{prefix}_owner"}
    finally:
        for role in ("app", "migrator", "owner"):
            await run_sql(
                url, f"DROP OWNED BY {second}_{role} CASCADE", f"DROP ROLE {second}_{role}"
            )


async def test_tables_of_an_owner_of_no_prefix_are_taken(prefix: str, postgres_url: str) -> None:
    """Whatever its name: nobody else's roles are in the way."""
    await run_sql(
        postgres_url,
        f"CREATE ROLE {prefix}_app",
        f"CREATE ROLE {prefix}_old_owner",
        f"ALTER TABLE tasks OWNER TO {prefix}_app",
        f"ALTER TABLE users OWNER TO {prefix}_old_owner",
    )
    try:
        await _make(postgres_url, prefix)
    finally:
        await run_sql(
            postgres_url,
            f"DROP OWNED BY {prefix}_old_owner",
            f"DROP ROLE {prefix}_old_owner",
        )


@pytest.mark.parametrize("role", ["app", "migrator"])
async def test_who_may_not_make_roles_is_told_who_may(
    prefix: str, postgres_url: str, role: str
) -> None:
    await _make(postgres_url, prefix)
    lacking = rf"create_roles: .* privilege for ALTER ROLE {prefix}_owner .*superuser, or"
    with pytest.raises(QueryError, match=lacking) as refused:
        await _make(_as(postgres_url, f"{prefix}_{role}"), prefix)
    assert not refused.value.is_retryable


async def test_recording_is_switched_by_the_migrator(prefix: str, postgres_url: str) -> None:
    await _make(postgres_url, prefix)
    app, migrator = (
        create_backend(_as(postgres_url, f"{prefix}_{role}"), tenant="acme")
        for role in ("app", "migrator")
    )
    async with app, migrator:
        with pytest.raises(QueryError, match=r"record_changes: .* of the table tasks .* migrator"):
            await app.record_changes(app.tasks, app.users)
        assert await app.recorded_tables() == []
        await migrator.record_changes(migrator.tasks)
        await app.record_changes(app.tasks)  # the usual start of a process: it is on
        with pytest.raises(QueryError, match=r"stop_recording: .* of the table tasks .* migrator"):
            await app.stop_recording(app.tasks)
        assert await app.recorded_tables() == ["tasks"]
        async with app.watch(app.tasks) as changes:
            await app.tasks.save(task("a"))
            assert (await anext(changes)).key == ("a",)
        await migrator.stop_recording(migrator.tasks)
        assert await app.recorded_tables() == []


def _unset(url: str, *options: str, **passwords: str) -> tuple[list[str], str]:
    """The roles that the command says have no password, and its standard output."""
    env = {"HOLDFAST_MIGRATOR_PASSWORD": "", "HOLDFAST_APP_PASSWORD": "", **passwords}
    shown = CliRunner(env=env).invoke(app, ["roles", "--url", url, *options])
    assert shown.exit_code == 0, shown.output
    lines = shown.stderr.splitlines()
    for line in lines:
        role, _, said = line.partition(" has no password")
        assert said.endswith(f"with HOLDFAST_{role.rpartition('_')[2].upper()}_PASSWORD")
    return [line.partition(" ")[0] for line in lines], shown.stdout


def test_roles_without_a_password_are_named() -> None:
    with PostgresCluster.create() as cluster:
        url = cluster.url()
        dry, sql = _unset(url, "--sql")
        assert dry == ["holdfast_migrator", "holdfast_app"]
        assert all(line.endswith(";") for line in sql.splitlines())
        assert _unset(url)[0] == ["holdfast_migrator", "holdfast_app"]
        assert _unset(url, HOLDFAST_APP_PASSWORD=PASSWORD)[0] == ["holdfast_migrator"]
        # It has one of before, which a superuser sees.
        assert _unset(url, "--readonly")[0] == ["holdfast_migrator", "holdfast_readonly"]
        both = {"HOLDFAST_MIGRATOR_PASSWORD": PASSWORD, "HOLDFAST_READONLY_PASSWORD": PASSWORD}
        assert _unset(url, "--readonly", **both)[0] == []

        cluster.psql("CREATE ROLE boss LOGIN CREATEROLE; ALTER DATABASE postgres OWNER TO boss")
        cluster.psql("ALTER SCHEMA public OWNER TO boss")
        boss = url.replace("postgres@", "boss@")
        made = ("--prefix", "other")
        assert _unset(boss, *made, HOLDFAST_APP_PASSWORD=PASSWORD)[0] == ["other_migrator"]
        assert _unset(boss, *made)[0] == []  # it is not a superuser's to see


def test_a_file_has_no_roles(sqlite_url: str) -> None:
    refused = CliRunner().invoke(app, ["roles", "--url", sqlite_url])
    assert isinstance(refused.exception, InvalidArgumentError)
    assert "SQLite file has no roles" in str(refused.exception)
