"""What was stored and acknowledged lately, by key: what a failover is held against."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from time import monotonic
from typing import Any, NamedTuple

from sqlalchemy import Delete, Insert, Table
from sqlalchemy.sql import visitors

from holdfast.storage.session import Statement
from holdfast.storage.tables import referring

__all__ = ["Pending", "RecentWrites"]

#: How many keys are kept, and for how long they are of interest.
LARGEST, SECONDS = 20_000, 60.0

Arguments = tuple[Any, ...]
Key = tuple[Any, ...]


class _Effect(NamedTuple):
    """What a statement does to the rows of its table; without ``key``, to whichever of them."""

    stores: bool
    table: Table
    key: Callable[[Arguments], Key] | None
    swept: tuple[Table, ...]


class RecentWrites:
    """The latest acknowledged inserts and upserts whose rows nobody here has deleted since."""

    def __init__(self) -> None:
        self._effects: dict[Statement, _Effect | None] = {}
        self._ring: deque[tuple[float, _Effect, Sequence[Key]]] = deque()
        self._size = 0

    def add(self, statement: Statement, calls: Iterable[Arguments]) -> None:
        """Calls of one statement that were acknowledged just now."""
        try:
            effect = self._effects[statement]
        except KeyError:
            effect = self._effects[statement] = _effect_of(statement)
        if effect is None:
            return
        keys = [] if effect.key is None else [*map(effect.key, calls)]
        ring = self._ring
        ring.append((monotonic(), effect, keys))
        self._size += len(keys) + 1
        while self._size > LARGEST:
            self._size -= len(ring.popleft()[2]) + 1

    def latest(self) -> tuple[dict[Table, dict[Key, None]], float]:
        """The keys that must be stored, by table, and how many seconds they reach back."""
        found: dict[Table, dict[Key, None]] = {}
        now = monotonic()
        begun = now
        for at, effect, keys in self._ring:
            if at < now - SECONDS:
                continue
            begun = min(begun, at)
            if effect.stores:
                found.setdefault(effect.table, {}).update(dict.fromkeys(keys))
                continue
            for key in keys:
                found.get(effect.table, {}).pop(key, None)
            for table in effect.swept:
                found.pop(table, None)
        return found, now - begun


class Pending:
    """What a transaction has done, until its commit is acknowledged."""

    def __init__(self, acknowledged: RecentWrites) -> None:
        self._acknowledged = acknowledged
        self._done: list[tuple[Statement, Arguments]] = []
        self._savepoints: list[int] = []

    def ran(self, statement: Statement, arguments: Arguments) -> None:
        self._done.append((statement, arguments))

    def commanded(self, sql: str) -> None:
        """COMMIT, or what makes, undoes or ends the innermost savepoint."""
        if sql == "COMMIT":
            for statement, arguments in self._done:
                self._acknowledged.add(statement, (arguments,))
        elif sql.startswith("SAVEPOINT"):
            self._savepoints.append(len(self._done))
        elif sql.startswith("ROLLBACK TO"):
            del self._done[self._savepoints[-1] :]
        elif sql.startswith("RELEASE"):
            self._savepoints.pop()


def _effect_of(statement: Statement) -> _Effect | None:
    """``None`` if it leaves every key where it is."""
    expression, table = statement.expression, statement.table
    key = _key_of(statement)
    if isinstance(expression, Insert):
        return None if key is None else _Effect(True, table, key, ())
    if isinstance(expression, Delete) and key is not None:
        return _Effect(False, table, key, tuple(_deleted_with(table)))
    found = [each.table for each in visitors.iterate(expression) if isinstance(each, Delete)]
    deleted = [each for each in found if isinstance(each, Table)]
    swept = [*deleted, *(other for each in deleted for other in _deleted_with(each))]
    return _Effect(False, table, None, tuple(swept)) if deleted else None


def _key_of(statement: Statement) -> Callable[[Arguments], Key] | None:
    """Picks the primary key from the arguments, where they hold all of it."""
    places = []
    for column in statement.table.primary_key:
        for name in (column.name, f"new_{column.name}"):
            if name in statement.parameters:
                places.append(statement.parameters.index(name))
                break
        else:
            return None
    return itemgetter(*places)


def _deleted_with(table: Table) -> Iterator[Table]:
    """Tables whose rows go with those they refer to."""
    for other in referring(table).values():
        if other is not table and any(
            key.column.table is table and key.ondelete == "CASCADE" for key in other.foreign_keys
        ):
            yield other
            yield from _deleted_with(other)
