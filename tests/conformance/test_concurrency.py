"""Group commit and coalescing as callers see them; what they must not change is in the suite."""

from __future__ import annotations

import asyncio

import pytest

from holdfast import PersistenceBackend

from .test_work import task


@pytest.mark.alone
async def test_many_at_once_share_commits(backend: PersistenceBackend) -> None:
    await asyncio.gather(*(backend.tasks.save(task(f"t{n}")) for n in range(200)))
    stats = backend.stats()
    assert stats.writes.items == 200
    assert stats.writes.batches == stats.commits <= 10
    found = await asyncio.gather(*(backend.tasks.get(f"t{n}") for n in range(250)))
    assert [one.id if one else None for one in found] == [f"t{n}" for n in range(200)] + [None] * 50
    assert backend.stats().reads.batches < 50


@pytest.mark.alone
async def test_rows_without_an_entity_are_read_together(backend: PersistenceBackend) -> None:
    names = [f"n{n}" for n in range(20)]
    for name in names:
        await backend.settings.set("s", name, name, "2026-01-31")
        await backend.custom_presets.save(name, name, "d", "c", "u")
    settings = await asyncio.gather(*(backend.settings.get("s", name) for name in names))
    assert [row and row[0] for row in settings] == names
    presets = await asyncio.gather(*(backend.custom_presets.get(name) for name in names))
    assert [row and row.config_json for row in presets] == names
    lists = await asyncio.gather(*(backend.custom_presets.list_all(limit=2) for _ in names))
    assert {tuple(row.name for row in rows) for rows in lists} == {("n0", "n1")}
    assert backend.stats().reads.batches < 30
