"""What is wrong with a record or a row, told without its values: those of a row may be secret."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from inspect import isclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from sqlalchemy import Table

from holdfast.errors import MalformedRowError

__all__ = ["malformed", "reason"]


def malformed(
    table: Table, entity: type[BaseModel], key: Mapping[str, Any], error: Exception
) -> MalformedRowError:
    fields = entity.model_fields
    named = ", ".join(
        f"{name}={value!r}" if name not in fields or fields[name].repr else f"{name} (not shown)"
        for name, value in key.items()
    )
    why = reason(error, entity)
    return MalformedRowError(
        f"{table.name}: the row with {named} cannot be read as {entity.__name__}: {why}",
        table=table.name,
        key=tuple(key.values()),
        reason=why,
    )


def reason(error: Exception, entity: type[BaseModel]) -> str:
    """What is wrong where, without the values: those of a row may be secret."""
    if not isinstance(error, ValidationError):
        if isinstance(error, ValueError):
            return "a column does not hold JSON"
        return f"its class raised {type(error).__name__}"
    declared = _declared(entity)
    found = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        # A place within a dictionary of the application's is a key, and so a value.
        parts = [str(p) if isinstance(p, int) or p in declared else "…" for p in item["loc"]]
        unknown_tag = item["type"] == "union_tag_invalid"
        what = "Input should have one of the known tags" if unknown_tag else item["msg"]
        found.append(f"{'.'.join(parts) or 'row'}: {what}")
    return "; ".join(found)


@cache
def _declared(entity: type[BaseModel]) -> frozenset[str]:
    """The names of fields, and the values of literals, in an entity and all within it."""
    names: set[str] = set()
    seen: set[Any] = set()
    todo: list[Any] = [entity]
    while todo:
        item = todo.pop()
        if get_origin(item) is Literal:
            names.update(map(str, get_args(item)))
        elif isclass(item) and issubclass(item, BaseModel):
            if item not in seen:
                seen.add(item)
                for name, field in item.model_fields.items():
                    names.update({name, field.alias or name})
                    todo.append(field.annotation)
        else:
            todo.extend(get_args(item))
    return frozenset(names)
