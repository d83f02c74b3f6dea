"""What no code may do, and where some code may do more."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from . import source

Rule = Callable[[ast.AST], list[str]]

#: Beside `engines/` (how a database is spoken to) and `config/` (which one is meant).
MAY_BRANCH_BY_ENGINE = {
    "backend/factory.py",  # chooses the engine a configuration names
    "cli/migrate.py",  # prints SQL for the dialect a configuration names
    "operations/roles.py",  # a file has no roles
    "migrations/attached.py",  # each has catalogues of its own
    "migrations/catalogue.py",
    "storage/functions.py",
    "schema/policies.py",
    "changes/recorders.py",
    "changes/recording.py",
    "storage/triggers.py",
    "storage/types.py",
    "migrations/indexes.py",  # a server builds them beside its writers
    "migrations/versions/0001_first_tables.py",
    "migrations/versions/0003_row_level_security.py",
    "migrations/versions/0007_waiting_tasks.py",
    "migrations/versions/0008_own_search_path.py",
}
MAY_IMPORT_DRIVERS = ("engines/", "testing/")

REPOSITORIES = [name for name in source.MODULES if name.startswith("repositories/")]
ABOVE_ENGINES = [
    name
    for name in source.MODULES
    if not name.startswith(("engines/", "config/")) and name not in MAY_BRANCH_BY_ENGINE
]


def test_there_is_something_to_look_at() -> None:
    assert len(REPOSITORIES) > 8
    assert len(ABOVE_ENGINES) > 30
    assert source.MODULES.keys() >= MAY_BRANCH_BY_ENGINE


@pytest.mark.parametrize(
    ("rule", "breaks"),
    [
        (source.driver_imports, "def f():\n    import sqlite3"),
        (source.driver_imports, "from asyncpg.exceptions import DataError"),
        (source.driver_imports, "import importlib\nimportlib.import_module('asyncpg')"),
        (source.driver_imports, "from holdfast.engines.postgres.pool import Pool"),
        (source.driver_imports, "from holdfast.engines import sqlite"),
        (source.engine_branches, "if engine.name == 'sqlite': pass"),
        (source.engine_branches, "x = 1 if name in ('postgres', 'mysql') else 2"),
        (source.engine_branches, "f(connection.dialect.name)"),
        (source.engine_branches, "choose[dialect.name]"),
        (source.engine_branches, "if url.startswith('sqlite'): pass"),
        (source.engine_branches, "match name:\n    case 'postgres': pass"),
        (source.tries, "try:\n    f()\nfinally:\n    g()"),
        (source.tries, "with contextlib.suppress(ValueError): f()"),
        (source.select_stars, "sql = 'select  *\\n from t'"),
        (source.select_stars, "f'SELECT * FROM {table}'"),
        (source.select_stars, "select(text('*'))"),
        (source.wait_fors, "await asyncio.wait_for(f(), 1)"),
        (source.wait_fors, "from asyncio import wait_for"),
    ],
)
def test_each_rule_can_be_broken(rule: Rule, breaks: str) -> None:
    assert rule(ast.parse(breaks))
    assert not rule(ast.parse("import json\nfrom sqlalchemy.dialects import postgresql\nf(a == b)"))


def broken(rule: Rule, names: Iterable[str] = source.MODULES) -> dict[str, list[str]]:
    """The places that break a rule, by module."""
    found = {name: rule(source.tree(name)) for name in names}
    return {name: places for name, places in found.items() if places}


@pytest.mark.parametrize("rule", [source.driver_imports, source.tries])
def test_repositories_name_no_driver_and_catch_nothing(rule: Rule) -> None:
    assert broken(rule, REPOSITORIES) == {}


def test_nothing_above_the_engines_asks_for_their_name() -> None:
    assert broken(source.engine_branches, ABOVE_ENGINES) == {}


def test_only_engines_and_testing_import_a_driver() -> None:
    others = [name for name in source.MODULES if not name.startswith(MAY_IMPORT_DRIVERS)]

    def drivers(module: ast.AST) -> list[str]:
        return sorted({name.split(".")[0] for name in source.imports(module)} & source.DRIVERS)

    assert broken(drivers, others) == {}


@pytest.mark.parametrize("rule", [source.select_stars, source.wait_fors])
def test_nowhere(rule: Rule) -> None:
    assert broken(rule) == {}


def test_no_module_grows_unnoticed() -> None:
    lengths = {
        name: len(path.read_text(encoding="utf-8").splitlines())
        for name, path in source.MODULES.items()
        if not name.startswith("migrations/versions/")
    }
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_every_folder_with_modules_is_a_package() -> None:
    """Without its ``__init__.py`` a folder is invisible to import-linter and to `pkgutil`."""
    folders = {path.parent for path in source.MODULES.values()}
    revisions = source.ROOT / "migrations" / "versions"  # Alembic loads them by path
    bare = [str(f) for f in folders - {revisions} if not (f / "__init__.py").exists()]
    assert bare == []


def lint(config: Path) -> subprocess.CompletedProcess[str]:
    """import-linter on this project, from a directory where it may write its cache."""
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports("
    arguments = f"config_filename={str(config)!r}, no_cache=True))"
    return subprocess.run(
        [sys.executable, "-c", program + arguments], capture_output=True, text=True, check=False,
        cwd=source.ROOT.parent.parent,
    )  # fmt: skip


def test_imports_point_one_way() -> None:
    done = lint(source.ROOT.parent.parent / "pyproject.toml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 kept, 0 broken" in done.stdout


def test_import_linter_sees_an_import_that_points_back(tmp_path: Path) -> None:
    config = tmp_path / "pyproject.toml"
    config.write_text(
        '[tool.importlinter]\nroot_package = "holdfast"\n'
        '[[tool.importlinter.contracts]]\nname = "upside down"\ntype = "layers"\n'
        'layers = ["holdfast.storage", "holdfast.repositories"]\n'
    )
    done = lint(config)
    assert done.returncode == 1
    assert "upside down BROKEN" in done.stdout


def test_every_module_of_the_root_is_a_layer() -> None:
    with (source.ROOT.parent.parent / "pyproject.toml").open("rb") as file:
        (contract,) = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    layers = {name.strip() for layer in contract["layers"] for name in re.split("[|:]", layer)}
    roots = {name.split("/")[0].removesuffix(".py") for name in source.MODULES} - {"__init__"}
    assert layers == {f"holdfast.{root}" for root in roots}
