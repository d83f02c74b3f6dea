"""The Python in the documentation runs, file by file, as a reader would type it."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
    if "```python" in page.read_text(encoding="utf-8")
)
_LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
async def test_snippets_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HOLDFAST_URL", "HOLDFAST_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    text = page.read_text(encoding="utf-8")  # noqa: ASYNC240 - nothing else runs
    # Blank lines keep the numbers, so that a failure names the line of the page.
    source = ["\n"] * len(text.splitlines())
    inside = False
    for number, line in enumerate(text.splitlines()):
        if line.startswith("```"):
            inside = line == "```python"
        elif inside:
            source[number] = f"{line}\n"
    if page.name == "README.md":  # a whole program, which starts its own loop
        joined = "".join(source).replace("asyncio.run(main())", "await main()")
    else:
        joined = "".join(source)
    code = compile(joined, page.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, {"__name__": "snippet"})  # noqa: S307 - our own pages
    if inspect.isawaitable(result):
        await result


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/**/*.md")))
def test_links_lead_somewhere(page: Path) -> None:
    targets = _LINK.findall(page.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []
