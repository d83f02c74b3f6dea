"""Deleting many rows in small commits: each batch is the next range of an index.

A batch is found by reading where it ends, then deleted from behind the end of the one before. So
none looks again at what the others deleted, no lock is held for longer than one batch takes, and
the plan is the same however many rows there are.
"""

from __future__ import annotations

import asyncio
import random
import time
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, literal_column, not_, or_, select, text, tuple_

from holdfast.engines.protocol import Engine
from holdfast.errors import SerializationFailureError
from holdfast.storage.retention import retention_of
from holdfast.storage.session import Row, Statement
from holdfast.storage.statements import parameter, where_equal
from holdfast.storage.tables import SAVED_ORDER, TENANT
from holdfast.storage.triggers import rules_of

__all__ = ["BATCH", "Ranges", "all_rows", "old_rows"]

#: Rows of a batch: some milliseconds of work.
BATCH = 1_000

_ATTEMPTS = 8


class Ranges:
    """The rows of a tenant in an order that an index has; those of which ``where`` holds.

    With ``limited``, only those whose first column of the order is below a limit.
    """

    def __init__(
        self,
        table: Table,
        order: tuple[str, ...],
        *,
        where: ColumnElement[bool] | None = None,
        limited: bool = False,
    ) -> None:
        self._table = table
        self._order = [table.c[name] for name in order]
        self._conditions = where_equal(table, ())
        if where is not None:
            self._conditions.append(where)
        self._limited = limited
        self._ends = [self._end(behind=behind) for behind in (False, True)]
        self._deletes = {
            (behind, upto): self._delete(behind=behind, upto=upto)
            for behind in (False, True)
            for upto in (False, True)
        }

    async def delete(self, engine: Engine, *given: Any) -> int:
        """Delete batch by batch, each committed by itself; how many rows there were.

        ``given`` are the tenant and, if limited, the limit. Between two batches it stands back for
        as long as the last one took, so that whoever waits for a lock gets it.
        """
        deleted, place = 0, ()
        while True:
            behind = bool(place)
            end = await engine.fetch(self._ends[behind], (given[0], *place, *given[1:]), at_most=1)
            upto: Row = tuple(end[0]) if end else ()
            statement = self._deletes[behind, bool(upto)]
            began = time.perf_counter()
            limits = upto or given[1:]
            deleted += await _patiently(engine, statement, (given[0], *place, *limits))
            if not upto:
                return deleted
            place = tuple(upto)
            await asyncio.sleep(time.perf_counter() - began)

    def _end(self, *, behind: bool) -> Statement:
        """Reads where the last row of the next batch stands; nothing if no full batch is left."""
        expression = (
            select(*self._order)
            .where(*self._conditions, *self._bounds(behind=behind, upto=False))
            .order_by(*self._order)
            .limit(literal_column("1"))
            .offset(literal_column(str(BATCH - 1)))
        )
        return self._statement("end", expression, behind=behind, upto=False)

    def _delete(self, *, behind: bool, upto: bool) -> Statement:
        bounds = self._bounds(behind=behind, upto=upto)
        expression = delete(self._table).where(*self._conditions, *bounds)
        return self._statement("delete", expression, behind=behind, upto=upto)

    def _bounds(self, *, behind: bool, upto: bool) -> list[ColumnElement[bool]]:
        bounds: list[ColumnElement[bool]] = []
        if behind:
            bounds.append(tuple_(*self._order) > self._place("after"))
        if upto:  # below the limit, which SQLite would take for the end of the range
            bounds.append(tuple_(*self._order) <= self._place("upto"))
        elif self._limited:
            bounds.append(self._order[0] < parameter(self._order[0], "before"))
        return bounds

    def _place(self, kind: str) -> Any:
        return tuple_(*(parameter(column, f"{kind}_{column.name}") for column in self._order))

    def _statement(self, verb: str, expression: Any, *, behind: bool, upto: bool) -> Statement:
        kinds = ["after"] * behind + ["upto"] * upto
        places = tuple(f"{kind}_{column.name}" for kind in kinds for column in self._order)
        limit = ("before",) if self._limited and not upto else ()
        name = f"{self._table.name}.{verb}_batch"
        return Statement(name, expression, (TENANT, *places, *limit), self._table)


async def _patiently(engine: Engine, statement: Statement, arguments: tuple[Any, ...]) -> int:
    """A batch that lost against a writer (a deadlock) is tried again: it was rolled back."""
    for attempt in range(_ATTEMPTS):
        try:
            return await engine.execute(statement, arguments)
        except SerializationFailureError:
            if attempt == _ATTEMPTS - 1:
                raise
            await asyncio.sleep(random.uniform(0.01, 0.05) * 2**attempt)  # noqa: S311
    raise AssertionError  # pragma: no cover - the last attempt returns or raises


@cache
def all_rows(table: Table) -> Ranges:
    """Every row of a tenant but those that a rule of the table keeps."""
    rules = [text(holds.format(row=table.name)) for holds in rules_of(table).values()]
    where = not_(or_(*rules)) if rules else None
    return Ranges(table, table.info["key"], where=where)


@cache
def old_rows(table: Table) -> Ranges:
    """The rows before a limit that the table's retention lets go."""
    retention = retention_of(table)
    assert retention is not None  # noqa: S101 - asked for such tables only
    saved = (SAVED_ORDER,) * (SAVED_ORDER in table.c)
    key = tuple(name for name in (*saved, *table.info["key"]) if name != retention.column)
    where = None if retention.where is None else text(retention.where)
    return Ranges(table, (retention.column, *key), where=where, limited=True)  # type: ignore[arg-type]
