"""Classes that an application could have, derived from nothing of Holdfast's."""

from __future__ import annotations

from copy import copy
from functools import cache
from typing import Any

from pydantic import AwareDatetime, BaseModel, SecretStr, create_model

from holdfast.storage.mapping import MAPPERS, STORED
from holdfast.testing import samples

__all__ = ["ENTITIES", "FREE", "OWN", "free", "freed", "is_open", "make"]

#: What some repository stores, without the snapshots of it.
ENTITIES = sorted(
    (k for k in STORED if not k.__pydantic_generic_metadata__["args"]), key=lambda k: k.__name__
)


class Corner(BaseModel):
    wall: str
    secret: SecretStr


OWN: dict[str, Any] = {
    "own_text": (str, ...),
    "own_moment": (AwareDatetime | None, None),
    "own_corners": (dict[str, list[Corner]], {}),
}
VALUES = {
    "own_text": "é🦑\n",
    "own_corners": {"a": [{"wall": "north", "secret": "s"}], "b": []},
}


@cache
def free(kind: type[BaseModel]) -> type[BaseModel]:
    """The fields of an entity without its rules, and some more."""
    generic = kind.__pydantic_generic_metadata__
    if generic["args"]:
        origin: Any = generic["origin"]
        snapshot: type[BaseModel] = origin[tuple(free(part) for part in generic["args"])]
        return snapshot
    fields: dict[str, Any] = {
        name: (field.annotation, copy(field)) for name, field in kind.model_fields.items()
    }
    own = OWN if is_open(kind) else {}
    made: type[BaseModel] = create_model(f"Free{kind.__name__}", **own, **fields)
    return made


def is_open(kind: type[BaseModel]) -> bool:
    """Whether its table has a place for other fields."""
    return all("extra" in mapper.table.c for mapper in MAPPERS if mapper.entity is kind)


def freed(record: BaseModel) -> Any:
    """The same record as an instance of the application's class."""
    kind = type(record)
    values: dict[str, Any] = {name: getattr(record, name) for name in kind.model_fields}
    if kind.__pydantic_generic_metadata__["args"]:
        values["snapshot"] = freed(record.snapshot)  # type: ignore[attr-defined]
    elif is_open(kind):
        values |= VALUES
    return free(kind).model_validate(values, by_name=True)


def make(kind: type[BaseModel], **fields: Any) -> Any:
    return freed(samples.required(kind, **fields))


FREE = {kind: free(kind) for kind in ENTITIES}
