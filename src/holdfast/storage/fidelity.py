"""Whether values come back from JSON as they were, and what in them does not."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from inspect import isclass
from math import isfinite
from types import MappingProxyType, NoneType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, RootModel
from pydantic.fields import FieldInfo

from holdfast.entities.json import JsonObject

__all__ = [
    "comes_back",
    "equal",
    "has_ways_of_its_own",
    "holds_json_object",
    "is_immutable",
    "is_moment",
    "is_untyped",
    "trouble",
]

_SCALARS = (NoneType, bool, int, str)
#: Whose values are read back from their JSON as they were, each on its own.
_PLAIN = (*_SCALARS, UUID)
#: Bounds and patterns; what else stands in an annotation may change the value.
_BOUNDS = ("annotated_types", "pydantic._internal._fields", "pydantic.fields")
_JSON_OBJECT = get_args(JsonObject)[1]
#: Their rules are known to leave values as they are.
_OURS = "holdfast.entities."


def comes_back(field: FieldInfo, owner: type[BaseModel]) -> bool:
    """Whether every value of a field is read back equal, whatever it is.

    Then nobody needs to look. False where it is not known: an annotation without types, a type of
    the application's, a time (whose zone may be off by seconds, which cannot be read).
    """
    return _comes_back(_full(field), owner, set())


def _full(field: FieldInfo) -> Any:
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def _comes_back(kind: Any, owner: type[BaseModel], seen: set[Any]) -> bool:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        kind, *bounds = arguments
        if _JSON_OBJECT in bounds:
            return True  # it is written so that it does, or refused
        ours = owner.__module__.startswith(_OURS)
        known = ours or all(type(bound).__module__ in _BOUNDS for bound in bounds)
        return known and _comes_back(kind, owner, seen)
    if kind is float:
        return owner.model_config.get("allow_inf_nan") is False
    if kind in _PLAIN:
        return True
    if origin is Literal:
        return all(isinstance(value, _SCALARS) for value in arguments)
    if origin in (Union, types.UnionType):
        rest = [item for item in arguments if item is not NoneType]
        apart = len(rest) == 1 or all(item in _SCALARS or _is_ours(item) for item in rest)
        return apart and all(_comes_back(item, owner, seen) for item in rest)
    if origin in (tuple, list, set, frozenset):
        return bool(arguments) and all(
            item is ... or _comes_back(item, owner, seen) for item in arguments
        )
    if origin is dict:
        key, value = arguments
        return _is_text(key) and _comes_back(value, owner, seen)
    if isclass(kind) and issubclass(kind, Enum):
        return all(isinstance(member.value, int | str) for member in kind)
    return isclass(kind) and issubclass(kind, BaseModel) and _model_comes_back(kind, seen)


def _model_comes_back(kind: type[BaseModel], seen: set[Any]) -> bool:
    if kind in seen:
        return True
    seen.add(kind)
    if not _is_ours(kind) and (has_ways_of_its_own(kind) or issubclass(kind, RootModel)):
        return False
    return all(_comes_back(_full(field), kind, seen) for field in kind.model_fields.values())


def has_ways_of_its_own(kind: type[BaseModel]) -> bool:
    """Whether it validates or writes values by code of its own, or more than its fields."""
    decorators = kind.__pydantic_decorators__
    theirs = (
        decorators.validators, decorators.field_validators, decorators.root_validators,
        decorators.model_validators, decorators.field_serializers, decorators.model_serializers,
    )  # fmt: skip
    fields = kind.model_fields.values()
    return (
        any(theirs)
        or bool(set(kind.model_config) - {"frozen", "title", "allow_inf_nan", "from_attributes"})
        or any(field.alias or field.validation_alias or field.exclude for field in fields)
        or "__get_pydantic_core_schema__" in _own_names(kind)
        or "__eq__" in _own_names(kind)
    )


def _own_names(kind: type[BaseModel]) -> set[str]:
    return {name for one in kind.__mro__ if one not in BaseModel.__mro__ for name in vars(one)}


def _is_ours(kind: Any) -> bool:
    return isclass(kind) and issubclass(kind, BaseModel) and kind.__module__.startswith(_OURS)


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _is_text(key: Any) -> bool:
    key = _bare(key)
    return key is str or (isclass(key) and issubclass(key, str) and issubclass(key, Enum))


def holds_json_object(field: FieldInfo) -> bool:
    """Whether a value of the field can have a `JsonObject` in it."""
    seen: set[Any] = set()
    todo: list[Any] = [_full(field)]
    while todo:
        kind = todo.pop()
        if kind is _JSON_OBJECT:
            return True
        if get_origin(kind) is Annotated:
            todo.extend(get_args(kind))
        elif isclass(kind) and issubclass(kind, BaseModel) and kind not in seen:
            seen.add(kind)
            todo.extend(_full(field) for field in kind.model_fields.values())
        else:
            todo.extend(get_args(kind))
    return False


#: Of whose values none can change.
_CONSTANT = (
    *(*_PLAIN, float, bytes, Decimal),
    *(datetime, AwareDatetime, date, time, timedelta),
)


def is_immutable(kind: Any, seen: frozenset[Any] = frozenset()) -> bool:
    """Whether no value of a type can change, nor anything in it; False where it is not known."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _JSON_OBJECT in arguments or is_immutable(arguments[0], seen)
    if origin in (Union, types.UnionType, tuple, frozenset):
        return bool(arguments) and all(
            item is ... or is_immutable(item, seen) for item in arguments
        )
    if not isclass(kind):
        return origin is Literal
    if issubclass(kind, BaseModel):
        return kind in seen or (
            kind.model_config.get("frozen") is True
            and all(is_immutable(_full(f), seen | {kind}) for f in kind.model_fields.values())
        )
    return kind in _CONSTANT or issubclass(kind, Enum)


_CONTAINERS = (dict, list, tuple, set, frozenset, Mapping, Sequence)


def is_untyped(field: FieldInfo) -> bool:
    """Whether a value of the field may hold anything, in some place of it."""
    return _is_untyped(field.annotation, set())


def _is_untyped(kind: Any, seen: set[Any]) -> bool:
    if isclass(kind) and issubclass(kind, BaseModel):
        if kind in seen:
            return False
        seen.add(kind)
        return kind.model_config.get("extra") == "allow" or any(
            _is_untyped(field.annotation, seen) for field in kind.model_fields.values()
        )
    return _is_anything(kind) or any(_is_untyped(item, seen) for item in get_args(kind))


def _is_anything(kind: Any) -> bool:
    """Whether it says nothing of its values. What models within it say of theirs is not asked."""
    if kind in (Any, object) or kind in _CONTAINERS or isinstance(kind, TypeVar):
        return True
    return any(_is_anything(item) for item in get_args(kind))


def is_moment(field: FieldInfo) -> bool:
    """Whether its values are times and nothing else but ``None``."""
    arguments = get_args(field.annotation) or (field.annotation,)
    kinds = {_bare(kind) for kind in arguments}
    return kinds <= {datetime, AwareDatetime, NoneType} and not field.metadata


def equal(one: Any, other: Any) -> bool:
    """Whether two values are, as far as they can be compared."""
    try:
        return bool(one == other)
    except Exception:  # arrays of numbers, for one, say so of each of their items
        return False


#: What may hold others: where types are declared; in a `JsonObject`; where nothing is declared.
_TYPED = (Mapping, list, tuple, set, frozenset, BaseModel)
_FROZEN = (Mapping, list, tuple)
_UNTYPED = (Mapping, list)


def trouble(value: Any, place: str, declared: Any = None) -> str | None:
    """Where in a value something is that JSON does not give back, and why; ``None`` if unknown.

    Where the ``declared`` type says nothing, JSON's own kinds of value alone come back. Keys are
    told by their number: they are an application's, and may be secret.
    """
    kinds = _UNTYPED if declared is not None and _is_anything(declared) else _TYPED
    try:
        return next(_Search(exact=declared is not None).within(value, place, kinds), None)
    except Exception:  # a value with ways of its own
        return None


class _Search:
    def __init__(self, *, exact: bool) -> None:
        self._exact = exact
        self._path: set[int] = set()
        self._seen: dict[int, Any] = {}  # held, so that no other object gets its id

    def within(self, value: Any, place: str, kinds: tuple[type, ...]) -> Iterator[str]:
        if value is None or isinstance(value, bool):
            return
        if isinstance(value, str):
            if (why := _in_text(value)) is not None:
                yield f"{place} holds {why}"
        elif isinstance(value, float):
            if not isfinite(value):
                yield f"{place} holds {value}, which JSON does not know"
        elif isinstance(value, int):
            if value.bit_length() > _LONGEST:
                yield f"{place} holds an integer of more than 4300 digits"
        elif isinstance(value, kinds):
            frozen = isinstance(value, MappingProxyType) and kinds is _TYPED
            yield from self._inside(value, place, _FROZEN if frozen else kinds)
        elif isinstance(value, Iterator):
            yield f"{place} holds {_named(value)}, which can be read once only: make it a list"
        elif kinds is not _TYPED or not isinstance(value, date | UUID | Enum):
            yield (
                f"{place} holds {_named(value)}, which would not come back from JSON as it is: "
                "declare the field's type, or hand over what JSON knows (text, numbers, lists, "
                "dicts)"
            )

    def _inside(self, value: Any, place: str, kinds: tuple[type, ...]) -> Iterator[str]:
        if id(value) in self._path:
            yield f"{place} holds itself"
        if id(value) in self._seen:
            return
        self._seen[id(value)] = value
        self._path.add(id(value))
        if isinstance(value, BaseModel):
            fields = type(value).model_fields
            for name, item in {**value.__dict__, **(value.model_extra or {})}.items():
                declared = fields[name].annotation if name in fields else Any
                inner = _UNTYPED if self._exact and _is_anything(declared) else kinds
                yield from self.within(item, f"{place}.{name}", inner)
        elif isinstance(value, Mapping):
            for number, (key, item) in enumerate(value.items(), 1):
                at = f"{place}.<key {number}>"
                if isinstance(key, str):
                    if (why := _in_text(key)) is not None:
                        yield f"{at} holds {why}"
                elif kinds is not _TYPED:
                    yield f"{at} is {_named(key)}, which JSON makes a text of; make it one"
                yield from self.within(item, at, kinds)
        else:
            for number, item in enumerate(value):
                yield from self.within(item, f"{place}.{number}", kinds)
        self._path.discard(id(value))


#: Bits of the longest integer that Python reads.
_LONGEST = 14_284


def _in_text(value: str) -> str | None:
    if "\0" in value:
        return "a NUL character; remove it"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "a lone surrogate, which is not text; decode the source with errors='replace'"
    return None


def _named(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
