"""The comparison sees each way to break a caller, and none where nobody breaks."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar, Union

import pytest
from pydantic import BaseModel

from holdfast import Task, TaskStatus

from .signatures import canonical, differences, resolve

M = TypeVar("M", bound=BaseModel)
Other = TypeVar("Other", bound=BaseModel)
ASKED = "(key: str, *, size: int = 50) -> tuple[Task, ...]"


class Box(BaseModel, Generic[M]):
    content: M


def _some(box: Box[M]) -> M:
    return box.content


def _any(box: Box[Other]) -> Other:
    return box.content


class Kept(Protocol):
    async def same(self, key: str, *, size: int = 50) -> tuple[Task, ...]: ...

    async def more(
        self,
        key: str | TaskStatus,
        most: bool = False,
        *,
        after: Task | None = None,
        size: int | None = 50,
    ) -> tuple[Task, ...]: ...


class Broken(Protocol):
    def plain(self, key: str, *, size: int = 50) -> tuple[Task, ...]: ...

    @property
    def computed(self) -> tuple[Task, ...]: ...

    async def lacking(self, key: str) -> tuple[Task, ...]: ...

    async def default(self, key: str, *, size: int = 100) -> tuple[Task, ...]: ...

    async def type_of_default(self, key: str, *, size: int | float = 50.0) -> tuple[Task, ...]: ...

    async def required(self, key: str, *, size: int) -> tuple[Task, ...]: ...

    async def optional(self, key: str = "", *, size: int = 50) -> tuple[Task, ...]: ...

    async def keyword(self, *, key: str, size: int = 50) -> tuple[Task, ...]: ...

    async def positional(self, key: str, size: int = 50) -> tuple[Task, ...]: ...

    async def by_place(self, key: str, /, *, size: int = 50) -> tuple[Task, ...]: ...

    async def demanding(self, key: str, *, name: str, size: int = 50) -> tuple[Task, ...]: ...

    async def gathering(self, key: str, *, size: int = 50, **more: str) -> tuple[Task, ...]: ...

    async def narrowed(self, key: TaskStatus, *, size: int = 50) -> tuple[Task, ...]: ...

    async def anything(self, key: Any, *, size: int = 50) -> tuple[Task, ...]: ...

    async def a_list(self, key: str, *, size: int = 50) -> list[Task]: ...

    async def of_others(self, key: str, *, size: int = 50) -> tuple[str, ...]: ...

    async def just_one(self, key: str, *, size: int = 50) -> tuple[Task]: ...

    async def or_none(self, key: str, *, size: int = 50) -> tuple[Task, ...] | None: ...


SEEN = {
    "plain": "is plain, not async",
    "computed": "is property, not async",
    "lacking": "has no parameter size",
    "default": "size has the default 100, not 50",
    "type_of_default": "size has the default 50.0, not 50",
    "required": "size has the default",
    "optional": "key has the default ''",
    "keyword": "key is keyword-only",
    "positional": "size is positional or keyword",
    "by_place": "key is positional-only",
    "demanding": "demands or gathers name",
    "gathering": "demands or gathers **more",
    "narrowed": "key is a",
    "anything": "key is a",
    "a_list": "answers list",
    "of_others": "answers tuple[str",
    "just_one": "answers tuple[",
    "or_none": "answers",
    "absent": "is missing",
}


@pytest.mark.parametrize("name", SEEN)
def test_a_difference_is_seen(name: str) -> None:
    found = differences(f"async {name}{ASKED}", Broken)
    assert any(reason.startswith(f"{name}: {SEEN[name]}") for reason in found), found
    assert len(found) == 1 or name == "computed"


@pytest.mark.parametrize("name", ["same", "more"])
def test_what_breaks_nobody_is_no_difference(name: str) -> None:
    assert differences(f"async {name}{ASKED}", Kept) == []


def test_order_and_place() -> None:
    class Turned(Protocol):
        def turned(self, second: str, first: str) -> None: ...

        def before(self, new: int = 0, first: str = "") -> None: ...

    asked = "turned(first: str, second: str) -> None\nbefore(first: str = '') -> None"
    found = differences(asked, Turned)
    assert [reason.partition(": ")[0] for reason in found] == ["turned", "before"]


def test_a_name_that_is_not_exported_is_a_difference() -> None:
    asked = "async same(key: Unheard, *, size: int = 50) -> Unknown | None"
    found = differences(asked, Kept)
    assert [("Unheard" in reason, "Unknown" in reason) for reason in found] == [
        (True, False),
        (False, True),
    ]


def test_loosely_the_names_count() -> None:
    assert differences("async keyword(key, size)", Broken, loose=True) == []
    assert differences("async keyword(key, wide) -> int", Broken, loose=True) == [
        "keyword: has no parameter wide",
        "keyword: answers tuple[holdfast.entities.tasks.Task, ...], not int",
    ]


def test_annotations_mean_the_same_however_they_are_written() -> None:
    same = {"Task | None": Union[None, Task], "dict[str, object]": dict[str, Any]}  # noqa: UP007
    for text, hint in same.items():
        assert canonical(resolve(text)) == canonical(hint)
    assert canonical(Mapping[str, int]) != canonical(dict[str, int])
    assert canonical(M) == canonical(Other) == canonical(resolve("T"))
    of_m, of_other = (typing.get_type_hints(function)["box"] for function in (_some, _any))
    assert canonical(of_m) == canonical(of_other) != canonical(Box[Task])
    assert canonical(resolve("Literal['a', 'b']")) == canonical(resolve("Literal['b', 'a']"))
    assert canonical(datetime) != canonical(str)


def test_a_wider_collection_takes_a_narrower_one() -> None:
    class Wide(Protocol):
        def put(self, items: Mapping[str, Any]) -> None: ...

        def take(self, items: dict[str, Any]) -> None: ...

    asked = "put(items: dict[str, object]) -> None\ntake(items: Mapping[str, object]) -> None"
    (only,) = differences(asked, Wide)
    assert only.startswith("take: items is a")
