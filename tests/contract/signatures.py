"""Signatures written as text, and how what is offered differs from them."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar, Union

from pydantic import BaseModel, SecretStr

import holdfast

__all__ = ["Field", "Member", "canonical", "differences", "fields", "members", "resolve"]

T = TypeVar("T", bound=BaseModel)

_EMPTY = inspect.Parameter.empty
_NAMES: dict[str, Any] = {
    "Any": Any,
    "BaseModel": BaseModel,
    "Literal": Literal,
    "Mapping": Mapping,
    "SecretStr": SecretStr,
    "Sequence": Sequence,
    "T": T,
    "datetime": datetime,
}


@dataclass(frozen=True)
class Member:
    """One line of a table: ``kind`` is async, property or plain; annotations are text."""

    name: str
    kind: str
    parameters: tuple[inspect.Parameter, ...]
    returns: str | None


@dataclass(frozen=True)
class Field:
    name: str
    annotation: str
    default: object = _EMPTY


def members(text: str) -> list[Member]:
    return [_member(line) for line in _lines(text)]


def fields(text: str) -> list[Field]:
    return [_field(line) for line in _lines(text)]


def _lines(text: str) -> Iterator[str]:
    """Without comments; a line that is indented continues the one before."""
    for lines in re.split(r"\n(?=\S)", textwrap.dedent(text).strip()):
        yield " ".join(re.sub(r"#.*", "", lines).split())


def _member(line: str) -> Member:
    kind, _, rest = line.partition(" ")
    if kind not in ("async", "property"):
        kind, rest = "plain", line
    node = ast.parse(f"def {rest}: ...").body[0]
    assert isinstance(node, ast.FunctionDef)
    arguments, required = node.args, len(node.args.args) - len(node.args.defaults)
    positional = [None] * required + list(arguments.defaults)
    parameters = [
        *map(_parameter, arguments.args, positional),
        *map(_keyword, arguments.kwonlyargs, arguments.kw_defaults),
    ]
    returns = None if node.returns is None else ast.unparse(node.returns)
    return Member(node.name, kind, tuple(parameters), returns)


def _parameter(
    argument: ast.arg, default: ast.expr | None, kind: Any = inspect.Parameter.POSITIONAL_OR_KEYWORD
) -> inspect.Parameter:
    annotation = ast.unparse(argument.annotation) if argument.annotation else _EMPTY
    value = ast.literal_eval(default) if default else _EMPTY
    return inspect.Parameter(argument.arg, kind, default=value, annotation=annotation)


def _keyword(argument: ast.arg, default: ast.expr | None) -> inspect.Parameter:
    return _parameter(argument, default, inspect.Parameter.KEYWORD_ONLY)


def _field(line: str) -> Field:
    node = ast.parse(line).body[0]
    assert isinstance(node, ast.AnnAssign)
    assert isinstance(node.target, ast.Name)
    name, annotation, value = node.target.id, ast.unparse(node.annotation), node.value
    if value is None:
        return Field(name, annotation)
    if isinstance(value, ast.Call):  # a class of Holdfast, as it is without arguments
        return Field(name, annotation, getattr(holdfast, ast.unparse(value.func))())
    return Field(name, annotation, ast.literal_eval(value))


def public() -> dict[str, Any]:
    """What can be imported from `holdfast`, by name."""
    return {name: getattr(holdfast, name) for name in holdfast.__all__}  # type: ignore[attr-defined]


def resolve(annotation: str) -> Any:
    """What the text means; `NameError` if Holdfast does not export a name in it."""

    def holder() -> None: ...

    holder.__annotations__ = {"x": annotation}
    # With the name of this module: Pydantic keeps `VersionSnapshot[T]` in the one that makes it.
    names = vars(builtins) | public() | _NAMES | {"__name__": __name__}
    return typing.get_type_hints(holder, names)["x"]


def canonical(hint: Any) -> Any:
    """Equal for annotations that mean the same, however they are written."""
    if hint is Any:
        return object
    if isinstance(hint, TypeVar):
        return T
    generic = getattr(hint, "__pydantic_generic_metadata__", None) or {}
    origin = generic.get("origin") or typing.get_origin(hint) or hint
    arguments = generic.get("args") or generic.get("parameters") or typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return "union", frozenset(map(canonical, arguments))
    if origin is Literal:
        return "literal", frozenset(arguments)
    return (origin, tuple(map(canonical, arguments))) if arguments else origin


def _accepts(offered: Any, asked: Any) -> bool:
    """Whether a parameter with one canonical annotation takes what the other allows."""
    if offered == asked:
        return True
    if isinstance(asked, tuple) and asked[0] == "union":
        return all(_accepts(offered, one) for one in asked[1])
    if isinstance(offered, tuple) and offered[0] == "union":
        return any(_accepts(one, asked) for one in offered[1])
    if not (isinstance(offered, tuple) and isinstance(asked, tuple)):
        return False
    if not (isinstance(offered[0], type) and isinstance(asked[0], type)):
        return False
    wider = issubclass(asked[0], offered[0]) and len(asked[1]) == len(offered[1])
    return wider and all(map(_accepts, offered[1], asked[1]))


def differences(
    text: str, offered: Mapping[str, Any] | type[Any], *, typed: bool = True, loose: bool = False
) -> list[str]:
    """Where ``offered`` breaks a call, or an expectation of an answer, that the text allows.

    ``typed`` compares annotations as well; ``loose`` of the parameters nothing but the names.
    """
    found = []
    for member in members(text):
        # Looked up on the class: a property must not be computed for it.
        value = (
            offered.get(member.name)
            if isinstance(offered, Mapping)
            else inspect.getattr_static(offered, member.name, None)
        )
        found += [f"{member.name}: {reason}" for reason in _reasons(member, value, typed, loose)]
    return found


def _reasons(member: Member, value: Any, typed: bool, loose: bool) -> Iterator[str]:
    if value is None:
        yield "is missing"
        return
    function: Any = value.fget if isinstance(value, property) else value
    kind = "async" if inspect.iscoroutinefunction(function) else "plain"
    kind = "property" if isinstance(value, property) else kind
    if kind != member.kind:
        yield f"is {kind}, not {member.kind}"
    offered = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    yield from (_absent if loose else _unlike)(member.parameters, offered)
    if typed:
        yield from _mistyped(member, typing.get_type_hints(function))


def _absent(
    asked: Sequence[inspect.Parameter], offered: Sequence[inspect.Parameter]
) -> Iterator[str]:
    for name in [p.name for p in asked if p.name not in {p.name for p in offered}]:
        yield f"has no parameter {name}"


def _unlike(
    asked: Sequence[inspect.Parameter], offered: Sequence[inspect.Parameter]
) -> Iterator[str]:
    yield from _absent(asked, offered)
    wanted, given = {p.name: p for p in asked}, {p.name: p for p in offered}
    common = [name for name in wanted if name in given]
    if common != [name for name in given if name in wanted]:
        yield f"has its parameters in another order: {', '.join(given)}"
    for name in common:
        one, other = wanted[name], given[name]
        if one.kind is not other.kind:
            yield f"{name} is {other.kind.description}, not {one.kind.description}"
        if (type(one.default), one.default) != (type(other.default), other.default):
            yield f"{name} has the default {other.default!r}, not {one.default!r}"
    places = [i for i, p in enumerate(offered) if p.name in wanted and p.kind is not p.KEYWORD_ONLY]
    for i, p in enumerate(offered):
        if p.name not in wanted:
            if p.default is _EMPTY:
                yield f"demands or gathers {p}, which nobody passes"
            elif p.kind is not p.KEYWORD_ONLY and places and i < places[-1]:
                yield f"{p.name} stands before a parameter that is passed by position"


def _mistyped(member: Member, hints: Mapping[str, Any]) -> Iterator[str]:
    for p in member.parameters:
        if p.annotation is not _EMPTY and p.name in hints:
            try:
                asked = resolve(p.annotation)
            except NameError as error:
                yield f"{p.name}: {error} in holdfast"
            else:
                if not _accepts(canonical(hints[p.name]), canonical(asked)):
                    yield f"{p.name} is a {hints[p.name]}, not a {p.annotation}"
    if member.returns is not None:
        try:
            promised = resolve(member.returns)
        except NameError as error:
            yield f"answer: {error} in holdfast"
        else:
            answer = hints.get("return", _EMPTY)
            if canonical(answer) != canonical(promised):
                yield f"answers {answer}, not {member.returns}"
