"""How the values of a column are written, by the column's type."""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import partial
from typing import Any, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from sqlalchemy import BigInteger, Boolean, Column, Double

from holdfast import validation
from holdfast.entities.base import Entity
from holdfast.errors import InvalidArgumentError
from holdfast.storage import fidelity
from holdfast.storage.types import JsonText, Timestamp
from holdfast.validation import jsontext
from holdfast.validation.values import (
    Classes,
    FurtherFieldsError,
    classes_in,
    classes_within,
    plain,
)

__all__ = ["Encoder", "UnserializableError", "changed", "encoder", "json_text", "read_back"]

Encoder = Callable[[Any], Any]


class UnserializableError(InvalidArgumentError, TypeError):
    """What `json.dumps` reports as a `TypeError`, and callers may catch as one."""


def encoder(column: Column[Any], entity: type[BaseModel]) -> Encoder | None:
    """How a column's values are written; ``None`` for plain text."""
    place = f"{column.table.name}.{column.name}"
    field = entity.model_fields[column.name]
    annotation = _plain(field.annotation)
    if isinstance(column.type, JsonText):
        return _json_encoder(field, entity, place)
    if isinstance(column.type, Timestamp):
        return lambda value: validation.instant(value, place)
    if isinstance(column.type, BigInteger):
        return lambda value: (
            value
            if type(value) is int and -(2**63) <= value < 2**63
            else validation.integer(value, place)
        )
    if annotation is UUID:
        return str
    if isinstance(column.type, Double):
        return _PLUS_ZERO
    if isinstance(column.type, Boolean):
        return _same
    if column.name.endswith("_json"):  # JSON that is promised back as the text it was
        return lambda value: validation.json_text(value, place)
    return None


def _json_encoder(field: FieldInfo, entity: type[BaseModel], place: str) -> Encoder:
    adapter = TypeAdapter(field.rebuild_annotation())
    # Past the adapter's own methods, which take half the time of a short value.
    dump = partial(adapter.serializer.to_json, context=jsontext.EXACT)
    load = partial(adapter.validate_python, strict=False, by_name=True)
    comes_back = fidelity.comes_back(field, entity)

    classes: Any = classes_in(field.annotation) or ()
    # Holdfast's entities look for themselves at those within them.
    foreign = not all(
        issubclass(kind, Entity) for one in classes for kind in (one, *classes_within(one))
    )

    def encode(value: Any) -> str:
        if type(value) is tuple and not value:
            return "[]"
        if foreign:
            _insist_on_all(value, classes, place)
        try:
            data = dump(value)
        except Exception as error:  # also what an application's own serializers raise
            raise UnserializableError(
                fidelity.trouble(value, place)
                or f"{place} cannot be written as JSON: it holds itself, a value JSON does not "
                "know, or is nested too deeply"
            ) from (error if foreign else None)
        text = data.decode()
        # Most texts are plain and flat, with nothing in them to be looked for.
        if b"\\u" in data or not data.isascii() or (len(data) > jsontext.DEEPEST and large(data)):
            examine(data, text, value)
        if not comes_back:
            read_back(value, text, place, load, field.annotation)
        return text

    def large(data: bytes) -> bool:
        return (
            data.count(b"[") + data.count(b"{") > jsontext.DEEPEST
            or len(data) > validation.LARGEST_TEXT
        )

    def examine(data: bytes, text: str, value: Any) -> None:
        # What Pydantic makes of a lone surrogate in a key, without a word.
        if _REPLACED in data and (trouble := fidelity.trouble(value, place)) is not None:
            raise InvalidArgumentError(trouble)
        json_text(text, value, place)

    return encode


def _insist_on_all(value: Any, classes: Classes, place: str) -> None:
    """Refuse an instance of a subclass whose further fields would be lost."""
    try:
        plain(value, classes)
    except FurtherFieldsError as error:
        raise InvalidArgumentError(f"{place}: {error}") from None
    except Exception:  # what JSON does not know is refused when it is written
        return


_REPLACED = "\ufffd".encode()


def json_text(text: str, value: Any, place: str) -> str:
    """As `validation.json_text`, of the text of a value: says where in it something is wrong."""
    try:
        return validation.json_text(text, place)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(fidelity.trouble(value, place) or str(error)) from None


def read_back(value: Any, text: str, place: str, load: Callable[[Any], Any], declared: Any) -> None:
    """Refuse a value that is not read back equal from what is to be stored of it."""
    try:
        read = load(jsontext.parsed(text))
    except Exception:
        why = fidelity.trouble(value, place, declared) or (
            f"{place} could be stored and not be read again: its type does not read what it writes"
        )
    else:
        if fidelity.equal(read, value):
            return
        why = changed(value, place, declared)
    raise InvalidArgumentError(why) from None


def changed(value: Any, place: str, declared: Any) -> str:
    """Why a value is refused that does not come back as it is."""
    return fidelity.trouble(value, place, declared) or (
        f"{place} would come back from JSON as another value (are two keys one there?): "
        "declare its type, or hand over what JSON knows"
    )


def _plain(annotation: Any) -> Any:
    """The type of an annotation without ``None``."""
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [item for item in get_args(annotation) if item is not type(None)]
        return rest[0] if len(rest) == 1 else annotation
    return annotation


#: SQLite keeps whole numbers as integers, which know no -0.0; so nobody gets one back.
_PLUS_ZERO = (0.0).__add__


def _same(value: Any) -> Any:
    return value
