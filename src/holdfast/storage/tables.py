"""How every table is built: the tenant leads every key and index. And Holdfast's ``MetaData``."""

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

from holdfast.errors import InvalidArgumentError
from holdfast.storage.retention import Retention, declare
from holdfast.storage.types import INTEGER, STRING, JsonText, unstorable

__all__ = [
    "check",
    "column",
    "decisive",
    "extra",
    "foreign_key",
    "index",
    "internal",
    "is_internal",
    "metadata",
    "new_metadata",
    "nullable",
    "referring",
    "saved_order",
    "source",
    "store_table",
    "token",
    "unique",
    "unique_index",
]

TENANT = "tenant"
EXTRA = "extra"
SAVED_ORDER = "saved_order"
#: Said of a column in its ``info``; see `decisive`.
DECISIVE = "decisive"

_TARGET = "target"
_INTERNAL = "internal"
#: By table: the tables of other metadata that refer to it.
_REFERRING: dict[Table, dict[str, Table]] = {}


def new_metadata() -> MetaData:
    """An empty place for tables, whose constraints are named as Holdfast's are."""
    return MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            # Column 0 is the tenant.
            "fk": "fk_%(table_name)s_%(column_1_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )


#: Holdfast's own tables; an extension's are in one of its own.
metadata = new_metadata()


def store_table(
    name: str,
    *items: SchemaItem,
    key: tuple[str, ...],
    metadata: MetaData = metadata,
    retention: Retention | None = None,
) -> Table:
    """A table whose rows each belong to a tenant; ``key`` is the key within a tenant.

    ``retention`` says which rows may be deleted by their age; by default none.
    `InvalidArgumentError` for a column of another type than those of `holdfast.extending`.
    """
    tenant: Column[str] = Column(TENANT, STRING, nullable=False)
    primary = PrimaryKeyConstraint(TENANT, *key)
    table = Table(name, metadata, tenant, *items, primary, info={"key": key})
    for problem in unstorable(table):
        metadata.remove(table)
        raise InvalidArgumentError(f"store_table: {problem}")
    if retention is not None:
        declare(table, retention)
    for constraint in table.foreign_key_constraints:
        if (target := constraint.info.get(_TARGET)) is not None:
            _REFERRING.setdefault(target, {})[name] = table
    return table


def referring(table: Table) -> dict[str, Table]:
    """The tables by name whose foreign keys may lead to ``table``, those of extensions too."""
    return {**table.metadata.tables, **_REFERRING.get(table, {})}


def column(name: str, type_: TypeEngine[Any], *, default: str | None = None) -> Column[Any]:
    """``default``, in SQL, is for a column that came later: of the rows that were there, and of
    those that code writes which does not know it."""
    server_default = None if default is None else text(default)
    return Column(name, type_, nullable=False, server_default=server_default)


def decisive(name: str, type_: TypeEngine[Any]) -> Column[Any]:
    """A column by whose values the store itself decides: which task is next, who is the last owner.

    They are those of Holdfast's entity, also where an application's class has a list of its own.
    """
    return Column(name, type_, nullable=False, info={DECISIVE: True})


def nullable(name: str, type_: TypeEngine[Any]) -> Column[Any]:
    return Column(name, type_, nullable=True)


def extra() -> Column[Any]:
    """Where an application's own entity keeps the fields that have no column: a JSON object.

    ``NULL`` where an entity without such fields was saved first.
    """
    return Column(EXTRA, JsonText(), nullable=True)


def saved_order() -> Column[Any]:
    """The order in which a history's records were saved, for those of one time: a moment of the
    process that saved the record first, 0 where that did not tell."""
    return column(SAVED_ORDER, INTEGER, default="0")


def internal(name: str, type_: TypeEngine[Any], *, of: str) -> Column[Any]:
    """What triggers keep for the database's own use: one of the texts in the JSON column ``of``.

    No entity and no export has it, and a change of it alone is not recorded.
    """
    return Column(name, type_, nullable=True, info={_INTERNAL: of})


def is_internal(column: Column[Any]) -> bool:
    return _INTERNAL in column.info


def source(column: Column[Any]) -> str:
    """Return the name of the column from which a column's texts come: its own, if not internal."""
    return str(column.info.get(_INTERNAL, column.name))


def index(name: str, *columns: str, where: str | None = None) -> Index:
    """An index within the tenant, ``where`` an SQL condition both engines read alike."""
    return Index(name, TENANT, *columns, **_partial(where))


def unique(name: str, *columns: str) -> UniqueConstraint:
    return UniqueConstraint(TENANT, *columns, name=name)


def unique_index(name: str, *columns: str, where: str, token: str) -> Index:
    return Index(name, TENANT, *columns, unique=True, info={"token": token}, **_partial(where))


def foreign_key(column: str, target: str | Column[Any], *, ondelete: str) -> ForeignKeyConstraint:
    """A reference within the tenant to ``"table.column"``, or to a column of other metadata."""
    tenant: str | Column[Any]
    if isinstance(target, str):
        tenant, info = f"{target.split('.')[0]}.{TENANT}", {}
    else:
        tenant, info = target.table.c[TENANT], {_TARGET: target.table}
    return ForeignKeyConstraint([TENANT, column], [tenant, target], ondelete=ondelete, info=info)


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
