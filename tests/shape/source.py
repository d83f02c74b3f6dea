"""The source as syntax trees, and rules that look at one tree: each answers what breaks it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import holdfast

ROOT = Path(holdfast.__file__).parent
MODULES = {path.relative_to(ROOT).as_posix(): path for path in sorted(ROOT.rglob("*.py"))}

DRIVERS = frozenset({"sqlite3", "asyncpg", "aiosqlite", "apsw", "psycopg", "pysqlite3"})
ENGINES = frozenset({"sqlite", "postgres", "postgresql", "asyncpg", "aiosqlite"})


def tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"), filename=name)


def imports(module: ast.AST) -> Iterator[str]:
    """What a module imports, wherever in it."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."
            yield from (f"{node.module or '.'}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
            constants = (a.value for a in node.args if isinstance(a, ast.Constant))
            yield from (value for value in constants if isinstance(value, str))


def driver_imports(module: ast.AST) -> list[str]:
    """Imports of a driver, or of the half of `engines/` that names one."""
    own = ("holdfast.engines.sqlite", "holdfast.engines.postgres")
    return [
        name for name in imports(module) if name.split(".")[0] in DRIVERS or name.startswith(own)
    ]


def engine_branches(module: ast.AST) -> list[str]:
    """Places where code does one thing or another because of an engine's name."""
    found = []
    for node in ast.walk(module):
        if isinstance(node, ast.Compare):
            hit = any(_names_engine(part) for part in (node.left, *node.comparators))
        elif isinstance(node, ast.MatchValue):
            hit = _names_engine(node.value)
        elif isinstance(node, ast.Call):
            hit = _called(node) in ("startswith", "endswith", "get") and any(
                _names_engine(argument) for argument in node.args
            )
        elif isinstance(node, ast.Attribute):
            hit = node.attr == "name" and _last(node.value) == "dialect"
        else:
            hit = False
        if hit:
            found.append(ast.unparse(node))
    return found


def tries(module: ast.AST) -> list[str]:
    """Places that catch errors."""
    return [
        f"line {node.lineno}"
        for node in ast.walk(module)
        if isinstance(node, ast.Try | ast.TryStar)
        or (isinstance(node, ast.Call) and _called(node) == "suppress")
    ]


def select_stars(module: ast.AST) -> list[str]:
    """``SELECT *`` in any text, and SQLAlchemy's ways to say it."""
    texts = [n.value for n in ast.walk(module) if isinstance(n, ast.Constant)]
    found = [t for t in texts if isinstance(t, str) and "select *" in " ".join(t.lower().split())]
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and _called(node) in ("text", "literal_column", "column"):
            found += [a.value for a in node.args if isinstance(a, ast.Constant) and a.value == "*"]
    return found


def wait_fors(module: ast.AST) -> list[str]:
    """`asyncio.wait_for`, which swallows a cancellation on Python 3.11."""
    named = [name for name in imports(module) if name == "asyncio.wait_for"]
    return named + [
        ast.unparse(node)
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute) and node.attr == "wait_for"
    ]


def _called(node: ast.Call) -> str:
    return _last(node.func)


def _last(node: ast.expr) -> str:
    """The last name of a dotted expression."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _names_engine(node: ast.expr) -> bool:
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return any(_names_engine(item) for item in node.elts)
    return isinstance(node, ast.Constant) and node.value in ENGINES
