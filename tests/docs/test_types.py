"""The Python in the documentation type-checks in strict mode, as an application would have it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .pages import PAGES, ROOT, as_module


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module for each page."""
    folder = tmp_path_factory.mktemp("pages")
    for page in PAGES:
        name = page.stem.lower().replace("-", "_")
        (folder / f"{name}_page.py").write_text(as_module(page), encoding="utf-8")
    return folder


def check(modules: Path, *command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command, "."],
        cwd=modules,
        env=os.environ | {"MYPYPATH": str(ROOT / "examples")},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy(modules: Path) -> None:
    check(modules, "mypy", "--strict", "--cache-dir", str(modules / "cache"))


def test_pyright(modules: Path) -> None:
    (modules / "pyrightconfig.json").write_text(
        json.dumps({"typeCheckingMode": "strict", "extraPaths": [str(ROOT / "examples")]})
    )
    check(modules, "basedpyright", "--pythonpath", sys.executable)


def test_a_mistake_is_found(tmp_path: Path) -> None:
    (tmp_path / "wrong_page.py").write_text(
        "from holdfast import create_backend\n\ncreate_backend(5).tasks.save('no task')\n"
    )
    for test in (test_mypy, test_pyright):
        with pytest.raises(AssertionError, match=r"wrong_page\.py.*error"):
            test(tmp_path)
