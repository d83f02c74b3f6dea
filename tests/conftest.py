"""Databases for the tests: real ones, fresh for each test, cloned from a migrated template."""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from holdfast import PersistenceBackend, create_backend
from holdfast.testing import PostgresCluster

ENGINES = ("sqlite-memory", "sqlite-file", "postgres")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a server's maintenance database: HOLDFAST_TEST_POSTGRES_URL, or one of our own."""
    if url := os.environ.get("HOLDFAST_TEST_POSTGRES_URL"):
        yield url
        return
    with PostgresCluster.create() as cluster:
        yield cluster.url()


def at(server: str, database: str) -> str:
    """The URL of another database of the same server."""
    return urlunsplit(urlsplit(server)._replace(path=f"/{database}"))


async def run_sql(server: str, *statements: str) -> None:
    connection = await asyncpg.connect(server)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def migrate(url: str) -> None:
    backend = create_backend(url)
    await backend.connect()
    try:
        await backend.migrate()
    finally:
        await backend.disconnect()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """A migrated database that nobody is connected to."""
    name = f"holdfast_template_{uuid.uuid4().hex}"
    asyncio.run(run_sql(postgres_server, f"CREATE DATABASE {name} TEMPLATE template0"))
    asyncio.run(migrate(at(postgres_server, name)))
    yield name
    asyncio.run(run_sql(postgres_server, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    asyncio.run(migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture
async def postgres_url(postgres_server: str, postgres_template: str) -> AsyncIterator[str]:
    """A fresh migrated PostgreSQL database."""
    name = f"holdfast_{uuid.uuid4().hex}"
    await run_sql(postgres_server, f"CREATE DATABASE {name} TEMPLATE {postgres_template}")
    yield at(postgres_server, name)
    await run_sql(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def empty_postgres_url(postgres_server: str) -> AsyncIterator[str]:
    """A fresh PostgreSQL database without a schema."""
    name = f"holdfast_{uuid.uuid4().hex}"
    await run_sql(postgres_server, f"CREATE DATABASE {name} TEMPLATE template0")
    yield at(postgres_server, name)
    await run_sql(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A fresh migrated SQLite file."""
    path = tmp_path / "org.db"
    shutil.copy(sqlite_template, path)  # nobody has it open, so copying it is safe
    return f"sqlite:///{path}"


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def url(engine_name: str, request: pytest.FixtureRequest) -> str:
    """A fresh migrated database of each engine in turn (in memory it is migrated on connecting)."""
    if engine_name == "sqlite-memory":
        return "sqlite:///:memory:"
    fixture = "sqlite_url" if engine_name == "sqlite-file" else "postgres_url"
    value: str = request.getfixturevalue(fixture)
    return value


@pytest.fixture
async def backend(url: str) -> AsyncIterator[PersistenceBackend]:
    """A connected, migrated, empty backend, once for each engine."""
    backend = create_backend(url)
    await backend.connect()
    try:
        await backend.migrate()
        yield backend
    finally:
        await backend.disconnect()


@pytest.fixture(params=["sqlite-file", "postgres"])
def shared_url(request: pytest.FixtureRequest) -> str:
    """As `url`, for tests with several processes: databases that can be shared."""
    fixture = "sqlite_url" if request.param == "sqlite-file" else "postgres_url"
    value: str = request.getfixturevalue(fixture)
    return value
