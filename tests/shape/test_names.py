"""What is public, and that it says what it is for."""

from __future__ import annotations

import inspect
import subprocess
import sys
from enum import Enum
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel

import holdfast
from holdfast import backend, changes, config, entities, errors, memory, repositories

from . import source, things

NAMES = {
    "holdfast"
    + "".join(f".{part}" for part in name.removesuffix(".py").split("/")).removesuffix(".__init__")
    for name in source.MODULES
    if not name.endswith("__main__.py") and not name.startswith("migrations/versions/")
} - {"holdfast.migrations.env"}  # Alembic runs it
MODULES = [import_module(name) for name in sorted(NAMES)]

#: Names that nobody writes out: what these modules define is public by being made there.
AREAS = [*things.modules(entities), *things.AREAS, errors, backend, changes, memory]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_each_list_of_names_is_sorted_and_true(module: ModuleType) -> None:
    names = getattr(module, "__all__", None)
    if names is None:
        return  # a package that is only a place, or a module only its neighbours read
    assert names == sorted(names, key=_order(names))
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(module, name)] == []


def _order(names: list[str]) -> Any:
    """As ruff sorts them: constants, then classes, then the rest; or plainly."""
    if names == sorted(names):
        return None
    return lambda n: (0 if n.isupper() else 1 if n[:1].isupper() else 2, n)


def _defined(module: ModuleType) -> list[str]:
    """Public classes and functions that were made in a module."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and "[" not in name  # a generic with its parameter
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    ]


def test_the_public_names_are_sorted() -> None:
    assert holdfast.__all__ == sorted(holdfast.__all__)  # type: ignore[attr-defined]


def test_the_public_names_are_complete() -> None:
    wanted = {name for module in AREAS for name in module.__all__ if not name.islower()}
    wanted -= {"Amount", "Count", "Deadline", "Moment", "Sha256", "Share"}  # fields' own types
    wanted |= {"create_backend", "PersistenceConfig", "PostgresConfig", "SQLiteConfig"}
    assert wanted <= set(holdfast.__all__)  # type: ignore[attr-defined]
    for module in (entities, repositories):
        assert module.__all__ == sorted(module.__all__)


def test_what_an_area_makes_is_in_its_list() -> None:
    for module in AREAS:
        classes = {n for n in _defined(module) if inspect.isclass(getattr(module, n))}
        assert classes <= set(module.__all__), module.__name__


def test_every_kind_of_name_is_there() -> None:
    named = {name: getattr(holdfast, name) for name in holdfast.__all__}  # type: ignore[attr-defined]
    classes = [value for value in named.values() if inspect.isclass(value)]
    assert sum(issubclass(c, BaseModel) for c in classes) > 15
    assert sum(issubclass(c, Enum) for c in classes) > 10
    assert sum(issubclass(c, errors.PersistenceError) for c in classes) == len(errors.__all__)
    assert sum(name.endswith("Repository") for name in named) == 31
    assert {"SQLitePersistenceBackend", "PostgresPersistenceBackend"} <= named.keys()


def test_nothing_foreign_is_public() -> None:
    own = {name for module in (*AREAS, config) for name in module.__all__}
    own |= {"MalformedRow", "Repositories"}
    assert set(holdfast.__all__) <= own  # type: ignore[attr-defined]
    present = {name for name in vars(holdfast) if not name.startswith("_")}
    modules = {name.split(".")[1] for name in sys.modules if name.startswith("holdfast.")}
    assert present - set(holdfast.__all__) <= modules  # type: ignore[attr-defined]


def test_a_star_import_brings_them_and_no_driver() -> None:
    """An application that uses SQLite alone need not have PostgreSQL's driver."""
    code = (
        "import sys; sys.modules['asyncpg'] = None; from holdfast import *; "
        "create_backend('sqlite:///:memory:'); print(Task, QueryError, TaskRepository)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# -- docstrings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_module_says_what_it_is_for(module: ModuleType) -> None:
    assert module.__doc__
    assert module.__doc__.strip()


@pytest.mark.parametrize(
    "module", [errors, config, backend, *things.AREAS], ids=lambda m: m.__name__
)
def test_the_contract_is_written_down(module: ModuleType) -> None:
    bare = []
    for name in module.__all__:
        value = getattr(module, name)
        if not inspect.isclass(value) and not inspect.isfunction(value):
            continue
        if not value.__doc__:
            bare.append(name)
        if not inspect.isclass(value) or not getattr(value, "_is_protocol", False):
            continue
        for method, made in vars(value).items():
            inner = made.fget if isinstance(made, property) else made
            if method.startswith("_") or not inspect.isfunction(inner):
                continue
            if not inner.__doc__:
                bare.append(f"{name}.{method}")
    assert bare == []
