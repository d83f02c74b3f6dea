"""A pytest plugin: real databases of both engines, for an application's tests and the suite.

::

    pytest_plugins = ["holdfast.testing.fixtures"]    # in the topmost conftest.py

    async def test_hiring(holdfast_backend): ...      # once for each engine, on a fresh database

PostgreSQL is the server of ``HOLDFAST_TEST_POSTGRES_URL`` (databases must be creatable there), or
one that is started for the session and thrown away. With ``HOLDFAST_TEST_ROLE=runtime`` backends
connect as a role that row-level security holds to one tenant at a time.

Override `holdfast_engine` to choose engines, `holdfast_options` to pass entities and extensions to
`create_backend`, and `holdfast_make_backend` to bring an engine of your own.
"""

from __future__ import annotations

import holdfast.testing.extra  # noqa: F401 - before what it looks for

# isort: split

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from holdfast.backend import PersistenceBackend, create_backend
from holdfast.testing.cluster import PostgresCluster
from holdfast.testing.databases import (
    ENGINES,
    MakeBackend,
    PostgresDatabases,
    SQLiteFiles,
    connected,
)
from holdfast.testing.extended import extended_entities
from holdfast.testing.pgbouncer import PgBouncer

__all__ = ["MakeBackend"]

pytest.register_assert_rewrite("holdfast.testing.suite")

_IN_MEMORY = "sqlite:///:memory:"


@pytest.fixture(scope="session")
def holdfast_options() -> Mapping[str, Any]:
    """What `create_backend` is passed beside the URL, ``entities`` for one."""
    return {}


@pytest.fixture(scope="session", params=ENGINES)
def holdfast_engine(request: pytest.FixtureRequest) -> str:
    """Each of `ENGINES` in turn."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def holdfast_postgres() -> Iterator[str]:
    """The URL of a server's maintenance database."""
    if url := os.environ.get("HOLDFAST_TEST_POSTGRES_URL"):
        yield url
        return
    with PostgresCluster.create() as cluster:
        yield cluster.url()


@pytest.fixture(scope="session")
def holdfast_postgres_databases(
    holdfast_postgres: str, holdfast_options: Mapping[str, Any]
) -> Iterator[PostgresDatabases]:
    databases = PostgresDatabases(
        holdfast_postgres,
        lambda url: create_backend(url, **holdfast_options),
        confined=os.environ.get("HOLDFAST_TEST_ROLE") == "runtime",
    )
    try:
        databases.prepare()
        yield databases
    finally:
        databases.close()


@pytest.fixture(scope="session")
def holdfast_pooled(holdfast_postgres: str) -> Iterator[Callable[[str], str]]:
    """Leads the URL of a PostgreSQL database through PgBouncer, if ``HOLDFAST_TEST_POOLER`` names
    the mode of its pools."""
    mode = os.environ.get("HOLDFAST_TEST_POOLER")
    if mode:
        with PgBouncer(holdfast_postgres, mode) as pooler:
            yield pooler.through
    else:
        yield str


@pytest.fixture(scope="session")
def holdfast_sqlite_files(
    tmp_path_factory: pytest.TempPathFactory, holdfast_options: Mapping[str, Any]
) -> SQLiteFiles:
    template = tmp_path_factory.mktemp("holdfast") / "template.db"
    return SQLiteFiles(template, lambda url: create_backend(url, **holdfast_options))


@pytest.fixture(scope="session")
def holdfast_make_backend(
    holdfast_engine: str,
    holdfast_options: Mapping[str, Any],
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> MakeBackend:
    """Makes disconnected backends of the engine, each on a database of its own.

    What an engine of your own overrides, together with `holdfast_engine`.
    """
    # Asked for here: a fixture cannot be while the loop runs.
    databases: Any = None
    pooled: Callable[[str], str] = str
    if holdfast_engine == "sqlite-file":
        databases = request.getfixturevalue("holdfast_sqlite_files")
    elif holdfast_engine != "sqlite-memory":
        databases = request.getfixturevalue("holdfast_postgres_databases")
        pooled = request.getfixturevalue("holdfast_pooled")

    async def make(**options: Any) -> PersistenceBackend:
        url = _IN_MEMORY
        if isinstance(databases, SQLiteFiles):
            url = databases.create(tmp_path_factory.mktemp("database"))
        elif databases is not None:
            url = pooled(databases.url(await databases.create()))
        return create_backend(url, **{**holdfast_options, **options})

    return make


@pytest.fixture
def holdfast_sqlite_url(holdfast_sqlite_files: SQLiteFiles, tmp_path: Path) -> str:
    """A fresh, migrated SQLite file."""
    return holdfast_sqlite_files.create(tmp_path)


@pytest_asyncio.fixture
async def holdfast_postgres_url(
    holdfast_postgres_databases: PostgresDatabases,
) -> AsyncIterator[str]:
    """A fresh, migrated PostgreSQL database."""
    name = await holdfast_postgres_databases.create()
    yield holdfast_postgres_databases.url(name)
    await holdfast_postgres_databases.drop(name)


@pytest.fixture
def holdfast_url(holdfast_engine: str, request: pytest.FixtureRequest) -> str:
    """A fresh, migrated database of the engine (in memory: to be migrated on connecting)."""
    if holdfast_engine == "sqlite-memory":
        return _IN_MEMORY
    if holdfast_engine == "sqlite-file":
        return str(request.getfixturevalue("holdfast_sqlite_url"))
    pooled = request.getfixturevalue("holdfast_pooled")
    return str(pooled(request.getfixturevalue("holdfast_postgres_url")))


@pytest.fixture
def _holdfast_like(holdfast_url: str, request: pytest.FixtureRequest) -> SQLiteFiles | None:
    if holdfast_url != _IN_MEMORY:
        return None
    files: SQLiteFiles = request.getfixturevalue("holdfast_sqlite_files")
    return files


@pytest_asyncio.fixture
async def holdfast_backend(
    holdfast_url: str, holdfast_options: Mapping[str, Any], _holdfast_like: SQLiteFiles | None
) -> AsyncIterator[PersistenceBackend]:
    """A connected backend on a fresh, migrated, empty database."""
    backend = create_backend(holdfast_url, **holdfast_options)
    async with connected(backend, like=_holdfast_like):
        yield backend


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def holdfast_shared(holdfast_make_backend: MakeBackend) -> AsyncIterator[PersistenceBackend]:
    """One backend for the whole session, on the session's loop, of which each test of the suite
    takes a tenant: `for_tenant` costs nothing, a database does."""
    async with connected(await holdfast_make_backend()) as backend:
        yield backend


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def holdfast_bound(
    holdfast_make_backend: MakeBackend, holdfast_options: Mapping[str, Any]
) -> AsyncIterator[PersistenceBackend]:
    """As `holdfast_shared`, with classes for all entities that have fields of their own."""
    entities = {**extended_entities(), **holdfast_options.get("entities", {})}
    async with connected(await holdfast_make_backend(entities=entities)) as backend:
        yield backend
