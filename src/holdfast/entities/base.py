"""Base class and field types of the entities."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from math import isfinite
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidatorFunctionWrapHandler,
)
from pydantic_core import CoreSchema, core_schema

from holdfast.validation.allowance import Allowance
from holdfast.validation.values import FurtherFieldsError, further_fields

__all__ = [
    "Amount",
    "Count",
    "Deadline",
    "Entity",
    "Moment",
    "NotBlankStr",
    "Sha256",
    "Share",
    "folded",
    "is_validated",
    "new_id",
    "spend",
    "utc_now",
]


class Entity(BaseModel):
    """Base of every entity: immutable, without NaN or infinities; unknown fields are ignored."""

    #: Set by validation. `model_copy`, `model_construct` and unpickling leave a slot empty.
    __slots__ = ("_validated",)

    # Entities within entities are looked at again, because `model_copy` checks nothing.
    model_config = ConfigDict(frozen=True, allow_inf_nan=False, revalidate_instances="always")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        # Looking at an instance of a subclass again, Pydantic would make this class of it.
        def whole(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
            kind = type(value)
            if (
                kind is not dict
                and kind is not cls
                and isinstance(value, cls)
                and (lost := further_fields(cls, value))
            ):
                raise FurtherFieldsError(cls, kind, lost)
            made = validate(value)
            _set_validated(made, True)
            return made

        # Of the kinds of wrapping only this one keeps Pydantic from validating what is within
        # another entity twice.
        return core_schema.no_info_wrap_validator_function(whole, handler(source))


_set_validated = Entity.__dict__["_validated"].__set__


def is_validated(entity: BaseModel) -> bool:
    """Tell whether validation made the instance: its immutable fields are then valid."""
    return getattr(entity, "_validated", False)


def new_id() -> str:
    """Return a random UUID as text."""
    return str(uuid.uuid4())


def utc_now() -> datetime:
    """Return the time of this process's clock, in UTC."""
    return datetime.now(UTC)


def _deadline(value: str) -> str:
    try:
        datetime.fromisoformat(value)
    except ValueError:  # its message holds the value, and errors about stored rows must not
        raise ValueError("must be a date or time in ISO 8601") from None
    return value


def _in_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.utcoffset() is None else value


class _NotBlank:
    """A rule of Pydantic's own speed that is told in words: no pattern says what is wrong.

    One sentence for both: what matches patterns refuses a lone surrogate as it refuses a blank.
    """

    #: White space is what `str.strip` removes; a regular expression's ``\s`` lacks \x1c to \x1f.
    pattern = r"[^\s\x1c-\x1f]"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        rule = core_schema.custom_error_schema(
            core_schema.str_schema(pattern=self.pattern),
            custom_error_type="blank",
            custom_error_message="must not be blank or hold a lone surrogate",
        )
        return core_schema.chain_schema([handler(source), rule])

    def __get_pydantic_json_schema__(
        self, schema: Any, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "pattern": self.pattern}


#: Text with at least one character that is not white space; kept as given, never stripped.
NotBlankStr = Annotated[str, _NotBlank()]

#: An integer from 0 that fits 64 bits; ``True``, ``3.0`` and ``"3"`` are none. Strict, because
#: a validator in Python that refuses ``True`` alone takes four times as long.
Count = Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)]

#: A quantity that is never negative.
Amount = Annotated[float, Field(ge=0)]

#: A date or time in ISO 8601, kept as the text that was given.
Deadline = Annotated[str, AfterValidator(_deadline)]

#: A share or score from 0 to 1.
Share = Annotated[float, Field(ge=0, le=1)]

#: An instant; a naive one is read as UTC.
Moment = Annotated[datetime, AfterValidator(_in_utc)]

#: A SHA-256 in lower case.
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def folded(name: str) -> str:
    """What two names have in common that differ in case or the space around them alone."""
    return name.strip().casefold()


def unique(values: tuple[Any, ...], field: str) -> None:
    """Refuse duplicates."""
    if len(values) > 1 and len(set(values)) != len(values):
        raise ValueError(f"{field} must not hold duplicates")


#: Bits. Python refuses to read integers of more than 4,300 digits.
_LONGEST_INTEGER = 10_000


#: Nothing to copy in them; most leaves are one.
_ATOMS = frozenset({str, int, float, bool, type(None)})
_MAPPINGS = (dict, MappingProxyType, Mapping)  # the first two are found at once
_ARRAYS = (list, tuple)


def frozen(value: Any, allowance: Allowance | None = None) -> Any:
    """A deep, read-only copy: mapping proxies, tuples and frozen sets."""
    if type(value) in _ATOMS:
        return value
    if isinstance(value, _MAPPINGS):
        if allowance is not None:
            allowance.spend(len(value))
        return MappingProxyType(
            {
                key: item if type(item) in _ATOMS else frozen(item, allowance)
                for key, item in value.items()
            }
        )
    if isinstance(value, _ARRAYS):
        if allowance is not None:
            allowance.spend(len(value))
        return tuple([item if type(item) in _ATOMS else frozen(item, allowance) for item in value])
    if isinstance(value, set | frozenset):
        return frozenset(frozen(item) for item in value)
    return deepcopy(value)


def spend(value: Any, allowance: Allowance) -> None:
    """Take what a value that is `frozen`, or entities with such values, would cost to look at."""
    within: Collection[Any]
    if isinstance(value, _MAPPINGS):
        within = value.values()
    elif isinstance(value, tuple):
        within = value
    elif isinstance(value, BaseModel):
        within = value.__dict__.values()
    else:
        return
    allowance.spend(len(within))
    for item in within:
        if type(item) not in _ATOMS:
            spend(item, allowance)


def plain(value: Any) -> Any:
    """Dicts and lists again, for tuples and sets too; what is in them stays what it is."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | frozenset):
        return [plain(item) for item in value]
    return value


def picklable(value: Any) -> Any:
    """The same with dicts for mapping proxies; `frozen` makes an equal value of it."""
    if isinstance(value, Mapping):
        return {key: picklable(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(picklable(item) for item in value)
    return value  # sets hold what can be hashed, which no mapping can


def thawed(value: Any, *, exact: bool = False) -> Any:
    """What JSON knows: the inverse of `frozen`, with lists for tuples and sets.

    ``ValueError`` for what would not come back: other types, NaN, integers of thousands of
    digits, keys that are no text; if it is to be ``exact``, sets as well.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if isinstance(value, _MAPPINGS):
        if any(type(key) is not str and not isinstance(key, str) for key in value):
            raise ValueError("a key must be text")
        return {
            key: item if type(item) is str else thawed(item, exact=exact)
            for key, item in value.items()
        }
    if isinstance(value, _ARRAYS):
        return [item if type(item) is str else thawed(item, exact=exact) for item in value]
    if isinstance(value, set | frozenset) and not exact:
        return sorted((thawed(item) for item in value), key=repr)
    if isinstance(value, str):
        return value
    if isinstance(value, int) and value.bit_length() <= _LONGEST_INTEGER:
        return value
    if isinstance(value, float) and isfinite(value):
        return value
    raise ValueError(f"JSON does not know this {kind.__name__}")
