"""Classes an application could use in place of entities, with fields of its own."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import AwareDatetime, BaseModel, Field, create_model

from holdfast.mapping import MAPPERS
from holdfast.schema.meta import EXTRA

__all__ = ["OWN_FIELDS", "extended", "extended_entities"]

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
}


@cache
def extended(kind: type[E]) -> type[E]:
    """A subclass with fields of its own, if its table has a place for them; of a generic entity
    that class of it which holds such subclasses."""
    generic = kind.__pydantic_generic_metadata__
    if generic["args"]:
        origin: Any = generic["origin"]
        return cast("type[E]", origin[tuple(extended(argument) for argument in generic["args"])])
    closed = any(m.entity is kind and EXTRA not in m.table.c for m in MAPPERS)
    return create_model(f"Own{kind.__name__}", __base__=kind, **({} if closed else OWN_FIELDS))


def extended_entities() -> dict[type[BaseModel], type[BaseModel]]:
    """A class for each entity that a repository stores, alone or within another."""
    found: dict[type[BaseModel], type[BaseModel]] = {}
    for mapper in MAPPERS:
        entity: type[BaseModel] = mapper.entity
        for kind in entity.__pydantic_generic_metadata__["args"] or (entity,):
            found[kind] = extended(cast("type[BaseModel]", kind))
    return found
