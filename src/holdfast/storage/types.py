"""Column types: one Python value per column, whatever the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Dialect, Double, Table, Text, TypeDecorator
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine, UserDefinedType

__all__ = [
    "FLAG",
    "INTEGER",
    "REAL",
    "STRING",
    "CodePointText",
    "JsonText",
    "Timestamp",
    "is_storable",
    "unstorable",
]


class Timestamp(TypeDecorator[datetime]):
    """An instant with microseconds, read back in UTC.

    SQLite has no such type: there it is text of fixed width (``2026-01-31T09:00:00.000000+00:00``),
    so that the order of the text is the order of the instants.
    """

    impl = postgresql.TIMESTAMP
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return Text()
        return postgresql.TIMESTAMP(timezone=True)

    # The processors themselves, rather than `process_*`: PostgreSQL's driver needs none at all.
    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        return _to_text if dialect.name == "sqlite" else None

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        return datetime.fromisoformat if dialect.name == "sqlite" else None


def _to_text(value: datetime) -> str:
    # Repositories have converted it already.
    moment = value if value.tzinfo is UTC else value.astimezone(UTC)
    return moment.isoformat("T", "microseconds")


class JsonText(TypeDecorator[str]):
    """JSON kept as the text that was written.

    PostgreSQL's ``JSON`` checks the text and keeps it; ``JSONB`` would turn ``1e16`` into an
    integer, drop the sign of ``-0.0`` and reorder keys. Cast to ``jsonb`` to index or query it.
    On SQLite it is ``TEXT``: a column declared ``JSON`` would store ``"12"`` as a number.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return Text() if dialect.name == "sqlite" else _Json()


class _Json(UserDefinedType[str]):
    """PostgreSQL's ``JSON`` without SQLAlchemy's (de)serialisation."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "JSON"


class CodePointText(TypeDecorator[str]):
    """Text that compares by code point on both engines: BINARY is SQLite's default."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return Text() if dialect.name == "sqlite" else Text(collation="C")


STRING = CodePointText()
INTEGER = BigInteger()
REAL: Double[float] = Double()
FLAG = Boolean()

_STORABLE = frozenset({CodePointText, BigInteger, Double, Boolean, JsonText, Timestamp})


def is_storable(type_: TypeEngine[Any]) -> bool:
    """Whether a column of this type holds the same values however they are sent and read.

    A converter of another type would be run for a call on its own, and neither in a batch nor on
    reading: a save would store other values alone than in company.
    """
    converts = isinstance(type_, Double) and type_.asdecimal
    return type(type_) in _STORABLE and not converts and not type_._variant_mapping


def unstorable(table: Table) -> Iterator[str]:
    """What is wrong with the types of a table's columns."""
    for column in table.columns:
        if not is_storable(column.type):
            yield (
                f"{table.name}.{column.name} has the type {type(column.type).__name__}, which does "
                "not hold the same on both engines and in every call: use STRING, INTEGER, REAL, "
                "FLAG, JsonText() or Timestamp() of holdfast.extending, and convert in the entity"
            )
