"""Names of the package are looked up when they are used, and nothing is loaded before."""

from __future__ import annotations

import subprocess
import sys

import pytest

import holdfast


def loaded(program: str) -> set[str]:
    """The modules of a fresh process after a program."""
    program += "\nimport sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing() -> None:
    found = loaded("import holdfast; dir(holdfast)")
    assert {name for name in found if name.startswith("holdfast.")} == {"holdfast._lazy"}
    assert not found & {"pydantic", "sqlalchemy", "typing_extensions", "alembic", "yaml"}


def test_an_entity_needs_no_database() -> None:
    found = loaded("from holdfast import Task")
    assert "holdfast.entities.tasks" in found
    assert not found & {"sqlalchemy", "holdfast.engines", "holdfast.repositories", "alembic"}


@pytest.mark.parametrize("url", ["sqlite:///:memory:", "postgresql://a:b@127.0.0.1/c"])
def test_a_backend_needs_no_alembic(url: str) -> None:
    found = loaded(f"from holdfast import create_backend; create_backend({url!r})")
    assert "holdfast.repositories.tasks" in found
    assert not found & {"alembic", "typer", "rich", "pytest", "hypothesis"}


def test_what_is_shown_first() -> None:
    heads = dir(holdfast)
    assert len(heads) < 70
    assert {"Task", "create_backend", "PersistenceError", "__version__"} <= set(heads)
    assert set(heads) - {"__version__"} <= set(holdfast.__all__)  # type: ignore[attr-defined]
    assert all(hasattr(holdfast, name) for name in heads)


def test_modules_are_found_by_name() -> None:
    assert holdfast.errors.PersistenceError is holdfast.PersistenceError
    assert "holdfast.changes" in loaded("import holdfast; holdfast.changes")


@pytest.mark.parametrize("name", ["Tusk", "tusk", "_private", "__wrapped__"])
def test_there_is_no_other_name(name: str) -> None:
    with pytest.raises(AttributeError, match=f"'holdfast' has no attribute '{name}'"):
        getattr(holdfast, name)
    with pytest.raises(ImportError, match=name):
        exec(f"from holdfast import {name}", {})  # noqa: S102
