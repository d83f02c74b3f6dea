"""Everything a tenant has: whole tables, and every list in whole and in pages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Table

from holdfast.schema.knowledge import org_facts_operation_log
from holdfast.schema.workflows import workflow_execution_tasks
from holdfast.storage.listing import Listing
from holdfast.storage.repository import Repository

from .steps import Offer
from .views import View

__all__ = ["contents"]

#: Tables that a repository writes beside its own.
BESIDE = {"org_facts": org_facts_operation_log, "workflow_executions": workflow_execution_tasks}
#: Columns that hold the real time; their order shows in what is listed and claimed. And what an
#: engine keeps for its claims, which on PostgreSQL depends on what a transaction could see.
NOT_COMPARED = {"record_id", "first_saved", "saved_order", "waits_for"}


async def contents(view: View, offers: Sequence[Offer], times: Sequence[datetime]) -> list[Any]:
    found: list[Any] = []
    for offer in offers:
        for table in _tables(view, offer):
            found.append(await view.owner.repository(_rows(table)).all())
        found += [await _paged(view, one) for one in map(offer.own, offer.lists)]
        if offer.name == "org_facts":
            found += [await view.owner.org_facts.snapshot_at(time) for time in times]
    return found


async def _paged(view: View, one: Any) -> Any:
    """A list; its pages, each from behind the last entity of the one before, must be the same."""
    method = getattr(view.repository(one.repository), one.method)
    whole = await method(*one.arguments, **one.options, limit=None)
    for size in (1, 3):
        seen: list[Any] = []
        while got := await method(
            *one.arguments, **one.options, limit=size, after=seen[-1] if seen else None
        ):
            seen += got
            assert len(seen) <= len(whole), one
        assert tuple(seen) == whole, one
    return whole


def _tables(view: View, offer: Offer) -> list[Table]:
    own = getattr(view.repository(offer.name), "table", None)
    return [table for table in (own, BESIDE.get(offer.name)) if table is not None]


@cache
def _rows(table: Table) -> type[Any]:
    """A repository of nothing but the rows of a table."""
    key = table.info["key"]
    columns = [column for column in table.c if column.name not in {"tenant", *NOT_COMPARED}]
    listing = Listing(f"{table.name}.all", table, columns, tuple, order=key)

    class Rows(Repository):
        async def all(self) -> tuple[Any, ...]:
            return await listing.fetch(self, {})

    Rows.table = table
    return Rows
