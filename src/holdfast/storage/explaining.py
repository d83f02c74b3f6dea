"""What is wrong with a record or a row, told without its values: those of a row may be secret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from inspect import isclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType
from sqlalchemy import Table

from holdfast.errors import MalformedRowError
from holdfast.validation.values import FurtherFieldsError

__all__ = ["cause", "how_to_bind", "insist_on_texts", "malformed", "named", "reason"]


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


def insist_on_texts(
    table: Table, names: Sequence[str], values: Sequence[Any], key: tuple[object, ...]
) -> None:
    """Refuse a row without an entity, in whose columns of text is something else.

    ``values`` begin with those of ``names``: a row that travelled in company says more behind them.
    """
    for name, value in zip(names, values, strict=False):
        if not isinstance(value, str):
            why = f"{name}: is not text in UTF-8"
            raise MalformedRowError(
                f"{table.name}: the row with the key {key!r} cannot be read: {why}",
                table=table.name,
                key=key,
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
    for item in error.errors(include_url=False, include_input=False):
        # A place within a dictionary of the application's is a key, and so a value.
        parts = [str(p) if isinstance(p, int) or p in declared else "…" for p in item["loc"]]
        found.append(f"{'.'.join(parts) or 'row'}: {_what(item, entity)}")
    return "; ".join(found)


def _what(item: ErrorDetails, entity: type[BaseModel]) -> str:
    if item["type"] == "union_tag_invalid":
        return "Input should have one of the known tags"
    raised = item.get("ctx", {}).get("error")
    if isinstance(raised, FurtherFieldsError):
        return str(raised)
    if _is_ours(entity) or (raised is None and item["type"] in _PYDANTIC_S):
        return item["msg"]
    # The words of an application's own validator may hold anything; they are in the cause.
    return f"refused by a validator ({type(raised).__name__ if raised else item['type']})"


_PYDANTIC_S = frozenset(get_args(ErrorType))


def _is_ours(entity: type[BaseModel]) -> bool:
    kinds = (entity, *entity.__pydantic_generic_metadata__["args"])
    return all(kind.__module__.partition(".")[0] == "holdfast" for kind in kinds)


def cause(error: Exception) -> Exception | None:
    """What of an application's was raised. Not Pydantic's error, which holds the values."""
    if not isinstance(error, ValidationError):
        return None if type(error) is ValueError else error
    for item in error.errors(include_url=False, include_input=False):
        raised = item.get("ctx", {}).get("error")
        if isinstance(raised, Exception) and not isinstance(raised, ValidationError):
            return raised
    return None


def named(kind: type[Any], other: type[Any]) -> str:
    """A class's name, with its module where the name alone does not tell it from the other."""
    same = kind.__name__ == other.__name__
    return f"{kind.__module__}.{kind.__qualname__}" if same else kind.__name__


def how_to_bind(entity: object) -> str:
    if not isinstance(entity, BaseModel):
        return ""
    return "; a class of your own is bound with create_backend(..., entities={...})"


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
