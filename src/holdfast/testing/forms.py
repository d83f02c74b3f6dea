"""From an annotation to values: what a field of that form may hold."""

from __future__ import annotations

import types
from collections import abc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import Enum
from functools import cached_property
from itertools import islice
from typing import Annotated, Any, Literal, NewType, TypeVar, Union, get_args, get_origin

import pydantic
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from holdfast.testing import leaves
from holdfast.testing.leaves import MISSING

__all__ = ["Form", "Place", "RecursiveModelError", "SampleError", "UnknownTypeError"]


class SampleError(ValueError):
    """There is no sample: a rule that nothing was registered for, or a type not understood."""


class UnknownTypeError(SampleError):
    """No value of the pools fits a type."""


class RecursiveModelError(SampleError):
    """A model was reached that is being made already."""


@dataclass(frozen=True)
class Place:
    """Where a value goes: what it is called, counted and where it stands in its sequence."""

    name: str = ""
    index: int = 0
    position: int = 0
    inside: tuple[type[BaseModel], ...] = ()

    def item(self, position: int) -> Place:
        name = f"{self.name} {position + 1}"
        return replace(self, name=name, index=self.index + position, position=position)


#: How to make the models within a model: as samples, and as a strategy.
Sampler = Callable[[type[BaseModel], Place], BaseModel]
Strategist = Callable[[type[BaseModel]], st.SearchStrategy[Any]]

_DATES: dict[Any, Any] = {
    pydantic.AwareDatetime: datetime, pydantic.NaiveDatetime: datetime,
    pydantic.PastDatetime: datetime, pydantic.FutureDatetime: datetime,
    pydantic.PastDate: date, pydantic.FutureDate: date,
}  # fmt: skip
_SEQUENCES: dict[Any, Callable[[Any], Any]] = {
    tuple: tuple, list: list, set: set, frozenset: frozenset, abc.Sequence: tuple,
    abc.Set: frozenset, abc.MutableSet: set, abc.MutableSequence: list, abc.Collection: tuple,
}  # fmt: skip
_MAPPINGS = {dict, abc.Mapping, abc.MutableMapping, types.MappingProxyType}
_NONE = type(None)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


class Form:
    """An annotation with all that annotates it, read under the configuration of its model."""

    def __init__(self, annotation: Any, metadata: tuple[Any, ...], config: ConfigDict) -> None:
        while True:
            if get_origin(annotation) is Annotated:
                metadata = (*annotation.__metadata__, *metadata)
                annotation = annotation.__origin__
            elif isinstance(annotation, NewType):
                annotation = annotation.__supertype__
            elif hasattr(annotation, "__value__"):  # a name made with `type`
                annotation = annotation.__value__
            else:
                break
        self.annotation, self.metadata, self.config = annotation, metadata, config
        self.kind: Any = get_origin(annotation) or annotation
        if self.kind is types.UnionType:
            self.kind = Union
        self.arguments = get_args(annotation)

    def _part(self, annotation: Any, metadata: tuple[Any, ...] = ()) -> Form:
        return Form(annotation, metadata, self.config)

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        annotated: Any = self.annotation
        if self.metadata:  # in a subscript, so that they may come as a tuple
            annotated = Annotated[(annotated, *self.metadata)]
        try:
            return TypeAdapter(annotated, config=self.config)
        except PydanticUserError:  # a model has its own configuration
            return TypeAdapter(annotated)

    def accept(self, value: Any) -> Any:
        """The value as the field would hold it, or `MISSING` if the field refuses it."""
        try:
            return self._adapter.validate_python(value)
        except (ValidationError, PydanticSchemaGenerationError):
            return MISSING

    @property
    def is_choice(self) -> bool:
        """Whether there are a few values only, each of which may matter to a rule."""
        if self.kind is Union:
            arms = [self._part(arm) for arm in self.arguments if arm is not _NONE]
            return all(arm.is_choice for arm in arms)
        return self._members is not None

    @cached_property
    def _members(self) -> tuple[Any, ...] | None:
        if self.kind is Literal:
            return self.arguments
        if self.kind is bool:
            return (True, False)
        if self.kind is None or self.kind is _NONE:
            return (None,)
        if isinstance(self.kind, type) and issubclass(self.kind, Enum):
            return tuple(self.kind)
        return None

    @cached_property
    def _arms(self) -> tuple[Form, ...]:
        # Bounds beside a union are meant for its arms; the rest is tried on the whole.
        bounds = ("ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "pattern")
        passed = tuple(m for m in self.metadata if any(leaves.limits([m], *bounds)))
        plain = [self._part(arm) for arm in self.arguments if arm is not _NONE]
        arms = [
            self._part(arm.annotation, (*arm.metadata, *passed)) if arm._is_leaf else arm
            for arm in plain
        ]
        return (*arms, *([self._part(None)] if _NONE in self.arguments else []))

    @property
    def _is_leaf(self) -> bool:
        known = self.kind is Union or _is_model(self.kind) or self._members is not None
        return not known and self.kind not in _SEQUENCES and self.kind not in _MAPPINGS

    @property
    def _is_json(self) -> bool:
        return self.annotation is Any or self.annotation is object

    @cached_property
    def _items(self) -> tuple[Form, ...] | None:
        """The forms of a tuple of fixed length."""
        if self.kind is not tuple or not self.arguments or self.arguments[-1] is ...:
            return None
        return tuple(self._part(item) for item in self.arguments)

    @property
    def _element(self) -> Form:
        return self._part(self.arguments[0] if self.arguments else Any)

    @property
    def _pair(self) -> tuple[Form, Form]:
        key, value = self.arguments or (str, Any)
        return self._part(key), self._part(value)

    def strategy(self, models: Strategist) -> st.SearchStrategy[Any]:
        if self._members is not None:
            raw = st.sampled_from(self._members)
        elif self.kind is Union:
            raw = self._one_of(models)
        elif _is_model(self.kind):
            raw = models(self.annotation)
        elif self._is_json:
            raw = leaves.json_values
        elif self._items is not None:
            raw = st.tuples(*(item.strategy(models) for item in self._items))
        elif self.kind in _SEQUENCES:
            raw = self._several(models)
        elif self.kind in _MAPPINGS:
            raw = self._several(models).map(self._mapping)
        else:
            return self._leaf
        if not self.metadata:
            return raw
        return raw.map(self.accept).filter(lambda value: value is not MISSING)

    def _one_of(self, models: Strategist) -> st.SearchStrategy[Any]:
        possible: list[st.SearchStrategy[Any]] = []
        for arm in reversed(self._arms):  # what comes first is the simplest to Hypothesis: None
            try:
                possible.append(arm.strategy(models))
            except RecursiveModelError:
                if arm is self._arms[0] and not possible:
                    raise
        return st.one_of(possible)

    def _several(self, models: Strategist) -> st.SearchStrategy[Any]:
        least, most = leaves.sizes(self.metadata)
        bound = least + 3 if most is None else min(most, least + 3)
        size: dict[str, Any] = {"min_size": least, "max_size": bound}
        mapping = self.kind in _MAPPINGS
        make = dict if mapping else _SEQUENCES[self.kind]
        try:
            if mapping:
                return st.dictionaries(*(part.strategy(models) for part in self._pair), **size)
            alone = make in (set, frozenset)
            return st.lists(self._element.strategy(models), unique=alone, **size).map(make)
        except RecursiveModelError:
            if least:
                raise
            return st.builds(make)

    def _mapping(self, value: dict[Any, Any]) -> Any:
        if self.kind is types.MappingProxyType and self.accept(value) is MISSING:
            return types.MappingProxyType(value)
        return value

    @cached_property
    def _leaf(self) -> st.SearchStrategy[Any]:
        if isinstance(self.annotation, TypeVar):
            raise UnknownTypeError(
                f"{self.annotation} stands for no type: give the generic its parameters"
            )
        kind = _DATES.get(self.kind, self.kind)
        found = leaves.choice(kind, self.metadata, self.accept)
        if found is None:
            raise UnknownTypeError(f"no known value fits the type {self.annotation}")
        return found

    @cached_property
    def _simplest(self) -> Any:
        return leaves.simplest(self._leaf)

    def candidates(self, place: Place, models: Sampler) -> Iterator[Any]:
        """Values that are accepted, the fullest first; the same for the same place."""
        leaf = self._is_leaf and not self._is_json
        found = False
        for raw in self._raw(place, models):
            value = self.accept(raw) if leaf or self.metadata else raw
            if value is not MISSING:
                found = True
                yield value
        if not found and leaf:
            yield self._simplest

    def _raw(self, place: Place, models: Sampler) -> Iterator[Any]:
        if self._members is not None:
            start = place.index % len(self._members)
            yield from (*self._members[start:], *self._members[:start])
        elif self.kind is Union:
            yield from self._from_arms(place, models)
        elif _is_model(self.kind):
            yield models(self.annotation, place)
        elif self._is_json:
            yield {"z": [1, 2.5, {"x": None, "y": True}], place.name: leaves.TEXT}
        elif self._items is not None:
            yield tuple(_first(f, place.item(i), models) for i, f in enumerate(self._items))
        elif self.kind in _SEQUENCES:
            yield from self._sequences(place, models)
        elif self.kind in _MAPPINGS:
            yield from self._dicts(place, models)
        else:
            kind = _DATES.get(self.kind, self.kind)
            yield from leaves.fixed(kind, self.metadata, place.name, place.index)

    def _from_arms(self, place: Place, models: Sampler) -> Iterator[Any]:
        arms = [arm for arm in self._arms if arm.kind is not None]
        start = place.position % len(arms)
        for arm in (*arms[start:], *arms[:start], *self._arms[len(arms) :]):
            try:
                yield from arm.candidates(place, models)
            except RecursiveModelError:
                if len(self._arms) == 1:
                    raise

    def _sequences(self, place: Place, models: Sampler) -> Iterator[Any]:
        least, most = leaves.sizes(self.metadata)
        element = self._element
        arms = len(element._arms) if element.kind is Union else 0
        make = _SEQUENCES[self.kind]
        try:
            for size in (max(2, least, arms), 1):
                size = max(least, size if most is None else min(size, most))
                yield make(_first(element, place.item(i), models) for i in range(size))
        except RecursiveModelError:
            if least:
                raise
            yield make(())

    def _dicts(self, place: Place, models: Sampler) -> Iterator[Any]:
        key, value = self._pair
        least, most = leaves.sizes(self.metadata)
        try:
            for size in (max(2, least), 1):
                size = max(least, size if most is None else min(size, most))
                places = [place.item(position) for position in range(size)]
                pairs = [(_first(key, p, models), _first(value, p, models)) for p in places]
                yield self._mapping(dict(pairs))
        except RecursiveModelError:
            if least:
                raise
            yield self._mapping({})


def _first(form: Form, place: Place, models: Sampler) -> Any:
    for value in islice(form.candidates(place, models), 1):
        return value
    raise UnknownTypeError(f"no known value fits the type {form.annotation}")
