"""What `dump.load` has filled a database with: looked at, and taken out again if it is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from holdfast.config import PostgresConfig
from holdfast.engines.postgres.connection import open_connection
from holdfast.engines.postgres.errors import translate
from holdfast.engines.postgres.namespace import path_to
from holdfast.engines.upkeep import Accept

__all__ = ["look_at", "undone_unless_accepted"]

#: Where the reference is built, in a transaction that is rolled back.
_SCRATCH = "holdfast_reference"

#: What a backup may hold and nothing else brings along, as ``DROP`` wants it; in this order.
_OBJECTS = """
WITH places AS (
  SELECT oid FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$)'
), found (rank, class, id) AS (
  SELECT 1, tableoid, oid FROM pg_event_trigger
  UNION ALL SELECT 2, tableoid, oid FROM pg_publication
  UNION ALL SELECT 3, tableoid, oid FROM pg_extension
  UNION ALL SELECT 4, tableoid, oid FROM pg_class
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND relnamespace IN (SELECT oid FROM places)
  UNION ALL SELECT 5, tableoid, oid FROM pg_proc
    WHERE pronamespace IN (SELECT oid FROM places)
  UNION ALL SELECT 6, tableoid, oid FROM pg_type
    WHERE typtype IN ('d', 'e', 'r') AND typnamespace IN (SELECT oid FROM places)
  UNION ALL SELECT 7, tableoid, oid FROM pg_opfamily
    WHERE opfnamespace IN (SELECT oid FROM places)
  UNION ALL SELECT 8, tableoid, oid FROM pg_collation
    WHERE collnamespace IN (SELECT oid FROM places)
  UNION ALL SELECT 9, n.tableoid, n.oid FROM pg_namespace n JOIN places ON places.oid = n.oid
)
SELECT format('%s IF EXISTS %s', type, identity) FROM found, pg_identify_object(class, id, 0)
WHERE NOT EXISTS (SELECT FROM pg_depend WHERE classid = class AND objid = id AND deptype = 'e')
ORDER BY rank, id
"""


@asynccontextmanager
async def undone_unless_accepted(connection: asyncpg.Connection[Any]) -> AsyncIterator[None]:
    """Drop what was made inside if that raises."""
    before = set(await _objects(connection))
    try:
        yield
    except BaseException:
        async with connection.transaction():
            for made in await _objects(connection):
                if made not in before:
                    await connection.execute(f"DROP {made} CASCADE")
        raise


async def look_at(config: PostgresConfig, accept: Accept) -> None:
    """Let ``accept`` look at the database beside an empty schema."""
    engine = create_async_engine(
        "postgresql+asyncpg://",
        poolclass=NullPool,
        async_creator=lambda: open_connection(config, direct=True),
    )
    try:
        async with engine.connect() as found, engine.connect() as reference:
            await reference.execute(text(f"CREATE SCHEMA {_SCRATCH}"))
            for connection, schema in ((found, str(config.schema_name)), (reference, _SCRATCH)):
                path = path_to(schema)
                await connection.execute(select(func.set_config("search_path", path, True)))
            beside = reference.sync_connection
            assert beside is not None  # noqa: S101 - it is open
            await found.run_sync(accept, beside)
    except SQLAlchemyError as error:
        # SQLAlchemy's form of the driver's error has that as its cause.
        driver = getattr(getattr(error, "orig", None), "__cause__", None)
        raise translate(driver or error, None) from error
    finally:
        await engine.dispose()


async def _objects(connection: asyncpg.Connection[Any]) -> list[str]:
    return [row[0] for row in await connection.fetch(_OBJECTS)]
