"""An application's values, taken apart into what JSON knows, and what would be lost of them."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time
from enum import Enum
from functools import cache
from inspect import isclass
from math import isfinite
from pathlib import PurePath
from typing import Any, get_args

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic_core import to_jsonable_python

from holdfast.validation.allowance import Allowance

__all__ = [
    "Classes",
    "FurtherFieldsError",
    "classes_in",
    "classes_within",
    "further_fields",
    "plain",
]

#: What needs no change; a time stays one, for the columns that hold instants.
_ATOMS = frozenset({type(None), bool, int, str, date, datetime, time})
#: The classes whose instances a field may hold; ``None`` where any may be.
Classes = frozenset[type] | None


class FurtherFieldsError(ValueError):
    """A value is of a subclass whose further fields have no place where it is."""

    def __init__(
        self, declared: type, kind: type, names: Sequence[str], entities: str = "..."
    ) -> None:
        super().__init__(
            f"{kind.__name__} has fields that {declared.__name__} lacks and that would be lost: "
            f"{', '.join(names)}; bind a class that has them, and those within it, with "
            f"create_backend(..., entities={{{entities}}})"
        )


def further_fields(declared: type[BaseModel], value: BaseModel) -> tuple[str, ...]:
    """The names of what an instance of a subclass holds and ``declared`` has no place for."""
    names = _further(declared, type(value))
    extra = value.__pydantic_extra__
    if extra and declared.model_config.get("extra") != "allow":
        return (*names, *map(str, extra))
    return names


@cache
def _further(declared: Any, kind: Any) -> tuple[str, ...]:
    known = _fields_of(declared)
    return tuple(name for name in _fields_of(kind) if name not in known)


def plain(value: Any, declared: Classes = None, allowance: Allowance | None = None) -> Any:
    """The value without the application's types: dicts with text for keys, lists, and atoms.

    Not Pydantic's dump, which hides secrets and leaves out what it is told to. `FurtherFieldsError`
    for an instance of a subclass that ``declared`` does not name, if it has further fields;
    ``ValueError``, ``TypeError`` or ``RecursionError`` for what JSON does not know; `TooMuchError`
    beyond the allowance.
    """
    kind = type(value)
    if kind in _ATOMS:
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, float):
        if not isfinite(value):
            raise ValueError("JSON knows no NaN and no infinity")
        return value
    if isinstance(value, BaseModel) or (dataclasses.is_dataclass(value) and not isclass(value)):
        return _plain_fields(value, kind, declared, allowance)
    if isinstance(value, Mapping):
        if allowance is not None:
            allowance.spend(len(value))
        return _plain_mapping(value, declared, allowance)
    if isinstance(value, str | int | date | time):
        return value
    if isinstance(value, SecretStr | SecretBytes):
        return plain(value.get_secret_value())
    if isinstance(value, bytes | bytearray | memoryview):
        return to_jsonable_python(value)
    if isinstance(value, Sequence | AbstractSet | deque):
        if allowance is not None:
            allowance.spend(len(value))
        return [plain(item, declared, allowance) for item in value]
    if isinstance(value, Iterator):  # to read it is to take what it has from its owner
        raise TypeError("it can be read once only")
    return str(value) if isinstance(value, PurePath) else to_jsonable_python(value)


def _plain_fields(value: Any, kind: Any, declared: Classes, allowance: Allowance | None) -> Any:
    if declared and kind not in declared:
        _refuse_further(value, kind, declared)
    held = value.__dict__ if isinstance(value, BaseModel) else _Attributes(value)
    within = _classes_by_field(kind)
    if allowance is not None:
        allowance.spend(len(within))
    found = {
        name: plain(held[name], classes, allowance)
        for name, classes in within.items()
        if name in held
    }
    if isinstance(value, BaseModel):
        if kind.__pydantic_root_model__:
            return found["root"]
        for name, item in (value.__pydantic_extra__ or {}).items():
            found[str(name)] = plain(item, None, allowance)
    return found


class _Attributes:
    """A dataclass's fields as a mapping has them: one with slots has no ``__dict__``."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __contains__(self, name: str) -> bool:
        return hasattr(self._value, name)

    def __getitem__(self, name: str) -> Any:
        return getattr(self._value, name)


def _refuse_further(value: Any, kind: Any, declared: frozenset[type]) -> None:
    bases = [base for base in declared if isinstance(value, base)]
    lost = [
        further_fields(base, value) if isinstance(value, BaseModel) else _further(base, kind)
        for base in bases
    ]
    if lost and all(lost):
        best = min(range(len(bases)), key=lambda place: len(lost[place]))
        raise FurtherFieldsError(bases[best], kind, lost[best])


def _plain_mapping(
    value: Mapping[Any, Any], declared: Classes, allowance: Allowance | None
) -> dict[str, Any]:
    found = {_key(key): plain(item, declared, allowance) for key, item in value.items()}
    if len(found) != len(value):
        raise ValueError("two keys are the same text")
    return found


def _key(key: Any) -> str:
    told = plain(key)
    if isinstance(told, str):
        return told
    (text,) = to_jsonable_python({told: None})
    return str(text)


@cache
def _fields_of(kind: Any) -> tuple[str, ...]:
    if issubclass(kind, BaseModel):
        return tuple(kind.model_fields)
    return tuple(field.name for field in dataclasses.fields(kind))


@cache
def _classes_by_field(kind: Any) -> dict[str, Classes]:
    if issubclass(kind, BaseModel):
        return {name: classes_in(field.annotation) for name, field in kind.model_fields.items()}
    return dict.fromkeys(_fields_of(kind))


def classes_in(annotation: Any) -> Classes:
    """The models and dataclasses that an annotation names; ``None`` if any is as good."""
    found = set(_named_in(annotation))
    return None if Any in found or BaseModel in found else frozenset(found)


@cache
def classes_within(kind: type[BaseModel]) -> frozenset[type]:
    """All that the annotations of a model name, and theirs."""
    found: set[type] = set()
    todo: list[Any] = [kind]
    while todo:
        for classes in _classes_by_field(todo.pop()).values():
            new = (classes or frozenset()) - found
            found |= new
            todo += new
    return frozenset(found)


def _named_in(annotation: Any) -> Iterator[Any]:
    annotation = getattr(annotation, "__value__", annotation)  # of ``type X = ...``
    if isclass(annotation) and (
        issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation)
    ):
        yield annotation
    elif annotation is Any or annotation is object:
        yield Any
    else:
        for item in get_args(annotation):
            yield from _named_in(item)
