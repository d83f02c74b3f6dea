"""Arguments and values, checked the same for every engine before anything is sent.

SQLite would store what PostgreSQL refuses (NUL in text, a lone surrogate, NaN), and moving such a
database would stop half-way.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from holdfast.errors import InvalidArgumentError
from holdfast.validation import jsontext

__all__ = [
    "LARGEST_TEXT",
    "amount",
    "choice",
    "count",
    "file_path",
    "instance",
    "instant",
    "integer",
    "is_plain",
    "json_text",
    "limit",
    "mapping",
    "not_blank",
    "optional",
    "text",
    "texts",
]

T = TypeVar("T")

#: Characters of one text. PostgreSQL ends the connection at 1 GiB; far below it all is slow.
LARGEST_TEXT = 64 * 1024 * 1024
_INFINITIES = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


def text(value: str, place: str) -> str:
    """Text a database can hold: no NUL, no lone surrogate, not too long."""
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{place} must be text, not {type(value).__name__}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InvalidArgumentError(
                f"{place} holds a lone surrogate at position {error.start}, which is not text; "
                "decode the source with errors='replace'"
            ) from None
    if "\0" in value:
        raise InvalidArgumentError(
            f"{place} holds a NUL character at position {value.index(chr(0))}; remove it"
        )
    if len(value) > LARGEST_TEXT:
        raise InvalidArgumentError(
            f"{place} has {len(value)} characters, more than {LARGEST_TEXT}; store it as a file"
        )
    return value


def json_text(value: str, place: str) -> str:
    """JSON text that a database can hold and every reader can read; see `jsontext.flaw`."""
    text(value, place)
    if (flaw := jsontext.flaw(value)) is not None:
        raise InvalidArgumentError(f"{place} {flaw}")
    return value


def is_plain(value: Any) -> bool:
    """Whether `not_blank` takes a value, for most of those that it takes, in less time."""
    return (
        type(value) is str
        and value.isascii()
        and value.isprintable()
        and 0 < len(value) <= LARGEST_TEXT
        and not value.isspace()
    )


def not_blank(value: str, place: str) -> str:
    """Text that is more than white space."""
    if text(value, place).strip() == "":
        raise InvalidArgumentError(f"{place} must not be blank")
    return value


def instant(value: datetime, place: str) -> datetime:
    """An instant in UTC; a naive datetime does not say which."""
    if type(value) is datetime and value.tzinfo is UTC and value not in _INFINITIES:
        return value
    if not isinstance(value, datetime):
        raise InvalidArgumentError(f"{place} must be a datetime, not {type(value).__name__}")
    if value.utcoffset() is None:
        raise InvalidArgumentError(
            f"{place} must carry a time zone: a naive datetime is not an instant"
        )
    try:
        moment = value.astimezone(UTC)
    except OverflowError:
        raise InvalidArgumentError(f"{place} lies outside the years 1 to 9999 in UTC") from None
    if moment in _INFINITIES:
        raise InvalidArgumentError(
            f"{place} is the first or last moment a datetime knows, which PostgreSQL's driver "
            "takes for infinity"
        )
    return moment


def integer(value: int, place: str) -> int:
    """An integer of 64 bits; ``bool`` is none."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidArgumentError(f"{place} must be an integer, not {type(value).__name__}")
    if not -(2**63) <= value < 2**63:
        raise InvalidArgumentError(f"{place} does not fit into 64 bits")
    return value


def amount(value: float, place: str) -> float:
    """A finite number from 0; ``bool`` is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidArgumentError(f"{place} must be a number, not {type(value).__name__}")
    if not 0 <= value <= sys.float_info.max:  # NaN is refused as well
        raise InvalidArgumentError(f"{place} must be a finite number from 0")
    return float(value)


def count(value: int, place: str) -> int:
    """An integer of 64 bits from 0."""
    if integer(value, place) < 0:
        raise InvalidArgumentError(f"{place} must be at least 0, not {value}")
    return value


def limit(value: int | None, *, place: str = "limit", least: int = 1) -> int | None:
    """How many rows at most; ``None`` is all."""
    if value is not None and integer(value, place) < least:
        raise InvalidArgumentError(f"{place} must be at least {least}, not {value}")
    return value


def choice(value: Any, choices: type[Enum] | tuple[str, ...], place: str) -> str:
    """One of an enumeration's values, given as any string or string enum with that value."""
    values = choices if isinstance(choices, tuple) else tuple(item.value for item in choices)
    plain = value.value if isinstance(value, Enum) else value
    if not isinstance(plain, str) or plain not in values:
        raise InvalidArgumentError(f"{place} must be one of {', '.join(values)}")
    return str(plain)


def mapping(value: Mapping[Any, Any] | None, place: str) -> dict[Any, Any]:
    """A copy; ``None`` is an empty one."""
    if value is not None and not isinstance(value, Mapping):
        raise InvalidArgumentError(f"{place} must be a mapping, not {type(value).__name__}")
    return dict(value or {})


def texts(value: Iterable[str] | None, place: str) -> list[str] | None:
    """A list of texts; ``None`` stays ``None``."""
    if value is not None and (isinstance(value, str | bytes) or not isinstance(value, Iterable)):
        raise InvalidArgumentError(f"{place} must be several texts, not {type(value).__name__}")
    return None if value is None else [text(item, place) for item in value]


def instance(value: T, kind: type[T], place: str) -> T:
    if not isinstance(value, kind):
        raise InvalidArgumentError(f"{place} must be a {kind.__name__}, not {type(value).__name__}")
    return value


def file_path(value: str | os.PathLike[str], place: str) -> Path:
    """A path that a file can have."""
    try:
        path = Path(value)
        name = os.fsencode(path)
    except TypeError:
        raise InvalidArgumentError(f"{place} must be a path, not {type(value).__name__}") from None
    except UnicodeEncodeError:
        raise InvalidArgumentError(f"{place} holds a lone surrogate, which no path can") from None
    if b"\0" in name:
        raise InvalidArgumentError(f"{place} holds a NUL character, which no path can")
    return path


def optional(check: Callable[..., Any], value: Any, *arguments: Any) -> Any:
    """``None`` stays ``None``; everything else is checked."""
    return None if value is None else check(value, *arguments)
