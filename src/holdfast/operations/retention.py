"""Retention: which rows are too old to keep, and deleting them while others write."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from sqlalchemy import Table, func, select, text

from holdfast import changes, validation
from holdfast.engines.protocol import Engine
from holdfast.errors import InvalidArgumentError
from holdfast.operations import tenants as tenants_of
from holdfast.operations.ranges import old_rows
from holdfast.schema.changes import changes as log
from holdfast.storage.retention import retention_of
from holdfast.storage.session import Statement
from holdfast.storage.statements import parameter, where_equal
from holdfast.storage.tables import TENANT

__all__ = ["FOREVER", "Pruned", "RetentionPolicy", "parse_age", "prune"]

#: An age that nothing reaches.
FOREVER = timedelta.max

_AGE = re.compile(r"(\d{1,9})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_age(value: Any) -> timedelta:
    """``90d``, ``12h``, ``30m``, ``45s``, ``2w``, ``forever``, or a timedelta as it is."""
    if isinstance(value, timedelta):
        age = value
    elif value == "forever":
        return FOREVER
    else:
        found = _AGE.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise InvalidArgumentError(
                f"{value!r} is no age: write 90d, 12h, 30m, 45s, 2w or forever"
            )
        try:
            age = timedelta(**{_UNITS[found[2]]: int(found[1])})
        except OverflowError:
            return FOREVER
    if age < timedelta(0):
        raise InvalidArgumentError("an age must not be negative")
    return age


Age = Annotated[timedelta, BeforeValidator(parse_age)]


class _Ages(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    keep: Age | None = None
    tables: Mapping[str, Age] = Field(default_factory=dict)


class RetentionPolicy(_Ages):
    """How long rows are kept: ``keep`` in every history, ``tables`` in single tables.

    ``tenants`` says otherwise for single tenants; what that leaves open, the rest says. A history
    for which nothing is said is kept; rows that expire go when they have. Ages are written as
    `parse_age` reads them.
    """

    tenants: Mapping[str, _Ages] = Field(default_factory=dict)

    def age(self, table: Table, tenant: str) -> timedelta | None:
        """How long rows of ``tenant`` are kept; ``None`` if nothing was said."""
        retention = retention_of(table)
        if retention is None:
            return None
        for said in (self.tenants.get(tenant), self):
            if said is not None and table.name in said.tables:
                return said.tables[table.name]
            if said is not None and said.keep is not None and not retention.expires:
                return said.keep
        return timedelta(0) if retention.expires else None


@dataclass(frozen=True, slots=True)
class Pruned:
    """``rows`` of one tenant in one table, older than ``before``."""

    table: str
    tenant: str
    before: datetime
    rows: int


@cache
def _count(table: Table) -> Statement:
    retention = retention_of(table)
    assert retention is not None  # noqa: S101 - asked for such tables only
    column = table.c[retention.column]
    conditions: list[Any] = [*where_equal(table, ()), column < parameter(column, "before")]
    if retention.where is not None:
        conditions.append(text(retention.where))
    expression = select(func.count()).select_from(table).where(*conditions)
    return Statement(f"{table.name}.count_old", expression, (TENANT, "before"), table)


async def prune(
    engine: Engine,
    known: Sequence[Table],
    policy: RetentionPolicy | timedelta | None,
    tables: Sequence[str] | None,
    tenants: Sequence[str] | None,
    *,
    dry_run: bool,
) -> tuple[Pruned, ...]:
    """See `holdfast.operations.Operations.prune`."""
    plan = _policy(policy, tables)
    by_name = {table.name: table for table in known if retention_of(table) is not None}
    said = [*plan.tables, *(name for ages in plan.tenants.values() for name in ages.tables)]
    for name in [*said, *(tables or ())]:
        if name not in by_name:
            raise InvalidArgumentError(
                f"prune: rows of {name!r} have no age at which they may go; those of "
                f"{', '.join(sorted(by_name))} have"
            )
    # Who refers goes first: what is deleted along with another row would not be counted.
    chosen = [t for t in reversed(known) if t.name in (by_name if tables is None else tables)]
    names = (
        None if tenants is None else [validation.not_blank(n, "prune: tenants") for n in tenants]
    )
    now = datetime.now(UTC)
    found = []
    for table in chosen:
        of = await _tenants_in(engine, table) if names is None else names
        for tenant in of:
            age = plan.age(table, tenant)
            if age is None and tables is not None:
                raise InvalidArgumentError(f"prune: say for how long rows of {table.name} are kept")
            if age is not None and (before := _before(now, age)) is not None:
                act = _count_old if dry_run else _delete_old
                if rows := await act(engine, table, tenant, before):
                    found.append(Pruned(table.name, tenant, before, rows))
    return tuple(found)


async def _tenants_in(engine: Engine, table: Table) -> Sequence[str]:
    with tenants_of.concerning_all("prune", ", or name the tenants"):
        return await tenants_of.names(engine, [table])


def _policy(
    policy: RetentionPolicy | timedelta | None, tables: Sequence[str] | None
) -> RetentionPolicy:
    if policy is None:
        return RetentionPolicy()
    if isinstance(policy, RetentionPolicy):
        return policy
    if not isinstance(policy, timedelta):
        kind = type(policy).__name__
        raise InvalidArgumentError(f"prune: takes a RetentionPolicy or a timedelta, not {kind}")
    age = parse_age(policy)
    if tables is None:
        return RetentionPolicy(keep=age)
    return RetentionPolicy(tables=dict.fromkeys(tables, age))


def _before(now: datetime, age: timedelta) -> datetime | None:
    """``None`` if no row can be so old."""
    try:
        return now - age
    except OverflowError:
        return None


async def _count_old(engine: Engine, table: Table, tenant: str, before: datetime) -> int:
    ((rows,),) = await engine.fetch(_count(table), (tenant, before), at_most=1)
    return int(rows)


async def _delete_old(engine: Engine, table: Table, tenant: str, before: datetime) -> int:
    if table is log:  # whose oldest row that is left says up to where it was pruned
        return await changes.prune(engine, tenant, None, datetime.now(UTC) - before)
    return await old_rows(table).delete(engine, tenant, before)
