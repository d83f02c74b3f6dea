"""How long a call waited before its statement was sent: in a queue, for a connection, for a turn.

A call is known by its arguments, an object that lives as long as the call. On the path of every
call it is only said for which one the task works; a wait is noted when there was one.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

__all__ = ["FOR", "WAITS", "waited"]

#: Shorter waits are not noted.
_WORTH_SECONDS = 0.01
#: Of calls whose callers have gone there is nobody to take the note.
_MOST = 10_000

#: The arguments of the call that the running task works for; a list for all those of a batch.
FOR: ContextVar[tuple[Any, ...] | list[tuple[Any, ...]]] = ContextVar("holdfast_for", default=())
#: Seconds by the ``id`` of a call's arguments; taken when the call ends.
WAITS: dict[int, float] = {}


def waited(seconds: float) -> None:
    """Add to the wait of the calls that the running task works for."""
    if seconds >= _WORTH_SECONDS:
        if len(WAITS) > _MOST:
            WAITS.clear()
        calls = FOR.get() or []
        for arguments in calls if isinstance(calls, list) else (calls,):
            WAITS[id(arguments)] = WAITS.get(id(arguments), 0.0) + seconds
