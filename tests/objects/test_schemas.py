"""One schema is ours, whatever it is called and whatever lies beside it."""

from __future__ import annotations

import pytest

from holdfast import PersistenceBackend, Project, UnusableDatabaseError, create_backend
from holdfast.engines.postgres.namespace import quoted

from .opened import ask, in_schema, opened, run

NAMES = [
    "Agents", "team one", "v1.2", "tÄst", "select", "user", "50% off", 'say "hi"', "it's",
    "价格", "a:b", "$1", "back\\slash", "%s", "x" * 63, "é" * 31, "-- no", "holdfast",
]  # fmt: skip


async def _works(backend: PersistenceBackend) -> None:
    """Whatever looks into the catalogue, or names a table."""
    assert await backend.schema_drift() == []
    await backend.record_changes(backend.projects)
    await backend.projects.save(Project(id="p", name="P"))
    async with backend.transaction() as tx:
        await tx.projects.save(Project(id="q", name="Q"))
    assert await backend.recorded_tables() == ["projects"]
    assert [each.id for each in await backend.projects.list_projects()] == ["p", "q"]
    status = await backend.status()
    assert status.tables["projects"].rows == 2
    assert (status.tables["changes"].rows or 0) >= 2
    subjects = {each.subject: each.level for each in await backend.operations.doctor(thorough=True)}
    assert subjects["schema"] == subjects["schema of holdfast"] == "ok"
    assert await backend.operations.tenants() == ("default",)
    assert (await backend.operations.count_tenant("default"))["projects"] == 2
    async with backend.watch(backend.projects, after=0) as watch:
        assert {(await anext(watch)).key for _ in range(2)} == {("p",), ("q",)}
    assert await backend.operations.create_roles("hf_nobody", dry_run=True)


@pytest.mark.parametrize(
    ("name", "by"), [(name, ["url", "search_path"][n % 2]) for n, name in enumerate(NAMES)]
)
async def test_a_schema_of_any_name(empty_postgres_url: str, name: str, by: str) -> None:
    await run(empty_postgres_url, f"CREATE SCHEMA {quoted(name)}")
    url = in_schema(empty_postgres_url, name)
    if by == "search_path":
        database = empty_postgres_url.rpartition("/")[2]
        await run(empty_postgres_url, f"ALTER DATABASE {database} SET search_path = {quoted(name)}")
        url = empty_postgres_url
    async with opened(url) as backend:
        await _works(backend)
        await backend.migrate()
    placed = "SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
    assert await ask(empty_postgres_url, f"{placed} WHERE relname = 'projects'") == [(name,)]


@pytest.mark.parametrize(
    "path", ["second, public", '"$user", second, public', "second, public, pg_temp", "second"]
)
async def test_two_organisations_in_one_database(empty_postgres_url: str, path: str) -> None:
    async with opened(empty_postgres_url) as first:
        await first.projects.save(Project(id="secret", name="Of the first organisation"))
    database = empty_postgres_url.rpartition("/")[2]
    await run(
        empty_postgres_url,
        "CREATE SCHEMA second",
        f"ALTER DATABASE {database} SET search_path = {path}",
    )
    async with opened(empty_postgres_url, migrate=False) as second:
        assert (await second.status()).revision is None
        with pytest.raises(Exception, match="is the schema migrated"):
            await second.projects.list_projects()
        await second.migrate()
        assert await second.projects.list_projects() == ()
        await second.projects.save(Project(id="own", name="Own"))
        await second.downgrade("base")
    async with opened(in_schema(empty_postgres_url, "public"), migrate=False) as first:
        assert [each.id for each in await first.projects.list_projects()] == ["secret"]


async def test_a_search_path_that_changes_later_moves_nothing(empty_postgres_url: str) -> None:
    database = empty_postgres_url.rpartition("/")[2]
    async with opened(empty_postgres_url) as backend:
        await run(
            empty_postgres_url,
            "CREATE SCHEMA second",
            f"ALTER DATABASE {database} SET search_path = second",
        )
        backend.get_db().expire_all()
        await backend.projects.save(Project(id="p", name="P"))
        await backend.migrate()
        assert await backend.schema_drift() == []
    assert await ask(empty_postgres_url, "SELECT id FROM public.projects") == [("p",)]


REFUSED = {
    "missing, public": "there is no schema 'missing'",
    '"Missing", public': "there is no schema 'Missing'",
    '"$user", missing, public': "there is no schema 'missing'",
    "missing": "there is no schema 'missing'",
    "pg_temp, public": "pg_temp is no place for tables",
    "pg_catalog, public": "pg_catalog is no place for tables",
    "information_schema, public": "information_schema is no place for tables",
    "''": "names no schema",
    '"$user"': "names no schema",
}


@pytest.mark.parametrize("path", REFUSED)
async def test_a_path_that_begins_elsewhere_is_refused(empty_postgres_url: str, path: str) -> None:
    """The server would pass over it, and what comes next may be another organisation's."""
    database = empty_postgres_url.rpartition("/")[2]
    await run(empty_postgres_url, f"ALTER DATABASE {database} SET search_path = {path}")
    backend = create_backend(empty_postgres_url)
    with pytest.raises(UnusableDatabaseError, match=REFUSED[path]) as refused:
        await backend.connect()
    assert "schema_name" in str(refused.value)
    assert not refused.value.is_retryable
    async with opened(in_schema(empty_postgres_url, "public")) as other:  # the way out
        await other.projects.save(Project(id="p", name="P"))


async def test_a_named_schema_that_is_of_no_use(empty_postgres_url: str) -> None:
    backend = create_backend(in_schema(empty_postgres_url, "Missing"))
    with pytest.raises(UnusableDatabaseError, match='CREATE SCHEMA "Missing"'):
        await backend.connect()
    role = f"outsider_{empty_postgres_url[-12:]}"
    await run(empty_postgres_url, 'CREATE SCHEMA "Own"', f"CREATE ROLE {role} LOGIN")
    try:
        url = in_schema(empty_postgres_url.replace("postgres@", f"{role}@"), "Own")
        with pytest.raises(UnusableDatabaseError, match='GRANT USAGE ON SCHEMA "Own"'):
            await create_backend(url).connect()
    finally:
        await run(empty_postgres_url, f"DROP ROLE {role}")


ENCODINGS = ["LATIN1", "SQL_ASCII", "EUC_JP"]


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_a_database_that_cannot_hold_every_text_is_refused(
    empty_postgres_url: str, encoding: str
) -> None:
    head, _, name = empty_postgres_url.rpartition("/")
    other = f"{name}_{encoding.lower()}"
    await run(
        empty_postgres_url,
        f"CREATE DATABASE {other} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
        " LOCALE_PROVIDER libc TEMPLATE template0",
    )
    try:
        with pytest.raises(UnusableDatabaseError, match=f"{other}.*{encoding}.*ENCODING 'UTF8'"):
            await create_backend(f"{head}/{other}").connect()
        assert await ask(f"{head}/{other}", "SELECT FROM pg_class WHERE relname = 'users'") == []
    finally:
        await run(empty_postgres_url, f"DROP DATABASE {other} WITH (FORCE)")


async def test_the_encoding_of_the_client_is_ours_to_set(
    empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = empty_postgres_url.rpartition("/")[2]
    await run(empty_postgres_url, f"ALTER DATABASE {database} SET client_encoding = 'LATIN1'")
    monkeypatch.setenv("PGCLIENTENCODING", "SJIS")
    async with opened(empty_postgres_url) as backend:
        await backend.projects.save(Project(id="価格", name="価格 😀"))
    async with opened(empty_postgres_url) as backend:
        assert [each.name for each in await backend.projects.list_projects()] == ["価格 😀"]


async def test_a_temporary_table_of_the_session_captures_no_statement(
    empty_postgres_url: str,
) -> None:
    async with opened(f"{empty_postgres_url}?pool_max_size=1") as backend:
        pool = backend.get_db()
        connection = await pool.acquire()
        try:
            await connection.raw.execute("CREATE TEMP TABLE projects (LIKE projects)")
        finally:
            pool.release(connection)
        await backend.projects.save(Project(id="p", name="P"))
        async with backend.transaction() as tx:
            assert await tx.projects.get("p") is not None
    rows = await ask(empty_postgres_url, "SELECT id FROM projects")
    assert rows == [("p",)]
