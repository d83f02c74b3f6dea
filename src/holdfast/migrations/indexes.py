"""Indexes on tables that are in use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from alembic import op
from sqlalchemy import Connection, text

from holdfast.schema.functions import HERE

__all__ = ["create_index_online"]

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
