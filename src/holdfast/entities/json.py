"""JSON inside an entity: objects as deep, read-only copies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import PlainSerializer, PlainValidator, SerializationInfo, ValidationInfo

from holdfast.entities.base import Entity, frozen, picklable, plain, thawed
from holdfast.validation.allowance import Allowance
from holdfast.validation.jsontext import EXACT

__all__ = ["JsonHolder", "JsonObject"]


def _frozen_mapping(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError("must be a mapping")
    if not all(isinstance(key, str) for key in value):
        raise ValueError("a key must be text")
    try:
        return frozen(value, info.context if isinstance(info.context, Allowance) else None)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except TypeError:
        raise ValueError("holds a value that cannot be copied, and JSON does not know") from None


def _thawed_mapping(value: Mapping[str, Any], info: SerializationInfo) -> dict[str, Any]:
    result: dict[str, Any] = (
        thawed(value, exact=info.context is EXACT) if info.mode_is_json() else plain(value)
    )
    return result


#: A JSON object: mapping proxies for its objects, tuples for its arrays.
JsonObject = Annotated[
    Mapping[str, Any],
    PlainValidator(_frozen_mapping),
    PlainSerializer(_thawed_mapping, return_type=dict[str, Any]),
]


class JsonHolder(Entity):
    """An entity with a `JsonObject` among its fields, which can be copied and pickled."""

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # The data are immutable, and a mapping proxy cannot be copied. Not `self`, because
        # `model_copy` writes its updates into what it gets from here.
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {name: picklable(getattr(self, name)) for name in type(self).model_fields}
        return type(self).model_validate, (fields,)
