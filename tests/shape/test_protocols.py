"""Each repository keeps its protocol to the letter."""

from __future__ import annotations

import inspect
import typing
from typing import Any

import pytest

from holdfast import Repositories
from holdfast.repositories.base import Repository

from . import things

PROTOCOLS = {
    name: protocol
    for area in things.AREAS
    for name, protocol in vars(area).items()
    if name.endswith("Repository") and getattr(protocol, "_is_protocol", False)
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
        def _repository(self, kind: type[Any]) -> type[Any]:
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
    offered = [promised.__name__ for promised, _ in implementations().values()]
    assert sorted(offered) == sorted(PROTOCOLS)
    made = [made for _, made in implementations().values()]
    assert set(Repository.__subclasses__()) == set(made)


@pytest.mark.parametrize("name", implementations())
def test_a_repository_has_the_methods_of_its_protocol(name: str) -> None:
    assert differences(*implementations()[name]) == []


def test_the_first_value_of_a_list_method_is_named() -> None:
    """Every list can be limited and continued; both are keywords."""
    for name, (protocol, _) in implementations().items():
        for method, member in methods(protocol).items():
            answer = typing.get_type_hints(member)["return"]
            if typing.get_origin(answer) is tuple and answer.__args__[-1] is Ellipsis:
                parameters = inspect.signature(member).parameters
                if method == "delete_namespace_returning_keys":
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
