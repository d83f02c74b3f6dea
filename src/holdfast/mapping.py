"""How an entity becomes a row and a row an entity, derived from the entity's fields.

Every field is a column of the same name; the column's type decides how the value travels. Columns
that are no field are *derived*: computed on saving, never read back. The column ``extra`` is for
entities of an application's own: see `holdfast.binding`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from sqlalchemy import Column, Table

from holdfast import checks, fidelity, jsontext
from holdfast.allowance import Allowance, TooMuchError
from holdfast.encoders import encoder
from holdfast.engines.base import Row
from holdfast.errors import InvalidArgumentError
from holdfast.explaining import malformed, reason
from holdfast.schema.meta import EXTRA, TENANT
from holdfast.schema.types import JsonText

__all__ = ["MAPPERS", "STORED", "Mapper", "checked", "row_reader"]

E = TypeVar("E", bound=BaseModel)

#: Characters of JSON that are read in some 10 ms.
_LONG_JSON = 256 * 1024

#: Every one that was made for a repository.
MAPPERS: list[Mapper[Any]] = []
#: Every entity that some repository stores, alone or as a part of its own.
STORED: set[type[BaseModel]] = set()


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
        #: Whether its values may have to be looked at one by one, in Python.
        self._walks = any(fidelity.holds_json_object(entity.model_fields[n]) for n in self.fields)
        self._rest: tuple[None, ...] = (None,) * len(extra)
        self._pick = attrgetter(*self.fields)
        encoders = [encoder(table.c[name], entity) for name in self.fields]
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

    async def encoded(self, tenant: str, entity: E) -> tuple[Any, ...]:
        """As `encode`; on a thread what would keep the event loop for long."""
        if not self._walks:
            return self.encode(tenant, entity)
        try:
            return self.encode(tenant, entity, Allowance())
        except TooMuchError:
            return await asyncio.to_thread(self.encode, tenant, entity)

    def encode(self, tenant: str, entity: E, allowance: Allowance | None = None) -> tuple[Any, ...]:
        """The arguments of a save; raises `InvalidArgumentError` naming the field at fault.

        `TooMuchError` beyond the allowance.
        """
        self._accept(entity)
        # `model_copy` and `model_construct` check nothing; what is stored must be readable.
        return self._encode(tenant, self._checked(self._validate, entity.__dict__, allowance))

    def encode_plain(
        self, tenant: str, values: Mapping[str, Any], allowance: Allowance | None = None
    ) -> tuple[Any, ...]:
        """As `encode`, of what JSON knows instead of an entity."""
        return self._encode(tenant, self._checked(self._load, values, allowance))

    def accepts(self, entity: object) -> bool:
        """Whether it is an entity of this kind."""
        return isinstance(entity, self._accepted)

    def _accept(self, entity: object) -> None:
        if not self.accepts(entity):
            raise InvalidArgumentError(
                f"{self.table.name} takes {self.entity.__name__}, not {type(entity).__name__}"
            )

    def _checked(
        self, validate: Callable[..., Any], values: Mapping[str, Any], allowance: Allowance | None
    ) -> E:
        try:
            if allowance is None:
                return validate(values)  # type: ignore[no-any-return]
            return validate(values, context=allowance)  # type: ignore[no-any-return]
        except TooMuchError:
            raise
        except Exception as error:  # also what an application's own validators raise
            why = reason(error, self.entity)
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

    def decode(self, row: Row, *, patient: bool = True) -> E:
        """The entity of a row that begins with ``columns``; `MalformedRowError` if it is none.

        If not ``patient``, `TooMuchError` for JSON that takes more than some 10 ms.
        """
        data = dict(zip(self.fields, row, strict=False))
        try:
            for name in self._json:
                value = data[name]
                if value == "[]":
                    data[name] = ()
                elif value is not None:
                    if len(value) > _LONG_JSON and not patient:
                        raise TooMuchError
                    data[name] = jsontext.parsed(value)
            return self._read(data, row)
        except TooMuchError:
            raise
        except Exception as error:  # also what an application's own validators raise
            # Where the key is no field, a repository reads it behind the columns.
            rest = iter(row[len(self.columns) :])
            names = self.table.info["key"]
            key = {name: data[name] if name in data else next(rest, None) for name in names}
            raise malformed(self.table, self.entity, key, error) from None

    def _read(self, data: dict[str, Any], row: Row) -> E:
        return self._load(data)  # type: ignore[no-any-return]


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
            plain = {name: jsontext.parsed(data[name]) for name in json}
            return validate(data | plain)  # type: ignore[no-any-return]
        except Exception as error:
            raise malformed(table, entity, {n: data[n] for n in key}, error) from None

    return read


def checked(entity: E, place: str) -> E:
    """An entity that is not stored as such, checked as `Mapper.encode` does."""
    try:
        validate = type(entity).__pydantic_validator__.validate_python
        return validate(entity.__dict__, by_name=True)  # type: ignore[no-any-return]
    except Exception as error:
        raise InvalidArgumentError(f"{place}: {reason(error, type(entity))}") from None
