"""An application's own entities in place of Holdfast's.

A bound class has every required field of the entity it stands for; its other fields travel in the
column ``extra``, and fields it lacks are stored with the entity's defaults. What is stored keeps
the rules of Holdfast's entity too, so that whoever reads the table without the binding can.
"""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from enum import Enum
from functools import partial
from math import isfinite
from pathlib import PurePath
from types import NoneType
from typing import Any, Generic, TypeVar, cast
from uuid import UUID

from pydantic import BaseModel, RootModel, SecretBytes, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from holdfast import jsontext
from holdfast.allowance import Allowance, TooMuchError
from holdfast.encoders import changed, json_text
from holdfast.engines.base import Row
from holdfast.errors import InvalidArgumentError, MalformedRowError
from holdfast.fidelity import (
    comes_back,
    equal,
    has_ways_of_its_own,
    is_moment,
    is_untyped,
    trouble,
)
from holdfast.mapping import MAPPERS, STORED, Mapper
from holdfast.schema.meta import EXTRA
from holdfast.schema.types import Timestamp

__all__ = ["Models"]

E = TypeVar("E", bound=BaseModel)

#: What needs no change; a time stays one, for the columns that hold instants.
_ATOMS = (NoneType, bool, int, float, str, date, time)


class Models:
    """Which class an application uses for which entity; looked at when the backend is made."""

    def __init__(self, entities: Mapping[type[BaseModel], type[BaseModel]]) -> None:
        for entity, kind in entities.items():
            _check(entity, kind)
        self._kinds = dict(entities)
        self._mappers: dict[Mapper[Any], Mapper[Any]] = {}

    def bind(self, mapper: Mapper[E]) -> Mapper[E]:
        """The mapper for the application's class, or the same one if it has none."""
        bound = self._mappers.get(mapper)
        if bound is None:
            bound = self._mappers[mapper] = self._make(mapper)
        return bound

    def _make(self, mapper: Mapper[E]) -> Mapper[E]:
        kind = self._kinds.get(mapper.entity)
        generic = mapper.entity.__pydantic_generic_metadata__
        if kind is None and any(argument in self._kinds for argument in generic["args"]):
            origin: Any = generic["origin"]
            kind = origin[tuple(self._kinds.get(item, item) for item in generic["args"])]
        return mapper if kind is None else _BoundMapper(mapper, kind)


class _BoundMapper(Mapper[E], Generic[E]):
    """Reads and writes ``kind`` where the base mapper reads and writes its entity."""

    def __init__(self, base: Mapper[E], kind: type[BaseModel]) -> None:
        vars(self).update(vars(base))  # all that depends on the table
        self._standard = base
        self.entity = cast("Any", kind)
        self._accepted = kind.__pydantic_generic_metadata__["origin"] or kind
        self._fields = tuple(kind.model_fields)
        self._shared = tuple(name for name in base.fields if name in kind.model_fields)
        self._own = tuple(name for name in kind.model_fields if name not in base.fields)
        self._open = kind.model_config.get("extra") == "allow"
        #: The fields whose values may come back as others, and whether they have no type at all.
        self._unsure = {
            name: is_untyped(field)
            for name, field in kind.model_fields.items()
            if not comes_back(field, kind) and not self._is_instant(name, field)
        }
        self._comes_back = not (self._unsure or self._open or has_ways_of_its_own(kind))
        self._walks = True
        # By name: an alias is for what comes from outside.
        by_name = partial(kind.__pydantic_validator__.validate_python, by_name=True, by_alias=False)
        self._validate = by_name
        # A strict class, too, is read from what a database knows.
        self._load = partial(by_name, strict=False)

    def _declared(self, name: str) -> Any:
        return self.entity.model_fields[name].annotation

    def _is_instant(self, name: str, field: FieldInfo) -> bool:
        """Whether it is a time in a column of times, which keeps every one."""
        return name in self.fields and (
            isinstance(self.table.c[name].type, Timestamp) and is_moment(field)
        )

    def encode(self, tenant: str, entity: E, allowance: Allowance | None = None) -> tuple[Any, ...]:
        table = self.table.name
        self._accept(entity)
        held = entity.__dict__
        given = {name: held[name] for name in self._fields if name in held}
        values = self._checked(self._validate, given | (entity.model_extra or {}), None)
        shared = {
            name: _plain(getattr(values, name), f"{table}.{name}", allowance)
            for name in self._shared
        }
        arguments = list(self._standard.encode_plain(tenant, shared, allowance))
        # The application's nested classes may have fields of their own as well.
        for name in self._json:
            if shared.get(name) is not None:
                text = _written(shared[name], f"{table}.{name}")
                arguments[self.parameters.index(name)] = json_text(
                    text, getattr(values, name), f"{table}.{name}"
                )
        own = {name: getattr(values, name) for name in self._own} | (values.model_extra or {})
        if EXTRA in self.table.c and (self._own or self._open):
            arguments[-1] = _json_object(own, table, allowance)
        elif own:
            raise InvalidArgumentError(f"{table} has no column for {', '.join(own)}")
        if not self._comes_back:
            self._read_back(arguments, values)
        return tuple(arguments)

    def _read_back(self, arguments: Sequence[Any], values: Any) -> None:
        """Refuse what would be stored and not come back as it is."""
        table, fields = self.table.name, self.fields
        try:
            stored = self.decode((*arguments[1 : 1 + len(fields)], arguments[-1]))
        except MalformedRowError as error:
            where = (
                trouble(getattr(values, name), f"{table}.{name}", self._declared(name))
                for name in self._unsure
            )
            why = next(filter(None, where), None) or error.reason
            raise InvalidArgumentError(
                f"{table}: {type(values).__name__} could be stored and not be read again: {why}"
            ) from None
        for name, untyped in self._unsure.items():
            one, other, place = getattr(values, name), getattr(stored, name), f"{table}.{name}"
            # A type may not say what equals what; what it is written as does.
            if not equal(other, one) and (untyped or _plain(other, place) != _plain(one, place)):
                raise InvalidArgumentError(changed(one, place, self._declared(name)))
        for name, one in (values.model_extra or {}).items():
            if not equal((stored.model_extra or {}).get(name), one):
                raise InvalidArgumentError(changed(one, f"{table}.{name}", Any))

    def _read(self, data: dict[str, Any], row: Row) -> E:
        found = {name: data[name] for name in self._shared}
        stored = row[len(self.fields)] if EXTRA in self.table.c else None
        if stored is not None:
            own = jsontext.parsed(stored)
            if not isinstance(own, dict):
                raise ValueError
            found |= {n: v for n, v in own.items() if self._open or n in self._own}
        return self._load(found)  # type: ignore[no-any-return]


def _check(entity: type[BaseModel], kind: Any) -> None:
    if entity not in STORED:
        raise InvalidArgumentError(
            f"entities: no repository stores {getattr(entity, '__name__', entity)!s}"
        )
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        raise InvalidArgumentError(f"entities: {entity.__name__} needs a Pydantic model class")
    lacking = [
        name
        for name, field in entity.model_fields.items()
        if name not in kind.model_fields and _is_needed(field)
    ]
    if lacking:
        raise InvalidArgumentError(
            f"entities: {kind.__name__} lacks {', '.join(lacking)}, which {entity.__name__} needs"
        )
    own = [name for name in kind.model_fields if name not in entity.model_fields]
    for table in (mapper.table for mapper in MAPPERS if mapper.entity is entity):
        if own and EXTRA not in table.c:
            raise InvalidArgumentError(
                f"entities: {kind.__name__} has {', '.join(own)}, for which {table.name} has no "
                f"column and no column {EXTRA!r}"
            )


def _is_needed(field: FieldInfo) -> bool:
    """Whether an entity has no value of its own for it, or another one each time it is read."""
    if field.is_required() or field.default_factory_takes_validated_data:
        return True
    made = field.get_default(call_default_factory=True)
    return field.default_factory is not None and isinstance(made, str | UUID | datetime)


def _plain(value: Any, place: str, allowance: Allowance | None = None) -> Any:
    """What JSON and Holdfast's entities know."""
    try:
        return _without_types(value, allowance)
    except TooMuchError:
        raise
    except Exception:  # also what an application's own types raise
        raise _unwritable(value, place) from None


def _unwritable(value: Any, place: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        trouble(value, place)
        or f"{place} cannot be written as JSON: it holds itself, NaN or a value JSON does not "
        "know; give it a type that does"
    )


def _without_types(value: Any, allowance: Allowance | None) -> Any:
    """Not Pydantic's dump, which hides secrets and leaves out what it is told to."""
    if isinstance(value, Enum):
        return _without_types(value.value, allowance)
    if isinstance(value, float) and not isfinite(value):
        raise ValueError
    if isinstance(value, _ATOMS):
        return value
    if isinstance(value, RootModel):
        return _without_types(value.root, allowance)
    if isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        value = fields | (value.model_extra or {})
    elif dataclasses.is_dataclass(value):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        if allowance is not None:
            allowance.spend(len(value))
        return {
            _without_types(key, allowance): _without_types(item, allowance)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset | deque):
        if allowance is not None:
            allowance.spend(len(value))
        return [_without_types(item, allowance) for item in value]
    if isinstance(value, SecretStr | SecretBytes):
        return _without_types(value.get_secret_value(), allowance)
    return str(value) if isinstance(value, PurePath) else to_jsonable_python(value)


def _written(plain: Any, place: str) -> str:
    try:
        return json.dumps(to_jsonable_python(plain), ensure_ascii=False)
    except Exception:  # integers of thousands of digits, for one
        raise _unwritable(plain, place) from None


def _json_object(fields: Mapping[str, Any], table: str, allowance: Allowance | None) -> str:
    plain = {n: _plain(value, f"{table}.{n}", allowance) for n, value in fields.items()}
    items = {n: f"{_written(n, table)}: {_written(v, f'{table}.{n}')}" for n, v in plain.items()}
    text = "{" + ", ".join(items.values()) + "}"
    try:
        return json_text(text, fields, f"{table}.{EXTRA}")
    except InvalidArgumentError:
        for name, item in items.items():
            json_text("{" + item + "}", fields[name], f"{table}.{name}")
        raise
