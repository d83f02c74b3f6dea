"""Costs of the calls of models, and their totals by project."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final, Protocol, runtime_checkable

from pydantic import BaseModel
from sqlalchemy import ColumnElement, and_, case, func, literal_column
from sqlalchemy.dialects import postgresql

from holdfast import validation
from holdfast.entities import CostRecord, ProjectCostAggregate
from holdfast.entities.base import utc_now
from holdfast.errors import InvalidArgumentError, MalformedRowError
from holdfast.repositories.nanos import (
    LARGEST,
    NANOS,
    SMALL,
    as_amount,
    in_nanos,
    is_amount,
    nanos_of,
    units_of,
)
from holdfast.schema.costs import cost_records, project_cost_aggregates
from holdfast.storage.listing import Listing
from holdfast.storage.mapping import Mapper
from holdfast.storage.moments import time_ordered_id
from holdfast.storage.records import Records
from holdfast.storage.repository import Repository, provide
from holdfast.storage.session import Row, Statement
from holdfast.storage.statements import insert, select_by
from holdfast.storage.tables import TENANT

__all__ = ["CostRecordRepository", "CostRepositories", "ProjectCostAggregateRepository"]


@runtime_checkable
class CostRecordRepository(Protocol):
    """Costs of calls of models, append-only. A record has no key: saved twice, it counts twice."""

    async def save(self, record: CostRecord) -> None:
        """Append a record. Its task need not be stored: costs outlive tasks."""

    async def query(
        self,
        *,
        agent_id: str | None = None,
        task_id: str | None = None,
        limit: int | None = None,
        after: CostRecord | None = None,
    ) -> tuple[CostRecord, ...]:
        """Return the records that match all filters, in the order of saving.

        ``after`` is a record that an earlier query returned.
        """

    async def aggregate(self, *, agent_id: str | None = None, task_id: str | None = None) -> float:
        """Return the sum of ``cost_usd`` in US dollars; 0.0 when nothing matches.

        Each record is rounded once to whole nanos (1e-9, halves up), and these are added exactly,
        so that the sum depends neither on the order nor on the engine. The result is the nearest
        float.
        """


@runtime_checkable
class ProjectCostAggregateRepository(Protocol):
    """Total costs of each project, by ``project_id``."""

    async def get(self, project_id: str) -> ProjectCostAggregate | None:
        """Return the totals of the project; ``None`` if nothing was added yet."""

    async def increment(
        self, project_id: str, cost: float, input_tokens: int, output_tokens: int
    ) -> ProjectCostAggregate:
        """Add to the totals of a project, and return them; the first addition creates the row.

        One statement, so that no addition is lost among many callers. ``total_cost`` is exact as
        `CostRecordRepository.aggregate` is. An addition after which a total no longer fits (tokens:
        64 bits; cost: 2**53 units) is refused as `InvalidArgumentError`.
        """


class CostRepositories(Protocol):
    """The repositories of this module, as a backend or a transaction offers them."""

    @property
    def cost_records(self) -> CostRecordRepository:
        """Costs of calls of models, append-only."""
        return provide(self, _CostRecords)

    @property
    def project_cost_aggregates(self) -> ProjectCostAggregateRepository:
        """Total costs by ``project_id``, kept by `increment`."""
        return provide(self, _ProjectCostAggregates)


_KEY = "_holdfast_record_id"

_MAPPER = Mapper(cost_records, CostRecord, derived={"record_id": lambda record: time_ordered_id()})
# The key is made for this one save, so meeting it again can only mean a repeated attempt.
_SAVE = insert("cost_records.save", cost_records, _MAPPER.parameters)
_FILTERS = {"agent_id": ("agent_id", operator.eq), "task_id": ("task_id", operator.eq)}


class _Query(Listing[CostRecord]):
    def _decoder(self, owner: Repository) -> Callable[[Row], CostRecord]:
        decode = owner._bound(_MAPPER).decode

        def decode_and_mark(row: Row) -> CostRecord:
            record = decode(row)
            # Not a field, so neither compared nor dumped: it marks the place for `after`.
            record.__dict__[_KEY] = row[len(_MAPPER.columns)]
            return record

        return decode_and_mark

    async def _behind(self, owner: Repository, after: Any) -> tuple[Any, ...]:
        key = after.__dict__.get(_KEY) if isinstance(after, BaseModel) else None
        if key is None:
            raise InvalidArgumentError(f"{self.name}: after must be a record that a query returned")
        return (key,)


_QUERY = _Query(
    "cost_records.query",
    cost_records,
    (*_MAPPER.columns, cost_records.c.record_id),
    _MAPPER.decode,
    order=("record_id",),
    filters=_FILTERS,
)


def _sums(row: Row) -> tuple[int, int]:
    units, nanos, large = map(int, row)
    return units * NANOS + nanos, large


def _aggregate() -> Listing[tuple[int, int]]:
    """The nanos of all amounts from 0 to below `SMALL`, and how many are not."""
    amount = cost_records.c.cost_usd
    zero: ColumnElement[int] = literal_column("0")
    small = and_(amount >= zero, amount < literal_column(f"{SMALL}.0"))
    units = case((small, units_of(amount)))
    sums = (
        func.coalesce(func.sum(units), zero),
        func.coalesce(func.sum(case((small, nanos_of(amount)))), zero),
        func.count() - func.count(units),
    )
    return Listing("cost_records.aggregate", cost_records, sums, _sums, order=(), filters=_FILTERS)


_AGGREGATE = _aggregate()


def _amount(row: Row) -> int:
    record_id, amount = row
    if not is_amount(amount) or amount < 0:
        raise MalformedRowError(
            f"cost_records: the row with record_id={record_id!r} cannot be added: its cost_usd is "
            "no amount",
            table=cost_records.name,
            key=(record_id,),
        )
    return in_nanos(amount)


#: To be added here: with a few amounts of thousands of millions a sum leaves the 64 bits that one
#: of the engines has for it. What is no amount, which only SQL can have written, is told then.
_AMOUNTS = Listing(
    "cost_records.aggregate (large)",
    cost_records,
    (cost_records.c.record_id, cost_records.c.cost_usd),
    _amount,
    order=("record_id",),
    filters=_FILTERS,
)


class _CostRecords(Repository, CostRecordRepository):
    table = cost_records

    async def save(self, record: CostRecord) -> None:
        await self._bound(_MAPPER).write(self._session, _SAVE, self._tenant, record)

    async def query(
        self,
        *,
        agent_id: str | None = None,
        task_id: str | None = None,
        limit: int | None = None,
        after: CostRecord | None = None,
    ) -> tuple[CostRecord, ...]:
        filters = _filters(_QUERY.name, agent_id, task_id)
        return await _QUERY.fetch(self, filters, limit=limit, after=after)

    async def aggregate(self, *, agent_id: str | None = None, task_id: str | None = None) -> float:
        filters = _filters(_AGGREGATE.name, agent_id, task_id)
        ((nanos, large),) = await _AGGREGATE.fetch(self, filters, limit=1)
        if large:
            nanos = sum(await _AMOUNTS.fetch(self, filters))
        if nanos > LARGEST:
            raise InvalidArgumentError(
                f"{_AGGREGATE.name}: the sum is larger than any float; ask for less at once"
            )
        return as_amount(nanos)


def _filters(name: str, agent_id: str | None, task_id: str | None) -> dict[str, str | None]:
    return {
        "agent_id": validation.optional(validation.text, agent_id, f"{name}: agent_id"),
        "task_id": validation.optional(validation.text, task_id, f"{name}: task_id"),
    }


#: Units of a project's total at the most: floats beyond do not tell one from the next.
LARGEST_TOTAL: Final = 2**53


class _Totals(Records[ProjectCostAggregate]):
    """Rows that are read with what their ``total_cost`` lacks behind the columns."""

    def __init__(self) -> None:
        super().__init__(project_cost_aggregates, ProjectCostAggregate)
        self.columns = (*self.mapper.columns, project_cost_aggregates.c.cost_remainder)
        self.get = select_by(f"{self.name}.get", self.table, self.columns, self.key)
        self._cost = self.mapper.fields.index("total_cost")

    def decode(self, owner: Repository, row: Row, *, patient: bool = True) -> ProjectCostAggregate:
        values, remainder = list(row[:-1]), row[-1]
        known = is_amount(values[self._cost]) and is_amount(remainder)
        values[self._cost] = (  # which the mapper refuses, if it is not known
            as_amount(in_nanos(values[self._cost]) + remainder) if known else None
        )
        return super().decode(owner, values, patient=patient)


_TOTALS = _Totals()


def _increment() -> Statement:
    table = project_cost_aggregates
    fresh = postgresql.insert(table)
    added = ("total_cost", "total_input_tokens", "total_output_tokens", "record_count")
    changed: dict[str, Any] = {name: table.c[name] + fresh.excluded[name] for name in added}
    changed["last_updated"] = fresh.excluded.last_updated
    parts = (table.c.total_cost, fresh.excluded.total_cost, changed["total_cost"])
    units, nanos = ([of(part) for part in parts] for of in (units_of, nanos_of))
    a_unit: ColumnElement[int] = literal_column(str(NANOS))
    changed["cost_remainder"] = (
        table.c.cost_remainder
        + (units[0] + units[1] - units[2]) * a_unit
        + (nanos[0] + nanos[1] - nanos[2])
    )
    # Asked of the rest, because the sum itself cannot be computed: it is an error on one engine
    # and a float on the other.
    fits = [
        table.c[name] <= literal_column(largest) - fresh.excluded[name]
        for name, largest in (
            ("total_cost", f"{LARGEST_TOTAL}.0"),
            ("total_input_tokens", "9223372036854775807"),
            ("total_output_tokens", "9223372036854775807"),
        )
    ]
    expression = fresh.on_conflict_do_update(
        index_elements=[TENANT, "project_id"], set_=changed, where=and_(*fits)
    )
    return Statement(
        "project_cost_aggregates.increment",
        expression.returning(*_TOTALS.columns),
        _TOTALS.mapper.parameters,
        table,
    )


_INCREMENT = _increment()


class _ProjectCostAggregates(Repository, ProjectCostAggregateRepository):
    table = project_cost_aggregates

    async def get(self, project_id: str) -> ProjectCostAggregate | None:
        return await _TOTALS.one(self, _TOTALS.get, project_id)

    async def increment(
        self, project_id: str, cost: float, input_tokens: int, output_tokens: int
    ) -> ProjectCostAggregate:
        name = _INCREMENT.name
        arguments = (
            self._tenant,
            validation.not_blank(project_id, f"{name}: project_id"),
            _addend(cost, f"{name}: cost"),
            validation.count(input_tokens, f"{name}: input_tokens"),
            validation.count(output_tokens, f"{name}: output_tokens"),
            1,
            utc_now(),
        )
        total = await self._session.returning(
            _INCREMENT, arguments, lambda rows: _TOTALS.decode(self, rows[0]) if rows else None
        )
        if total is None:
            raise InvalidArgumentError(
                f"{name}: a total of the project would not fit any more; begin another project_id"
            )
        return total


def _addend(cost: float, place: str) -> float:
    amount = validation.amount(cost, place)
    if amount > LARGEST_TOTAL:
        raise InvalidArgumentError(f"{place} would not fit: a total may be {LARGEST_TOTAL} at most")
    return amount + 0.0  # no -0.0, which one of the engines would keep
