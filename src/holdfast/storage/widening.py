"""Entities whose lists of values are open: an application's own class has lists of its own."""

from __future__ import annotations

from copy import copy
from enum import Enum
from functools import cache, reduce
from inspect import isclass
from operator import or_
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, GetCoreSchemaHandler, create_model
from pydantic_core import CoreSchema, core_schema

__all__ = ["is_list", "widened"]


@cache
def widened(entity: type[BaseModel], closed: frozenset[str] = frozenset()) -> type[BaseModel]:
    """A subclass that takes any text where the entity, or one within it, has a list of values.

    What is on the list becomes what it is in the entity, so that the entity's rules hold of it.
    ``closed`` are fields that stay as they are.
    """
    fields: dict[str, Any] = {}
    for name, field in entity.model_fields.items():
        wide = field.annotation if name in closed else _widened(field.annotation)
        if wide is not field.annotation:
            fields[name] = (wide, copy(field))
    if not fields:
        return entity
    return create_model(entity.__name__, __base__=entity, __module__=entity.__module__, **fields)


def is_list(annotation: Any) -> bool:
    """Whether it names the values a field may have. (The one value of a literal is a tag.)"""
    if isclass(annotation):
        return issubclass(annotation, Enum)
    return get_origin(annotation) is Literal and len(get_args(annotation)) > 1


@cache
def _open(annotation: Any) -> type:
    class Open:
        """A value of the list, or else any text. (Metadata of a field might stand in the way.)"""

        @classmethod
        def __get_pydantic_core_schema__(cls, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
            choices: list[Any] = [handler.generate_schema(annotation), core_schema.str_schema()]
            return core_schema.union_schema(choices, mode="left_to_right")

    return Open


def _widened(annotation: Any) -> Any:
    if is_list(annotation):
        return _open(annotation)
    if isclass(annotation) and issubclass(annotation, BaseModel):
        return widened(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (None, Literal):
        return annotation
    if origin is Annotated:
        inner, *rest = arguments
        wide = _widened(inner)
        return annotation if wide is inner else Annotated[(wide, *rest)]
    new = tuple(map(_widened, arguments))
    if all(a is b for a, b in zip(new, arguments, strict=True)):
        return annotation
    return reduce(or_, new) if origin in (Union, UnionType) else origin[new]
