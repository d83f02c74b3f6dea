"""What every repository is made of: a session, a tenant, and statements named after it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, cast

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Table,
    bindparam,
    delete,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import postgresql

from holdfast.engines.base import Session, Statement
from holdfast.schema.meta import TENANT

__all__ = [
    "Repository",
    "delete_by",
    "insert",
    "parameter",
    "provide",
    "select_by",
    "update_by",
    "upsert",
    "upsert_counting",
    "where_equal",
]

R = TypeVar("R")


class Repository:
    """One kind of record of one tenant, on a backend or inside a transaction."""

    def __init__(self, session: Session, tenant: str) -> None:
        self._session = session
        self._tenant = tenant


def provide(owner: object, kind: type[R]) -> R:
    """The owner's repository of ``kind``: the same object for as long as it is connected."""
    return cast("Any", owner)._repository(kind)  # type: ignore[no-any-return]


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
    expression = delete(table).where(*where_equal(table, by))
    return Statement(name, expression, (TENANT, *by), table)


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
    changed = {p: fresh.excluded[p] for p in parameters if p not in key and p not in keep}
    expression = (
        fresh.on_conflict_do_update(index_elements=list(key), set_=changed)
        if changed
        else fresh.on_conflict_do_nothing(index_elements=list(key))
    )
    return Statement(name, expression, parameters, table)


def upsert_counting(
    name: str, table: Table, parameters: tuple[str, ...], *, counter: str
) -> Statement:
    """An upsert that answers how often the row was saved: 1 for an insert."""
    key = (TENANT, *table.info["key"])
    fresh = postgresql.insert(table).values(
        {**{p: parameter(table.c[p], f"new_{p}") for p in parameters}, counter: literal_column("1")}
    )
    changed: dict[str, Any] = {p: fresh.excluded[p] for p in parameters if p not in key}
    changed[counter] = table.c[counter] + literal_column("1")
    expression = fresh.on_conflict_do_update(index_elements=list(key), set_=changed)
    return Statement(
        name,
        expression.returning(table.c[counter]),
        tuple(f"new_{p}" for p in parameters),
        table,
    )


def update_by(name: str, table: Table, parameters: tuple[str, ...]) -> Statement:
    """An update of every column but the key, where the key is the arguments'."""
    key = (TENANT, *table.info["key"])
    values = {p: parameter(table.c[p], f"new_{p}") for p in parameters if p not in key}
    expression = update(table).values(values).where(*where_equal(table, table.info["key"]))
    names = tuple(p if p in key else f"new_{p}" for p in parameters)
    return Statement(name, expression, names, table)
