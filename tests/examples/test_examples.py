"""The examples run as their reader would run them, and on every engine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

SAYS = {
    "helpdesk": [
        "solved by the first of two callers: [True, False]",
        "open: t-1, t-2, t-3",
        "open: t-4",
        "refused by helpdesk_tickets.reference",
        "acme has 0",
    ],
    "own_models": [
        "claimed: Compare prices, 1:30:00, https://example.org/shops",
        "said: de, then Bonjour",
        "spent: 0.25 of which 25.00 cents",
    ],
}


def python(*arguments: str, cwd: Path = EXAMPLES, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_every_example_is_looked_at() -> None:
    assert {path.parent.name for path in EXAMPLES.glob("*/__main__.py")} == SAYS.keys()
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"python -m {name}" in page for name in SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_it_runs_as_its_page_says(name: str) -> None:
    said = python("-m", name).splitlines()
    assert said[: len(SAYS[name])] == SAYS[name]


@pytest.mark.parametrize("name", SAYS)
async def test_it_runs_on_every_engine(
    name: str, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await import_module(f"{name}.__main__").main(url)
    assert capsys.readouterr().out.splitlines()[: len(SAYS[name])] == SAYS[name]


def test_the_conformance_kit_tests_the_extension(postgres_server: str, tmp_path: Path) -> None:
    """In a process of its own, as in an application's own tests: nothing of these is near."""
    said = python(
        "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-rA", "-q", "--tb=short",
        "--basetemp", str(tmp_path / "kit"),
        HOLDFAST_TEST_POSTGRES_URL=postgres_server,
    )  # fmt: skip
    for engine in ("sqlite-memory", "sqlite-file", "postgres"):
        assert f"test_comes_back_whole[tickets-{engine}-full]" in said
        assert f"test_one_of_many_solves[{engine}]" in said
    assert "failed" not in said
    assert "skipped" not in said


def test_its_migration_is_what_the_tool_writes(tmp_path: Path) -> None:
    """Not a line of it by hand, but for its form."""
    shutil.copytree(
        EXAMPLES / "helpdesk", tmp_path / "helpdesk", ignore=shutil.ignore_patterns("*.pyc")
    )
    (shipped,) = (tmp_path / "helpdesk" / "migrations").glob("*.py")
    expected = shipped.read_text(encoding="utf-8")
    shipped.unlink()
    command = ("-m", "holdfast.cli", "revision", "first tables", "--extension")
    said = python(*command, "helpdesk.extension:HELPDESK", cwd=tmp_path)
    assert Path(said.strip()) == shipped
    assert _bare(shipped.read_text(encoding="utf-8")) == _bare(expected)

    # And once it is there, nothing is left to write.
    said = python(*command, "helpdesk.extension:HELPDESK", cwd=tmp_path)
    second = Path(said.strip())
    assert second.name == "0002_first_tables.py"
    assert "create_" not in second.read_text(encoding="utf-8")
    assert "drop_" not in second.read_text(encoding="utf-8")


def _bare(source: str) -> str:
    return "".join(source.split()).replace("'", '"').replace(",)", ")")
