"""The Python in the documentation type-checks in strict mode, as an application would have it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .pages import PAGES, ROOT, as_module

#: Beside the pages: who finds nothing in it looks at nothing.
_MISTAKE = "from holdfast import create_backend\n\ncreate_backend(5).tasks.save('no task')\n"


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module for each page, and one that is wrong."""
    folder = tmp_path_factory.mktemp("pages")
    for page in PAGES:
        name = page.stem.lower().replace("-", "_")
        (folder / f"{name}_page.py").write_text(as_module(page), encoding="utf-8")
    (folder / "wrong.py").write_text(_MISTAKE)
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
    errors = [line for line in done.stdout.splitlines() if re.search(r"\berror: ", line)]
    assert errors, done.stdout + done.stderr
    assert [line for line in errors if not re.search(r"\bwrong\.py:3\b", line)] == []


def test_mypy(modules: Path) -> None:
    check(modules, "mypy", "--strict", "--cache-dir", str(modules / "cache"))


def test_pyright(modules: Path) -> None:
    (modules / "pyrightconfig.json").write_text(
        json.dumps({"typeCheckingMode": "strict", "extraPaths": [str(ROOT / "examples")]})
    )
    check(modules, "basedpyright", "--pythonpath", sys.executable)
