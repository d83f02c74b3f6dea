"""Statements that repositories have in common, each named after the method that runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Table,
    bindparam,
    delete,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import postgresql

from holdfast.storage.session import Statement
from holdfast.storage.tables import EXTRA, TENANT

__all__ = [
    "Comparison",
    "delete_by",
    "delete_up_to",
    "insert",
    "insert_if_absent",
    "parameter",
    "select_by",
    "transition",
    "update_by",
    "upsert",
    "upsert_counting",
    "where_equal",
]


#: Such as ``operator.eq``: a column, and what it is compared with.
Comparison = Callable[[Column[Any], Any], ColumnElement[bool]]


def parameter(column: Column[Any], name: str | None = None) -> BindParameter[Any]:
    """A statement's parameter with the column's type."""
    return bindparam(name or column.name, type_=column.type)


def where_equal(table: Table, columns: Iterable[str]) -> list[ColumnElement[bool]]:
    """``tenant = :tenant`` and one equality for each column."""
    return [table.c[name] == parameter(table.c[name]) for name in (TENANT, *columns)]


def select_by(
    name: str, table: Table, columns: Iterable[Column[Any]], by: tuple[str, ...]
) -> Statement:
    """A read of the rows in which the columns ``by`` equal the arguments."""
    expression = select(*columns).where(*where_equal(table, by))
    return Statement(name, expression, (TENANT, *by), table)


def delete_by(name: str, table: Table, by: tuple[str, ...]) -> Statement:
    """A delete of the rows in which the columns ``by`` equal the arguments."""
    expression = delete(table).where(*where_equal(table, by))
    return Statement(name, expression, (TENANT, *by), table)


def delete_up_to(
    name: str, table: Table, column: str, compare: Comparison, argument: str = "now"
) -> Statement:
    """A delete of the rows of which ``compare(column, argument)`` holds."""
    limit = parameter(table.c[column], argument)
    condition = compare(table.c[column], limit)
    expression = delete(table).where(*where_equal(table, ()), condition)
    return Statement(name, expression, (TENANT, argument), table)


def insert(name: str, table: Table, parameters: tuple[str, ...]) -> Statement:
    """An insert that meets an existing key as `DuplicateRecordError`."""
    stored = select(*(table.c[p] for p in parameters)).where(*where_equal(table, table.info["key"]))
    confirm = Statement(f"{name} (confirm)", stored, parameters, table)
    return Statement(name, postgresql.insert(table), parameters, table, confirm)


def upsert(
    name: str, table: Table, parameters: tuple[str, ...], *, keep: tuple[str, ...] = ()
) -> Statement:
    """An insert, or an update of every column but the key and those to ``keep``."""
    key = (TENANT, *table.info["key"])
    fresh = postgresql.insert(table)
    changed = _replaced(table, fresh, [p for p in parameters if p not in key and p not in keep])
    expression = (
        fresh.on_conflict_do_update(index_elements=list(key), set_=changed)
        if changed
        else fresh.on_conflict_do_nothing(index_elements=list(key))
    )
    return Statement(name, expression, parameters, table)


def _replaced(table: Table, fresh: postgresql.Insert, names: Iterable[str]) -> dict[str, Any]:
    """Every column becomes what is saved now. An entity that knows no extra fields leaves those
    that another application's entity has put there."""
    changed: dict[str, Any] = {name: fresh.excluded[name] for name in names}
    if EXTRA in changed:
        changed[EXTRA] = func.coalesce(fresh.excluded[EXTRA], table.c[EXTRA])
    return changed


def upsert_counting(
    name: str, table: Table, parameters: tuple[str, ...], *, counter: str
) -> Statement:
    """An upsert that answers how often the row was saved: 1 for an insert."""
    key = (TENANT, *table.info["key"])
    fresh = postgresql.insert(table).values(
        {**{p: parameter(table.c[p], f"new_{p}") for p in parameters}, counter: literal_column("1")}
    )
    changed = _replaced(table, fresh, [p for p in parameters if p not in key])
    changed[counter] = table.c[counter] + literal_column("1")
    expression = fresh.on_conflict_do_update(index_elements=list(key), set_=changed)
    return Statement(
        name,
        expression.returning(table.c[counter]),
        tuple(f"new_{p}" for p in parameters),
        table,
    )


def insert_if_absent(name: str, table: Table, parameters: tuple[str, ...]) -> Statement:
    """An insert that leaves what is stored under the key as it is, and then touches no row."""
    key = [TENANT, *table.info["key"]]
    expression = postgresql.insert(table).on_conflict_do_nothing(index_elements=key)
    return Statement(name, expression, parameters, table)


def update_by(
    name: str,
    table: Table,
    parameters: tuple[str, ...],
    *,
    keep: tuple[str, ...] = (),
    previous: str | None = None,
) -> Statement:
    """An update of every column but the key and those to ``keep``; the key is the arguments'.

    With ``previous``, only where that column equals one more argument, the last.
    """
    key = (TENANT, *table.info["key"])
    values: dict[str, Any] = {
        p: parameter(table.c[p], f"new_{p}") for p in parameters if p not in key and p not in keep
    }
    if EXTRA in values:
        values[EXTRA] = func.coalesce(values[EXTRA], table.c[EXTRA])
    conditions = where_equal(table, table.info["key"])
    names = tuple(p if p in key else f"new_{p}" for p in parameters if p not in keep)
    if previous is not None:
        conditions.append(table.c[previous] == parameter(table.c[previous], "previous"))
        names = (*names, "previous")
    return Statement(name, update(table).values(values).where(*conditions), names, table)


def transition(
    name: str, table: Table, columns: tuple[str, ...], *, when: ColumnElement[bool]
) -> Statement:
    """An update of some columns of one row, and only while ``when`` holds of it: of several
    callers at once, one touches the row."""
    values = {column: parameter(table.c[column], f"new_{column}") for column in columns}
    key = table.info["key"]
    expression = update(table).values(values).where(*where_equal(table, key), when)
    return Statement(name, expression, (TENANT, *key, *(f"new_{c}" for c in columns)), table)
