"""Tenants: who there is, how much they have, and taking one of them out."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from functools import cache, partial

from sqlalchemy import ColumnElement, Connection, Table, delete, func, literal_column, select

from holdfast import validation
from holdfast.engines.protocol import Engine
from holdfast.errors import (
    ConstraintViolationError,
    QueryError,
    QueryTimeoutError,
    TenantIsolationError,
)
from holdfast.operations.ranges import all_rows
from holdfast.schema.changes import changes
from holdfast.storage.session import Session, Statement
from holdfast.storage.statements import where_equal
from holdfast.storage.tables import TENANT
from holdfast.storage.triggers import lifted, may_change, rules_of

__all__ = ["concerning_all", "count", "erase", "names", "with_rows"]

#: How often the tables are gone through while somebody goes on writing to them.
_PASSES = 3
#: How often, and for how long, the last of a tenant's guarded rows wait for the table's writers.
_ATTEMPTS, _LOCK_TIMEOUT = 40, "250ms"


@contextmanager
def concerning_all(operation: str, otherwise: str = "") -> Iterator[None]:
    """Say what to do to a role that sees one tenant at a time, and is refused for naming none."""
    try:
        yield
    except TenantIsolationError as error:
        raise TenantIsolationError(
            f"{operation}: row-level security shows this database role one tenant at a time, and "
            "this concerns all: run it as the role that owns the tables, such as the migrator that "
            f"`holdfast roles` makes{otherwise}"
        ) from error


@cache
def _names(table: Table) -> Statement:
    """Of each tenant one look into the key, however many rows he has."""
    first = select(func.min(table.c.tenant).label(TENANT)).cte("found", recursive=True)
    more = table.alias("more")
    following = select(func.min(more.c.tenant)).where(more.c.tenant > first.c.tenant)
    found = first.union_all(select(following.scalar_subquery()).where(first.c.tenant.is_not(None)))
    expression = select(found.c.tenant).where(found.c.tenant.is_not(None))
    return Statement(f"{table.name}.tenants", expression, (), table)


@cache
def _count(table: Table) -> Statement:
    expression = select(func.count()).select_from(table).where(*where_equal(table, ()))
    return Statement(f"{table.name}.count_of_tenant", expression, (TENANT,), table)


@cache
def _any(table: Table) -> Statement:
    one: ColumnElement[int] = literal_column("1")
    expression = select(one.label("one")).select_from(table).where(*where_equal(table, ()))
    return Statement(f"{table.name}.any_of_tenant", expression.limit(one), (TENANT,), table)


async def names(engine: Engine, tables: Sequence[Table]) -> tuple[str, ...]:
    """See `holdfast.operations.Operations.tenants`."""
    found: set[str] = set()
    for table in tables:
        async with aclosing(engine.stream(_names(table), ())) as pieces:  # type: ignore[type-var]
            async for rows in pieces:
                found.update(row[0] for row in rows)
    return tuple(sorted(found))


async def count(engine: Engine, tables: Sequence[Table], tenant: str) -> Mapping[str, int]:
    """See `holdfast.operations.Operations.count_tenant`."""
    validation.not_blank(tenant, "count_tenant: tenant")
    found = {}
    async with engine.snapshot() as session:
        for table in tables:
            ((rows,),) = await session.fetch(_count(table), (tenant,), at_most=1)
            if rows:
                found[table.name] = rows
    return found


async def with_rows(session: Session, tables: Sequence[Table], tenant: str) -> list[str]:
    """The names of the tables in which the tenant has rows."""
    return [
        table.name for table in tables if await session.fetch(_any(table), (tenant,), at_most=1)
    ]


async def erase(engine: Engine, tables: Sequence[Table], tenant: str) -> Mapping[str, int]:
    """See `holdfast.operations.Operations.erase_tenant`."""
    validation.not_blank(tenant, "erase_tenant: tenant")
    # Who refers goes before who is referred to; the log last, for it records what goes.
    order = [*(table for table in reversed(tables) if table is not changes), changes]
    deleted: Counter[str] = Counter()
    left: list[str] = []
    for _ in range(_PASSES):
        try:
            for table in order:
                deleted[table.name] += await _empty(engine, table, tenant)
        except ConstraintViolationError as error:
            left = [error.constraint.partition(".")[0]]  # somebody has just written what refers
            continue
        # Not a read of its own, which a replica could answer.
        async with engine.transaction() as session:
            left = await with_rows(session, order, tenant)
        if not left:
            return {name: rows for name, rows in deleted.items() if rows}
    raise QueryError(
        f"erase_tenant: somebody writes for this tenant still, to {', '.join(left)}: stop whoever "
        "does, and erase again, which goes on"
    )


async def _empty(engine: Engine, table: Table, tenant: str) -> int:
    deleted = await all_rows(table).delete(engine, tenant)
    if not rules_of(table) or not await engine.fetch(_any(table), (tenant,), at_most=1):
        return deleted
    # What rules keep is few: an organisation's chief, its owners.
    for attempt in range(_ATTEMPTS):
        try:
            work = partial(_delete_guarded, table=table, tenant=tenant)
            return deleted + await engine.run_sync(work, exclusive=True)
        except QueryTimeoutError:
            if attempt == _ATTEMPTS - 1:
                raise
            await asyncio.sleep(random.uniform(0.05, 0.25))  # noqa: S311
    raise AssertionError  # pragma: no cover - the last attempt returns or raises


def _delete_guarded(connection: Connection, table: Table, tenant: str) -> int:
    if not may_change(connection, table):
        raise QueryError(
            f"erase_tenant: the last rows of {table.name} are kept by rules that only the owner of "
            "the table may lift: erase again as the migrator that `holdfast roles` makes, and it "
            "goes on",
            is_retryable=False,
        )
    with lifted(connection, table, lock_timeout=_LOCK_TIMEOUT):
        return connection.execute(delete(table).where(table.c.tenant == tenant)).rowcount
