"""How an instance of an application's class becomes a row and a row an instance.

The instance was validated by its own class when it was made, and is not again: a class may freeze
or copy what it holds. Its fields are taken apart into what JSON knows, held against the rules of
Holdfast's entity, and then read, once, as a read will find them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import partial
from typing import Any, Generic, TypeVar, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from holdfast import validation
from holdfast.entities.base import Entity
from holdfast.errors import InvalidArgumentError, MalformedRowError
from holdfast.storage.encoders import changed, json_text
from holdfast.storage.fidelity import (
    comes_back,
    equal,
    has_ways_of_its_own,
    is_moment,
    is_untyped,
    trouble,
)
from holdfast.storage.mapping import Choices, Mapper
from holdfast.storage.session import Row
from holdfast.storage.tables import DECISIVE, EXTRA
from holdfast.storage.types import Timestamp
from holdfast.storage.widening import widened
from holdfast.validation import jsontext
from holdfast.validation.allowance import Allowance, TooMuchError
from holdfast.validation.values import Classes, FurtherFieldsError, classes_in, plain

__all__ = ["BoundMapper"]

E = TypeVar("E", bound=BaseModel)


class BoundMapper(Mapper[E], Generic[E]):
    """Reads and writes ``kind`` where the base mapper reads and writes its entity."""

    def __init__(self, base: Mapper[E], kind: type[BaseModel]) -> None:
        vars(self).update(vars(base))  # all that depends on the table
        self.entity = cast("Any", kind)
        self._accepted = kind.__pydantic_generic_metadata__["origin"] or kind
        self._classes = {n: classes_in(field.annotation) for n, field in kind.model_fields.items()}
        self._shared = tuple(name for name in base.fields if name in kind.model_fields)
        self._own = tuple(name for name in kind.model_fields if name not in base.fields)
        self._open = kind.model_config.get("extra") == "allow"
        self._written_as_json = tuple(
            (self.fields.index(name), name) for name in self._json if name in self._shared
        )
        #: The fields whose values may come back as others, and whether they have no type at all.
        self._unsure = {
            name: is_untyped(field)
            for name, field in kind.model_fields.items()
            if not comes_back(field, kind) and not self._is_instant(name, field)
        }
        self._comes_back = not (self._unsure or self._open or has_ways_of_its_own(kind))
        # Neither what Holdfast's own rules may rewrite, such as a blank reason, nor times, which
        # Python does not compare across zones when clocks are turned back.
        self._compared = tuple(
            name
            for name, field in kind.model_fields.items()
            if not self._is_instant(name, field)
            and not (name in base.fields and _rewrites(base.entity.model_fields[name]))
        )
        self._walks = True
        # The rules are those of Holdfast's entity; the lists of values may be the class's own.
        self._closed = frozenset(c.name for c in base.table.c if c.info.get(DECISIVE))
        self._rules = widened(base.entity, self._closed)
        # By name: an alias is for what comes from outside.
        by_name: dict[str, Any] = {"by_name": True, "by_alias": False}
        self._obey = partial(
            self._rules.__pydantic_validator__.validate_python, strict=False, **by_name
        )
        # A strict class, too, is read from what a database knows.
        self._validate = self._load = partial(
            kind.__pydantic_validator__.validate_python, strict=False, **by_name
        )
        exactly = partial(kind.__pydantic_validator__.validate_json, **by_name)
        self._load_exactly = exactly if _is_strict(kind) else None
        self._adapters: dict[str, TypeAdapter[Any]] = {}

    def encode(
        self, tenant: str, entity: E, allowance: Allowance | None = None, *, made: bool = False
    ) -> tuple[Any, ...]:
        self._accept(entity)
        fields = self._plain(entity, allowance)
        arguments = self._arguments(tenant, entity, fields, allowance)
        # What was assigned or copied since the instance was made, no class has seen.
        if not made or not self._comes_back:
            self._read_back(arguments, fields, entity)
        return arguments

    def make(self, fields: Mapping[str, Any], *, unwrapped: bool = False) -> E:
        table, kind = self.table.name, self.entity.__name__
        given = {}
        for name, value in fields.items():
            if name in self._classes:
                given[name] = _told(value, self._classes[name], f"{table}.{name}")
            elif value:
                raise InvalidArgumentError(f"{table}: {kind} has no field {name}, which was given")
        return self._checked(self._load, given, None, unwrapped=unwrapped)

    def encode_fields(self, entity: E, names: Sequence[str]) -> tuple[Any, ...]:
        arguments = self._arguments("", entity, self._plain(entity, None), None)
        return tuple(arguments[self.place(name)] for name in names)

    def knows(self, column: str) -> bool:
        return column in self._shared

    def choice(self, value: Any, field: str, choices: Choices, place: str) -> str:
        if field not in self._classes or field in self._closed:
            return super().choice(value, field, choices, place)
        if field not in self._adapters:
            annotation = self.entity.model_fields[field].rebuild_annotation()
            self._adapters[field] = TypeAdapter(annotation)
        given = value.value if isinstance(value, Enum) else value
        try:
            told = plain(self._adapters[field].validate_python(given))
        except Exception:
            told = None
        if not isinstance(told, str):
            raise InvalidArgumentError(f"{place} must be a value of {self.entity.__name__}.{field}")
        return validation.text(told, place)

    def _is_instant(self, name: str, field: FieldInfo) -> bool:
        """Whether it is a time in a column of times, which keeps every one."""
        return name in self.fields and (
            isinstance(self.table.c[name].type, Timestamp) and is_moment(field)
        )

    def _plain(self, entity: E, allowance: Allowance | None) -> dict[str, Any]:
        """The fields of an instance, and what else an open class was given."""
        table, held = self.table.name, entity.__dict__
        found = {
            name: _plain(held[name], f"{table}.{name}", self._declared(name), classes, allowance)
            for name, classes in self._classes.items()
            if name in held
        }
        for name, value in (entity.model_extra or {}).items():
            found[name] = _plain(value, f"{table}.{name}", Any, None, allowance)
        return found

    def _arguments(
        self, tenant: str, entity: E, fields: Mapping[str, Any], allowance: Allowance | None
    ) -> tuple[Any, ...]:
        shared = {name: fields[name] for name in self._shared if name in fields}
        obeying = self._checked(self._obey, shared, allowance, rules=self._rules)
        values, texts = list(self._pick(obeying.__dict__)), {}
        for place, name in self._written_as_json:
            if values[place] is not None:
                # The application's nested classes may have fields of their own as well.
                at = f"{self.table.name}.{name}"
                texts[place] = json_text(_written(shared[name], at), entity.__dict__[name], at)
                values[place] = None
        values = self._written(values)
        for place, text in texts.items():
            values[place] = text
        derived = [compute(obeying) for compute in self._derived.values()]
        own = {name: value for name, value in fields.items() if name not in shared}
        return (tenant, *values, *derived, *self._extra(own, entity))

    def _extra(self, own: Mapping[str, Any], entity: E) -> tuple[str | None, ...]:
        """The column of other fields, if the table has one."""
        table = self.table.name
        if EXTRA not in self.table.c:
            if own:
                raise InvalidArgumentError(f"{table} has no column for {', '.join(own)}")
            return ()
        if not self._own and not self._open:
            return (None,)
        items = {n: f"{_written(n, table)}: {_written(v, f'{table}.{n}')}" for n, v in own.items()}
        text = "{" + ", ".join(items.values()) + "}"
        held = entity.__dict__ | (entity.model_extra or {})
        try:
            return (json_text(text, {name: held[name] for name in own}, f"{table}.{EXTRA}"),)
        except InvalidArgumentError:
            for name, item in items.items():
                json_text("{" + item + "}", held[name], f"{table}.{name}")
            raise

    def _read_back(self, arguments: Sequence[Any], fields: dict[str, Any], entity: E) -> None:
        """Refuse what would be stored and not come back as it is."""
        table, held = self.table.name, entity.__dict__
        if self._load_exactly is not None:  # JSON is what a strict class reads without being lax
            text = _written(fields, table)
            stored = self._checked(self._load_exactly, text, None)
        elif self._comes_back:
            stored = self._checked(self._load, fields, None)
        else:
            stored = self._decoded(arguments, held)
        for name in () if equal(stored.__dict__, held) else self._compared:
            if name not in held or equal(one := held[name], other := stored.__dict__[name]):
                continue
            # A type may not say what equals what; what it is written as does.
            place, untyped = f"{table}.{name}", self._unsure.get(name)
            if untyped or _plain(other, place) != _plain(one, place):
                raise InvalidArgumentError(
                    f"{place} would come back as another value: its class changes what it reads; "
                    "a validator must take its own results"
                    if untyped is None
                    else changed(one, place, self._declared(name))
                )
        for name, one in (entity.model_extra or {}).items():
            if not equal((stored.model_extra or {}).get(name), one):
                raise InvalidArgumentError(changed(one, f"{table}.{name}", Any))

    def _decoded(self, arguments: Sequence[Any], held: Mapping[str, Any]) -> E:
        table, fields = self.table.name, self.fields
        try:
            return self.decode((*arguments[1 : 1 + len(fields)], arguments[-1]))
        except MalformedRowError as error:
            named = [n for n in self._unsure if re.search(rf"(^|; ){n}[.:]", error.reason)]
            where = (trouble(held.get(n), f"{table}.{n}", self._declared(n)) for n in named)
            why = next(filter(None, where), None) or f"{table}: {error.reason}"
            raise InvalidArgumentError(why) from error.__cause__

    def _declared(self, name: str) -> Any:
        return self.entity.model_fields[name].annotation

    def _read(self, data: dict[str, Any], row: Row) -> E:
        found = {name: data[name] for name in self._shared}
        stored = row[len(self.fields)] if EXTRA in self.table.c else None
        if stored is not None:
            own = jsontext.parsed(stored)
            if not isinstance(own, dict):
                raise ValueError
            found |= {n: v for n, v in own.items() if self._open or n in self._own}
        return self._load(found)  # type: ignore[no-any-return]


def _rewrites(field: FieldInfo) -> bool:
    return any(isinstance(rule, AfterValidator | BeforeValidator) for rule in field.metadata)


def _is_strict(kind: type[BaseModel]) -> bool:
    metadata = [item for field in kind.model_fields.values() for item in field.metadata]
    return any([kind.model_config.get("strict"), *(getattr(m, "strict", None) for m in metadata)])


def _plain(
    value: Any,
    place: str,
    declared: Any = None,
    classes: Classes = None,
    allowance: Allowance | None = None,
) -> Any:
    """What JSON and Holdfast's entities know."""
    try:
        return plain(value, classes, allowance)
    except TooMuchError:
        raise
    except FurtherFieldsError as error:
        raise InvalidArgumentError(f"{place}: {error}") from None
    except Exception as error:  # also what an application's own types raise
        expected = isinstance(error, ValueError | TypeError | RecursionError)
        raise _unwritable(value, place, declared) from (None if expected else error)


def _unwritable(value: Any, place: str, declared: Any = None) -> InvalidArgumentError:
    return InvalidArgumentError(
        trouble(value, place)
        or trouble(value, place, declared)
        or f"{place} cannot be written as JSON: it holds itself, two keys that are one text, or a "
        "value JSON does not know; give it a type that does"
    )


def _written(value: Any, place: str) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=to_jsonable_python)
    except Exception:  # integers of thousands of digits, for one
        raise _unwritable(value, place) from None


def _told(value: Any, classes: Classes, place: str) -> Any:
    """What a field of the application's can be made of, also of what one has frozen: instances of
    its classes stay."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list | tuple):
        return [_told(item, classes, place) for item in value]
    if isinstance(value, Mapping):
        return {key: _told(item, classes, place) for key, item in value.items()}
    if not isinstance(value, BaseModel) or (classes and isinstance(value, tuple(classes))):
        # One that Pydantic would look at again may not take what it holds now.
        again = isinstance(value, BaseModel) and value.model_config.get("revalidate_instances")
        return _plain(value, place, None, classes) if again not in (False, None, "never") else value
    if not isinstance(value, Entity):
        return value  # of a class that has no place here, which Pydantic says
    # What nobody has set, a class that does not know it need not refuse.
    known = {name for kind in classes or () for name in getattr(kind, "model_fields", ())}
    fields = _plain(value, place, None, classes).items()
    return {n: v for n, v in fields if n in known or n in value.model_fields_set}
