"""Revisions that older releases kept in ``alembic_version``, and those of other people there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from holdfast import MigrationError, Project, SchemaTooNewError, create_backend, migrations

from ..extending.things import make, written
from ..migrations.conftest import empty_url
from .opened import ask, opened, run

__all__ = ["empty_url"]

OWN = (
    "CREATE TABLE alembic_version"
    " (version_num varchar(32) CONSTRAINT alembic_version_pkc PRIMARY KEY)"
)
REVISIONS = [step.revision for step in migrations.history()]


async def _as_older_releases_left_it(url: str, revision: str = "head") -> None:
    async with opened(url) as backend:
        await backend.projects.save(Project(id="p", name="P"))
        if revision != "head":
            await backend.downgrade(revision)
    await run(url, "ALTER TABLE holdfast_revision RENAME TO alembic_version")
    if url.startswith("postgres"):
        await run(
            url,
            "ALTER TABLE alembic_version RENAME CONSTRAINT holdfast_revision_pkc"
            " TO alembic_version_pkc",
        )


@pytest.mark.parametrize("revision", ["0001", "0003", migrations.head()])
async def test_the_revision_is_carried_over(shared_url: str, revision: str) -> None:
    await _as_older_releases_left_it(shared_url, revision)
    async with opened(shared_url, migrate=False) as backend:
        assert (await backend.status()).revision == revision
        await backend.migrate()
        assert (await backend.status()).revision == migrations.head()
        assert await backend.schema_drift() == []
        assert await backend.projects.get("p") is not None
    assert await ask(shared_url, "SELECT * FROM holdfast_revision") == [(migrations.head(),)]
    await run(shared_url, OWN)  # the name is free for an application's own Alembic


async def test_a_downgrade_carries_it_over_too(shared_url: str) -> None:
    await _as_older_releases_left_it(shared_url)
    async with opened(shared_url, migrate=False) as backend:
        await backend.downgrade("-1")
        assert (await backend.status()).revision == REVISIONS[1]
    assert await ask(shared_url, "SELECT * FROM holdfast_revision") == [(REVISIONS[1],)]


async def test_many_processes_carry_it_over_once(shared_url: str) -> None:
    await _as_older_releases_left_it(shared_url)
    backends = [create_backend(shared_url) for _ in range(5)]
    for backend in backends:
        await backend.connect()
    try:
        await asyncio.gather(*(backend.migrate() for backend in backends))
        assert [await backend.schema_drift() for backend in backends] == [[]] * 5
    finally:
        for backend in backends:
            await backend.disconnect()
    assert await ask(shared_url, "SELECT * FROM holdfast_revision") == [(migrations.head(),)]


@pytest.mark.parametrize("theirs", ["0001", migrations.head(), "a1b2c3d4e5f6", None])
async def test_an_applications_own_alembic_is_left_alone(
    empty_url: str, theirs: str | None
) -> None:
    await run(empty_url, OWN, "CREATE TABLE invoices (id integer)")
    if theirs is not None:
        await run(empty_url, f"INSERT INTO alembic_version VALUES ('{theirs}')")
    async with opened(empty_url, migrate=False) as backend:
        assert (await backend.status()).revision is None
        await backend.migrate()
        await backend.projects.save(Project(id="p", name="P"))
        await backend.migrate()
        await backend.downgrade("base")
    kept = [] if theirs is None else [(theirs,)]
    assert await ask(empty_url, "SELECT * FROM alembic_version") == kept


async def test_tables_of_our_names_do_not_make_a_revision_ours(empty_url: str) -> None:
    await run(empty_url, OWN, f"INSERT INTO alembic_version VALUES ('{REVISIONS[-1]}')")
    await run(empty_url, *(f"CREATE TABLE {name} (id integer)" for name in ("users", "tasks")))
    async with opened(empty_url, migrate=False) as backend:
        assert (await backend.status()).revision is None
        with pytest.raises(MigrationError, match='table "tasks", table "users" exist already'):
            await backend.migrate()
    assert await ask(empty_url, "SELECT * FROM alembic_version") == [(REVISIONS[-1],)]


async def test_a_table_that_is_shared_gives_only_our_row(shared_url: str) -> None:
    await _as_older_releases_left_it(shared_url)
    await run(shared_url, "INSERT INTO alembic_version VALUES ('a1b2c3d4e5f6')")
    async with opened(shared_url) as backend:
        assert (await backend.status()).revision == migrations.head()
        await backend.migrate()
    assert await ask(shared_url, "SELECT * FROM alembic_version") == [("a1b2c3d4e5f6",)]
    assert await ask(shared_url, "SELECT * FROM holdfast_revision") == [(migrations.head(),)]


@pytest.mark.parametrize(
    "other",
    [
        "CREATE VIEW alembic_version AS SELECT '0003' AS version_num",
        "CREATE TABLE alembic_version (version_num varchar(32), novel integer)",
        "CREATE TABLE alembic_version (id integer)",
    ],
)
async def test_something_else_of_that_name(empty_url: str, other: str) -> None:
    await run(empty_url, other)
    async with opened(empty_url) as backend:
        assert (await backend.status()).revision == migrations.head()
        assert await backend.schema_drift() == []


async def test_an_applications_alembic_that_the_role_may_not_read(empty_postgres_url: str) -> None:
    role = f"migrates_{empty_postgres_url[-12:]}"
    await run(
        empty_postgres_url, OWN, f"INSERT INTO alembic_version VALUES ('{REVISIONS[0]}')",
        f"CREATE ROLE {role} LOGIN", f"GRANT CREATE ON SCHEMA public TO {role}",
    )  # fmt: skip
    try:
        async with opened(empty_postgres_url.replace("postgres@", f"{role}@")) as backend:
            assert (await backend.status()).revision == migrations.head()
    finally:
        await run(empty_postgres_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


async def test_an_extensions_revision_is_carried_over(empty_url: str, tmp_path: Path) -> None:
    extension = make(tmp_path)
    await written(extension)
    backend = create_backend(empty_url, extensions=[extension])
    await backend.connect()
    await backend.migrate()
    await run(empty_url, "ALTER TABLE holdfast_revision_pad RENAME TO alembic_version_pad")
    assert (await backend.status()).extensions["pad"].revision == "0001"
    await backend.migrate()
    assert (await backend.status()).extensions["pad"].revision == "0001"
    await backend.disconnect()
    assert await ask(empty_url, "SELECT * FROM holdfast_revision_pad") == [("0001",)]


async def test_a_revision_of_our_own_table_that_nobody_knows_is_refused(shared_url: str) -> None:
    async with opened(shared_url) as backend:
        await run(shared_url, "UPDATE holdfast_revision SET version_num = '9999'")
        with pytest.raises(SchemaTooNewError, match="9999"):
            await backend.migrate()


async def test_databases_that_are_migrated_at_once_in_one_process(
    empty_postgres_url: str, postgres_url: str, tmp_path: Path
) -> None:
    """Alembic has one ``op`` for all of a process."""
    await run(postgres_url, "CREATE SCHEMA other")
    urls = [empty_postgres_url, f"{postgres_url}?schema=other"]
    urls += [f"sqlite:///{tmp_path / name}.db" for name in "abc"]
    backends = [create_backend(url) for url in urls]
    for backend in backends:
        await backend.connect()
    try:
        await asyncio.gather(*(backend.migrate() for backend in backends))
        assert [await backend.schema_drift() for backend in backends] == [[]] * len(urls)
    finally:
        for backend in backends:
            await backend.disconnect()
