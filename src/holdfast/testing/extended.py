"""Classes an application could use in place of entities: with fields of its own, and read-only.

They freeze what they hold, as no second validation would stand, and count their validations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import Any, Self, TypeVar, cast

from pydantic import (
    AwareDatetime,
    BaseModel,
    Field,
    FieldSerializationInfo,
    SerializerFunctionWrapHandler,
    create_model,
    field_serializer,
    field_validator,
    model_validator,
)

from holdfast.storage.mapping import MAPPERS
from holdfast.storage.tables import EXTRA

__all__ = ["OWN_FIELDS", "VALIDATED", "extended", "extended_entities"]

E = TypeVar("E", bound=BaseModel)


class Mood(StrEnum):
    CALM = "calm"
    TENSE = "tense"


class Place(BaseModel, frozen=True):
    room: str
    seats: int = 1


OWN_FIELDS: dict[str, Any] = {
    "own_note": (str, ...),
    "own_count": (int, 0),
    "own_share": (float, 0.5),
    "own_flag": (bool, False),
    "own_moment": (AwareDatetime | None, None),
    "own_mood": (Mood, Mood.CALM),
    "own_place": (Place | None, None),
    "own_marks": (dict[str, list[int]], Field(default_factory=dict)),
    "own_names": (tuple[str, ...], ()),
    "own_list": (list[dict[str, float]], []),
    "own_facts": (dict[str, Any], {}),
}

#: By class, how often instances were validated.
VALIDATED: Counter[type[BaseModel]] = Counter()


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return MappingProxyType({key: _frozen(item) for key, item in value.items()})
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _thawed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _thawed(item) for key, item in value.items()}
    return list(map(_thawed, value)) if isinstance(value, tuple) else value


# What was validated is not looked at again: it could not be.
_CONFIG = {"revalidate_instances": "never", "validate_default": True}


class _ReadOnly(BaseModel):
    @field_validator("own_marks", "own_facts", mode="before", check_fields=False)
    @classmethod
    def _copied(cls, value: Any) -> Any:
        return deepcopy(value)  # a `TypeError` for what was validated already

    @field_validator("*", mode="after")
    @classmethod
    def _read_only(cls, value: Any) -> Any:
        return _frozen(value)

    @model_validator(mode="after")
    def _counted(self) -> Self:
        VALIDATED[type(self)] += 1
        return self

    @field_serializer("*", mode="wrap")
    def _dumped(
        self, value: Any, dump: SerializerFunctionWrapHandler, info: FieldSerializationInfo
    ) -> Any:
        changed = isinstance(value, Mapping) or info.field_name == "own_list"
        return dump(_thawed(value) if changed else value)


@cache
def extended(kind: type[E]) -> type[E]:
    """A subclass with fields of its own, if its table has a place for them; of a generic entity
    that class of it which holds such subclasses."""
    generic = kind.__pydantic_generic_metadata__
    if generic["args"]:
        origin: Any = generic["origin"]
        return cast("type[E]", origin[tuple(extended(argument) for argument in generic["args"])])
    closed = any(m.entity is kind and EXTRA not in m.table.c for m in MAPPERS)
    fields = {} if closed else OWN_FIELDS
    made: Any = create_model(
        f"Own{kind.__name__}", __base__=(_ReadOnly, kind), __cls_kwargs__=_CONFIG, **fields
    )
    return cast("type[E]", made)


def extended_entities() -> dict[type[BaseModel], type[BaseModel]]:
    """A class for each entity that a repository stores, alone or within another."""
    found: dict[type[BaseModel], type[BaseModel]] = {}
    for mapper in MAPPERS:
        entity: type[BaseModel] = mapper.entity
        for kind in entity.__pydantic_generic_metadata__["args"] or (entity,):
            found[kind] = extended(cast("type[BaseModel]", kind))
    return found
