"""How an entity becomes a row and a row an entity, derived from the entity's fields.

Every field is a column of the same name; the column's type decides how the value travels. Columns
that are no field are *derived*: computed on saving, never read back. The column ``extra`` is for
entities of an application's own: see `holdfast.storage.binding`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from operator import itemgetter
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from sqlalchemy import Column, Table

from holdfast import validation
from holdfast.entities.base import is_validated, spend
from holdfast.errors import InvalidArgumentError, MalformedRowError
from holdfast.storage import fidelity
from holdfast.storage.encoders import encoder
from holdfast.storage.explaining import cause, how_to_bind, malformed, named, reason
from holdfast.storage.session import Row, Session, Statement
from holdfast.storage.tables import EXTRA, TENANT
from holdfast.storage.types import JsonText
from holdfast.validation import jsontext
from holdfast.validation.allowance import Allowance, TooMuchError
from holdfast.validation.values import (
    Classes,
    FurtherFieldsError,
    classes_in,
    further_fields,
    plain,
)

__all__ = ["MAPPERS", "STORED", "Mapper", "checked", "row_reader"]

E = TypeVar("E", bound=BaseModel)

#: What `validation.choice` takes.
Choices = type[Enum] | tuple[str, ...]

#: The one empty tuple that there is.
_NOTHING = ()

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
        self._json_objects = tuple(
            n for n in self.fields if fidelity.holds_json_object(entity.model_fields[n])
        )
        self._walks = bool(self._json_objects)
        #: Whether what was valid when it was made is so for ever.
        self._lasting = fidelity.is_immutable(entity)
        self._rest: tuple[None, ...] = (None,) * len(extra)
        self._pick = itemgetter(*self.fields)
        encoders = [encoder(table.c[name], entity) for name in self.fields]
        self._texts = tuple(n for n, encode in enumerate(encoders) if encode is None)
        # Of a single one it gives the text, whose characters are joined as well.
        self._pick_texts = itemgetter(*self._texts)
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

    async def encoded(self, tenant: str, entity: E, *, made: bool = False) -> tuple[Any, ...]:
        """As `encode`; on a thread what would keep the event loop for long."""
        allowance = Allowance() if self._walks else None
        try:
            return self.encode(tenant, entity, allowance, made=made)
        except TooMuchError:
            return await asyncio.to_thread(self.encode, tenant, entity, made=made)

    async def write(self, session: Session, statement: Statement, tenant: str, entity: E) -> None:
        """Save the entity: `encoded`, and what that answers written, in one coroutine."""
        allowance = Allowance() if self._walks else None
        try:
            arguments = self.encode(tenant, entity, allowance)
        except TooMuchError:
            arguments = await asyncio.to_thread(self.encode, tenant, entity)
        await session.write(statement, arguments)

    def encode(
        self, tenant: str, entity: E, allowance: Allowance | None = None, *, made: bool = False
    ) -> tuple[Any, ...]:
        """The arguments of a save; raises `InvalidArgumentError` naming the field at fault.

        `TooMuchError` beyond the allowance. What `make` has just ``made`` is not checked again.
        """
        if type(entity) is not self.entity:
            self._accept(entity)
        elif self._lasting and is_validated(entity):
            made = True
            if allowance is not None:
                for name in self._json_objects:
                    spend(entity.__dict__[name], allowance)
        if not made:
            # `model_copy` and `model_construct` check nothing; what is stored must be readable.
            entity = self._checked(self._validate, entity.__dict__, allowance)
        return self._encode(tenant, entity)

    def make(self, fields: Mapping[str, Any], *, unwrapped: bool = False) -> E:
        """The entity, or the application's, of values by field name; `InvalidArgumentError`.

        ``unwrapped``: what breaks a rule of the class is Pydantic's ``ValidationError``.
        """
        return self._checked(self._validate, fields, None, unwrapped=unwrapped)

    def accepts(self, entity: object) -> bool:
        """Whether it is an entity of this kind."""
        return isinstance(entity, self._accepted)

    def choice(self, value: Any, field: str, choices: Choices, place: str) -> str:
        """A value that the field can have, as text; ``choices`` are Holdfast's own."""
        return validation.choice(value, choices, place)

    def classes(self, field: str) -> Classes:
        """The models that a field may hold."""
        return classes_in(self.entity.model_fields[field].annotation)

    def knows(self, column: str) -> bool:
        """Whether a column is a field of the class."""
        return column in self.fields

    def place(self, parameter: str) -> int:
        """Where `encode` puts a parameter's value."""
        return self.parameters.index(parameter)

    def _accept(self, entity: object) -> None:
        if not isinstance(entity, self._accepted):
            expected, given = self.entity, type(entity)
            raise InvalidArgumentError(
                f"{self.table.name} takes {named(expected, given)}, not {named(given, expected)}"
                f"{how_to_bind(entity)}"
            )
        if lost := further_fields(self.entity, entity):
            both = f"{self.entity.__name__}: {type(entity).__name__}"
            raise InvalidArgumentError(
                f"{self.table.name}: {FurtherFieldsError(self.entity, type(entity), lost, both)}"
            )

    def _checked(
        self,
        validate: Callable[..., Any],
        values: Any,
        allowance: Allowance | None,
        *,
        rules: type[BaseModel] | None = None,
        unwrapped: bool = False,
    ) -> E:
        try:
            if allowance is None:
                return validate(values)  # type: ignore[no-any-return]
            return validate(values, context=allowance)  # type: ignore[no-any-return]
        except TooMuchError:
            raise
        except Exception as error:  # also what an application's own validators raise
            if unwrapped and isinstance(error, ValidationError):
                raise
            why = reason(error, rules or self.entity)
            raise InvalidArgumentError(f"{self.table.name}: {why}") from cause(error)

    def _encode(self, tenant: str, entity: E) -> tuple[Any, ...]:
        values = self._written(list(self._pick(entity.__dict__)))
        derived = [compute(entity) for compute in self._derived.values()]
        return (tenant, *values, *derived, *self._rest)

    def _written(self, values: list[Any]) -> list[Any]:
        # All texts are looked at as one, which takes a tenth of the time; where there is something
        # to be found, each on its own to name it.
        try:
            joined = "".join(filter(None, self._pick_texts(values)))
        except TypeError:  # an entity made without validation
            joined = "\0"
        if not joined.isascii() or "\0" in joined or len(joined) > validation.LARGEST_TEXT:
            for n in self._texts:
                if values[n] is not None:
                    validation.text(values[n], f"{self.table.name}.{self.fields[n]}")
        for n, encode in self._encoders:
            value = values[n]
            if value is not None:
                # Most arrays are empty.
                values[n] = "[]" if value is _NOTHING else encode(value)
        return values

    def encode_fields(self, entity: E, names: Sequence[str]) -> tuple[Any, ...]:
        """Some fields' values, encoded as `encode` does."""
        arguments = self.encode("", entity)
        return tuple(arguments[self.place(name)] for name in names)

    def decode(self, row: Row, *, patient: bool = True) -> E:
        """The entity of a row that begins with ``columns``; `MalformedRowError` if it is none.

        If not ``patient``, `TooMuchError` for JSON that takes more than some 10 ms.
        """
        data = dict(zip(self.fields, row))  # noqa: B905 - `strict` takes a sixth of the time
        try:
            for name in self._json:
                value = data[name]
                if value == "[]":
                    data[name] = ()
                elif value is not None:
                    if len(value) > _LONG_JSON and not patient:
                        raise TooMuchError
                    try:
                        data[name] = from_json(value)
                    except ValueError:  # it may be deeper than this one reads
                        data[name] = jsontext.parsed(value)
            return self._read(data, row)
        except TooMuchError:
            raise
        except Exception as error:  # also what an application's own validators raise
            # Where the key is no field, a repository reads it behind the columns.
            rest = iter(row[len(self.columns) :])
            names = self.table.info["key"]
            key = {name: data[name] if name in data else next(rest, None) for name in names}
            raise malformed(self.table, self.entity, key, error) from cause(error)

    def attempt(self, row: Row) -> E | MalformedRowError:
        """As `decode`, with the error as an answer."""
        try:
            return self.decode(row)
        except MalformedRowError as error:
            return error

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
            raise malformed(table, entity, {n: data[n] for n in key}, error) from cause(error)

    return read


def checked(value: object, kind: type[E], place: str, *, also: Classes = None) -> E:
    """What is not stored as such, as the entity ``kind`` and checked as `Mapper.encode` does.

    It may be a model of the application's with the same fields, or of one of the classes ``also``.
    """
    given: type[Any] = type(value)
    expected = (kind, *(also or ()))
    if not isinstance(value, BaseModel) or not (
        isinstance(value, expected) or kind.model_fields.keys() <= given.model_fields.keys()
    ):
        raise InvalidArgumentError(
            f"{place} must be {named(kind, given)}, not {named(given, kind)}"
        )
    lost = further_fields(kind, value) if isinstance(value, kind) else ()
    if lost and given not in expected:
        raise InvalidArgumentError(f"{place}: {FurtherFieldsError(kind, given, lost)}")
    held = value.__dict__
    try:
        fields = {name: plain(held[name]) for name in kind.model_fields if name in held}
        validate = kind.__pydantic_validator__.validate_python
        return validate(fields, by_name=True, strict=False)  # type: ignore[no-any-return]
    except Exception as error:
        raise InvalidArgumentError(f"{place}: {reason(error, kind)}") from cause(error)
