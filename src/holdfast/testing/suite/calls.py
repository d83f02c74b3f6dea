"""Calls of every method of a repository, with good arguments and with bad ones."""

from __future__ import annotations

import asyncio
import inspect
import math
import typing
from collections.abc import Awaitable, Iterator
from datetime import datetime
from enum import Enum
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from holdfast.entities import Artifact, Heartbeat
from holdfast.errors import PersistenceError
from holdfast.testing import samples
from holdfast.testing.subjects import NOW, Subject, plain

__all__ = ["Method", "methods"]

_TEXTS = ("a\0", "\ud800", 7, b"a", ("a",))
_BLANK = ("", " \t", "\u2003", None)
_NUMBERS = (True, "5", 1.5, 2**63, -(2**63) - 1)
_REALS = (math.nan, math.inf, -math.inf, "1", True)
_MOMENTS = (datetime(2026, 1, 31), "2026", 5)  # noqa: DTZ001 - naive is the point
_CHOICES = ("no such value", "", 5, ["a"])
_AFTERS = (7, "a\0", "\ud800", b"a", object(), (), (7,))


class Method:
    """A method of a repository, and how to call it about a record."""

    def __init__(self, repository: Any, name: str, subject: Subject[Any]) -> None:
        self.name = name
        self.subject = subject
        self.function = getattr(repository, name)
        self._signature = inspect.signature(self.function)
        self._hints = typing.get_type_hints(self.function)

    @property
    def parameters(self) -> list[inspect.Parameter]:
        return list(self._signature.parameters.values())

    @property
    def saves(self) -> bool:
        """Whether it is handed an entity."""
        return any(_is_model(self._hints.get(p.name)) for p in self.parameters)

    def call(self, record: Any, /, **given: Any) -> Awaitable[Any]:
        """With what must be passed, taken from the record, but for what is given."""
        positional, named = [], {}
        for index, parameter in enumerate(self.parameters):
            said = self.subject.argument(self.name, parameter.name)
            needed = parameter.default is parameter.empty or said
            if parameter.name not in given and not needed:
                continue
            value = given.get(parameter.name, _MISSING)
            if value is _MISSING:
                value = self._argument(parameter, index, record)
            if parameter.kind is parameter.KEYWORD_ONLY:
                named[parameter.name] = value
            else:
                positional.append(value)
        answer: Awaitable[Any] = self.function(*positional, **named)
        return answer

    async def try_on(self, record: Any) -> Any:
        """Its answer, or the error that there is no such thing; never that the call was wrong."""
        answers: Any = await asyncio.gather(self.call(record), return_exceptions=True)
        answer = answers[0]
        if isinstance(answer, BaseException) and not isinstance(answer, PersistenceError):
            raise answer
        assert not isinstance(answer, ValueError), (self.name, answer)
        return answer

    def _argument(self, parameter: inspect.Parameter, index: int, record: Any) -> Any:
        name, subject = parameter.name, self.subject
        for listed in subject.lists:
            if listed.method == self.name and name in listed.always:
                return listed.always[name]
            if listed.method == self.name and name in listed.filters:
                return subject.passing(listed, name, record)
        if said := subject.argument(self.name, name):
            return said(record)
        if self.name in subject.find:
            return getattr(record, subject.find[self.name][index])
        hint = plain(self._hints[name])
        if _is_model(hint) and isinstance(record, _origin(hint)):
            return record
        if name in type(record).model_fields:
            return getattr(record, name)
        if self.name in (subject.get, subject.delete) and index < len(subject.key):
            return subject.key_of(record)[index]
        return _any_value(hint, subject, record)

    def bad(self, parameter: inspect.Parameter) -> Iterator[Any]:
        """What must be refused for a parameter."""
        name, hint = parameter.name, self._hints[parameter.name]
        kind, needed = plain(hint), type(None) not in get_args(hint)
        for place in (f"{self.name}.{name}", name):
            if place in self.subject.bad:
                yield from self.subject.bad[place]
                return
        if name == "after":
            yield from _AFTERS
            yield _stranger(self.subject)
        elif _is_model(kind):
            yield from ("text", _stranger(self.subject), *((None,) if needed else ()))
        elif kind is str:
            yield from _TEXTS
            if needed and name not in self.subject.blank:
                yield from _BLANK
        elif kind is int:
            yield from _NUMBERS
            yield from ((0, -1) if name == "limit" else (-1,) if name == "offset" else ())
            if needed:
                yield None
        elif kind is float:
            yield from (*_REALS, *((None,) if needed else ()))
        elif kind is datetime:
            yield from (*_MOMENTS, *((None,) if needed else ()))
        elif get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, Enum)):
            yield from (*_CHOICES, *((None,) if needed else ()))


def methods(owner: Any, subject: Subject[Any]) -> Iterator[Method]:
    """All of a repository's that are awaited."""
    repository = subject.of(owner)
    for name, _ in inspect.getmembers(type(repository), inspect.iscoroutinefunction):
        if not name.startswith("_"):
            yield Method(repository, name, subject)


_MISSING = object()


def _is_model(hint: Any) -> bool:
    kind = plain(hint)
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _origin(kind: type[BaseModel]) -> type[BaseModel]:
    """Of ``Snapshot[T]``, what every ``Snapshot`` is one of."""
    return kind.__pydantic_generic_metadata__["origin"] or kind


def _stranger(subject: Subject[Any]) -> BaseModel:
    """An entity of another repository."""
    return samples.required(Artifact if subject.entity is Heartbeat else Heartbeat)


def _any_value(hint: Any, subject: Subject[Any], record: Any) -> Any:
    if isinstance(hint, type) and issubclass(hint, Enum):
        return next(iter(hint))
    if get_origin(hint) is Literal:
        return get_args(hint)[0]
    values = {str: "x", int: 3, float: 1.0, datetime: NOW}
    if hint in values:
        return values[hint]
    if subject.key:
        return subject.key_of(record)[0]
    raise TypeError(f"{subject}: say in arguments= what is passed as {hint}")
