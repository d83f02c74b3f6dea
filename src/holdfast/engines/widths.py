"""How long a text may be that an index holds: the same on every engine, checked before sending.

PostgreSQL refuses an index entry of more than 2,704 bytes, after compressing it, so that the same
length passes or not by what the text says; SQLite takes any. The limits here are such that every
entry of every index fits without compression. They are those of what is stored: a look-up or a
delete by a longer text finds nothing, or what SQLite took before there were limits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from sqlalchemy import BindParameter, Column, Insert, Table, UniqueConstraint, Update

from holdfast.errors import InvalidArgumentError
from holdfast.storage.session import Statement
from holdfast.storage.tables import TENANT, source
from holdfast.storage.types import CodePointText, JsonText

__all__ = ["ENTRY", "LONGEST", "LONGEST_TENANT", "check_widths", "entry_bytes", "limits"]

#: Bytes of UTF-8 of a key or an indexed text, and of a tenant.
LONGEST: Final = 1_024
LONGEST_TENANT: Final = 512
#: Bytes of an entry of PostgreSQL's index, its header and the padding at its end included.
ENTRY: Final = 2_704
_FRAME: Final = 16 + 7
#: Of a text its length and padding come on top; what is no text takes so many with its padding.
_BESIDE_TEXT: Final = 4 + 3
_NO_TEXT: Final = 8 + 7
#: Of UTF-8, for one character of Python's.
_WIDEST: Final = 4


@cache
def limits(table: Table) -> Mapping[str, int]:
    """Return by column how many bytes its texts may have; columns in no index have no limit.

    An index of more than two texts beside the tenant, which an extension may have, shares out
    what there is.
    """
    found: dict[str, int] = {}
    for columns in _indexes(table):
        texts = [column.name for column in columns if _is_text(column) and column.name != TENANT]
        left = ENTRY - entry_bytes(columns, {TENANT: LONGEST_TENANT})
        for name in texts:
            found[name] = min(found.get(name, LONGEST), left // len(texts))
    found[TENANT] = LONGEST_TENANT
    return {column.name: found[column.name] for column in table.columns if column.name in found}


def entry_bytes(columns: list[Column[Any]], texts: Mapping[str, int]) -> int:
    """Return the bytes of an index entry whose texts have so many bytes at the most."""
    beside = sum(_BESIDE_TEXT if _is_text(column) else _NO_TEXT for column in columns)
    return _FRAME + beside + sum(texts.get(column.name, 0) for column in columns)


def check_widths(statement: Statement, arguments: tuple[Any, ...]) -> None:
    """Refuse a write that would store a longer text than its column may have."""
    places, shortest = _limited(statement)
    for place in places:  # on the path of every write: faster than one pass in C
        value = arguments[place]
        if value is not None and len(value) > shortest:
            _check(statement, arguments)
            return


@cache
def _limited(statement: Statement) -> tuple[tuple[int, ...], int]:
    """Where the arguments are that limited columns will hold, and the characters that fit in any
    of them in any case."""
    stored = _stored(statement)
    shortest = min((most for _, _, most in stored), default=0) // _WIDEST
    return tuple(place for place, _, _ in stored), shortest


def _check(statement: Statement, arguments: tuple[Any, ...]) -> None:
    for place, name, most in _stored(statement):
        size = _size(arguments[place], statement.table.c[name])
        if size > most:
            alike = [n for _, n, limit in _stored(statement) if limit == most]
            # All that have the limit: where one value is too long, the next may be another's.
            error = InvalidArgumentError(
                f"{statement.table.name}: indexes hold {' and '.join(alike)} of a record, so each "
                f"may have {most} bytes in UTF-8, and a text of {size} was given: shorten it, or "
                "store a digest of it"
            )
            error.add_note(f"the text of {size} bytes is {statement.table.name}.{name}")
            raise error


def _size(value: Any, column: Column[Any]) -> int:
    """The bytes of a text, or of the longest in a JSON array of texts."""
    if value is None:
        return 0
    if not isinstance(column.type, JsonText):
        return len(value.encode())
    texts = json.loads(value)
    return max((len(text.encode()) for text in texts if isinstance(text, str)), default=0)


@cache
def _stored(statement: Statement) -> tuple[tuple[int, str, int], ...]:
    """Of each argument that a limited column will hold, or some text in it: its place, the column
    it is for and the limit in bytes."""
    written, table = _written(statement), statement.table
    return tuple(
        (statement.parameters.index(parameter), column, most)
        for name, most in limits(table).items()
        if (parameter := written.get(column := source(table.c[name]))) is not None
    )


def _written(statement: Statement) -> dict[str, str]:
    """By column the parameter that it is set to."""
    expression = statement.expression
    if not isinstance(expression, Insert | Update):
        return {}
    values: Mapping[Any, Any] = expression._values or {}
    if isinstance(expression, Insert) and not values:  # each parameter is a column
        return {name: name for name in statement.parameters}
    return {
        getattr(column, "name", column): value.key
        for column, value in values.items()
        if isinstance(value, BindParameter)
    }


def _indexes(table: Table) -> list[list[Column[Any]]]:
    unique = (item for item in table.constraints if isinstance(item, UniqueConstraint))
    entries: list[Any] = [table.primary_key, *table.indexes, *unique]
    return [list(entry.columns) for entry in entries]


def _is_text(column: Column[Any]) -> bool:
    return isinstance(column.type, CodePointText)
