"""How long code written in Python may keep the event loop."""

from __future__ import annotations

__all__ = ["Allowance", "TooMuchError"]


class TooMuchError(Exception):
    """More to look at than an event loop should wait for; nothing is wrong with it."""


class Allowance:
    """How many values may be looked at one by one in Python; 10,000 take some 5 ms."""

    __slots__ = ("_left",)

    def __init__(self, values: int = 10_000) -> None:
        self._left = values

    def spend(self, values: int) -> None:
        """`TooMuchError` when it is used up."""
        self._left -= values
        if self._left < 0:
            raise TooMuchError
