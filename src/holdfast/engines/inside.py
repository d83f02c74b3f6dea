"""Which transactions the running code is inside of: their engine is not to be used beside them.

A call on the engine would not be part of the transaction. A write waits for it on SQLite, which has
one writer, and on PostgreSQL is committed whatever becomes of the transaction; a read does not see
what the transaction wrote. So both engines refuse all of it at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from holdfast.errors import QueryError

__all__ = ["INSIDE", "check_outside", "inside"]


class _Block:
    """A transaction that was entered in this context, or in the one this was copied from."""

    __slots__ = ("engine", "outer")

    def __init__(self, engine: object, outer: _Block | None) -> None:
        #: ``None`` once it is over: tasks that were made inside may outlive it.
        self.engine: object | None = engine
        self.outer = outer


#: The innermost; ``None`` almost always, which is all that a call outside has to look at.
INSIDE: ContextVar[_Block | None] = ContextVar("holdfast_transaction", default=None)


@contextmanager
def inside(engine: object) -> Iterator[None]:
    """Count what runs in this block, and the tasks it makes, as inside of a transaction."""
    block = _Block(engine, _still_open(INSIDE.get()))
    INSIDE.set(block)
    try:
        yield
    finally:
        block.engine = None
        if INSIDE.get() is block:  # else the block is left in another context than it was entered
            INSIDE.set(_still_open(block.outer))


def check_outside(engine: object, what: str) -> None:
    """Refuse ``what`` inside a transaction of this engine."""
    block = INSIDE.get()
    while block is not None:
        if block.engine is engine:
            raise QueryError(
                f"{what}: this code is inside a transaction of the same backend, and the call "
                "would not be part of it: use the transaction's repositories (tx.tasks, not "
                "backend.tasks) or leave its block first. A task that is about something else is "
                "made with asyncio.create_task(..., context=contextvars.Context())",
                is_retryable=False,
            )
        block = block.outer


def _still_open(block: _Block | None) -> _Block | None:
    while block is not None and block.engine is None:
        block = block.outer
    return block
