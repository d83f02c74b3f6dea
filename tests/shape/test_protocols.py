"""Each repository keeps its protocol to the letter."""

from __future__ import annotations

import inspect
import typing
from collections import Counter
from collections.abc import Iterator
from typing import Any, Protocol

import pytest

from holdfast import Repositories
from holdfast.storage.repository import Repository

from . import things

PROTOCOLS = {
    name: protocol
    for area in things.AREAS
    for name, protocol in vars(area).items()
    if name.endswith("Repository") and getattr(protocol, "_is_protocol", False)
}


#: What was deleted; and a search for the best few, whose limit is never above 100.
WITHOUT_PAGES = {
    ("settings", "delete_namespace_returning_keys"),
    ("org_facts", "query"),
}


def implementations() -> dict[str, tuple[type[Any], type[Any]]]:
    """By property of a backend: the protocol it promises and the class that is made."""
    found = {}
    for base in Repositories.__mro__:
        for name, member in vars(base).items():
            if isinstance(member, property) and member.fget is not None:
                promised = typing.get_type_hints(member.fget)["return"]
                found[name] = (promised, _made_by(member))
    return found


def _made_by(member: property) -> type[Any]:
    class Owner:
        def repository(self, kind: type[Any]) -> type[Any]:
            return kind

    assert member.fget is not None
    kind: type[Any] = member.fget(Owner())
    return kind


def methods(cls: type[Any]) -> dict[str, Any]:
    return {
        name: member
        for name, member in vars(cls).items()
        if not name.startswith("_") and inspect.isfunction(member)
    }


def differences(protocol: type[Any], made: type[Any]) -> list[str]:
    promised, kept = methods(protocol), methods(made)
    found = sorted(promised.keys() ^ kept.keys())
    for name in promised.keys() & kept.keys():
        if inspect.signature(promised[name]) != inspect.signature(kept[name]):
            found.append(f"{name}{inspect.signature(kept[name])}")
        if inspect.iscoroutinefunction(promised[name]) != inspect.iscoroutinefunction(kept[name]):
            found.append(f"{name}: async or not")
    return found


def test_every_protocol_is_offered_once() -> None:
    offered = Counter(promised.__name__ for promised, _ in implementations().values())
    assert offered.keys() == PROTOCOLS.keys()
    assert {name for name, times in offered.items() if times > 1} == {"VersionRepository"}
    made = [made for _, made in implementations().values()]
    assert {kind for kind in _below(Repository) if not kind.__subclasses__()} == set(made)


def _below(kind: type[Any]) -> Iterator[type[Any]]:
    for child in kind.__subclasses__():
        if child.__module__.startswith("holdfast."):
            yield child
            yield from _below(child)


@pytest.mark.parametrize("name", implementations())
def test_a_repository_has_the_methods_of_its_protocol(name: str) -> None:
    assert differences(*implementations()[name]) == []


@pytest.mark.parametrize("name", implementations())
def test_help_answers_for_every_method_of_a_repository(name: str) -> None:
    promised, made = implementations()[name]
    protocol = typing.get_origin(promised) or promised
    assert protocol in made.__mro__
    public = [name for name in dir(protocol) if not name.startswith("_")]
    assert [name for name in public if not inspect.getdoc(getattr(made, name))] == []


def test_the_first_value_of_a_list_method_is_named() -> None:
    """Every list can be limited and continued; both are keywords."""
    for name, (protocol, _) in implementations().items():
        for method, member in methods(protocol).items():
            answer = typing.get_type_hints(member)["return"]
            if typing.get_origin(answer) is tuple and answer.__args__[-1] is Ellipsis:
                parameters = inspect.signature(member).parameters
                if (name, method) in WITHOUT_PAGES:
                    continue
                assert parameters["limit"].kind is inspect.Parameter.KEYWORD_ONLY, (name, method)
                behind = {"after", "after_id"} & parameters.keys()
                assert len(behind) == 1, (name, method)


def test_differences_are_seen() -> None:
    class Promise:
        async def get(self, key: str) -> None: ...

        async def drop(self, key: str) -> None: ...

    class Kept:
        async def get(self, key: str, more: int = 0) -> None: ...

        def drop(self, key: str) -> None: ...

        async def extra(self) -> None: ...

    assert len(differences(Promise, Kept)) == 3


class Promise(Protocol):
    """Things by key."""

    async def get(self, key: str) -> None: ...


def test_a_repository_that_leaves_out_a_method_cannot_be_defined() -> None:
    with pytest.raises(TypeError, match=r"Silent must write Promise\.get"):
        type("Silent", (Repository, Promise), {})


def test_a_repository_without_a_docstring_has_that_of_its_protocol() -> None:
    async def get(self: Any, key: str) -> None: ...

    assert type("Kept", (Repository, Promise), {"get": get}).__doc__ == "Things by key."
    assert type("Own", (Repository, Promise), {"get": get, "__doc__": "Own."}).__doc__ == "Own."
