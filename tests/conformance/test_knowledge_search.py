"""Which facts are found by a text or a category, and which come first."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import InvalidArgumentError, OrgFactCategory, PersistenceBackend

from .clock import NOW
from .test_knowledge import ADR, MOMENT, POLICY, THEN, THERE, fact, ids, publish


async def found(backend: PersistenceBackend, text: str | None, **more: Any) -> list[str]:
    return ids(await backend.org_facts.query(text=text, limit=100, **more))


async def test_text_is_found_whatever_the_case_of_ascii(backend: PersistenceBackend) -> None:
    await publish(backend, fact("ascii", "Zürich NEEDLE"), fact("wide", "ÄÖÜ ßẞ Σίσυφος İi"))
    for text in ("needle", "NEEDLE", "nEeDlE", "ZüRICH", "h n"):
        assert await found(backend, text) == ["ascii"]
    for text in ("ÄÖ", "ß", "Σίσ", "İI"):
        assert await found(backend, text) == ["wide"]
    for text in ("ZÜRICH", "äö", "σίσ", "needles", "n  e", "i̇i"):
        assert await found(backend, text) == []


async def test_text_is_no_pattern(backend: PersistenceBackend) -> None:
    contents = {
        "percent": "100% sure", "underscore": "a_b", "backslash": "c:\\dir",
        "quotes": "it's \"so\"", "brackets": "[a-z]* ^x$ (y|z).", "plain": "100 sure aXb cdir",
        "dollar": "$1 :text {0} ?",
    }  # fmt: skip
    await publish(backend, *(fact(key, content) for key, content in contents.items()))
    for text, keys in {
        "%": ["percent"], "0%": ["percent"], "_": ["underscore"], "a_b": ["underscore"],
        "\\": ["backslash"], "\\d": ["backslash"], "'": ["quotes"], '"': ["quotes"],
        "[a-z]": ["brackets"], ".": ["brackets"], "*": ["brackets"], "$1": ["dollar"],
        ":text": ["dollar"], "?": ["dollar"], "{0}": ["dollar"], "%sure": [], "a%b": [],
        "c:\\\\dir": [], "1?0": [], "axb": ["plain"],
    }.items():  # fmt: skip
        assert await found(backend, text) == keys, text


async def test_the_best_comes_first(backend: PersistenceBackend) -> None:
    later = THEN + MOMENT
    await publish(
        backend,
        fact("late in the text", "🦑🦑🦑 x"),
        fact("long", "🦑 x and much more", created_at=NOW),
        fact("old b", "é X !"),
        fact("old a", "é x !"),
        fact("new", "o x ?", created_at=later.astimezone(THERE)),
        fact("first", "x" + "y" * 50),
        fact("none", "é y", created_at=later),
    )
    order = ["first", "new", "old b", "old a", "long", "late in the text"]
    assert await found(backend, "x") == order
    assert ids(await backend.org_facts.query(text="x", limit=2)) == order[:2]
    assert await found(backend, None) == [
        "long", "none", "new", "old b", "old a", "late in the text", "first"
    ]  # fmt: skip


async def test_how_many_are_found(backend: PersistenceBackend) -> None:
    async with backend.transaction() as tx:
        await publish(
            tx, *(fact(f"{n:03}", category=list(OrgFactCategory)[n % 5]) for n in range(120))
        )
    query = backend.org_facts.query
    assert len(await query()) == 5
    for limit, expected in ((1, 1), (0, 1), (-(2**63), 1), (99, 99), (101, 100), (2**62, 100)):
        assert len(await query(limit=limit)) == expected
        assert len(await query(text="C", limit=limit)) == expected
    for bad in (True, 1.0, "5", None, 2**63):
        with pytest.raises(InvalidArgumentError, match="query: limit"):
            await query(limit=bad)  # type: ignore[arg-type]


async def test_categories(backend: PersistenceBackend) -> None:
    await publish(
        backend, *(fact(category.value, category=category) for category in OrgFactCategory)
    )
    every = sorted((category.value for category in OrgFactCategory), reverse=True)
    for text in (None, "c"):
        assert await found(backend, text) == every
        assert await found(backend, text, categories=()) == every
        assert await found(backend, text, categories=frozenset()) == every
        assert await found(backend, text, categories=list(OrgFactCategory)) == every
        assert await found(backend, text, categories={ADR, POLICY}) == ["core_policy", "adr"]
        assert await found(backend, text, categories=iter(["adr", ADR])) == ["adr"]
    assert await found(backend, "x", categories=[ADR]) == []
    for bad in ("adr", ADR, ["other"], 7, [None]):
        with pytest.raises(InvalidArgumentError, match="categories"):
            await found(backend, None, categories=bad)
    for bad in ("", " ", "a\0b", 7):
        with pytest.raises(InvalidArgumentError, match="query: text"):
            await found(backend, bad)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="category must be one of"):
        await backend.org_facts.list_by_category("other")  # type: ignore[arg-type]


async def test_by_category_newest_first(backend: PersistenceBackend) -> None:
    new = fact("new", created_at=THEN + MOMENT)
    await publish(backend, fact("a"), fact("b"), new, fact("p", category=POLICY))
    listed = backend.org_facts.list_by_category
    every = await listed(ADR)
    assert ids(every) == ["new", "b", "a"]
    assert await listed(ADR, limit=1, after=every[0]) == every[1:2]
    assert await listed(ADR, limit=9, after="b") == every[2:]
