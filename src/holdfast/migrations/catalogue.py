"""What there is in the place of the tables, whoever made it, and what takes up which names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sqlalchemy import Connection, PrimaryKeyConstraint, Table, UniqueConstraint

from holdfast.storage.functions import HERE
from holdfast.storage.triggers import rules_of

__all__ = ["Names", "clashes", "may_read", "names_of", "rename", "way_out"]

# A table's type has its name, so that a type is in the way of a table, but of no index. On SQLite
# triggers have names of their own, as functions do on PostgreSQL.
_OBJECTS = {
    "sqlite": """
SELECT name, CASE WHEN type = 'trigger' THEN 'function' ELSE 'relation' END, type, tbl_name
FROM sqlite_schema
""",
    "postgresql": f"""
SELECT c.relname::text, 'relation', CASE relkind WHEN 'v' THEN 'view'
  WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence'
  WHEN 'c' THEN 'type' WHEN 'i' THEN 'index' WHEN 'I' THEN 'index' ELSE 'table' END,
  coalesce((SELECT t.relname::text FROM pg_index JOIN pg_class t ON t.oid = indrelid
            WHERE indexrelid = c.oid), c.relname::text)
FROM pg_class c WHERE c.relnamespace = {HERE}
UNION ALL
SELECT typname::text, 'type', 'type', typname::text FROM pg_type
WHERE typnamespace = {HERE} AND typrelid = 0 AND typcategory <> 'A'
UNION ALL
SELECT proname::text, 'function', CASE prokind WHEN 'p' THEN 'procedure' ELSE 'function' END,
  proname::text
FROM pg_proc WHERE pronamespace = {HERE} AND pronargs = 0
""",  # noqa: S608
}
_MAY_READ = f"""
SELECT has_table_privilege(oid, 'SELECT') FROM pg_class
WHERE relname = $1 AND relnamespace = {HERE}
"""  # noqa: S608
_OTHER_KEY = f"""
SELECT conname FROM pg_constraint c JOIN pg_class t ON t.oid = conrelid
WHERE contype = 'p' AND relname = $1 AND relnamespace = {HERE} AND conname <> $2
"""  # noqa: S608
_WAYS_OUT = {
    "sqlite": "give Holdfast a file of its own",
    "postgresql": "give Holdfast a schema of its own (CREATE SCHEMA holdfast, and ?schema=holdfast "
    "in its URL)",
}


class Names(NamedTuple):
    """Of what is to be made; ``relations`` are tables and all else that shares their space."""

    tables: set[str]
    relations: set[str]
    functions: set[str]


def names_of(connection: Connection, tables: Iterable[Table]) -> Names:
    """The names that tables take up, with their indexes and rules."""
    tables = list(tables)
    names = {table.name for table in tables}
    indexes = {str(index.name) for table in tables for index in table.indexes}
    rules = {rule for table in tables for rule in rules_of(table)}
    if connection.dialect.name == "sqlite":
        halves = {f"{rule}_{event}" for rule in rules for event in ("UPDATE", "DELETE")}
        return Names(names, names | indexes, halves)
    keys = {str(name) for table in tables for name in _keys(table)}
    return Names(names, names | indexes | keys, rules)


def _keys(table: Table) -> Iterator[object]:
    """Of the constraints that PostgreSQL keeps with an index of their name."""
    for constraint in table.constraints:
        if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint):
            yield constraint.name


def clashes(connection: Connection, wanted: Names) -> Iterator[str]:
    """Kind and name of each object that has one of the names, in their order."""
    dialect = connection.dialect.name
    fold = str.lower if dialect == "sqlite" else str
    spaces = {"relation": wanted.relations, "type": wanted.tables, "function": wanted.functions}
    folded = {space: {fold(name) for name in names} for space, names in spaces.items()}
    found = connection.exec_driver_sql(_OBJECTS[dialect]).all()
    for name, space, kind, of in sorted(tuple(row) for row in found):
        # The index of a table that is named already says nothing new.
        is_part = kind == "index" and fold(of) in folded["relation"]
        if fold(name) in folded[space] and not is_part:
            yield f'{kind} "{name}"'


def way_out(connection: Connection) -> str:
    """What to do where other people's objects have our names."""
    return _WAYS_OUT[connection.dialect.name]


def may_read(connection: Connection, table: str) -> bool:
    """Whether there is such a table for this database role."""
    if connection.dialect.name == "sqlite":
        return True
    return bool(connection.exec_driver_sql(_MAY_READ, (table,)).scalar())


def rename(connection: Connection, old: str, new: str, key: str) -> None:
    """Rename a table, and its primary key where that would stay in the next one's way."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    connection.exec_driver_sql(f"ALTER TABLE {quote(old)} RENAME TO {quote(new)}")
    if connection.dialect.name == "postgresql":
        for name in connection.exec_driver_sql(_OTHER_KEY, (new, key)).scalars().all():
            connection.exec_driver_sql(
                f"ALTER TABLE {quote(new)} RENAME CONSTRAINT {quote(name)} TO {quote(key)}"
            )
