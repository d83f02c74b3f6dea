"""What agents spend."""

from __future__ import annotations

import operator
from collections.abc import Callable
from math import isfinite
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel
from sqlalchemy import and_, func, literal_column
from sqlalchemy.dialects import postgresql

from holdfast import checks
from holdfast.engines.base import Row, Statement
from holdfast.entities import CostRecord, ProjectCostAggregate
from holdfast.entities.base import utc_now
from holdfast.errors import InvalidArgumentError
from holdfast.mapping import Mapper, time_ordered_id
from holdfast.repositories.base import Repository, insert, provide
from holdfast.repositories.paging import Listing
from holdfast.repositories.shapes import Records
from holdfast.schema.meta import TENANT
from holdfast.schema.money import cost_records, project_cost_aggregates

__all__ = ["CostRecordRepository", "MoneyRepositories", "ProjectCostAggregateRepository"]


@runtime_checkable
class CostRecordRepository(Protocol):
    """Spend, append-only. A record has no key: saved twice, it counts twice."""

    async def save(self, record: CostRecord) -> None:
        """Append. The record's task need not exist: spend outlives tasks."""

    async def query(
        self,
        *,
        agent_id: str | None = None,
        task_id: str | None = None,
        limit: int | None = None,
        after: CostRecord | None = None,
    ) -> tuple[CostRecord, ...]:
        """In the order of saving. ``after`` is a record that an earlier query returned."""

    async def aggregate(self, *, agent_id: str | None = None, task_id: str | None = None) -> float:
        """The sum of ``cost_usd``; 0.0 when nothing matches."""


@runtime_checkable
class ProjectCostAggregateRepository(Protocol):
    """What each project has spent, by ``project_id``."""

    async def get(self, project_id: str) -> ProjectCostAggregate | None: ...

    async def increment(
        self, project_id: str, cost: float, input_tokens: int, output_tokens: int
    ) -> ProjectCostAggregate:
        """Add to the totals, and answer them; the first addition creates the row.

        One statement, so that no addition is lost among many callers. An addition after which a
        total no longer fits (64 bits, the largest float) is refused as `InvalidArgumentError`.
        """


class MoneyRepositories(Protocol):
    """The repositories of this module, as a backend or a transaction offers them."""

    @property
    def cost_records(self) -> CostRecordRepository:
        return provide(self, _CostRecords)

    @property
    def project_cost_aggregates(self) -> ProjectCostAggregateRepository:
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


def _sum(row: Row) -> float:
    if not isfinite(row[0]):  # an error of the engine's own elsewhere
        raise InvalidArgumentError(
            "cost_records.aggregate: the sum is larger than any float; ask for less at once"
        )
    return float(row[0])


_AGGREGATE = Listing(
    "cost_records.aggregate",
    cost_records,
    (func.coalesce(func.sum(cost_records.c.cost_usd), literal_column("0.0")).label("cost_usd"),),
    _sum,
    order=(),
    filters=_FILTERS,
)


class _CostRecords(Repository):
    table = cost_records

    async def save(self, record: CostRecord) -> None:
        arguments = self._bound(_MAPPER).encode(self._tenant, record)
        await self._session.write(_SAVE, arguments)

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
        return (await _AGGREGATE.fetch(self, filters, limit=1))[0]


def _filters(name: str, agent_id: str | None, task_id: str | None) -> dict[str, str | None]:
    return {
        "agent_id": checks.optional(checks.text, agent_id, f"{name}: agent_id"),
        "task_id": checks.optional(checks.text, task_id, f"{name}: task_id"),
    }


_AGGREGATES = Records(project_cost_aggregates, ProjectCostAggregate)
_GET = _AGGREGATES.by("get", "project_id")


def _increment() -> Statement:
    table = project_cost_aggregates
    fresh = postgresql.insert(table)
    added = ("total_cost", "total_input_tokens", "total_output_tokens", "record_count")
    changed: dict[str, Any] = {name: table.c[name] + fresh.excluded[name] for name in added}
    changed["last_updated"] = fresh.excluded.last_updated
    # Asked of the rest, because the sum itself cannot be computed: it is an error on one engine
    # and a float or an infinity on the other.
    fits = [
        table.c[name] <= literal_column(largest) - fresh.excluded[name]
        for name, largest in (
            ("total_cost", "1.7976931348623157e308"),
            ("total_input_tokens", "9223372036854775807"),
            ("total_output_tokens", "9223372036854775807"),
        )
    ]
    expression = fresh.on_conflict_do_update(
        index_elements=[TENANT, "project_id"], set_=changed, where=and_(*fits)
    )
    return Statement(
        "project_cost_aggregates.increment",
        expression.returning(*_AGGREGATES.mapper.columns),
        _AGGREGATES.mapper.parameters,
        table,
    )


_INCREMENT = _increment()


class _ProjectCostAggregates(Repository):
    table = project_cost_aggregates

    async def get(self, project_id: str) -> ProjectCostAggregate | None:
        return await _AGGREGATES.one(self, _GET, project_id)

    async def increment(
        self, project_id: str, cost: float, input_tokens: int, output_tokens: int
    ) -> ProjectCostAggregate:
        name = _INCREMENT.name
        arguments = (
            self._tenant,
            checks.not_blank(project_id, f"{name}: project_id"),
            checks.amount(cost, f"{name}: cost"),
            checks.count(input_tokens, f"{name}: input_tokens"),
            checks.count(output_tokens, f"{name}: output_tokens"),
            1,
            utc_now(),
        )
        rows = await self._session.returning(_INCREMENT, arguments)
        if not rows:
            raise InvalidArgumentError(
                f"{name}: a total of the project would not fit any more; begin another project_id"
            )
        return _AGGREGATES.decode(self, rows[0])
