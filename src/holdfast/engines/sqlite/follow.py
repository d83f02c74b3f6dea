"""Following a log on SQLite: one writer at a time commits, so numbers appear in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from holdfast.engines.protocol import QUIET_SECONDS
from holdfast.errors import ChangesLostError, PoolTimeoutError, QueryTimeoutError
from holdfast.storage.session import CHUNK, Log, Row, Session

__all__ = ["follow"]


async def follow(
    session: Session, log: Log, tenant: str, names: str, after: int | None, pause: float
) -> AsyncIterator[tuple[int, Sequence[Row]]]:
    """See `holdfast.engines.protocol.Engine.follow`. Looks again and again, through the readers."""
    if after is None:
        after = await _newest(session, log, tenant)
        yield after, ()
    now = asyncio.get_running_loop().time
    quiet = now() + QUIET_SECONDS
    while True:
        rows: Sequence[Row] = ()
        try:
            newest = await _newest(session, log, tenant)
            if newest > after:
                arguments = (tenant, names, after, newest)
                rows = await session.fetch(log.piece, arguments, at_most=CHUNK)
        except (PoolTimeoutError, QueryTimeoutError):
            continue  # others were in the way for that long; there is no hurry
        if newest < after:
            raise ChangesLostError("the log was made anew, or lost its end in a crash")
        if newest == after and now() < quiet:
            await asyncio.sleep(pause)
            continue
        after = rows[-1][0] if len(rows) == CHUNK else newest
        yield after, rows
        quiet = now() + QUIET_SECONDS


async def _newest(session: Session, log: Log, tenant: str) -> int:
    row = await session.get(log.newest, (tenant,))
    return (row[0] if row is not None else None) or 0
