"""Presets: opaque text throughout."""

from __future__ import annotations

import pytest

from holdfast import InvalidArgumentError, PersistenceBackend, PresetListRow, PresetRow

TEXTS = (
    '{ "b":1,"a" : [1.0, -0.0, 1e16, null, "\\u00e9"], "b": 2 }',
    "no JSON at all {",
    " ",
    '"\\u0000"',
    "Grüße, 世界 🦑 \u0301 \ufeff \r\n\t%s $1 :x \\ ' \"",
    "null",
)


async def test_texts_come_back_to_the_letter(backend: PersistenceBackend) -> None:
    presets = backend.custom_presets
    for text in TEXTS:
        await presets.save(text if text.strip() else "blank", text, text, text, text)
    for text in TEXTS:
        row = await presets.get(text if text.strip() else "blank")
        assert row == PresetRow(text, text, text, text)
        assert type(row) is PresetRow
    await presets.save("empty", "{}", "", "", "yesterday")
    assert await presets.get("empty") == PresetRow("{}", "", "", "yesterday")


async def test_the_first_created_at_stays(backend: PersistenceBackend) -> None:
    presets = backend.custom_presets
    await presets.save("p", "{}", "d", "2026-01-31T09:00:00Z", "1")
    await presets.save("p", "[]", "e", "2026-01-31T09:00:00+00:00", "2")
    assert await presets.get("p") == PresetRow("[]", "e", "2026-01-31T09:00:00Z", "2")
    assert await presets.delete("p") is True
    await presets.save("p", "[]", "e", "later", "2")
    assert await presets.get("p") == PresetRow("[]", "e", "later", "2")


async def test_refused(backend: PersistenceBackend) -> None:
    good = {
        "name": "p", "config_json": "{}", "description": "d", "created_at": "1", "updated_at": "2"
    }  # fmt: skip
    for field, value in (
        ("config_json", ""), ("name", ""), ("name", " "), ("name", None),
        *((name, bad) for name in good for bad in ("a\0b", "\ud800", 7, None)),
    ):  # fmt: skip
        with pytest.raises(InvalidArgumentError, match=f"save: {field}"):
            await backend.custom_presets.save(**{**good, field: value})  # type: ignore[arg-type]
    assert await backend.custom_presets.count() == 0


@pytest.mark.alone
async def test_by_name_as_code_points(backend: PersistenceBackend) -> None:
    presets = backend.custom_presets
    names = ["b", "B", "a", "Z", "é", "z", "10", "9", "_", "ß", "🦑", "\uffee", "a b"]
    for name in names:
        await presets.save(name, "{}", name, "1", "2")
    every = await presets.list_all()
    assert every == tuple(PresetListRow(name, "{}", name, "1", "2") for name in sorted(names))
    assert type(every[0]) is PresetListRow
    assert await presets.list_all(limit=3, after="Z") == every[4:7]
    assert await presets.list_all(limit=3, after=every[-2]) == every[-1:]
    assert await presets.count() == len(names)
    assert await backend.for_tenant("other").custom_presets.count() == 0
    assert await presets.delete("Z") is True
    assert await presets.delete("Z") is False
    assert await presets.get("Z") is None
    assert await presets.get("z") is not None
    assert await presets.count() == len(names) - 1
