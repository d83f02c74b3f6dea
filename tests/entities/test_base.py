"""What the entities are built from."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Callable
from datetime import timedelta
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from pydantic import TypeAdapter, ValidationError

from holdfast import AcceptanceCriterion, DataPart, NotBlankStr, TaskType
from holdfast.entities.base import (
    Deadline,
    frozen,
    is_validated,
    new_id,
    plain,
    spend,
    thawed,
    utc_now,
)
from holdfast.validation.allowance import Allowance, TooMuchError

from .samples import make

NAME = TypeAdapter(NotBlankStr)
DEADLINE = TypeAdapter(Deadline)


def accepts(adapter: TypeAdapter[Any], value: Any) -> bool:
    try:
        return bool(adapter.validate_python(value) == value)
    except ValidationError:
        return False


def test_blank_is_what_strip_leaves_nothing_of() -> None:
    """Regular expressions and Python do not agree on what is white space."""
    points = (chr(n) for n in range(sys.maxunicode + 1) if not 0xD800 <= n <= 0xDFFF)
    assert [hex(ord(c)) for c in points if accepts(NAME, c) != bool(c.strip())] == []
    assert not accepts(NAME, "")
    assert not accepts(NAME, "\x1c \x1f\n")


@pytest.mark.parametrize("value", [" a ", "\na", "a\x1c", "\x00", "世界"])
def test_a_name_is_kept_as_given(value: str) -> None:
    assert NAME.validate_python(value) == value


@pytest.mark.parametrize("value", [1, None, b"a", ["a"]])
def test_a_name_is_text(value: object) -> None:
    assert not accepts(NAME, value)


@pytest.mark.parametrize(
    "value",
    ["2026-01-31", "20260131", "2026-01-31T10:00", "2026-01-31 10:00:00.5+05:45", "2026-W05-6",
     "2026-01-31T10:00:00Z"],
)  # fmt: skip
def test_a_deadline_is_kept_as_given(value: str) -> None:
    assert DEADLINE.validate_python(value) == value
    assert make("Task", deadline=value).deadline == value
    assert make("Project", deadline=value).deadline == value


@pytest.mark.parametrize(
    "value", ["", "  ", "soon", "2026-02-30", " 2026-01-31", "2026-01-31 ", "10:00", 20260131]
)
def test_a_deadline_is_a_date(value: object) -> None:
    assert not accepts(DEADLINE, value)
    for name in ("Task", "Project"):
        with pytest.raises(ValidationError):
            make(name, deadline=value)


def test_a_refused_deadline_is_not_repeated() -> None:
    """What is wrong with a stored row is told without the row's values."""
    with pytest.raises(ValidationError) as refused:
        DEADLINE.validate_python("hush")
    assert "hush" not in refused.value.errors()[0]["msg"]


class _Theirs(StrEnum):
    DEVELOPMENT = "development"
    ALLOW = "allow"
    NOVEL = "novel"


class _Older(str, Enum):  # noqa: UP042 - applications have them
    DEVELOPMENT = "development"


class _NoText(Enum):
    DEVELOPMENT = "development"


@pytest.mark.parametrize("value", ["development", _Theirs.DEVELOPMENT, _Older.DEVELOPMENT])
def test_enums_compare_by_value(value: str) -> None:
    assert make("Task", type=value).type is TaskType.DEVELOPMENT


@pytest.mark.parametrize("value", [_Theirs.NOVEL, "Development", "", None, 1])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        make("Task", type=value)


def test_an_enum_where_text_is_wanted_becomes_text() -> None:
    assert type(make("Task", title=_Theirs.NOVEL).title) is str
    assert type(make("AuditEntry", verdict=_Theirs.ALLOW).verdict) is str


def test_frozen_goes_all_the_way_down() -> None:
    given = {"a": [1, {"b": {2}}], "c": bytearray(b"x")}
    made = frozen(given)
    assert made == {"a": (1, {"b": frozenset({2})}), "c": bytearray(b"x")}
    assert type(made) is type(made["a"][1]) is MappingProxyType
    assert made["c"] is not given["c"]
    assert plain(made) == {"a": [1, {"b": [2]}], "c": bytearray(b"x")}


@pytest.mark.parametrize(
    "value",
    [b"a", utc_now(), {1: 2}, float("nan"), [float("-inf")], {"a": {"b": object()}}, [10**5000]],
)
def test_thawed_refuses_what_would_not_come_back(value: object) -> None:
    with pytest.raises(ValueError, match=r"JSON does not know|must be text"):
        thawed(frozen(value))


def test_thawed_gives_what_json_knows() -> None:
    made = thawed(frozen({"a": (1, 2.5, None, True), "s": {"y", "x"}, "d": {"e": {}}}))
    assert made == {"a": [1, 2.5, None, True], "s": ["x", "y"], "d": {"e": {}}}


def test_ids_and_moments() -> None:
    made = {new_id() for _ in range(100)}
    assert len(made) == 100
    assert {UUID(text).version for text in made} == {4}
    assert all(str(UUID(text)) == text for text in made)
    assert utc_now().utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "make_another",
    [
        lambda made: made.model_copy(),
        lambda made: made.model_copy(update={"description": ""}),
        lambda made: type(made).model_construct(description=""),
        copy.copy,
        copy.deepcopy,
        lambda made: pickle.loads(pickle.dumps(made)),  # noqa: S301
    ],
)
def test_what_validation_did_not_make_is_not_taken_for_valid(
    make_another: Callable[[AcceptanceCriterion], AcceptanceCriterion],
) -> None:
    made = AcceptanceCriterion(description="fast")
    assert is_validated(made)
    assert not is_validated(make_another(made))
    assert is_validated(
        AcceptanceCriterion.model_validate(
            make_another(made).model_dump() | {"description": "fast"}
        )
    )


def test_a_failed_validation_leaves_no_sign() -> None:
    made = AcceptanceCriterion.model_construct(description="")
    with pytest.raises(ValidationError):
        made.__init__(description="")  # type: ignore[misc]
    assert not is_validated(made)


@pytest.mark.parametrize(
    ("values", "count"), [({"a": 1, "b": [1, {"c": 2}]}, 5), ({}, 0), ({"a": [[], []]}, 3)]
)
def test_what_a_value_would_cost_to_look_at(values: dict[str, Any], count: int) -> None:
    part = DataPart(data=values)
    fields = len(DataPart.model_fields)
    spend(part, Allowance(count + fields))
    with pytest.raises(TooMuchError):
        spend(part, Allowance(count + fields - 1))
