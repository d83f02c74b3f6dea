"""An engine from elsewhere passes the suite with a few lines, and one that cheats is caught."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

ENGINES = '''
"""Another engine, which does its work through SQLite's and counts it."""

import asyncio

from holdfast.config import SQLiteConfig
from holdfast.engines.sqlite import engine as sqlite


class CountingEngine:
    name = "counting"

    def __init__(self):
        self._inner = sqlite.SQLiteEngine(SQLiteConfig(path=":memory:"))
        self.calls = 0

    def __getattr__(self, name):
        self.calls += 1
        return getattr(self._inner, name)


class ForgetfulEngine(CountingEngine):
    """Loses a field."""

    async def write(self, statement, arguments):
        if statement.name == "tasks.save":
            place = statement.parameters.index("description")
            arguments = (*arguments[:place], "lost", *arguments[place + 1 :])
        await self._inner.write(statement, arguments)


class PromiscuousEngine(CountingEngine):
    """Takes all tenants for one."""

    async def write(self, statement, arguments):
        await self._inner.write(statement, ("anyone", *arguments[1:]))

    async def get(self, statement, arguments):
        return await self._inner.get(statement, ("anyone", *arguments[1:]))


class HastyEngine(CountingEngine):
    """Acknowledges a write and does it afterwards."""

    async def write(self, statement, arguments):
        async def later():
            await asyncio.sleep(0.02)
            await self._inner.write(statement, arguments)

        self._task = asyncio.create_task(later())


class CarelessEngine(CountingEngine):
    """Writes outside of the transaction what belongs inside."""

    def transaction(self):
        outside = self

        class Outside:
            async def __aenter__(self):
                return outside

            async def __aexit__(self, *error):
                return None

            def __call__(self):
                return self

        return Outside()


class ReversingEngine(CountingEngine):
    """Answers lists the other way round."""

    async def stream(self, statement, arguments):
        async for rows in self._inner.stream(statement, arguments):
            yield rows[::-1]


class PermissiveEngine(CountingEngine):
    """Lets a save of a taken key through."""

    async def write(self, statement, arguments):
        try:
            await self._inner.write(statement, arguments)
        except Exception:
            pass
'''

CONFTEST = """
import pytest

import engines
from holdfast import create_backend

pytest_plugins = ["holdfast.testing.fixtures"]


@pytest.fixture(scope="session", params=[name for name in vars(engines) if name[-6:] == "Engine"])
def holdfast_engine(request):
    return request.param


@pytest.fixture(scope="session")
def holdfast_make_backend(holdfast_engine):
    async def make(**options):
        return create_backend(getattr(engines, holdfast_engine)(), **options)

    return make
"""

TESTS = """
from holdfast.testing.suite import EngineSuite


class TestOtherEngines(EngineSuite):
    pass
"""

INI = """
[pytest]
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""

CAUGHT_BY = {
    "ForgetfulEngine": "test_comes_back_whole",
    "PromiscuousEngine": "test_tenants_do_not_see_each_other",
    "HastyEngine": "test_comes_back_whole",
    "CarelessEngine": "test_is_undone_with_its_transaction",
    "ReversingEngine": "test_is_ordered_and_filtered",
    "PermissiveEngine": "test_a_second_save",
}
CHOSEN = [*sorted(set(CAUGHT_BY.values())), "test_commit_and_rollback", "test_the_life_of"]
#: Few repositories, and of an engine that cheats what catches it, so that it takes seconds.
SOME = " or ".join(
    [
        f"CountingEngine and ({' or '.join(CHOSEN)})",
        *(f"{engine} and {test}" for engine, test in CAUGHT_BY.items()),
    ]
)
FEW = f"({SOME}) and not versions and not metrics and not records"


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """By outcome and engine, the tests of the suite."""
    directory = tmp_path_factory.mktemp("elsewhere")
    for name, text in (
        ("engines.py", ENGINES), ("conftest.py", CONFTEST), ("test_engines.py", TESTS),
        ("pytest.ini", INI),
    ):  # fmt: skip
        (directory / name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "--tb=no", "-p", "no:cacheprovider",
         "-p", "no:xdist", "--basetemp", str(directory / "temporary"), "-k", FEW],
        cwd=directory, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        if match := re.match(r"(PASSED|FAILED|ERROR) .*::(\w+)\[.*?(\w+Engine)", line):
            found.setdefault(f"{match[1]} {match[3]}", []).append(match[2])
    return found


def test_an_engine_from_elsewhere_passes(outcome: dict[str, list[str]]) -> None:
    assert "FAILED CountingEngine" not in outcome
    assert len(outcome["PASSED CountingEngine"]) > 60
    assert set(CHOSEN) - {"test_the_life_of"} <= {*outcome["PASSED CountingEngine"]}


@pytest.mark.parametrize("engine", CAUGHT_BY)
def test_an_engine_that_cheats_is_caught(outcome: dict[str, list[str]], engine: str) -> None:
    assert CAUGHT_BY[engine] in outcome[f"FAILED {engine}"]
    assert not [kind for kind in outcome if kind.startswith("ERROR")]
