"""What is wrong with the way in which a plan comes to rows.

A plan is refused if it

- reads a table, or an index, from end to end;
- reaches rows by their tenant alone though the statement says more about them. Of several filters
  an index serves one at least. A partial index that holds a tenth of the tenant's rows serves;
- sorts `MANY` rows or more: the rows of one agent may be sorted, those of a tenant come in order.

Only what adds up all rows of the tenant that has nearly all rows of the table may read the table.
And what asks for the first rows that have one of several values, such as two of five categories,
may look at the tenant's rows in order: an index of the column has them in another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Case, ClauseElement, Column, Select, Table
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import BinaryExpression

from holdfast.schema import metadata
from holdfast.storage.session import Statement

from .population import CHOICES, LARGE, OF_LARGE

__all__ = ["ABOVE", "BELOW", "INDEXED", "MANY", "PARTIAL", "Condition", "Judge", "conditions"]

#: More than a filter leaves of the large tenant, less than the small one has.
MANY = OF_LARGE * 3 // 100
_FEW = 0.1

EQUAL = (operators.eq, operators.in_op)
BELOW = (operators.lt, operators.le)
ABOVE = (operators.gt, operators.ge)

#: By its name the table of every index that is not made for a key.
INDEXED: dict[str, str] = {}
#: By its name SQL that counts the rows of the large tenant which a partial index holds.
PARTIAL: dict[str, str] = {}
for _table in metadata.tables.values():
    for _index in _table.indexes:
        INDEXED[str(_index.name)] = _table.name
        if (_where := _index.dialect_options["sqlite"]["where"]) is not None:
            PARTIAL[str(_index.name)] = (
                f"SELECT count(*) FROM {_table.name} WHERE tenant = '{LARGE}' AND ({_where})"
            )


@dataclass(frozen=True)
class Condition:
    """``alias.column <operator> parameter``; no parameter: it is compared with something else."""

    alias: str
    column: Column[Any]
    operator: Any
    parameter: str | None


def conditions(statement: Statement) -> Iterator[Condition]:
    """What a statement says about rows beyond their tenant, wherever in it.

    What a ``CASE`` asks leaves no row out.
    """
    elements = list(visitors.iterate(statement.expression))
    asked = {
        id(part) for case in elements if isinstance(case, Case) for part in visitors.iterate(case)
    }
    for element in elements:
        if id(element) in asked:
            continue
        if isinstance(element, BinaryExpression) and element.operator in EQUAL + BELOW + ABOVE:
            for base in getattr(element.left, "base_columns", ()):
                table = getattr(base, "table", None)
                ours = isinstance(table, Table) and table.key in metadata.tables
                if ours and base.name != "tenant":
                    alias = str(element.left.table.name)
                    for name in _names(element.right) or [None]:
                        yield Condition(alias, base, element.operator, name)


def _names(value: ClauseElement) -> list[str | None]:
    """The parameters a column is compared with, none of them inside a query of its own."""
    parts = list(visitors.iterate(value))
    if any(isinstance(part, Select) for part in parts):
        return []
    return [part.key for part in parts if isinstance(part, BindParameter)]


def _one_of_few(statement: Statement, condition: Condition) -> bool:
    """Whether the first rows are asked for that have one of several of a few values."""
    alike = [c for c in conditions(statement) if c.column is condition.column]
    return (
        condition.operator is operators.in_op
        and len(alike) > 1
        and str(condition.column) in CHOICES
        and getattr(statement.expression, "_limit_clause", None) is not None
    )


class Judge:
    """What is wrong with the ways to the rows in one statement's plan."""

    def __init__(
        self, statement: Statement, parts: Mapping[str, float], *, of_everything: bool
    ) -> None:
        self._parts = parts
        self._said = [
            c for c in conditions(statement) if not of_everything and not _one_of_few(statement, c)
        ]
        expression = statement.expression
        #: It is about all rows of a tenant, in no order: a count, a sum.
        self.of_all = (
            isinstance(expression, Select) and not self._said and not expression._order_by_clauses
        )

    def way(self, alias: str, index: str, equal: set[str], ranged: set[str]) -> Iterator[str]:
        """An index that is entered with values, or with ranges, of these columns."""
        said = [c for c in self._said if c.alias == alias]
        if "tenant" not in equal:
            yield f"walks {index} across tenants"
        elif (
            said
            and not any(
                c.column.name in (equal if c.operator in EQUAL else equal | ranged) for c in said
            )
            and self._parts.get(index, 1) > _FEW
        ):
            yield f"reads all of a tenant through {index} to filter {alias}"
