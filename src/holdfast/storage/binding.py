"""An application's own entities in place of Holdfast's.

A bound class has every required field of the entity it stands for; its other fields travel in the
column ``extra``, and fields it lacks are stored with the entity's defaults. What is stored keeps
the rules of Holdfast's entity too, so that what reads the table without the binding can: but for
lists of values, of which a class may have its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar, cast
from uuid import UUID

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from holdfast.errors import InvalidArgumentError
from holdfast.storage.bound import BoundMapper
from holdfast.storage.mapping import MAPPERS, STORED, Mapper
from holdfast.storage.tables import EXTRA
from holdfast.validation.values import classes_within

__all__ = ["Models"]

E = TypeVar("E", bound=BaseModel)


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
            kind = self._kind(mapper.entity)
            bound = mapper if kind is None else BoundMapper(mapper, _defined(kind))
            self._mappers[mapper] = bound
        return bound

    def _kind(self, entity: type[BaseModel]) -> type[BaseModel] | None:
        if entity in self._kinds:
            return self._kinds[entity]
        generic = entity.__pydantic_generic_metadata__
        origin: Any = generic["origin"]
        arguments = tuple(self._kinds.get(item, item) for item in generic["args"])
        if origin in self._kinds:
            found: type[BaseModel] = cast("Any", self._kinds[origin])[arguments]
            return found
        return origin[arguments] if arguments != generic["args"] else None


def _check(entity: Any, kind: Any) -> None:
    name = getattr(entity, "__name__", entity)
    if entity not in STORED and not any(entity in _origins(m.entity) for m in MAPPERS):
        raise InvalidArgumentError(f"entities: no repository stores {name!s}{_around(entity)}")
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        raise InvalidArgumentError(f"entities: {name} needs a Pydantic model class")
    if len(_parameters(kind)) != len(_parameters(entity)):
        raise InvalidArgumentError(
            f"entities: {name} and {kind.__name__} are not generic in the same way; bind one class "
            "for each kind, such as VersionSnapshot[Role], or a generic class for all of them"
        )
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
    for table in (mapper.table for mapper in MAPPERS if entity in _origins(mapper.entity)):
        if own and EXTRA not in table.c:
            raise InvalidArgumentError(
                f"entities: {kind.__name__} has {', '.join(own)}, for which {table.name} has no "
                f"column and no column {EXTRA!r}; bind a class without them, and keep them in a "
                "table of an extension"
            )


def _defined(kind: type[BaseModel]) -> type[BaseModel]:
    """A class whose annotations can be resolved."""
    if not (kind.__pydantic_complete__ or kind is BaseModel):
        kind.model_rebuild(raise_errors=False)
        if not kind.__pydantic_complete__:
            raise InvalidArgumentError(
                f"entities: {kind.__name__} is not fully defined; call {kind.__name__}"
                ".model_rebuild() where all that its annotations name is known"
            )
    return kind


def _parameters(kind: type[BaseModel]) -> tuple[Any, ...]:
    """What is left to be said of a generic class."""
    generic = getattr(kind, "__pydantic_generic_metadata__", {"parameters": ()})
    parameters: tuple[Any, ...] = generic["parameters"]
    return parameters


def _origins(entity: type[BaseModel]) -> tuple[Any, ...]:
    return entity, entity.__pydantic_generic_metadata__["origin"]


def _around(entity: Any) -> str:
    """Which entities an entity is a part of."""
    kinds: list[Any] = [mapper.entity for mapper in MAPPERS]
    names = sorted({kind.__name__ for kind in kinds if entity in classes_within(kind)})
    if not names:
        return ""
    return f" by itself; bind {' or '.join(names)} with a class whose annotations name yours"


def _is_needed(field: FieldInfo) -> bool:
    """Whether an entity has no value of its own for it, or another one each time it is read."""
    if field.is_required() or field.default_factory_takes_validated_data:
        return True
    made = field.get_default(call_default_factory=True)
    return field.default_factory is not None and isinstance(made, str | UUID | datetime)
