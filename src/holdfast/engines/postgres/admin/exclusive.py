"""Work on the schema: alone among its like, and never in the way of readers and writers."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import asyncpg
import sqlalchemy
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from holdfast.engines.postgres.namespace import quoted
from holdfast.engines.protocol import EXCLUSIVE_SECONDS
from holdfast.errors import PersistenceError, QueryTimeoutError

__all__ = ["exclude_others", "giving_way"]

T = TypeVar("T")

#: How long the lock of migrations is waited for while a role has it that cannot migrate.
PATIENCE_SECONDS = 5.0

# Any role may take an advisory lock. Whoever may create in the schema, owns something there, or may
# become a role of which one is true, could migrate. A prepared transaction has no session.
_HOLDERS = sqlalchemy.text("""
SELECT a.pid, a.usename::text, a.application_name, EXISTS (
  SELECT FROM pg_roles r WHERE pg_has_role(a.usesysid, r.oid, 'MEMBER') AND (
    has_schema_privilege(r.oid, n.oid, 'CREATE')
    OR EXISTS (SELECT FROM pg_class WHERE relnamespace = n.oid AND relowner = r.oid))
) AS could_migrate
FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid),
  pg_namespace n, hashtextextended('holdfast', 0) AS key
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND n.nspname = :schema
AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND (l.classid::bigint << 32) | l.objid::bigint = key AND (l.pid IS NULL OR a.pid IS NOT NULL)
ORDER BY could_migrate DESC
""")
_MAY_CREATE = sqlalchemy.text("SELECT has_schema_privilege(:schema, 'CREATE')")
_TRY = sqlalchemy.text("SELECT pg_try_advisory_lock(hashtextextended('holdfast', 0))")
# The session that holds the name does nothing else.
_MAY_IDLE = sqlalchemy.text(
    "SELECT set_config(name, '0', false) FROM pg_settings"
    " WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout')"
)

#: Who waits for the lock of a table keeps all behind him waiting that come later, readers too.
LOCK_MILLISECONDS = 200
_LOCK_TIMEOUT = sqlalchemy.text(f"SET lock_timeout = {LOCK_MILLISECONDS}")

logger = logging.getLogger("holdfast.postgres")


async def giving_way(run: Callable[[], Awaitable[T]]) -> T:
    """Run, and run again as long as the reason to fail is a lock that was not free in time.

    What ``run`` did is rolled back in between, and those who queued behind it go first.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + EXCLUSIVE_SECONDS
    while True:
        try:
            return await run()
        except PersistenceError as error:
            if not _waited_for_a_lock(error) or loop.time() >= deadline:
                raise
        await asyncio.sleep(random.uniform(0.2, 1.0))  # noqa: S311


def _waited_for_a_lock(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, asyncpg.LockNotAvailableError):
            return True
        error = error.__cause__
    return False


@asynccontextmanager
async def exclude_others(
    connection: AsyncConnection, engine: AsyncEngine, schema: str
) -> AsyncIterator[None]:
    """Keep other exclusive runs away inside, those of earlier releases too.

    By an advisory lock, which ``connection`` keeps until it is closed. A role that has it and could
    not migrate is passed over, so also by what such a role cannot have: a name in the schema. A
    second session makes a type there, and never commits.
    """
    await connection.execute(_LOCK_TIMEOUT)
    may_create = bool(await connection.scalar(_MAY_CREATE, {"schema": schema}))
    await _take_the_lock(connection, schema, may_pass=may_create)
    if not may_create:  # there must be nothing to migrate
        yield
        return
    other = await engine.connect()
    try:
        await _take_the_name(other, schema)
        yield
    finally:
        with suppress(SQLAlchemyError):  # somebody may have ended it, which undoes nothing
            await other.close()


async def _take_the_lock(connection: AsyncConnection, schema: str, *, may_pass: bool) -> None:
    """Ask again and again.

    A blocking wait would hold a snapshot open, and CREATE INDEX CONCURRENTLY of the process that
    has the lock would wait for that snapshot: a deadlock.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        got = await connection.scalar(_TRY)
        waited = loop.time() - began
        holder = None
        if not got and waited >= min(PATIENCE_SECONDS, EXCLUSIVE_SECONDS):
            holder = (await connection.execute(_HOLDERS, {"schema": schema})).first()
        await connection.commit()
        if got:
            return
        shown = (
            f"the session {holder[0]} of the role {holder[1]!r} ({holder[2] or 'unnamed'!r})"
            if holder and holder[0]
            else "another process"
        )
        if holder and not holder[3] and may_pass:
            logger.warning(
                "%s has the lock of migrations and cannot migrate: going on without it", shown
            )
            return
        if waited >= EXCLUSIVE_SECONDS:
            raise QueryTimeoutError(
                f"{shown} has had the lock of migrations for more than {EXCLUSIVE_SECONDS:g} s. If "
                "it does not migrate, end it: SELECT pg_terminate_backend(<its number>)"
            )
        await asyncio.sleep(random.uniform(0.05, 0.15))  # noqa: S311


async def _take_the_name(other: AsyncConnection, schema: str) -> None:
    """Whoever makes the same type waits for the end of this transaction, briefly: `giving_way`.

    An idle transaction has no snapshot, for which CREATE INDEX CONCURRENTLY would wait.
    """
    await other.execute(_MAY_IDLE)
    await other.execute(_LOCK_TIMEOUT)
    await other.commit()
    try:
        await other.exec_driver_sql(f"CREATE TYPE {quoted(schema)}.holdfast_migrating AS ENUM ()")
    except DBAPIError as error:
        if not _waited_for_a_lock(error.orig):
            raise
        raise QueryTimeoutError(
            "another process migrates, or changes the schema, for too long"
        ) from error.orig
