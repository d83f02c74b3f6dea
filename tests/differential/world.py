"""What would differ between two runs of the same calls: the clock, and names made by chance."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, tzinfo
from types import SimpleNamespace

import pytest

from holdfast.repositories import idempotency, knowledge, versions

from .strategies import NOW

__all__ = ["World"]


class World:
    """One clock that stands still within a step, and for each engine the same names."""

    def __init__(self, engines: int) -> None:
        self._made = [0] * engines
        self._turn = 0
        self._now = NOW
        #: Every time there was in this example.
        self.times: list[datetime] = []

    def begin(self) -> None:
        """Another example."""
        self._made = [0] * len(self._made)
        self._now = NOW
        self.times = [NOW]

    def wait(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        self.times.append(self._now)

    def turn(self, engine: int) -> None:
        """What follows is for this engine."""
        self._turn = engine

    def now(self, zone: tzinfo | None = None) -> datetime:
        return self._now

    def name(self, size: int = 0) -> str:
        self._made[self._turn] += 1
        return f"made {self._made[self._turn]}"

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Into the repositories."""
        for name, module in list(sys.modules.items()):
            if name.startswith("holdfast.repositories.") and hasattr(module, "utc_now"):
                patch.setattr(module, "utc_now", self.now)
        patch.setattr(versions, "datetime", SimpleNamespace(now=self.now))
        patch.setattr(knowledge, "new_id", self.name)
        patch.setattr(idempotency, "secrets", SimpleNamespace(token_hex=self.name))
