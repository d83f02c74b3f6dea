"""The Python in the documentation runs, file by file, as a reader would type it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from .. import forked
from .pages import PAGES, ROOT, source

_LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


#: Runs what it is given on stdin, with or without `await` outside a function.
_RUN = """
import ast, asyncio, inspect, sys

code = compile(sys.stdin.read(), sys.argv[1], "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
result = eval(code, {"__name__": "snippet"})
if inspect.isawaitable(result):
    asyncio.run(result)
"""


# In a process of its own: a page may set up logging, or a meter, for the process it is read in.
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_snippets_run(page: Path, tmp_path: Path) -> None:
    # The pages show parts of the examples.
    environment = os.environ | {"PYTHONPATH": str(ROOT / "examples")}
    for name in ("HOLDFAST_URL", "HOLDFAST_BACKEND"):
        environment.pop(name, None)
    command = ("-W", "error", "-c", _RUN, page.name)
    done = forked.run(*command, stdin=source(page), cwd=tmp_path, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/**/*.md")))
def test_links_lead_somewhere(page: Path) -> None:
    targets = _LINK.findall(page.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []
