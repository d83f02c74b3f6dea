"""JSON as text: what every reader of Holdfast can read, and reading it.

The readers are C: a check written in Python stops the event loop for a second per 5 MB.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic_core import SchemaValidator, core_schema, from_json

__all__ = ["DEEPEST", "EXACT", "flaw", "is_object", "parsed"]

#: Arrays and objects within each other: the limit of Pydantic's reader.
DEEPEST = 200

#: The context of a serialisation whose JSON is stored and must be read back equal.
EXACT = object()

# They read all of a text, and make nothing of the objects in it.
_IGNORED = core_schema.typed_dict_schema({}, extra_behavior="ignore")
_READERS = {
    "{": SchemaValidator(_IGNORED).validate_json,
    "[": SchemaValidator(
        core_schema.list_schema(
            core_schema.union_schema([_IGNORED, core_schema.any_schema()], mode="left_to_right")
        )
    ).validate_json,
}
_FIRST = re.compile(r"[ \t\n\r]*(.?)")
#: What JSON does not know and most readers of it take all the same.
_CONSTANTS = ("NaN", "Infinity")
# An even number of backslashes before it are characters of their own.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

#: Texts this long are remembered when they were found readable: the same one is looked at when an
#: entity is made, when it is saved and when it is read back.
_LONG = 64 * 1024
_REMEMBERED = 256
# By hash and length, so that no text is kept alive. A text has 64 bits of keyed hash.
_readable: dict[tuple[int, int], None] = {}


def flaw(text: str) -> str | None:
    """Why a text that is JSON, as far as is known, cannot be stored; ``None`` if it can.

    That its characters can be stored as a text is not looked at.
    """
    if text.count("[") + text.count("{") > DEEPEST and not _is_readable(text):
        return _why_unreadable(text)
    if "\\u" in text:
        if _NUL.search(text) is not None:
            return "holds a NUL character (\\u0000); remove it"
        if _SURROGATE.search(text) is not None and not _is_readable(text):
            return _why_unreadable(text)
    return None


def is_object(text: str) -> bool:
    """Whether it is an object and no other value; `ValueError` if it is no JSON."""
    _insist(text)
    return _first(text) == "{"


def _first(text: str) -> str:
    found = _FIRST.match(text)
    return found[1] if found else ""


def parsed(text: str | bytes) -> Any:
    """The value of a text; `ValueError` if it is no JSON.

    Deeper than `DEEPEST` as well, for nothing stops others from writing such a row.
    """
    try:
        return from_json(text)
    except ValueError as error:
        if _TOO_DEEP not in str(error):
            raise
    return _deep(text)


_TOO_DEEP = "recursion limit"


def _insist(text: str) -> None:
    if not _is_readable(text):
        _deep(text)


def _is_readable(text: str) -> bool:
    long = len(text) > _LONG
    if long and (known := (hash(text), len(text))) in _readable:
        return True
    try:
        _READERS.get(_first(text), from_json)(text)
    except ValueError:
        return False
    if any(constant in text for constant in _CONSTANTS):
        try:
            _deep(text)
        except ValueError:
            return False
    if long:
        while len(_readable) >= _REMEMBERED:
            _readable.pop(next(iter(_readable)), None)
        _readable[known] = None
    return True


def _why_unreadable(text: str) -> str:
    try:
        from_json(text)
    except ValueError as error:
        if _TOO_DEEP in str(error):
            return f"nests arrays and objects deeper than {DEEPEST} levels; flatten it"
        if "hex escape" in str(error) or "surrogate" in str(error):
            return (
                "holds a lone surrogate, which is not text; decode the source with errors='replace'"
            )
    return "is not JSON"


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_json)


def _deep(text: str | bytes) -> Any:
    try:
        return _DECODER.decode(text if isinstance(text, str) else text.decode())
    except RecursionError:
        raise ValueError("is nested too deeply") from None
