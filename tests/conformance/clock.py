"""A clock for the repositories that ask what time it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

__all__ = ["NOW", "Clock"]

NOW = datetime(2026, 1, 31, 9, 0, 0, 1, tzinfo=UTC)


class Clock:
    """Stands still until it is turned; ``modules`` are those of `holdfast.repositories`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
        self.now = NOW
        for module in modules:
            monkeypatch.setattr(f"holdfast.repositories.{module}.utc_now", lambda: self.now)

    def turn(self, seconds: float) -> datetime:
        """The new time."""
        self.now += timedelta(seconds=seconds)
        return self.now
