"""Row 34: text is text, in every argument of every method, whatever an engine could read in it."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError
from sqlalchemy import text

from holdfast import PersistenceBackend, PersistenceError, create_backend
from holdfast.schema.tasks import tasks
from holdfast.storage.session import Statement
from holdfast.testing.catalogue import SUBJECTS
from holdfast.testing.databases import connected
from holdfast.testing.subjects import Subject, plain
from holdfast.testing.suite.calls import Method, methods

from ..conformance.test_work import task
from .scorecard import SEED, Record, sized

WHOLE = (
    "' OR '1'='1", "' OR 1=1 --", "'; DROP TABLE tasks; --", "\"; DROP TABLE tasks; --", "''", "'",
    '"', "\\'", "\\' OR 1=1 --", "' UNION SELECT * FROM users --", "x' || 'y", "/* ' */", "--",
    "');--", "'/**/OR/**/1=1", "a\0b", "\0", "\ud800", "%", "_", "%' OR '%'='", "*", "?", "??",
    "$1", "$$x$$", "$tag$'$tag$", ":tenant", ":id", "%s", "%(id)s", "{0}", "{id}", "@>", "E'\\x27'",
    "U&'\\0027'", "\\u0027", "&#39;", "%27", "\uff07 OR 1=1", "\u02bc", "$.a", "$.a') = 1 OR ('1",
    "$[*]", "a.b", '{"a": 1}', "' AND pg_sleep(9) --", "' AND randomblob(1e9) --", "null", "NULL",
    "tenant", "default", "1; ATTACH DATABASE 'x' AS y", "COPY tasks TO PROGRAM 'true'", "; COMMIT;",
    "'; ROLLBACK; --", "\x1a", "\r\n'; --", "\t", " ", "", "'" * 64, "(" * 200, "\\" * 33, "🦑'",
)  # fmt: skip
PIECES = (
    "'", '"', "\\", ";", "--", "/*", "*/", "$", "$$", ":", "%", "_", "?", "(", ")", "||", "=",
    " OR ", " AND ", "1=1", "SELECT ", "tasks", "tenant", "x", "\n", "\0", "`", "[", "]", "{", "}",
    "->>", "#>", "\u0301", "🦑",
)  # fmt: skip

#: What a run makes by itself: tokens, keys and the time of day.
_TOKEN = re.compile(r"\b[0-9a-f]{32}\b|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


def corpus(count: int, chance: random.Random) -> list[str]:
    """Texts that mean something to a database, each of them once."""
    found = dict.fromkeys(chance.sample(WHOLE, min(count, len(WHOLE))))
    while len(found) < count:
        found["".join(chance.choices(PIECES, k=chance.randint(1, 8)))] = None
    return list(found)


def _takes_text(method: Method, name: str) -> Callable[[str], Any] | None:
    """How a text is passed as this argument; ``None`` if none can be."""
    hint = method._hints[name]
    if plain(hint) is str or str in get_args(plain(hint)):
        return lambda value: value
    if tuple[str, ...] in get_args(hint) and name == "after":
        return lambda value: (value, value)
    if name == "items" and method.subject.name == "settings":
        return lambda value: [(value, value, value, value)]
    return None


def _places(owner: Any, subject: Subject[Any]) -> Iterator[tuple[Method, str, Callable[..., Any]]]:
    for method in methods(owner, subject):
        for parameter in method.parameters:
            if (wrap := _takes_text(method, parameter.name)) is not None:
                yield method, parameter.name, wrap


class Seen:
    """Answers and errors as they must be the same everywhere."""

    def __init__(self, passed: str) -> None:
        self._text = passed

    def __call__(self, value: Any) -> Any:
        if isinstance(value, BaseException):
            return type(value).__name__, getattr(value, "constraint", None)
        if isinstance(value, BaseModel):
            return type(value).__name__, self({name: getattr(value, name) for name in vars(value)})
        if isinstance(value, datetime):
            recent = abs(datetime.now(UTC) - value) < timedelta(days=1)
            return "now" if recent else value.isoformat()
        if isinstance(value, str):
            return "<text>" if value == self._text else _TOKEN.sub("<token>", value)
        if isinstance(value, dict):
            return sorted((repr(self(key)), self(item)) for key, item in value.items())
        if isinstance(value, list | tuple | set | frozenset):
            return sorted(repr(self(item)) for item in value)
        return value


def _is_broken_sql(error: Any) -> bool:
    """Class 42 of SQLSTATE, and what SQLite says instead."""
    return isinstance(error, PersistenceError) and (
        "SQLSTATE 42" in str(error) or "SQLITE_ERROR" in str(error)
    )


async def _try(method: Method, record: Any, name: str, value: Any) -> Any:
    answers: Any = await asyncio.gather(
        method.call(record, **{name: value}), return_exceptions=True
    )
    return answers[0]


async def _arguments(
    worlds: list[PersistenceBackend], subject: Subject[Any], each: int, chance: random.Random
) -> Counter[str]:
    """Every argument that is a text: two engines answer a hostile one alike, and as a plain one.

    The worlds are both engines, and a third where each text has a plain one to stand for it: the
    reference, in which nothing can be read.
    """
    count: Counter[str] = Counter()
    record = subject.full()
    plain_texts: dict[str, str] = {}
    tenants = [world.for_tenant(f"of {subject.name}") for world in worlds]
    if subject.save is not None:
        for tenant in tenants:
            await subject.put(tenant, record)
    for places in zip(*(_places(tenant, subject) for tenant in tenants), strict=True):
        here, name, wrap = places[0]
        for hostile in corpus(each, chance):
            where = f"{subject.name}.{here.name}({name}={hostile!r})"
            plain_text = plain_texts.setdefault(hostile, f"plain {len(plain_texts)}")
            first, second = [
                await _try(method, record, name, wrap(hostile)) for method, _, _ in places[:2]
            ]
            count["inputs"] += 1
            count["class 42"] += _is_broken_sql(first) + _is_broken_sql(second)
            seen = Seen(hostile)
            assert seen(first) == seen(second), where
            if isinstance(first, ValueError):  # refused as no text, before anything was sent
                count["refused"] += 1
                continue
            if name == "text" and hostile.lower() in record.content.lower():
                plain_text = "Grüße"  # a search finds parts, so its stand-in is to be one as well
            reference = await _try(places[2][0], record, name, wrap(plain_text))
            if not name.startswith("after"):  # a place in an order is another one for another text
                assert seen(first) == Seen(plain_text)(reference), where
    return count


async def _fields(
    worlds: list[PersistenceBackend], subject: Subject[Any], each: int, chance: random.Random
) -> Counter[str]:
    """Every field that is a text comes back as it was saved, and is found by its key."""
    count: Counter[str] = Counter()
    record = subject.full()
    for field, about in subject.entity.model_fields.items():
        if plain(about.annotation) is not str or subject.save is None:
            continue
        for number, hostile in enumerate(corpus(each, chance)):
            values = {name: getattr(record, name) for name in type(record).model_fields}
            try:
                changed = type(record).model_validate(values | {field: hostile})
            except ValidationError:
                count["refused"] += 1
                continue
            found = []
            for world in worlds[:2]:
                owner = world.for_tenant(f"{subject.name} {field} {number}")
                answers: Any = await asyncio.gather(
                    subject.put(owner, changed), return_exceptions=True
                )
                count["class 42"] += _is_broken_sql(answers[0])
                found.append(answers[0] or await subject.read(owner, changed))
            count["inputs"] += 1
            seen = Seen(hostile)
            assert seen(found[0]) == seen(found[1]), (subject.name, field, hostile)
            if isinstance(found[0], BaseModel):
                assert found[0] == found[1] == changed, (subject.name, field, hostile)
    return count


def _formatted(value: str) -> Statement:
    """The control: a statement that is put together from its argument."""
    made = text(f"SELECT id FROM tasks WHERE project = '{value}'".replace(":", "\\:"))
    return Statement("careless", made, (), tasks)


async def _control(world: PersistenceBackend, texts: list[str]) -> tuple[int, int]:
    """How many texts break the SQL, and how many find what they should not."""
    engine: Any = world._core.engine  # type: ignore[attr-defined]
    broken = wrong = 0
    for hostile in texts:
        answers: Any = await asyncio.gather(
            engine.fetch(_formatted(hostile), (), at_most=1_000), return_exceptions=True
        )
        broken += _is_broken_sql(answers[0])
        wrong += isinstance(answers[0], list) and len(answers[0]) > 0
    return broken, wrong


async def test_row_34_text_is_never_sql(sqlite_url: str, postgres_url: str, record: Record) -> None:
    chance = random.Random(SEED)
    each, each_field = sized(1, 45), sized(1, 12)
    urls = (sqlite_url, postgres_url, "sqlite:///:memory:")
    total: Counter[str] = Counter()
    async with (
        connected(create_backend(urls[0])) as first,
        connected(create_backend(urls[1])) as second,
        connected(create_backend(urls[2])) as reference,
    ):
        worlds = [first, second, reference]
        bystander = task("bystander")
        for world in worlds:
            await world.for_tenant("bystander").tasks.save(bystander)
        before = [sorted((await world.status()).tables) for world in worlds]
        for subject in SUBJECTS:
            total += await _arguments(worlds, subject, each, chance)
            total += await _fields(worlds, subject, each_field, chance)
        for world in worlds[:2]:  # tenants are texts as well
            for hostile in corpus(sized(60, 600), chance):
                if "\0" in hostile or "\ud800" in hostile or not hostile.strip():
                    with pytest.raises(ValueError, match="tenant"):
                        world.for_tenant(hostile)
                    continue
                owner = world.for_tenant(hostile)
                await owner.tasks.save(task("mine"))
                assert [one.id for one in await owner.tasks.list_tasks()] == ["mine"]
                await owner.set_setting("k", hostile)
                assert await owner.get_setting("k") == hostile
                total["inputs"] += 1
        for world, tables in zip(worlds, before, strict=True):
            left = await world.for_tenant("bystander").tasks.list_tasks()
            assert left == (bystander,)
            assert sorted((await world.status()).tables) == tables
        texts = [one for one in corpus(200, chance) if "\0" not in one and "\ud800" not in one]
        controls = [await _control(world, texts) for world in worlds[:2]]
    record(
        34,
        "hostile text in every argument",
        f"{total['inputs']:,} inputs x 2 engines, 0 differences, {total['class 42']} SQL errors, "
        f"{total['refused']:,} refused as no text",
        f"SQL put together from {len(texts)} texts: "
        f"{controls[0][0]} and {controls[1][0]} SQL errors, "
        f"{controls[0][1]} and {controls[1][1]} find others' rows",
    )
    assert total["class 42"] == 0
    assert total["inputs"] >= sized(250, 10_000)
    assert all(broken > 0 for broken, _ in controls)
    assert all(wrong > 0 for _, wrong in controls)
