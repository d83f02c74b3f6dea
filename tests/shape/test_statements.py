"""Every statement there can be, compiled for both engines."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import (
    ClauseElement,
    Column,
    Delete,
    Insert,
    Select,
    Table,
    Update,
    bindparam,
    delete,
    insert,
    select,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.sql.functions import FunctionElement

from holdfast.engines.compiler import Compiler
from holdfast.schema import metadata
from holdfast.schema.tasks import tasks
from holdfast.storage.session import Statement
from holdfast.storage.statements import delete_by, parameter

from . import things

COMPILERS = {
    "sqlite": Compiler(sqlite.dialect(paramstyle="qmark")),
    "postgresql": Compiler(asyncpg.dialect()),  # type: ignore[no-untyped-call]
}
#: They are handed all of an insert's arguments, and look by the key alone.
CONFIRMS = {s.confirm for s in things.STATEMENTS.values() if s.confirm is not None}


def tenant_is_said(statement: Statement) -> bool:
    """Whether rows are chosen by a tenant's parameter, or written with one."""
    expression = statement.expression
    if isinstance(expression, Insert):
        return "tenant" in statement.parameters or "new_tenant" in statement.parameters
    if not isinstance(expression, Select | Update | Delete) or expression.whereclause is None:
        return False
    # Of an AND only: one side of an OR would let the others' rows through.
    parts = getattr(expression.whereclause, "clauses", [expression.whereclause])
    if getattr(expression.whereclause, "operator", None) is not None and len(parts) > 1:
        name = getattr(expression.whereclause.operator, "__name__", "")
        parts = parts if name == "and_" else [expression.whereclause]
    return any(_is_tenant(part, statement.table) for part in parts)


def _is_tenant(part: object, table: Table) -> bool:
    left, right = getattr(part, "left", None), getattr(part, "right", None)
    operator = getattr(getattr(part, "operator", None), "__name__", "")
    return left is table.c.tenant and getattr(right, "key", None) == "tenant" and operator == "eq"


def test_there_is_something_to_look_at() -> None:
    assert len(things.AREAS) >= 8
    assert len(things.LISTINGS) >= 15
    assert len(things.STATEMENTS) > 500
    names = {statement.name for statement in things.STATEMENTS.values()}
    assert {"tasks.save", "tasks.claim", "audit_entries.query", "settings.set"} <= names


@pytest.mark.parametrize("dialect", COMPILERS)
def test_every_statement_compiles(dialect: str) -> None:
    compiler = COMPILERS[dialect]
    for name, statement in things.STATEMENTS.items():
        compiled = compiler(statement)
        assert compiled.sql.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE"), name
        assert "tenant" in compiled.sql, name
        assert not re.search(r"(?:SELECT|RETURNING|,) \*|\.\*", compiled.sql), name
        marks = compiled.sql.count("?") if dialect == "sqlite" else compiled.sql.count("$")
        assert marks >= len(statement.parameters) or statement in CONFIRMS, name


def test_what_can_travel_in_batches_compiles_over_arrays() -> None:
    """All inserts and upserts that write a whole row, and all reads."""
    compiler = COMPILERS["postgresql"]
    for name, statement in things.STATEMENTS.items():
        inserts = isinstance(statement.expression, Insert) and "tenant" in statement.parameters
        if inserts or (isinstance(statement.expression, Select) and statement not in CONFIRMS):
            sql = compiler.many(statement)
            assert "unnest(" in sql, name
            assert ("LATERAL" in sql) == isinstance(statement.expression, Select), name


def test_every_statement_says_the_tenant() -> None:
    silent = [name for name, s in things.STATEMENTS.items() if not tenant_is_said(s)]
    assert silent == []


def test_the_tenant_is_the_first_argument() -> None:
    for name, statement in things.STATEMENTS.items():
        assert statement.parameters[0] in ("tenant", "new_tenant"), name


def test_names_of_statements_say_the_table_and_the_method() -> None:
    for statement in things.STATEMENTS.values():
        table, _, method = statement.name.partition(".")
        assert table == statement.table.name
        assert method


@pytest.mark.parametrize(
    "expression",
    [
        select(tasks.c.id).where(tasks.c.id == parameter(tasks.c.id)),
        select(tasks.c.id),
        delete(tasks).where((tasks.c.tenant == parameter(tasks.c.tenant)) | (tasks.c.id == "x")),
        select(tasks.c.id).where(tasks.c.tenant != parameter(tasks.c.tenant)),
        select(tasks.c.id).where(tasks.c.tenant == bindparam("other")),
    ],
)
def test_a_statement_that_forgets_the_tenant_is_seen(expression: object) -> None:
    assert not tenant_is_said(Statement("tasks.broken", expression, ("id",), tasks))


def test_an_insert_without_a_tenant_is_seen() -> None:
    assert not tenant_is_said(Statement("tasks.broken", insert(tasks), ("id",), tasks))
    assert tenant_is_said(delete_by("tasks.fine", tasks, ("id",)))


def tables_at_large(sql: str) -> list[str]:
    """Tables of an SQL text, by their alias or name, whose tenant is compared with nothing.

    A table that stands twice under one name is one the author did not mean to join again.
    """
    names = "|".join(metadata.tables)
    found = re.findall(rf'(?:FROM|JOIN|UPDATE|,) ({names})\b(?!\.)(?: AS ("?\w+"?))?', sql)
    aliases = [alias for _, alias in found if alias]
    twice = {alias for alias in aliases if aliases.count(alias) > 1}
    called = {alias or table for table, alias in found}
    return sorted(
        {c for c in called if f"{c}.tenant =" not in sql and f"= {c}.tenant" not in sql} | twice
    )


def test_every_table_of_a_statement_says_the_tenant() -> None:
    for name, statement in things.STATEMENTS.items():
        for compiler in COMPILERS.values():
            assert tables_at_large(compiler(statement).sql) == [], name


def test_a_table_at_large_is_seen() -> None:
    assert tables_at_large("SELECT 1 FROM tasks AS other WHERE other.id = ?") == ["other"]
    joined = "SELECT 1 FROM tasks JOIN users ON users.id = tasks.id WHERE tasks.tenant = ?"
    assert tables_at_large(joined) == ["users"]
    anew = 'SELECT 1 FROM tasks AS other, tasks AS "row" WHERE other.tenant = "row".tenant'
    outer = 'SELECT 1 FROM tasks AS "row" WHERE "row".tenant = ? AND EXISTS'
    assert tables_at_large(f"{outer} ({anew})") == ['"row"']


def test_lists_are_totally_ordered() -> None:
    """The order ends in what is left of the key: no two rows of a tenant are equal in it."""
    for listing in things.LISTINGS:
        key = set(listing.key)
        assert not listing._order or key <= set(listing._order), listing.name
        if not listing._order:  # counts and sums: one row
            assert all(_is_of_all(column) for column in listing._columns), listing.name


def _is_of_all(column: ClauseElement) -> bool:
    """Whether columns stand in it inside of an aggregate alone."""
    if isinstance(column, FunctionElement) and column.name in ("count", "sum"):
        return True
    parts = list(column.get_children())
    return not isinstance(column, Column) and all(map(_is_of_all, parts))
