"""The statements behind `holdfast.repositories.knowledge`."""

from __future__ import annotations

import operator
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    bindparam,
    case,
    func,
    literal_column,
    null,
    select,
    update,
)
from sqlalchemy.dialects import postgresql

from holdfast.entities import OperationLogEntry, OperationLogSnapshot, OrgFact, OrgFactCategory
from holdfast.entities.base import utc_now
from holdfast.schema.knowledge import org_facts_operation_log, org_facts_snapshot
from holdfast.storage.functions import position
from holdfast.storage.listing import EntityListing, Listing
from holdfast.storage.mapping import Mapper, row_reader
from holdfast.storage.records import Records
from holdfast.storage.repository import Repository
from holdfast.storage.session import Statement
from holdfast.storage.statements import insert, parameter, where_equal
from holdfast.storage.tables import TENANT

__all__ = [
    "AT", "BY_CATEGORY", "FACTS", "GET", "LIST_LOG", "LOG", "NOTE", "PUBLISH", "RETRACT",
    "SEARCHES",
]  # fmt: skip

_FIRST = {"version": lambda _: 1, "operated_at": lambda _: utc_now()}
FACTS = Records(org_facts_snapshot, OrgFact, derived=_FIRST)
_IN_FORCE = org_facts_snapshot.c.retracted_at.is_(None)


def _later(now: Any) -> Any:
    """Not before the change before it, however the clocks of two processes differ."""
    before = org_facts_snapshot.c.operated_at
    return case((before > now, before), else_=now)


def _publish() -> Statement:
    columns = org_facts_snapshot.c
    fresh = postgresql.insert(org_facts_snapshot)
    changed: dict[str, Any] = {
        name: fresh.excluded[name] for name in ("content", "category", "tags", "author")
    }
    changed["extra"] = func.coalesce(fresh.excluded.extra, columns.extra)
    changed["retracted_at"] = null()
    changed["version"] = columns.version + literal_column("1")
    changed["operated_at"] = _later(fresh.excluded.operated_at)
    expression = fresh.on_conflict_do_update(index_elements=[TENANT, "id"], set_=changed)
    return Statement(
        "org_facts_snapshot.save",
        expression.returning(columns.version, columns.operated_at),
        FACTS.mapper.parameters,
        org_facts_snapshot,
    )


def _retract() -> Statement:
    columns = org_facts_snapshot.c
    when = _later(parameter(columns.operated_at, "now"))
    expression = (
        update(org_facts_snapshot)
        .values(retracted_at=when, operated_at=when, version=columns.version + literal_column("1"))
        .where(*where_equal(org_facts_snapshot, ("id",)), _IN_FORCE)
        .returning(columns.version, columns.operated_at, columns.category, columns.tags)
    )
    return Statement(
        "org_facts_snapshot.delete", expression, (TENANT, "id", "now"), org_facts_snapshot
    )


PUBLISH = _publish()
RETRACT = _retract()
GET = Statement(
    "org_facts_snapshot.get",
    select(*FACTS.mapper.columns).where(*where_equal(org_facts_snapshot, ("id",)), _IN_FORCE),
    (TENANT, "id"),
    org_facts_snapshot,
)
BY_CATEGORY = EntityListing(
    "org_facts_snapshot.list_by_category",
    FACTS.mapper,
    order=("created_at", "id"),
    descending=True,
    filters={"category": ("category", operator.eq)},
    where=_IN_FORCE,
)


def _search(*, categories: int, text: bool) -> Statement:
    columns = org_facts_snapshot.c
    names = tuple(f"category_{number}" for number in range(categories))
    expression = select(*FACTS.mapper.columns).where(
        *where_equal(org_facts_snapshot, ()), _IN_FORCE
    )
    order: list[ColumnElement[Any]] = [columns.created_at.desc(), columns.id.desc()]
    if categories:
        expression = expression.where(
            columns.category.in_([parameter(columns.category, name) for name in names])
        )
    if text:
        # On both engines `lower` of a text that compares by code point knows ASCII only.
        place = position(func.lower(columns.content), parameter(columns.content, "text"))
        expression = expression.where(place > literal_column("0"))
        order = [place, func.length(columns.content), *order]
    expression = expression.order_by(*order).limit(bindparam("limit", type_=BigInteger))
    parameters = (TENANT, *names, *(("text",) if text else ()), "limit")
    return Statement(
        "org_facts_snapshot.query", expression, parameters, org_facts_snapshot, replica=True
    )


SEARCHES = {
    (categories, text): _search(categories=categories, text=text)
    for categories in range(len(OrgFactCategory) + 1)
    for text in (False, True)
}

LOG: Mapper[OperationLogEntry] = Mapper(org_facts_operation_log, OperationLogEntry)
NOTE = insert("org_facts_operation_log.save", org_facts_operation_log, LOG.parameters)
LIST_LOG = EntityListing(
    "org_facts_operation_log.get_operation_log",
    LOG,
    order=("fact_id", "version"),
    key=("fact_id", "version"),
    filters={"fact_id": ("fact_id", operator.eq)},
)


def _snapshots() -> Listing[OperationLogSnapshot]:
    """One row per fact: its last change up to the instant.

    The times of a fact's changes ascend with its versions, so that the last one is the one whose
    successor came later; what it retracts is the publication before it.
    """
    last = org_facts_operation_log
    first, before, following = (last.alias(name) for name in ("first", "before", "following"))

    def of_fact(other: Any, version: Any) -> Any:
        return (
            (other.c.tenant == last.c.tenant)
            & (other.c.fact_id == last.c.fact_id)
            & (other.c.version == version)
        )

    one: ColumnElement[int] = literal_column("1")
    source = (
        last.join(first, of_fact(first, one))
        .outerjoin(before, of_fact(before, last.c.version - one))
        .outerjoin(following, of_fact(following, last.c.version + one))
    )
    retraction = last.c.operation_type == literal_column("'RETRACT'")
    columns = (
        last.c.fact_id,
        case((retraction, before.c.content), else_=last.c.content).label("content"),
        last.c.category,
        last.c.tags,
        first.c.timestamp.label("created_at"),
        case((retraction, last.c.timestamp), else_=null()).label("retracted_at"),
        last.c.version,
    )
    return _Snapshots(
        "org_facts_operation_log.snapshot_at",
        last,
        columns,
        row_reader(
            last,
            OperationLogSnapshot,
            [column.name for column in columns],
            json=("tags",),
            key=("fact_id",),
        ),
        order=("fact_id",),
        key=("fact_id",),
        source=source,
        filters={
            "timestamp": ("timestamp", operator.le),
            "at": (following.c.timestamp, _none_until),
        },
    )


def _none_until(column: Any, at: Any) -> Any:
    return column.is_(None) | (column > at)


class _Snapshots(Listing[OperationLogSnapshot]):
    async def _behind(self, owner: Repository, after: Any) -> tuple[Any, ...]:
        place = after.fact_id if isinstance(after, OperationLogSnapshot) else after
        return await super()._behind(owner, place)


AT = _snapshots()
