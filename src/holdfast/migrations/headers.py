"""What the files of revisions say about themselves, read without running them.

Every start asks which revision is the newest. To run the files takes Alembic, and both take longer
than everything else that an import of Holdfast does not do.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Revision", "in_line"]

_NAMES = frozenset({"revision", "down_revision", "branch_labels", "depends_on"})


class Revision(NamedTuple):
    """A step of a chain."""

    revision: str
    down_revision: str | None
    message: str


def in_line(files: Iterable[Path]) -> Sequence[Revision] | None:
    """The revisions, newest first; ``None`` where that is for Alembic to say: two of them follow
    the same one, or a file is no plain revision."""
    following: dict[str | None, Revision] = {}
    count = 0
    for file in files:
        step = _header(file)
        if step is None or step.down_revision in following:
            return None
        following[step.down_revision] = step
        count += 1
    line: list[Revision] = []
    while (step := following.get(line[-1].revision if line else None)) and len(line) < count:
        line.append(step)
    return line[::-1] if 0 < len(line) == count else None


def _header(file: Path) -> Revision | None:
    try:
        tree = ast.parse(file.read_bytes())
        found = dict.fromkeys(_NAMES) | dict(_assigned(tree))
    except (SyntaxError, ValueError, OSError):
        return None
    revision, down = found["revision"], found["down_revision"]
    if found["branch_labels"] or found["depends_on"]:
        return None
    if not isinstance(revision, str) or not isinstance(down, str | None):
        return None
    message = (ast.get_docstring(tree, clean=False) or "").strip()
    return Revision(revision, down, message.split("\n\n")[0])


def _assigned(tree: ast.Module) -> Iterable[tuple[str, Any]]:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name) and target.id in _NAMES:
                yield target.id, ast.literal_eval(node.value)  # type: ignore[attr-defined]
