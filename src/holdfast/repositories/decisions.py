"""Decisions about finished work."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, get_args, runtime_checkable

from sqlalchemy import func, literal_column, select
from sqlalchemy.dialects import postgresql

from holdfast import validation
from holdfast.entities import (
    ConfidenceMetadata,
    DecisionOutcome,
    DecisionRecord,
    DecisionRole,
    LensAttribution,
    RiskCard,
)
from holdfast.errors import InvalidArgumentError
from holdfast.schema.decisions import decision_records
from holdfast.schema.tasks import tasks
from holdfast.storage.listing import EntityListing
from holdfast.storage.records import Records
from holdfast.storage.repository import Repository, provide
from holdfast.storage.session import Session, Statement
from holdfast.storage.statements import parameter, where_equal
from holdfast.storage.tables import TENANT

__all__ = ["DecisionRepositories", "DecisionRepository"]


@runtime_checkable
class DecisionRepository(Protocol):
    """Reviews of tasks by ``id``, append-only, numbered per task without gaps."""

    async def append_with_next_version(
        self,
        *,
        record_id: str,
        task_id: str,
        approval_id: str | None,
        executing_agent_id: str,
        reviewer_agent_id: str,
        decision: DecisionOutcome,
        reason: str | None,
        criteria_snapshot: tuple[str, ...],
        recorded_at: datetime,
        metadata: dict[str, object] | None = None,
        risk_card: RiskCard | None = None,
        confidence_metadata: ConfidenceMetadata | None = None,
        lens_attribution: tuple[LensAttribution, ...] = (),
        extra: Mapping[str, object] | None = None,
    ) -> DecisionRecord:
        """Append under the task's next version, and return the record with it.

        `DuplicateRecordError` if the id is taken; an unknown task (``decision_records.task_id``)
        is a `ConstraintViolationError`. What breaks a rule of the record is refused with its own
        ``ValidationError``. ``extra`` are the further fields of an application's own class; a
        value for a field that it lacks is refused.
        """

    async def get(self, record_id: str) -> DecisionRecord | None:
        """Return the record with this id; ``None`` if there is none."""

    async def list_by_task(
        self, task_id: str, *, limit: int | None = None, after: DecisionRecord | str | None = None
    ) -> tuple[DecisionRecord, ...]:
        """Return the reviews of a task, the first version first.

        ``after`` is the last record seen, or its id.
        """

    async def list_by_agent(
        self,
        agent_id: str,
        *,
        role: DecisionRole,
        limit: int | None = None,
        after: DecisionRecord | str | None = None,
    ) -> tuple[DecisionRecord, ...]:
        """Return the reviews in which the agent did the work (``executor``) or reviewed it.

        The latest ``recorded_at`` comes first, of equal times the last saved. ``after`` is the last
        record seen, or its id.
        """


class DecisionRepositories(Protocol):
    """The repositories of this module, as a backend or a transaction offers them."""

    @property
    def decision_records(self) -> DecisionRepository:
        """Reviews of tasks by ``id``, append-only."""
        return provide(self, _Decisions)


_DECISIONS = Records(decision_records, DecisionRecord)
_GET = _DECISIONS.by("get", "id")

# Holding the task's row until the end of the transaction, writers of one task take turns; the
# statement that follows sees what they wrote. Not FOR UPDATE, which would wait for (and deadlock
# with) whoever inserts something that refers to the task.
_LOCK_TASK = Statement(
    "tasks.lock",
    select(tasks.c.id).where(*where_equal(tasks, ("id",))).with_for_update(key_share=True),
    (TENANT, "id"),
    tasks,
)


def _append() -> Statement:
    earlier = decision_records.alias("earlier")
    values: dict[str, Any] = {
        name: parameter(decision_records.c[name], f"new_{name}")
        for name in _DECISIONS.mapper.parameters
        if name != "version"
    }
    values["version"] = (
        select(
            func.coalesce(func.max(earlier.c.version), literal_column("0")) + literal_column("1")
        )
        .where(earlier.c.tenant == values[TENANT], earlier.c.task_id == values["task_id"])
        .scalar_subquery()
    )
    insert = postgresql.insert(decision_records).values(values)
    return Statement(
        "decision_records.append_with_next_version",
        insert.returning(decision_records.c.version),
        tuple(f"new_{name}" for name in values if name != "version"),
        decision_records,
    )


_APPEND = _append()
_VERSION = _DECISIONS.mapper.place("version")
_ROW = [_DECISIONS.mapper.place(column.name) for column in _DECISIONS.mapper.columns]
_BY_TASK = EntityListing(
    "decision_records.list_by_task",
    _DECISIONS.mapper,
    order=("version", "id"),
    filters={"task_id": ("task_id", operator.eq)},
)
_BY_EXECUTOR = EntityListing(
    "decision_records.list_by_agent",
    _DECISIONS.mapper,
    order=("recorded_at", "saved_order", "id"),
    descending=True,
    filters={"agent_id": ("executing_agent_id", operator.eq)},
)
_BY_REVIEWER = EntityListing(
    "decision_records.list_by_agent",
    _DECISIONS.mapper,
    order=("recorded_at", "saved_order", "id"),
    descending=True,
    filters={"agent_id": ("reviewer_agent_id", operator.eq)},
)


class _Decisions(Repository, DecisionRepository):
    table = decision_records

    async def append_with_next_version(
        self,
        *,
        record_id: str,
        task_id: str,
        approval_id: str | None,
        executing_agent_id: str,
        reviewer_agent_id: str,
        decision: DecisionOutcome,
        reason: str | None,
        criteria_snapshot: tuple[str, ...],
        recorded_at: datetime,
        metadata: dict[str, object] | None = None,
        risk_card: RiskCard | None = None,
        confidence_metadata: ConfidenceMetadata | None = None,
        lens_attribution: tuple[LensAttribution, ...] = (),
        extra: Mapping[str, object] | None = None,
    ) -> DecisionRecord:
        when = validation.instant(recorded_at, f"{_APPEND.name}: recorded_at")
        fields = {
            "id": record_id,
            "task_id": task_id,
            "approval_id": approval_id,
            "executing_agent_id": executing_agent_id,
            "reviewer_agent_id": reviewer_agent_id,
            "decision": decision,
            "reason": reason,
            "criteria_snapshot": criteria_snapshot,
            "recorded_at": when.astimezone(UTC),
            "version": 1,
            "metadata": {} if metadata is None else metadata,
            "risk_card": risk_card,
            "confidence_metadata": confidence_metadata,
            "lens_attribution": lens_attribution,
        }
        mapper = self._bound(_DECISIONS.mapper)
        kind = mapper.entity
        own = validation.mapping(extra, f"{_APPEND.name}: extra")
        if unknown := own.keys() & fields.keys() | own.keys() - kind.model_fields.keys():
            raise InvalidArgumentError(
                f"{_APPEND.name}: extra may hold the further fields of {kind.__name__}, not "
                f"{', '.join(sorted(map(str, unknown)))}"
            )
        record = mapper.make(fields | own, unwrapped=True)
        arguments = await mapper.encoded(self._tenant, record, made=True)
        before, behind = arguments[:_VERSION], arguments[_VERSION + 1 :]

        async def append(session: Session) -> DecisionRecord:
            await session.get(_LOCK_TASK, (self._tenant, task_id))
            ((version,),) = await session.returning(_APPEND, before + behind)
            if version == record.version:
                return record
            stored = (*before, version, *behind)
            return mapper.decode([stored[place] for place in _ROW])

        return await self._session.atomically(append)

    async def get(self, record_id: str) -> DecisionRecord | None:
        return await _DECISIONS.one(self, _GET, record_id)

    async def list_by_task(
        self, task_id: str, *, limit: int | None = None, after: DecisionRecord | str | None = None
    ) -> tuple[DecisionRecord, ...]:
        filters = {"task_id": validation.not_blank(task_id, f"{_BY_TASK.name}: task_id")}
        return await _BY_TASK.fetch(self, filters, limit=limit, after=after)

    async def list_by_agent(
        self,
        agent_id: str,
        *,
        role: DecisionRole,
        limit: int | None = None,
        after: DecisionRecord | str | None = None,
    ) -> tuple[DecisionRecord, ...]:
        chosen = validation.choice(role, get_args(DecisionRole), f"{_BY_EXECUTOR.name}: role")
        filters = {"agent_id": validation.not_blank(agent_id, f"{_BY_EXECUTOR.name}: agent_id")}
        listing = _BY_EXECUTOR if chosen == "executor" else _BY_REVIEWER
        return await listing.fetch(self, filters, limit=limit, after=after)
