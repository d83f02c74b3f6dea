"""The one ``MetaData``, and how every table is built: the tenant leads every key and index."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from holdfast.schema.types import STRING

__all__ = [
    "check",
    "column",
    "foreign_key",
    "index",
    "metadata",
    "nullable",
    "store_table",
    "token",
    "unique",
    "unique_index",
]

TENANT = "tenant"

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        # Column 0 is the tenant.
        "fk": "fk_%(table_name)s_%(column_1_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def store_table(name: str, *items: SchemaItem, key: tuple[str, ...]) -> Table:
    """A table whose rows belong to tenants; ``key`` is the key within a tenant."""
    tenant: Column[str] = Column(TENANT, STRING, nullable=False)
    primary = PrimaryKeyConstraint(TENANT, *key)
    return Table(name, metadata, tenant, *items, primary, info={"key": key})


def column(name: str, type_: TypeEngine[Any]) -> Column[Any]:
    return Column(name, type_, nullable=False)


def nullable(name: str, type_: TypeEngine[Any]) -> Column[Any]:
    return Column(name, type_, nullable=True)


def index(name: str, *columns: str, where: str | None = None) -> Index:
    """An index within the tenant, ``where`` an SQL condition both engines read alike."""
    return Index(name, TENANT, *columns, **_partial(where))


def unique(name: str, *columns: str) -> UniqueConstraint:
    return UniqueConstraint(TENANT, *columns, name=name)


def unique_index(name: str, *columns: str, where: str, token: str) -> Index:
    return Index(name, TENANT, *columns, unique=True, info={"token": token}, **_partial(where))


def foreign_key(column: str, target: str, *, ondelete: str) -> ForeignKeyConstraint:
    """A reference within the tenant; ``target`` is ``table.column``."""
    table = target.split(".")[0]
    return ForeignKeyConstraint([TENANT, column], [f"{table}.{TENANT}", target], ondelete=ondelete)


def check(name: str, condition: str) -> CheckConstraint:
    return CheckConstraint(text(condition), name=name)


def token(table: Table, constraint: str) -> str:
    """The stable name, equal on both engines, of a constraint given by its database name."""
    for index_ in table.indexes:
        if index_.name == constraint and "token" in index_.info:
            return f"{table.name}.{index_.info['token']}"
    for item in table.constraints:
        if item.name == constraint:
            if isinstance(item, UniqueConstraint | ForeignKeyConstraint):
                return f"{table.name}.{'_'.join(c.name for c in item.columns if c.name != TENANT)}"
            break
    return f"{table.name}.{constraint.removeprefix(f'ck_{table.name}_')}"


def _partial(where: str | None) -> dict[str, Any]:
    if where is None:
        return {}
    return {"postgresql_where": text(where), "sqlite_where": text(where)}
