"""How an entity becomes a row and a row an entity, derived from the entity's fields.

Every field is a column of the same name; the column's type decides how the value travels. Columns
that are no field are *derived*: computed on saving, never read back.
"""

from __future__ import annotations

import secrets
import time
import types
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Generic, TypeVar, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import from_json
from sqlalchemy import BigInteger, Boolean, Column, Double, Table

from holdfast import checks
from holdfast.engines.base import Row
from holdfast.errors import InvalidArgumentError, MalformedRowError
from holdfast.schema.meta import TENANT
from holdfast.schema.types import JsonText, Timestamp

__all__ = ["Mapper", "next_moment", "time_ordered_id"]

E = TypeVar("E", bound=BaseModel)

Encoder = Callable[[Any], Any]


class Mapper(Generic[E]):
    """Translates between ``entity`` and the rows of ``table``, tenant excluded."""

    def __init__(
        self,
        table: Table,
        entity: type[E],
        *,
        derived: Mapping[str, Callable[[E], Any]] | None = None,
    ) -> None:
        self.table = table
        self.entity = entity
        self._derived = dict(derived or {})
        self.fields = tuple(name for name in entity.model_fields if name in table.c)
        self.columns: tuple[Column[Any], ...] = tuple(table.c[name] for name in self.fields)
        #: Of the statements that save an entity.
        self.parameters = (TENANT, *self.fields, *self._derived)
        self._pick = attrgetter(*self.fields)
        encoders = [_encoder(column, entity) for column in self.columns]
        self._texts = tuple(n for n, encode in enumerate(encoders) if encode is None)
        self._encoders = tuple((n, encode) for n, encode in enumerate(encoders) if encode)
        self._json = tuple(name for name in self.fields if isinstance(table.c[name].type, JsonText))
        self._validate = entity.__pydantic_validator__.validate_python

    def encode(self, tenant: str, entity: E) -> tuple[Any, ...]:
        """The arguments of a save; raises `InvalidArgumentError` naming the field at fault."""
        if not isinstance(entity, self.entity):
            raise InvalidArgumentError(
                f"{self.table.name} takes {self.entity.__name__}, not {type(entity).__name__}"
            )
        try:
            # `model_copy` and `model_construct` check nothing; what is stored must be readable.
            entity = self._validate(entity.__dict__)
        except ValueError as error:
            raise InvalidArgumentError(f"{self.table.name}: {_reason(error)}") from None
        values: list[Any] = list(self._pick(entity))
        # All texts are looked at as one, which takes a tenth of the time; where there is something
        # to be found, each on its own to name it.
        try:
            joined = "".join([text for n in self._texts if (text := values[n]) is not None])
        except TypeError:  # an entity made without validation
            joined = "\0"
        if not joined.isascii() or "\0" in joined or len(joined) > checks.LARGEST_TEXT:
            for n in self._texts:
                if values[n] is not None:
                    checks.text(values[n], f"{self.table.name}.{self.fields[n]}")
        for n, encode in self._encoders:
            value = values[n]
            if value is not None:
                values[n] = encode(value)
        for compute in self._derived.values():
            values.append(compute(entity))
        return (tenant, *values)

    def encode_fields(self, entity: E, names: Sequence[str]) -> tuple[Any, ...]:
        """Some fields' values, encoded as `encode` does."""
        values = self.encode("", entity)[1:]
        return tuple(values[self.fields.index(name)] for name in names)

    def decode(self, row: Row) -> E:
        """The entity of a row that begins with ``columns``."""
        data = dict(zip(self.fields, row, strict=False))
        try:
            for name in self._json:
                value = data[name]
                if value == "[]":
                    data[name] = ()
                elif value is not None:
                    data[name] = from_json(value)
            return self._validate(data)  # type: ignore[no-any-return]
        except ValueError as error:  # Pydantic's ValidationError is one
            # Where the key is no field, a repository reads it behind the fields.
            rest = iter(row[len(self.fields) :])
            key = tuple(data[n] if n in data else next(rest, None) for n in self.table.info["key"])
            raise MalformedRowError(
                f"{self.table.name}: the row with {_named(self.table, key)} cannot be read as "
                f"{self.entity.__name__}: {_reason(error)}",
                table=self.table.name,
                key=key,
            ) from None

    def decode_all(self, rows: Sequence[Row]) -> list[E]:
        decode = self.decode
        return [decode(row) for row in rows]


def _encoder(column: Column[Any], entity: type[BaseModel]) -> Encoder | None:
    """How a column's values are written; ``None`` for plain text."""
    place = f"{column.table.name}.{column.name}"
    annotation = _plain(entity.model_fields[column.name].annotation)
    if isinstance(column.type, JsonText):
        dump = TypeAdapter(entity.model_fields[column.name].rebuild_annotation()).dump_json

        def encode_json(value: Any) -> str:
            if value == ():
                return "[]"
            try:
                plain = dump(value).decode()
            except (ValueError, TypeError, RecursionError):
                raise InvalidArgumentError(
                    f"{place} cannot be written as JSON: it holds a lone surrogate, a value JSON "
                    "does not know, or is nested too deeply"
                ) from None
            return checks.json_text(plain, place)

        return encode_json
    if isinstance(column.type, Timestamp):
        return lambda value: checks.instant(value, place)
    if isinstance(column.type, BigInteger):
        return lambda value: checks.integer(value, place)
    if annotation is UUID:
        return str
    if isinstance(column.type, Double | Boolean):
        return _same
    if column.name.endswith("_json"):  # JSON that is promised back as the text it was
        return lambda value: checks.json_text(value, place)
    return None


def _plain(annotation: Any) -> Any:
    """The type of an annotation without ``None``."""
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [item for item in get_args(annotation) if item is not type(None)]
        return rest[0] if len(rest) == 1 else annotation
    return annotation


def _same(value: Any) -> Any:
    return value


def _named(table: Table, key: tuple[Any, ...]) -> str:
    pairs = zip(table.info["key"], key, strict=True)
    return ", ".join(f"{name}={value!r}" for name, value in pairs)


def _reason(error: ValueError) -> str:
    """What is wrong where, without the stored values."""
    if isinstance(error, ValidationError):
        return "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'row'}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False, include_context=False)
        )
    return "a column does not hold JSON"


_last_moment = 0


def next_moment() -> int:
    """Nanoseconds since the epoch, larger at every call of this process."""
    global _last_moment
    _last_moment = max(_last_moment + 1, time.time_ns())
    return _last_moment


def time_ordered_id() -> str:
    """A unique key of 32 hexadecimal digits whose order is the order of making it."""
    return f"{next_moment():016x}{secrets.token_hex(8)}"
