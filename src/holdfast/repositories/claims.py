"""How tasks are handed out: each to one caller, and none is lost on the way."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from time import monotonic
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    bindparam,
    literal_column,
    null,
    select,
    update,
)

from holdfast.entities import Priority, Task
from holdfast.errors import MalformedRowError
from holdfast.schema.tasks import tasks
from holdfast.storage.functions import json_texts
from holdfast.storage.moments import next_moment
from holdfast.storage.records import Keyed
from holdfast.storage.repository import Repository
from holdfast.storage.session import CHUNK, Row, Statement, TransactionScope
from holdfast.storage.statements import parameter, where_equal
from holdfast.storage.tables import TENANT
from holdfast.storage.types import INTEGER

__all__ = ["TASKS", "Claims"]

logger = logging.getLogger("holdfast")

_PRIORITIES = tuple(priority.value for priority in Priority)

TASKS = Keyed(
    tasks,
    Task,
    derived={
        "priority_rank": lambda task: _PRIORITIES.index(task.priority),
        "first_saved": lambda task: next_moment(),
    },
    keep=("first_saved",),
)

#: Tasks that are not known to wait may do so all the same. Among so many of the first ones that is
#: looked for now and then, after so many claims; where it is true of most, at once and further on.
_FEW, _MANY, _CLAIMS = 100, 2_000, 32

_ONE: ColumnElement[Any] = literal_column("1")
_COLUMNS = TASKS.mapper.columns
_ID, _STATUS, _ASSIGNED_TO = map(TASKS.mapper.fields.index, ("id", "status", "assigned_to"))


def _order(of: FromClause) -> tuple[ColumnElement[Any], ...]:
    return of.c.priority_rank, of.c.first_saved, of.c.id


def _open(of: FromClause) -> list[ColumnElement[bool]]:
    """Created, and not known to wait; in the words of the partial index."""
    return [
        of.c.tenant == parameter(tasks.c.tenant),
        of.c.status == literal_column("'created'"),
        of.c.waits_for.is_(None),
    ]


def _unmet(of: FromClause) -> Select[Any]:
    """The dependencies of a task that are not completed."""
    needed, other = json_texts(of.c.dependencies, "needed"), tasks.alias("other")
    # Not an EXISTS, which PostgreSQL may turn into a join with all that is completed. Correlated by
    # name: left to itself, SQLAlchemy looks only one level up.
    status = (
        select(other.c.status)
        .where(other.c.tenant == of.c.tenant, other.c.id == needed.c.value)
        .correlate(needed, of)
        .scalar_subquery()
    )
    return (
        select(needed.c.value)
        .select_from(needed)
        .where(status.is_distinct_from(literal_column("'completed'")))
        .correlate(of)
    )


def _claim(*, in_project: bool, passing: bool) -> Statement:
    row = tasks.alias("row")
    agent = parameter(tasks.c.assigned_to, "agent_id")
    above = json_texts(row.c.delegation_chain, "above")
    delegated: Select[Any] = (
        select(_ONE).select_from(above).where(above.c.value == agent).correlate(row)
    )
    claimable = [*_open(row), ~_unmet(row).exists(), ~delegated.exists()]
    parameters: tuple[str, ...] = (TENANT, "agent_id")
    if in_project:
        claimable.append(row.c.project == parameter(row.c.project))
        parameters += ("project",)
    if passing:
        passed = json_texts(parameter(tasks.c.dependencies, "passed"), "passed")
        claimable.append(row.c.id.not_in(select(passed.c.value)))
        parameters += ("passed",)
    # A row that another transaction is just taking is passed over; the engine without row locks
    # has one writer at a time.
    chosen = (
        select(row.c.id)
        .where(*claimable)
        .order_by(*_order(row))
        .limit(_ONE)
        .with_for_update(skip_locked=True, of=row)
    )
    expression = (
        update(tasks)
        .values(status=literal_column("'assigned'"), assigned_to=agent)
        .where(*where_equal(tasks, ()), tasks.c.id == chosen.scalar_subquery())
        .returning(*_COLUMNS)
    )
    return Statement("tasks.claim", expression, parameters, tasks)


def _look() -> Statement:
    """The first open tasks, and whether they wait."""
    waits = _unmet(tasks).exists().label("waits")
    return Statement(
        "tasks.claim (look)",
        select(tasks.c.id, waits)
        .where(*_open(tasks))
        .order_by(*_order(tasks))
        .limit(bindparam("look", type_=INTEGER)),
        (TENANT, "look"),
        tasks,
    )


def _unseen() -> Statement:
    """Completed tasks of which those that wait for them could not all be seen."""
    conditions = (*where_equal(tasks, ()), tasks.c.waits_for == literal_column("''"))
    return Statement(
        "tasks.claim (unseen)", select(tasks.c.id).where(*conditions), (TENANT,), tasks
    )


def _mark() -> Statement:
    """Works out again what tasks wait for, and frees those that waited for completed ones."""
    needed, ids = _unmet(tasks), json_texts(parameter(tasks.c.dependencies, "ids"), "ids")
    row = tasks.alias("row")
    # Not those that another transaction is writing: a claim must not wait for it.
    at_hand = (
        select(row.c.id)
        .where(
            row.c.tenant == parameter(tasks.c.tenant),
            row.c.id.in_(select(ids.c.value)),
            row.c.status.in_([literal_column("'created'"), literal_column("'completed'")]),
        )
        .with_for_update(skip_locked=True, of=row)
    )
    return Statement(
        "tasks.claim (mark)",
        update(tasks)
        .values(waits_for=needed.order_by(*needed.selected_columns).limit(_ONE).scalar_subquery())
        .where(*where_equal(tasks, ()), tasks.c.id.in_(at_hand)),
        (TENANT, "ids"),
        tasks,
    )


def _give_back() -> Statement:
    condition = [
        tasks.c.status == literal_column("'assigned'"),
        tasks.c.assigned_to == parameter(tasks.c.assigned_to, "agent_id"),
    ]
    return Statement(
        "tasks.claim (give back)",
        update(tasks)
        .values(status=literal_column("'created'"), assigned_to=null())
        .where(*where_equal(tasks, ("id",)), *condition)
        .returning(*_COLUMNS),
        (TENANT, "id", "agent_id"),
        tasks,
    )


_CLAIM = _claim(in_project=False, passing=False)
_CLAIM_IN_PROJECT = _claim(in_project=True, passing=False)
_CLAIM_PASSING = _claim(in_project=False, passing=True)
_CLAIM_IN_PROJECT_PASSING = _claim(in_project=True, passing=True)
_LOOK, _UNSEEN, _MARK = _look(), _unseen(), _mark()
_GIVE_BACK = _give_back()

#: How long a task that could not be read is passed over before it is tried again.
_PASS_OVER_SECONDS = 60.0


class Claims:
    """Hands out the tasks of one repository."""

    def __init__(self, owner: Repository) -> None:
        self._owner = owner
        self._session = owner._session
        self._tenant = owner._tenant
        self._look, self._claims_left = _FEW, 0
        self._unreadable: set[str] = set()
        self._try_again_at = 0.0

    async def next(self, agent_id: str, project: str | None) -> Task | None:
        """See `TaskRepository.claim`; the arguments are checked."""
        # In front: nothing may come between a task that was taken and its agent.
        if not self._claims_left:
            await self._tidy()
        self._claims_left = max(0, self._claims_left - 1)
        if monotonic() >= self._try_again_at:
            self._unreadable.clear()
        task = await self._readable(agent_id, project)
        if task is None and await self._tidy():
            task = await self._readable(agent_id, project)
        if task is None and self._unreadable:
            self._unreadable.clear()
            last = await self._take(agent_id, project)
            if isinstance(last, MalformedRowError):
                raise last
            return last
        return task

    async def _readable(self, agent_id: str, project: str | None) -> Task | None:
        """The next one that can be read as an entity."""
        while isinstance(task := await self._take(agent_id, project), MalformedRowError):
            logger.warning("tasks.claim passes over what it cannot read: %s", task)
            if not self._unreadable:
                self._try_again_at = monotonic() + _PASS_OVER_SECONDS
            self._unreadable.add(str(task.key[0]))
        return task

    async def _take(self, agent_id: str, project: str | None) -> Task | MalformedRowError | None:
        arguments = [self._tenant, agent_id]
        statement, passing = _CLAIM, _CLAIM_PASSING
        if project is not None:
            arguments.append(project)
            statement, passing = _CLAIM_IN_PROJECT, _CLAIM_IN_PROJECT_PASSING
        if self._unreadable:
            arguments.append(json.dumps([*self._unreadable]))
            statement = passing
        mapper = self._owner._bound(TASKS.mapper)

        def read(rows: Sequence[Row]) -> Task | MalformedRowError | None:
            return mapper.attempt(rows[0]) if rows else None

        async def give_back(session: TransactionScope, rows: Sequence[Row]) -> None:
            for row in rows:
                await self._give_back(session, row)

        return await self._session.returning(statement, tuple(arguments), read, give_back)

    async def _give_back(self, session: TransactionScope, row: Row) -> None:
        """Make a task that reached no caller claimable again, unless it was changed meanwhile."""
        arguments = (self._tenant, row[_ID], row[_ASSIGNED_TO])
        for found in await session.returning(_GIVE_BACK, arguments):
            if _rest(found) != _rest(row):
                session.abandon()

    async def _tidy(self) -> bool:
        """Whether something may be claimable now that was not before."""
        look = self._look
        seen = await self._session.fetch(_LOOK, (self._tenant, look), at_most=look)
        unseen = await self._session.fetch(_UNSEEN, (self._tenant,), at_most=CHUNK)
        waiting = [key for key, waits in seen if waits]
        if waiting or unseen:
            ids = json.dumps([*waiting, *(key for (key,) in unseen)])
            await self._session.execute(_MARK, (self._tenant, ids))
        most_wait = 2 * len(waiting) > look
        self._look, self._claims_left = (_MANY, 0) if most_wait else (_FEW, _CLAIMS)
        return bool(unseen)


def _rest(row: Row) -> list[Any]:
    """What a claim does not change."""
    return [value for n, value in enumerate(row) if n not in (_STATUS, _ASSIGNED_TO)]
