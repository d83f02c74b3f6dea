"""What the tests of changes share."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from holdfast import Change, PersistenceBackend, Watch
from holdfast.engines.protocol import Engine

NOW = "2026-01-31T09:00:00+00:00"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watchers look far more often whether their tables are recorded."""
    for name in ("changes.watch", "engines.postgres.follow", "engines.sqlite.follow"):
        monkeypatch.setattr(sys.modules[f"holdfast.{name}"], "QUIET_SECONDS", 0.1)


async def take(watch: Watch, count: int, seconds: float = 20) -> list[Change]:
    """The next changes."""
    found: list[Change] = []
    async with asyncio.timeout(seconds):
        while len(found) < count:
            found.append(await anext(watch))
    return found


async def nothing_comes(watch: Watch, seconds: float = 0.3) -> None:
    try:
        async with asyncio.timeout(seconds):
            change = await anext(watch)
    except TimeoutError:
        return
    raise AssertionError(f"unexpected: {change}")


def brief(found: list[Change]) -> list[tuple[str, str]]:
    """Kind and last part of the key of each."""
    return [(change.kind.value, change.key[-1]) for change in found]


async def put(repositories: Any, *keys: str, value: str = "v") -> None:
    for key in keys:
        await repositories.settings.set("n", key, value, NOW)


def engine_of(backend: PersistenceBackend) -> Engine:
    engine: Engine = backend._core.engine._engine  # type: ignore[attr-defined]
    return engine
