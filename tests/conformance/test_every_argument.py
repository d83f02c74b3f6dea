"""Every parameter of every method of every repository, given what no database should see."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any

import pytest

import holdfast
from holdfast import InvalidArgumentError, PersistenceBackend

from .samples import full
from .test_backend import PROTOCOLS

NOW = datetime(2026, 1, 31, tzinfo=UTC)

#: A good value for each parameter that has no default.
GOOD: dict[str, Any] = {
    "role": "manager", "threshold": NOW, "cutoff": NOW, "limit": 3, "after_id": None,
    "value": "v", "updated_at": "1", "namespace": "n", "key": "k",
}  # fmt: skip

TEXTS = ("a\0", "\ud800", 7, b"a", ("a",))
BLANK = ("", " \t", "\u2003", None)
AFTERS = (7, "a\0", "\ud800", b"a", object(), (), (7,))
NUMBERS = (-1, True, "5", 1.5, 2**63, -(2**63) - 1)
BAD: dict[str, tuple[Any, ...]] = {
    "limit": (0, *NUMBERS),
    "offset": (None, *NUMBERS),
    "after_id": (7, "a\0", "\ud800"),
    "threshold": (datetime(2026, 1, 31), "2026", None, 5),  # noqa: DTZ001 - naive is the point
    "cutoff": (datetime(2026, 1, 31), "2026", None, 5),  # noqa: DTZ001
    "since": (datetime(2026, 1, 31), "2026", 5),  # noqa: DTZ001
    "until": (datetime(2026, 1, 31), "2026", 5),  # noqa: DTZ001
    "role": ("king", "", None, 5, ["ceo"], "CEO"),
    "status": ("done", "", 5, ["created"], "CREATED"),
    "verdict": ("maybe", "", 5, "ALLOW"),
    "risk_level": ("mild", "", 5, "LOW"),
    "artifact_type": ("film", "", 5, "CODE"),
}
#: Arguments that name one thing; a filter may be an empty text that matches nothing.
NAMING = {
    "task_id", "project_id", "artifact_id", "execution_id", "parked_id", "approval_id", "agent_id",
    "user_id", "key_id", "username", "key_hash", "namespace", "key", "channel",
}  # fmt: skip


def methods() -> list[tuple[str, str]]:
    return [
        (repository, name)
        for repository, protocol in PROTOCOLS.items()
        for name, function in vars(getattr(holdfast, protocol)).items()
        if not name.startswith("_") and inspect.iscoroutinefunction(function)
    ]


def bad_values(repository: str, method: str, parameter: inspect.Parameter) -> tuple[Any, ...]:
    name = parameter.name
    if method in {"save", "create", "update"}:
        return None, "text", full()["messages" if repository == "tasks" else "tasks"]
    if name == "after":  # an entity, but another one
        return *AFTERS, full()["tasks" if repository == "users" else "users"]
    if name in BAD:
        return BAD[name]
    if parameter.default is parameter.empty and name in NAMING:
        return *TEXTS, *BLANK
    return TEXTS


def called(
    backend: PersistenceBackend, repository: str, method: str, name: str, value: Any
) -> Awaitable[Any]:
    """The method with good arguments but for one."""
    function = getattr(getattr(backend, repository), method)
    positional, named = [], {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name != name and parameter.default is not parameter.empty:
            continue
        argument = value if parameter.name == name else GOOD.get(parameter.name, "x")
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = argument
        else:
            positional.append(argument)
    call: Awaitable[Any] = function(*positional, **named)
    return call


@pytest.mark.parametrize(("repository", "method"), methods())
async def test_is_refused(backend: PersistenceBackend, repository: str, method: str) -> None:
    before = backend.stats()
    sent = before.writes.items, before.commits
    function = getattr(getattr(backend, repository), method)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in {"items", "expected_updated_at_map"}:
            continue  # below
        for value in bad_values(repository, method, parameter):
            call = called(backend, repository, method, parameter.name, value)
            answers: Any = await asyncio.gather(call, return_exceptions=True)
            assert isinstance(answers[0], InvalidArgumentError), (parameter.name, value)
            assert repository in str(answers[0])
    after = backend.stats()
    assert (after.writes.items, after.commits) == sent


SET_MANY: dict[str, Any] = {
    "no namespace": [("n", "a", "v", "1"), (" ", "k", "v", "1")],
    "NUL in a key": [("n", "a", "v", "1"), ("n", "k\0", "v", "1")],
    "surrogate in a value": [("n", "a", "v", "1"), ("n", "k", "\ud800", "1")],
    "NUL in a time": [("n", "a", "v", "1"), ("n", "k", "v", "\0")],
    "a value that is no text": [("n", "a", "v", "1"), ("n", "k", None, "1")],
    "a key that is no text": [("n", "a", "v", "1"), ("n", 5, "v", "1")],
    "too short": [("n", "a", "v", "1"), ("n", "k", "v")],
    "too long": [("n", "a", "v", "1"), ("n", "k", "v", "1", "2")],
}


@pytest.mark.parametrize("name", SET_MANY)
async def test_set_many_is_refused_as_a_whole(backend: PersistenceBackend, name: str) -> None:
    with pytest.raises(InvalidArgumentError):
        await backend.settings.set_many(SET_MANY[name])
    assert await backend.settings.get_all() == ()
    async with backend.transaction() as tx:
        with pytest.raises(InvalidArgumentError):
            await tx.settings.set_many(SET_MANY[name])
        await tx.settings.set("n", "k", "v", "1")  # nothing was sent, so nothing failed
    assert await backend.settings.get_all() == (("n", "k", "v", "1"),)


async def test_a_refused_argument_does_not_end_a_transaction(backend: PersistenceBackend) -> None:
    async with backend.transaction() as tx:
        await tx.settings.set("n", "k", "v", "1")
        with pytest.raises(InvalidArgumentError):
            await tx.tasks.get("")
        with pytest.raises(InvalidArgumentError):
            await tx.tasks.list_tasks(limit=0)
        with pytest.raises(InvalidArgumentError):
            await tx.tasks.save(full()["tasks"].model_copy(update={"title": "\0"}))  # type: ignore[arg-type]
    assert await backend.settings.get("n", "k") == ("v", "1")
