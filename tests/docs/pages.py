"""The Python in the documentation, page by page."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from textwrap import indent

__all__ = ["PAGES", "ROOT", "as_module", "source"]

ROOT = Path(__file__).parents[2]


def source(page: Path) -> str:
    """All snippets of a page. Blank lines keep the numbers, so that an error names the page's."""
    lines = page.read_text(encoding="utf-8").splitlines()
    found = [""] * len(lines)
    inside = False
    for number, line in enumerate(lines):
        if line.startswith("```"):
            inside = line == "```python"
        elif inside:
            found[number] = line
    return "".join(f"{line}\n" for line in found)


def as_module(page: Path) -> str:
    """The same as a module that can be imported: what awaits stands in a function."""
    text = source(page)
    code = compile(text, page.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if not code.co_flags & inspect.CO_COROUTINE:
        return text
    # In place of the blank line before the first snippet.
    before, after = text.split("\n\n", maxsplit=1)
    return f"{before}\nasync def page() -> None:\n{indent(after, '    ')}"


PAGES = sorted(
    page
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
    if "```python" in page.read_text(encoding="utf-8")
)
