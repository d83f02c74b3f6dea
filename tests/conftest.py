"""Databases for the tests: real ones, fresh for each test, cloned from a migrated template."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast import PersistenceBackend
from holdfast.testing.databases import ENGINES, PostgresDatabases, SQLiteFiles, at, run_sql

from .programs import lacking

__all__ = ["ENGINES", "at", "run_sql"]

pytest_plugins = ["holdfast.testing.fixtures"]

# A quarter of the time that collecting takes, and what is made meanwhile is no garbage.
gc.disable()


@pytest.hookimpl(trylast=True)  # behind the order that fixtures ask for, which stays within files
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What cannot run fails first. Then files with few tests: each takes long, and the last to run
    should be short, so that no worker waits for another."""
    sizes = Counter(item.path for item in items)
    items.sort(key=lambda item: (not _lacking(item), sizes[item.path]))


def pytest_collection_finish() -> None:
    """Thousands of tests are no garbage: none of the collections to come need look at them."""
    gc.freeze()
    gc.enable()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if problems := _lacking(item):
        pytest.fail("; ".join(problems), pytrace=False)


def _lacking(item: pytest.Item) -> list[str]:
    needed = (name for mark in item.iter_markers("needs") for name in mark.args)
    return [problem for problem in map(lacking, needed) if problem]


@pytest.fixture(scope="session")
def postgres_server(holdfast_postgres: str) -> str:
    return holdfast_postgres


@pytest.fixture(scope="session")
def postgres_template(holdfast_postgres_databases: PostgresDatabases) -> str:
    return holdfast_postgres_databases.template


@pytest.fixture(scope="session")
def sqlite_template(holdfast_sqlite_files: SQLiteFiles) -> Path:
    return holdfast_sqlite_files.template


@pytest.fixture
def postgres_url(holdfast_postgres_url: str) -> str:
    return holdfast_postgres_url


@pytest.fixture
async def empty_postgres_url(
    holdfast_postgres_databases: PostgresDatabases,
) -> AsyncIterator[str]:
    """A fresh PostgreSQL database without a schema."""
    name = await holdfast_postgres_databases.create(copy_of="template0")
    yield at(holdfast_postgres_databases.server, name)
    await holdfast_postgres_databases.drop(name)


@pytest.fixture
def sqlite_url(holdfast_sqlite_url: str) -> str:
    return holdfast_sqlite_url


@pytest.fixture
def engine_name(holdfast_engine: str) -> str:
    return holdfast_engine


@pytest.fixture
def url(holdfast_url: str) -> str:
    return holdfast_url


@pytest.fixture
def backend(holdfast_backend: PersistenceBackend) -> PersistenceBackend:
    return holdfast_backend


@pytest.fixture(params=["sqlite-file", "postgres"])
def shared_url(request: pytest.FixtureRequest) -> str:
    """As `url`, for tests with several processes: databases that can be shared."""
    fixture = "sqlite_url" if request.param == "sqlite-file" else "postgres_url"
    value: str = request.getfixturevalue(fixture)
    return value
