"""Pruning: what it takes, by how many at once, and what it refuses."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import Any

import pytest

from holdfast import InvalidArgumentError, PersistenceBackend, create_backend
from holdfast.testing.databases import connected

from ..cli.test_commands import run
from .conftest import brief, put, take


async def test_several_at_once(shared_url: str) -> None:
    """Together they count each change once, and none of them stands in another's way."""
    async with (
        connected(create_backend(shared_url)) as one,
        connected(create_backend(shared_url)) as two,
    ):
        await one.record_changes(one.settings)
        dice = random.Random(7)
        for turn in range(5):
            async with one.watch(one.settings) as changes:
                await asyncio.gather(*(put(one, f"{turn}-{n}") for n in range(200)))
                revisions = [change.revision for change in await take(changes, 200)]
            deleted = await asyncio.gather(
                *(
                    dice.choice([one, two]).prune_changes(through=dice.choice(revisions))
                    for _ in range(6)
                ),
                *(backend.prune_changes(older_than=timedelta(0)) for backend in (one, two)),
            )
            deleted.append(await one.prune_changes(older_than=timedelta(0)))
            assert sum(deleted) == 200
        await put(one, "last")
        async with one.watch(one.settings, after=revisions[-1]) as changes:
            assert brief(await take(changes, 1)) == [("insert", "last")]


@pytest.mark.parametrize("older_than", [timedelta(days=10**6), timedelta.max])
async def test_older_than_time(backend: PersistenceBackend, older_than: timedelta) -> None:
    await backend.record_changes(backend.settings)
    await put(backend, "a")
    assert await backend.prune_changes(older_than=older_than) == 0


async def test_wrong_arguments(backend: PersistenceBackend) -> None:
    await backend.record_changes(backend.settings)
    wrong: list[dict[str, Any]] = [{"older_than": 5}, {"through": "5"}, {"through": 2**70}]
    for arguments in wrong:
        with pytest.raises(InvalidArgumentError, match="prune_changes: "):
            await backend.prune_changes(**arguments)
    pauses: list[Any] = [0, -1, 10**400, float("nan"), float("inf"), True, "1", None]
    for pause in pauses:
        with pytest.raises(InvalidArgumentError, match="watch: pause"):
            backend.watch(backend.settings, pause=pause)


def test_hours_of_the_command(sqlite_url: str) -> None:
    assert "0 changes" in run("changes", "prune", "1e300", url=sqlite_url)
    assert "0 changes" in run("changes", "prune", "inf", url=sqlite_url)
