"""What agents spend."""

from __future__ import annotations

import operator
from typing import Any, Protocol, runtime_checkable

from sqlalchemy import func, literal_column

from holdfast import checks
from holdfast.engines.base import Row
from holdfast.entities import CostRecord
from holdfast.errors import InvalidArgumentError
from holdfast.mapping import Mapper, time_ordered_id
from holdfast.repositories.base import Repository, insert, provide
from holdfast.repositories.paging import Listing
from holdfast.schema.money import cost_records

__all__ = ["CostRecordRepository", "MoneyRepositories"]


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


class MoneyRepositories(Protocol):
    """The repositories of this module, as a backend or a transaction offers them."""

    @property
    def cost_records(self) -> CostRecordRepository:
        return provide(self, _CostRecords)


_KEY = "_holdfast_record_id"

_MAPPER = Mapper(cost_records, CostRecord, derived={"record_id": lambda record: time_ordered_id()})
# The key is made for this one save, so meeting it again can only mean a repeated attempt.
_SAVE = insert("cost_records.save", cost_records, _MAPPER.parameters)
_FILTERS = {"agent_id": ("agent_id", operator.eq), "task_id": ("task_id", operator.eq)}


def _decode(row: Row) -> CostRecord:
    record = _MAPPER.decode(row)
    # Not a field, so neither compared nor dumped: it marks the record's place for `after`.
    record.__dict__[_KEY] = row[len(_MAPPER.columns)]
    return record


class _Query(Listing[CostRecord]):
    async def _behind(self, owner: Repository, after: Any) -> tuple[Any, ...]:
        key = after.__dict__.get(_KEY) if isinstance(after, CostRecord) else None
        if key is None:
            raise InvalidArgumentError(f"{self.name}: after must be a record that a query returned")
        return (key,)


_QUERY = _Query(
    "cost_records.query",
    cost_records,
    (*_MAPPER.columns, cost_records.c.record_id),
    _decode,
    order=("record_id",),
    filters=_FILTERS,
)
_AGGREGATE = Listing(
    "cost_records.aggregate",
    cost_records,
    (func.coalesce(func.sum(cost_records.c.cost_usd), literal_column("0.0")).label("cost_usd"),),
    lambda row: float(row[0]),
    order=(),
    filters=_FILTERS,
)


class _CostRecords(Repository):
    async def save(self, record: CostRecord) -> None:
        await self._session.write(_SAVE, _MAPPER.encode(self._tenant, record))

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
