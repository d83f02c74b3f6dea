"""Following a log on SQLite: one writer at a time commits, so numbers appear in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from holdfast.engines.base import CHUNK, Log, Row, Session
from holdfast.errors import PoolTimeoutError, QueryTimeoutError

__all__ = ["follow"]


async def follow(
    session: Session, log: Log, tenant: str, names: str, after: int | None, pause: float
) -> AsyncIterator[tuple[int, Sequence[Row]]]:
    """See `holdfast.engines.base.Engine.follow`. Looks again and again, through the readers."""
    if after is None:
        after = await _newest(session, log, tenant)
        yield after, ()
    while True:
        try:
            newest = await _newest(session, log, tenant)
            if newest > after:
                arguments = (tenant, names, after, newest)
                rows = await session.fetch(log.piece, arguments, at_most=CHUNK)
        except (PoolTimeoutError, QueryTimeoutError):
            continue  # others were in the way for that long; there is no hurry
        if newest <= after:
            await asyncio.sleep(pause)
            continue
        after = rows[-1][0] if len(rows) == CHUNK else newest
        yield after, rows


async def _newest(session: Session, log: Log, tenant: str) -> int:
    row = await session.get(log.newest, (tenant,))
    return (row[0] if row is not None else None) or 0
