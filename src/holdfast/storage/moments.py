"""Numbers by which what was saved first is told from what was saved later."""

from __future__ import annotations

import os
import secrets
import threading
import time

__all__ = ["next_moment", "time_ordered_id"]

# Of all threads; a fork while one of them holds it would leave it held in the child for ever.
_lock = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )
_last = 0
#: How far the clock is ahead of the steady one, which is never set and not the time of day.
_ahead = 0


def next_moment() -> int:
    """Return nanoseconds since the epoch, larger at every call of this process.

    Processes go by the clock, so that their moments are in order as far as their clocks agree. One
    whose clock is set back goes on from where it was, as fast as time goes by, and so do those
    forked from it: none repeats what another one counts.
    """
    global _last, _ahead
    with _lock:
        # In this order: a pause between the two makes less of the difference, and not more.
        now, steady = time.time_ns(), time.monotonic_ns()
        if now - steady > _ahead:
            _ahead = now - steady
        moment = steady + _ahead
        _last = moment = moment if moment > _last else _last + 1
        return moment


def time_ordered_id() -> str:
    """A unique key of 32 hexadecimal digits whose order is the order of making it."""
    return f"{next_moment():016x}{secrets.token_hex(8)}"
