"""How long a call waited before its statement was sent: in a queue, for a connection, for a turn.

The call's own task asks for it; what makes the call wait may be a task of the engine that works for
a whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar

__all__ = ["WAITS", "Wait", "waited"]


class Wait:
    """Seconds that one call has waited."""

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds = 0.0


#: Of the calls that the running task works for: its own, or those of a batch.
WAITS: ContextVar[Sequence[Wait]] = ContextVar("holdfast_waits", default=())


def waited(seconds: float) -> None:
    """Add to the wait of the calls that the running task works for."""
    for wait in WAITS.get():
        wait.seconds += seconds
