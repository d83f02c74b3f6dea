"""Which history of the database the primary is on, and what a new one is missing.

A promoted standby begins a new timeline. Where it followed asynchronously, the last of what the
old primary acknowledged is not on it. That cannot be undone, but it is noticed: every new
connection tells its timeline before a caller gets it, and when that changes the writes this
process was told are stored are looked up, each by its key.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import asyncpg
from sqlalchemy import Table, bindparam, select

from holdfast.engines.postgres.replication.recent_writes import RecentWrites
from holdfast.engines.stats import Failover
from holdfast.errors import PersistenceError
from holdfast.storage.session import Row, Statement
from holdfast.storage.tables import TENANT

__all__ = ["History", "Timelines"]

logger = logging.getLogger("holdfast.postgres")

#: How many look-ups are under way at once.
TOGETHER = 500

_LOOK = """
SELECT (SELECT system_identifier FROM pg_control_system())::text,
       CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_lsn()) END
"""


class History(NamedTuple):
    """``cluster`` is what initdb named it; a promotion counts ``timeline`` up."""

    cluster: str
    timeline: int

    def __str__(self) -> str:
        return f"{self.cluster}/{self.timeline}"


class Timelines:
    """``look`` sees every new connection to the primary."""

    def __init__(
        self,
        acknowledged: RecentWrites,
        read: Callable[[Statement, tuple[Any, ...]], Awaitable[Sequence[Row]]],
        changed: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._acknowledged = acknowledged
        self._read = read
        self._changed = changed
        self._lookups: dict[Table, Statement] = {}
        #: ``None`` until a primary has told, or for ever, where the role may not ask.
        self.current: History | None = None
        self.failovers: list[Failover] = []

    async def look(self, raw: asyncpg.Connection[Any]) -> str:
        """Why the server must not be used: it is on a history that was left. Else nothing."""
        try:
            # Without a name: in a session of others, behind a pooler, theirs may be taken.
            row = await (await raw.prepare(_LOOK, name="")).fetchrow()
        except asyncpg.PostgresError:
            return ""  # not every service lets a role ask
        if row is None or row[1] is None:
            return ""
        found, before = History(row[0], int(row[1][:8], 16)), self.current
        if before is None or found == before:
            self.current = found
            return ""
        if found.cluster == before.cluster and found.timeline < before.timeline:
            return (
                f"it is on timeline {found.timeline}, which was left for {before.timeline}: "
                "an old primary? Make it a standby of the new one"
            )
        self.current = found
        # In the same step: what is acknowledged from here on may be of the new history.
        stored, seconds = self._acknowledged.latest()
        self._changed(self._audit(str(before), str(found), stored, seconds))
        return ""

    async def _audit(
        self, before: str, after: str, stored: dict[Table, dict[Any, None]], seconds: float
    ) -> None:
        at = datetime.now(UTC)
        keys = [(table, key) for table, found in stored.items() for key in found]
        checked, missing, broken_off = 0, [], ""
        for start in range(0, len(keys), TOGETHER):
            piece = keys[start : start + TOGETHER]
            answers = await asyncio.gather(
                *(self._read(self._lookup(table), key) for table, key in piece),
                return_exceptions=True,  # what the others were answered is known all the same
            )
            for (table, key), rows in zip(piece, answers, strict=True):
                if isinstance(rows, PersistenceError):
                    broken_off = f"{type(rows).__name__}: {rows}"
                elif isinstance(rows, BaseException):
                    raise rows
                else:
                    checked += 1
                    if not rows:
                        missing.append((table.name, *key))
            if broken_off:
                break
        failover = Failover(
            at, before, after, seconds, len(keys), checked, tuple(missing), broken_off
        )
        self.failovers.append(failover)
        _tell(failover)

    def _lookup(self, table: Table) -> Statement:
        statement = self._lookups.get(table)
        if statement is None:
            key = [column.name for column in table.primary_key]
            statement = self._lookups[table] = _lookup(table, key)
        return statement


def _tell(failover: Failover) -> None:
    """An error where the look-up was broken off: what was not looked up may be missing too."""
    text = (
        "failover from %s to %s: of %d writes acknowledged in the %.1f s before, %d were looked"
        " up and %d are missing"
    )
    values: list[object] = [
        failover.before, failover.after, failover.acknowledged, failover.seconds, failover.checked,
        len(failover.missing),
    ]  # fmt: skip
    unchecked = failover.acknowledged - failover.checked
    if failover.broken_off:
        text += "; the look-up was not finished, nothing is known of the other %d: %s"
        values += [unchecked, failover.broken_off]
    logger.log(
        logging.ERROR if failover.broken_off else logging.WARNING, text, *values,
        extra={
            "before": failover.before, "after": failover.after, "checked": failover.checked,
            "missing": len(failover.missing), "unchecked": unchecked,
        },
    )  # fmt: skip


def _lookup(table: Table, key: Sequence[str]) -> Statement:
    columns = [table.c[name] for name in key]
    expression = select(table.c[TENANT]).where(
        *(column == bindparam(column.name, type_=column.type) for column in columns)
    )
    return Statement(f"failover.{table.name}", expression, tuple(key), table)
