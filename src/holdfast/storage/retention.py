"""What may be deleted because of its age: declared by each table, carried out on demand."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from sqlalchemy import Table

__all__ = ["Retention", "declare", "retention_of"]


@dataclass(frozen=True, slots=True)
class Retention:
    """Rows may go when ``column`` lies further back than somebody wants to keep them.

    ``expires``: by then a row is of no use to anybody, so that without a wish it may go at once. A
    table whose rows do not expire is a history, and loses nothing unless an age is given. ``where``
    is an SQL condition, alike on both engines, of the rows that may go at all. An index that begins
    with the tenant and the column finds them.
    """

    column: str
    expires: bool = False
    where: str | None = None


#: Not in `Table.info`, which generated migrations repeat: no part of the schema.
_DECLARED: WeakKeyDictionary[Table, Retention] = WeakKeyDictionary()


def declare(table: Table, retention: Retention) -> None:
    _DECLARED[table] = retention


def retention_of(table: Table) -> Retention | None:
    """``None`` for a table whose rows have no age at which they may go."""
    return _DECLARED.get(table)
