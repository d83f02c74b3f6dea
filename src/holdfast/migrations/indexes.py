"""Indexes on tables that are in use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from alembic import op
from sqlalchemy import Connection, inspect, text

from holdfast.storage.functions import HERE

__all__ = ["create_index_online", "replace_indexes_online"]

_INVALID = text(
    "SELECT EXISTS (SELECT FROM pg_index JOIN pg_class ON oid = indexrelid"  # noqa: S608
    f" WHERE relname = :name AND relnamespace = {HERE} AND NOT indisvalid)"
)


def create_index_online(
    name: str, table: str, columns: Sequence[str], *, unique: bool = False, where: str | None = None
) -> None:
    """In a revision: build an index while others write to the table.

    On PostgreSQL that cannot be part of a transaction, so what the migration did before is
    committed: let a revision do this alone. A build that was killed leaves an index that is never
    used; it is dropped and built anew. SQLite builds it within the transaction, and so does a
    migration ``apart``, whose tables nobody writes to.
    """
    condition = None if where is None else text(where)
    config = op.get_context().config
    if op.get_context().dialect.name != "postgresql" or (config and config.attributes.get("apart")):
        op.create_index(
            name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition
        )
    elif op.get_context().as_sql:
        op.execute("COMMIT")
        _build(name, table, columns, unique, condition)
        op.execute("BEGIN")
    else:
        with _outside(op.get_bind()) as connection:
            if connection.scalar(_INVALID, {"name": name}):
                op.drop_index(name, table, postgresql_concurrently=True)
            _build(name, table, columns, unique, condition)


def replace_indexes_online(indexes: Mapping[str, tuple[str, Sequence[str]]]) -> None:
    """In a revision: build indexes anew, of other columns, while others read by them and write.

    By name the table and the new columns. Whatever index was there serves until the new one does.
    As with `create_index_online` a revision does this alone, and is run again where it was killed.
    On SQLite, of tables without rows, and in printed SQL, which may be sent as one piece, it is all
    in the transaction of the migration.
    """
    if op.get_context().dialect.name != "postgresql" or op.get_context().as_sql:
        for name, (table, columns) in indexes.items():
            _replace(name, table, columns)
    else:
        connection = op.get_bind()
        tables = {table for table, _ in indexes.values()}
        filled = {table for table in tables if _has_rows(connection, table)}
        standing = _indexes(connection, tables)  # an earlier run may have come so far
        missing = {n: index for n, index in indexes.items() if standing.get(n) != [*index[1]]}
        for name, (table, columns) in missing.items():
            if table not in filled:
                _replace(name, table, columns)
        if filled:
            with _outside(connection):
                for name, (table, columns) in missing.items():
                    if table in filled:
                        if connection.scalar(_INVALID, {"name": _next(name)}):
                            op.drop_index(_next(name), table, postgresql_concurrently=True)
                        _replace_online(name, table, columns)


def _replace(name: str, table: str, columns: Sequence[str]) -> None:
    op.drop_index(name, table)
    op.create_index(name, table, columns)


def _replace_online(name: str, table: str, columns: Sequence[str]) -> None:
    _build(_next(name), table, columns, False, None)
    op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
    op.execute(f"ALTER INDEX {_next(name)} RENAME TO {name}")


def _next(name: str) -> str:
    return f"{name}_next"


def _has_rows(connection: Connection, table: str) -> bool:
    return bool(connection.scalar(text(f"SELECT EXISTS (SELECT FROM {table})")))  # noqa: S608


def _indexes(connection: Connection, tables: Iterable[str]) -> dict[str | None, list[str | None]]:
    """Return the columns of all indexes of some tables, by the index's name."""
    found = inspect(connection).get_multi_indexes(filter_names=sorted(tables))
    return {index["name"]: index["column_names"] for each in found.values() for index in each}


def _build(name: str, table: str, columns: Sequence[str], unique: bool, condition: object) -> None:
    op.create_index(
        name, table, columns, unique=unique, if_not_exists=True,
        postgresql_where=condition, postgresql_concurrently=True,
    )  # fmt: skip


@contextmanager
def _outside(connection: Connection) -> Iterator[Connection]:
    """No transaction, and no limit for the wait: a build waits for transactions, not they for it.

    The session stays, and with it the lock that keeps other migrations away.
    """
    limit = connection.scalar(text("SHOW lock_timeout"))
    connection.commit()
    connection.execution_options(isolation_level="AUTOCOMMIT")
    try:
        connection.execute(text("SET lock_timeout = 0"))
        yield connection
        connection.execute(text(f"SET lock_timeout = '{limit}'"))
    finally:
        connection.rollback()
        connection.execution_options(isolation_level=connection.default_isolation_level)
