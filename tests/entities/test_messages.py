"""Messages and their parts."""

from __future__ import annotations

import copy
import pickle
from types import MappingProxyType
from typing import Any, cast

import pytest
from pydantic import ValidationError

from holdfast import DataPart, FilePart, Message, TextPart, UriPart

from .samples import NOW, REQUIRED, make

ODD: dict[str, Any] = {"l": [1, {"a": (2, [3])}], "s": {1, (2, 3)}, "t": NOW, "m": {"n": {}}}


def test_the_sender_has_two_names() -> None:
    by_name = make("Message", id="5a4ff63f-1c7b-4b8c-8b1d-2d6a4a8d9f10")
    data = {key: value for key, value in REQUIRED["Message"].items() if key != "sender"}
    by_alias = Message.model_validate({**data, "from": "ada", "id": str(by_name.id)})
    assert by_name == by_alias
    assert by_alias.sender == "ada"
    assert by_alias.model_dump()["sender"] == "ada"
    with pytest.raises(ValidationError):
        Message.model_validate(data)


def test_each_message_has_its_own_id() -> None:
    first, second = make("Message"), make("Message")
    assert first.id != second.id
    assert first.id.version == 4


def test_parts_are_told_apart_by_their_type() -> None:
    made = make(
        "Message",
        parts=[
            {"type": "uri", "uri": "https://a"},
            {"type": "file", "uri": "file:a", "mime_type": "text/plain"},
            {"type": "data", "data": {"k": [1]}},
            {"type": "text", "text": "one"},
            {"type": "text", "text": "two"},
        ],
    )
    assert made.parts == (
        UriPart(uri="https://a"), FilePart(uri="file:a", mime_type="text/plain"),
        DataPart(data={"k": [1]}), TextPart(text="one"), TextPart(text="two"),
    )  # fmt: skip
    assert made.text == "one"
    assert Message.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize(
    "parts",
    [[], [{"type": "sound", "uri": "a"}], [{"text": "a"}], [{"type": "text", "text": " "}],
     [{"type": "data", "data": [1]}], None],
)  # fmt: skip
def test_parts_that_are_none(parts: object) -> None:
    with pytest.raises(ValidationError):
        make("Message", parts=parts)


def test_text_is_computed_and_not_read() -> None:
    assert make("Message").model_dump()["text"] == "hello"
    assert make("Message", text="other").text == "hello"
    assert make("Message", parts=[UriPart(uri="a")]).text == ""
    assert repr(make("Message")).count("hello") == 1


def test_extra_pairs() -> None:
    pairs = [["a", ""], ["A", "x"], [" a", "y"]]
    assert make("MessageMetadata", extra=pairs).extra == (("a", ""), ("A", "x"), (" a", "y"))
    for bad in ([("", "x")], [(" \x1c", "x")], [("a", "x"), ("a", "y")], [("a",)], [("a", 1)]):
        with pytest.raises(ValidationError):
            make("MessageMetadata", extra=bad)


def test_data_is_frozen_all_the_way_down() -> None:
    given = copy.deepcopy(ODD)
    part = DataPart(data=given)
    given["l"][1]["a"] = ()
    given["m"]["n"] = 1
    assert part.data == {
        "l": (1, {"a": (2, (3,))}), "s": frozenset({1, (2, 3)}), "t": NOW, "m": {"n": {}},
    }  # fmt: skip
    assert type(part.data) is type(part.data["m"]) is type(part.data["l"][1]) is MappingProxyType
    with pytest.raises(TypeError):
        cast("dict[str, Any]", part.data)["new"] = 1


def test_data_is_dumped_as_dicts_and_lists() -> None:
    dumped = DataPart(data=ODD).model_dump()["data"]
    assert type(dumped) is type(dumped["m"]) is dict
    assert dumped["l"] == [1, {"a": [2, [3]]}]
    assert dumped["t"] == NOW
    part = DataPart(data={"l": [1, {"a": (2,)}], "s": {"y", "x"}})
    assert part.model_dump_json() == '{"type":"data","data":{"l":[1,{"a":[2]}],"s":["x","y"]}}'
    with pytest.raises(ValueError, match="JSON does not know"):
        DataPart(data=ODD).model_dump_json()


def test_data_survives_copying_and_pickling() -> None:
    message = make("Message", parts=[DataPart(data=ODD)])
    for same in (
        pickle.loads(pickle.dumps(message)),  # noqa: S301
        copy.copy(message),
        copy.deepcopy(message),
        message.model_copy(deep=True),
    ):
        assert same == message
        assert type(same.parts[0].data["s"]) is frozenset
        assert type(same.parts[0].data["m"]) is MappingProxyType


def test_a_changed_copy_leaves_the_original() -> None:
    part = DataPart(data={"a": 1})
    assert part.model_copy(update={"data": {}}, deep=True) != part
    assert part.data == {"a": 1}
    assert copy.deepcopy(part) is not part


def test_data_that_is_refused() -> None:
    circle: dict[str, Any] = {}
    circle["self"] = circle
    for bad in (circle, {1: 2}, [("a", 1)], "a", None):
        with pytest.raises(ValidationError):
            DataPart(data=cast("dict[str, Any]", bad))


def test_parts_keep_their_type() -> None:
    for kind, fields in ((TextPart, {"text": "a"}), (UriPart, {"uri": "a"})):
        with pytest.raises(ValidationError):
            kind.model_validate({**fields, "type": "data"})
