"""Every entity's fields, their order, types, bounds and defaults."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from math import inf, nan
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin
from uuid import UUID

import pytest
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from holdfast import entities
from holdfast.entities import base
from holdfast.testing.forms import Form
from holdfast.testing.leaves import MISSING

from .contract import FIELDS as TABLE
from .samples import LATER, NOW, make

#: Types that a field may have for what they check, and not for what they hold.
CHECKED = {
    "NotBlankStr": base.NotBlankStr, "Sha256": base.Sha256, "Deadline": base.Deadline,
    "Moment": base.Moment, "JsonObject": entities.JsonObject,
}  # fmt: skip
SCOPE = {
    **vars(entities), **CHECKED, "Names": tuple[base.NotBlankStr, ...], "UUID": UUID, "date": date,
    "AwareDatetime": AwareDatetime, "Literal": Literal, "T": TypeVar("T"),
    "PRESETS": entities.AutonomyConfig().presets, "RULES": entities.WriteAccessConfig().rules,
}  # fmt: skip
REQUIRED, NEW = object(), object()
ITEM = re.compile(
    r"(?P<names>[\w, ]+): (?P<type>[^?{=]+?)(?P<optional>\??)(?: {(?P<bounds>.+)})?"
    r"(?: = (?P<default>.+))?",
)


class Field(NamedTuple):
    type: Any
    bounds: str | None
    default: Any


def _read(table: str) -> dict[str, dict[str, Field]]:
    found: dict[str, dict[str, Field]] = {}
    for name, text in re.findall(r"^(\w+)\n((?:    .+\n)+)", table, re.MULTILINE):
        fields = found[name] = {}
        for item in " ".join(text.split()).split("; "):
            match = ITEM.fullmatch(item)
            assert match, item
            kind = eval(match["type"], SCOPE)  # noqa: S307 - the contract's types, written here
            default: Any = None if match["optional"] else REQUIRED
            if match["default"]:
                default = NEW if match["default"] == "new" else eval(match["default"], SCOPE)  # noqa: S307
            field = Field(kind | None if match["optional"] else kind, match["bounds"], default)
            fields.update(dict.fromkeys(match["names"].split(", "), field))
    return found


FIELDS = _read(TABLE)
PLACES = [(name, field) for name, fields in FIELDS.items() for field in fields]
#: Other fields that a rule wants with those that are tried here.
BESIDE: dict[str, dict[str, Any]] = {
    "AgentRuntimeState": {"status": "executing", "execution_id": "e", "started_at": NOW},
    "OrgFactAuthor": {"is_human": False, "agent_id": "ada", "seniority": "mid"},
    "RiskTierOverride": {"revoked_at": NOW, "revoked_by": "ada"},
    "SsrfViolation": {"status": "denied", "resolved_at": NOW, "resolved_by": "ada"},
    "ApprovalItem": {
        "status": "rejected", "decided_at": NOW, "decided_by": "ada", "decision_reason": "no",
    },
    "IdempotencyRecord": {"status": "failed", "finished_at": NOW, "error": "no"},
    "WorkflowExecution": {"status": "failed", "completed_at": NOW, "error": "no"},
}  # fmt: skip


def _shape(hint: Any) -> Any:
    """A type without what merely bounds its values."""
    if hint in CHECKED.values():
        return hint
    if get_origin(hint) is Annotated:
        named = (k for k in CHECKED.values() if get_args(k)[1] is get_args(hint)[1])
        return next(named, _shape(get_args(hint)[0]))
    if get_origin(hint) in (Union, types.UnionType):
        return Union[tuple(map(_shape, get_args(hint)))]  # noqa: UP007 - computed
    if get_origin(hint) in (None, Literal):
        return hint
    return get_origin(hint)[tuple(map(_shape, get_args(hint)))]


def _takes(name: str, field: str, value: Any) -> bool:
    """Whether the field alone takes a value, without the rules between fields."""
    kind = getattr(entities, name)
    info = kind.model_fields[field]
    form = Form(info.annotation, tuple(info.metadata), kind.model_config)
    return form.accept(value) is not MISSING


def _leaf(field: Field) -> Any:
    arms = [arm for arm in get_args(field.type) if arm is not type(None)]
    union = get_origin(field.type) in (Union, types.UnionType)
    return _shape(arms[0]) if union and len(arms) == 1 else field.type


def _places_of(*kinds: Any) -> list[tuple[str, str]]:
    return [(name, field) for name, field in PLACES if _leaf(FIELDS[name][field]) in kinds]


def test_the_table_was_read() -> None:
    assert len(PLACES) > 450
    assert len(_places_of(base.NotBlankStr)) > 150


@pytest.mark.parametrize("name", FIELDS)
def test_fields(name: str) -> None:
    kind = getattr(entities, name)
    assert list(kind.model_fields) == list(FIELDS[name])
    hints = typing.get_type_hints(kind, include_extras=True)
    for field, wanted in FIELDS[name].items():
        if not isinstance(wanted.type, TypeVar):
            assert _shape(hints[field]) == _shape(wanted.type), field
        assert kind.model_fields[field].is_required() == (wanted.default is REQUIRED), field


@pytest.mark.parametrize("name", FIELDS)
def test_defaults(name: str) -> None:
    for field, info in getattr(entities, name).model_fields.items():
        wanted = FIELDS[name][field].default
        if wanted is REQUIRED:
            continue
        made, again = (info.get_default(call_default_factory=True) for _ in "ab")
        if wanted is NEW:
            assert made != again, field
            continue
        assert made == wanted, field
        kind = str if isinstance(made, Enum) else type(made)
        assert kind is type(wanted) or isinstance(made, Mapping), field
        assert not isinstance(made, dict) or made is not again, field


#: The next number but one that no rounding swallows.
STEP = {int: 1, float: 1e-9}
LARGEST = {int: 2**63 - 1, float: 1e300}


def _numbers(kind: type[int] | type[float], bounds: str) -> tuple[list[Any], list[Any]]:
    """The outermost numbers that are within bounds, and those that are not."""
    low, _, high = (bounds or ("0.." if kind is int else "..")).partition("..")
    good: list[Any] = [kind(high) if high else LARGEST[kind]]
    bad: list[Any] = [good[0] + STEP[kind] if high else 2**63 if kind is int else inf, nan, -inf]
    if kind is int:
        bad += [True, False, 1.5, "many", "1"]
    if low:
        least = kind(low.strip(">"))
        good.append(least + STEP[kind] if ">" in low else least)
        bad.append(least if ">" in low else least - STEP[kind])
    return good, bad


@pytest.mark.parametrize(("name", "field"), _places_of(int, float))
def test_bounds_of_numbers(name: str, field: str) -> None:
    wanted = FIELDS[name][field]
    good, bad = _numbers(_leaf(wanted), wanted.bounds or "")
    assert [n for n in good if not _takes(name, field, n)] == []
    assert [n for n in bad if _takes(name, field, n)] == []


@pytest.mark.parametrize(
    ("name", "field"),
    [(n, f) for n, f in PLACES if (FIELDS[n][f].bounds or "").startswith("length")],
)
def test_bounds_of_lengths(name: str, field: str) -> None:
    wanted = FIELDS[name][field]
    low, _, high = (wanted.bounds or "").removeprefix("length ").partition("..")
    least = int(low) or int(wanted.type is not str)  # a name has a character at least

    def several(number: int) -> Any:
        one = make(name).model_dump()[field] if get_origin(wanted.type) is tuple else "x"
        return one[:1] * number

    assert _takes(name, field, several(least))
    assert not least or not _takes(name, field, several(least - 1))
    if high:
        assert _takes(name, field, several(int(high)))
        assert not _takes(name, field, several(int(high) + 1))


@pytest.mark.parametrize("name", FIELDS)
def test_entities_are_frozen_and_ignore_what_they_do_not_know(name: str) -> None:
    made = make(name, novel=1)
    assert not hasattr(made, "novel")
    field = next(iter(type(made).model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(made, field, getattr(made, field))


@pytest.mark.parametrize("name", [name for name in FIELDS if name != "VersionSnapshot"])
def test_what_is_dumped_can_be_read_again(name: str) -> None:
    made = make(name)
    kind = type(made)
    assert kind.model_validate(made.model_dump()) == made
    assert kind.model_validate_json(made.model_dump_json()) == made
    assert set(kind.model_json_schema()["properties"])


@pytest.mark.parametrize(("name", "field"), _places_of(base.NotBlankStr))
def test_no_name_is_blank(name: str, field: str) -> None:
    for blank in ("", " \t\n", "\u2003"):
        if (name, field) == ("DecisionRecord", "reason"):
            assert make(name, reason=blank).reason is None
            continue
        with pytest.raises(ValidationError) as refused:
            make(name, **BESIDE.get(name, {}) | {field: blank})
        assert refused.value.errors()[0]["loc"][-1] in (field, "from")


@pytest.mark.parametrize(("name", "field"), _places_of(AwareDatetime))
def test_every_moment_has_an_offset(name: str, field: str) -> None:
    with pytest.raises(ValidationError, match="timezone"):
        make(name, **BESIDE.get(name, {}) | {field: datetime(2026, 1, 1)})  # noqa: DTZ001
    moment = (NOW if field != "expires_at" else LATER) + timedelta(microseconds=3)
    if field in ("created_at", "started_at"):
        moment = NOW - timedelta(microseconds=3)
    assert getattr(make(name, **BESIDE.get(name, {}) | {field: moment}), field) == moment


@pytest.mark.parametrize(("name", "field"), _places_of(base.Moment))
def test_a_moment_without_an_offset_may_be_read_as_utc(name: str, field: str) -> None:
    naive = datetime(2026, 1, 1, 1, 2, 3, 456789)  # noqa: DTZ001
    made = make(name, **BESIDE.get(name, {}) | {field: naive})
    assert getattr(made, field) == naive.replace(tzinfo=UTC)


def test_moments_may_be_given_as_text() -> None:
    moment = TypeAdapter(AwareDatetime).validate_python("2026-01-01T00:00:00+02:00")
    assert make("Heartbeat", last_heartbeat_at="2025-12-31T22:00:00Z").last_heartbeat_at == moment
