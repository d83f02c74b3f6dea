"""How an entity becomes a row and a row an entity, derived from the entity's fields.

Every field is a column of the same name; the column's type decides how the value travels. Columns
that are no field are *derived*: computed on saving, never read back. The column ``extra`` is for
entities of an application's own: see `holdfast.binding`.
"""

from __future__ import annotations

import secrets
import time
import types
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from inspect import isclass
from operator import attrgetter
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import from_json
from sqlalchemy import BigInteger, Boolean, Column, Double, Table

from holdfast import checks
from holdfast.engines.base import Row
from holdfast.errors import InvalidArgumentError, MalformedRowError
from holdfast.schema.meta import EXTRA, TENANT
from holdfast.schema.types import JsonText, Timestamp

__all__ = ["MAPPERS", "STORED", "Mapper", "checked", "next_moment", "row_reader", "time_ordered_id"]

E = TypeVar("E", bound=BaseModel)

Encoder = Callable[[Any], Any]

#: Every one that was made for a repository.
MAPPERS: list[Mapper[Any]] = []
#: Every entity that some repository stores, alone or as a part of its own.
STORED: set[type[BaseModel]] = set()


class _UnserializableError(InvalidArgumentError, TypeError):
    """What `json.dumps` reports as a `TypeError`, and callers may catch as one."""


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
        #: Fields that would be lost.
        self.without_column = tuple(name for name in entity.model_fields if name not in table.c)
        extra = (EXTRA,) if EXTRA in table.c else ()
        #: What a read selects and `decode` expects in front.
        self.columns: tuple[Column[Any], ...] = tuple(table.c[n] for n in (*self.fields, *extra))
        #: Of the statements that save an entity.
        self.parameters = (TENANT, *self.fields, *self._derived, *extra)
        self._rest: tuple[None, ...] = (None,) * len(extra)
        self._pick = attrgetter(*self.fields)
        encoders = [_encoder(table.c[name], entity) for name in self.fields]
        self._texts = tuple(n for n, encode in enumerate(encoders) if encode is None)
        self._encoders = tuple((n, encode) for n, encode in enumerate(encoders) if encode)
        self._json = tuple(name for name in self.fields if isinstance(table.c[name].type, JsonText))
        # By name: an alias is for what comes from outside.
        self._validate = partial(entity.__pydantic_validator__.validate_python, by_name=True)
        # A strict entity, too, is read from what a database knows.
        strict = {"strict": False} if entity.model_config.get("strict") else {}
        self._load = partial(self._validate, **strict)
        # `Snapshot[Role]` is a class of its own, and `Snapshot(...)` is not made of it.
        generic = entity.__pydantic_generic_metadata__["origin"]
        self._accepted: type[BaseModel] = generic or entity
        MAPPERS.append(self)
        STORED.update((entity, *entity.__pydantic_generic_metadata__["args"]))

    def encode(self, tenant: str, entity: E) -> tuple[Any, ...]:
        """The arguments of a save; raises `InvalidArgumentError` naming the field at fault."""
        self._accept(entity)
        # `model_copy` and `model_construct` check nothing; what is stored must be readable.
        return self._encode(tenant, self._checked(self._validate, entity.__dict__))

    def encode_plain(self, tenant: str, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """As `encode`, of what JSON knows instead of an entity."""
        return self._encode(tenant, self._checked(self._load, values))

    def accepts(self, entity: object) -> bool:
        """Whether it is an entity of this kind."""
        return isinstance(entity, self._accepted)

    def _accept(self, entity: object) -> None:
        if not self.accepts(entity):
            raise InvalidArgumentError(
                f"{self.table.name} takes {self.entity.__name__}, not {type(entity).__name__}"
            )

    def _checked(
        self, validate: Callable[[Mapping[str, Any]], Any], values: Mapping[str, Any]
    ) -> E:
        try:
            return validate(values)  # type: ignore[no-any-return]
        except ValueError as error:
            why = _reason(error, self.entity)
            raise InvalidArgumentError(f"{self.table.name}: {why}") from None

    def _encode(self, tenant: str, entity: E) -> tuple[Any, ...]:
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
        return (tenant, *values, *self._rest)

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
            return self._read(data, row)
        except ValueError as error:  # Pydantic's ValidationError is one
            # Where the key is no field, a repository reads it behind the columns.
            rest = iter(row[len(self.columns) :])
            names = self.table.info["key"]
            key = {name: data[name] if name in data else next(rest, None) for name in names}
            raise _malformed(self.table, self.entity, key, error) from None

    def _read(self, data: dict[str, Any], row: Row) -> E:
        return self._load(data)  # type: ignore[no-any-return]


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
                raise _UnserializableError(
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
    if isinstance(column.type, Double):
        return _PLUS_ZERO
    if isinstance(column.type, Boolean):
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


#: SQLite keeps whole numbers as integers, which know no -0.0; so nobody gets one back.
_PLUS_ZERO = (0.0).__add__


def _same(value: Any) -> Any:
    return value


def row_reader(
    table: Table, entity: type[E], fields: Sequence[str], *, json: Sequence[str], key: Sequence[str]
) -> Callable[[Row], E]:
    """Reads rows of several tables as one entity; ``json`` are the fields that are JSON text.

    `MalformedRowError` names the row by the fields ``key``.
    """
    validate = entity.__pydantic_validator__.validate_python

    def read(row: Row) -> E:
        data = dict(zip(fields, row, strict=True))
        try:
            plain = {name: from_json(data[name]) for name in json}
            return validate(data | plain)  # type: ignore[no-any-return]
        except ValueError as error:
            raise _malformed(table, entity, {n: data[n] for n in key}, error) from None

    return read


def _malformed(
    table: Table, entity: type[BaseModel], key: Mapping[str, Any], error: ValueError
) -> MalformedRowError:
    fields = entity.model_fields
    named = ", ".join(
        f"{name}={value!r}" if name not in fields or fields[name].repr else f"{name} (not shown)"
        for name, value in key.items()
    )
    why = _reason(error, entity)
    return MalformedRowError(
        f"{table.name}: the row with {named} cannot be read as {entity.__name__}: {why}",
        table=table.name,
        key=tuple(key.values()),
    )


def checked(entity: E, place: str) -> E:
    """An entity that is not stored as such, checked as `Mapper.encode` does."""
    try:
        validate = type(entity).__pydantic_validator__.validate_python
        return validate(entity.__dict__, by_name=True)  # type: ignore[no-any-return]
    except ValueError as error:
        raise InvalidArgumentError(f"{place}: {_reason(error, type(entity))}") from None


def _reason(error: ValueError, entity: type[BaseModel]) -> str:
    """What is wrong where, without the values: those of a row may be secret."""
    if not isinstance(error, ValidationError):
        return "a column does not hold JSON"
    declared = _declared(entity)
    found = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        # A place within a dictionary of the application's is a key, and so a value.
        parts = [str(p) if isinstance(p, int) or p in declared else "…" for p in item["loc"]]
        unknown_tag = item["type"] == "union_tag_invalid"
        what = "Input should have one of the known tags" if unknown_tag else item["msg"]
        found.append(f"{'.'.join(parts) or 'row'}: {what}")
    return "; ".join(found)


@cache
def _declared(entity: type[BaseModel]) -> frozenset[str]:
    """The names of fields, and the values of literals, in an entity and all within it."""
    names: set[str] = set()
    seen: set[Any] = set()
    todo: list[Any] = [entity]
    while todo:
        item = todo.pop()
        if get_origin(item) is Literal:
            names.update(map(str, get_args(item)))
        elif isclass(item) and issubclass(item, BaseModel):
            if item not in seen:
                seen.add(item)
                for name, field in item.model_fields.items():
                    names.update({name, field.alias or name})
                    todo.append(field.annotation)
        else:
            todo.extend(get_args(item))
    return frozenset(names)


_last_moment = 0


def next_moment() -> int:
    """Nanoseconds since the epoch, larger at every call of this process."""
    global _last_moment
    _last_moment = max(_last_moment + 1, time.time_ns())
    return _last_moment


def time_ordered_id() -> str:
    """A unique key of 32 hexadecimal digits whose order is the order of making it."""
    return f"{next_moment():016x}{secrets.token_hex(8)}"
