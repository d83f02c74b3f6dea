"""Backup, restore and inspection, on a direct connection of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from holdfast.config import PostgresConfig
from holdfast.engines.postgres.admin import dump
from holdfast.engines.postgres.admin.inspection import inspect
from holdfast.engines.postgres.admin.restoring import look_at, undone_unless_accepted
from holdfast.engines.postgres.connection import open_connection
from holdfast.engines.postgres.errors import translate
from holdfast.engines.upkeep import Accept, Finding

__all__ = ["PostgresUpkeep"]


class PostgresUpkeep:
    """See `holdfast.engines.upkeep.Upkeep`."""

    _config: PostgresConfig

    async def backup(self, target: Path, tables: Sequence[str]) -> Mapping[str, int]:
        async with self._aside() as connection:
            return await dump.dump(self._config, connection, target, tables)

    async def restore(self, source: Path, accept: Accept) -> None:
        async with self._aside() as connection, undone_unless_accepted(connection):
            await dump.load(self._config, connection, source)
            await look_at(self._config, accept)

    async def count(self, tables: Sequence[str]) -> Mapping[str, int]:
        async with (
            self._aside() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            return await dump.count(self._config, connection, tables)

    async def inspect(self, *, thorough: bool = False) -> Sequence[Finding]:
        async with self._aside() as connection:
            return await inspect(connection, self._config, thorough=thorough)

    @asynccontextmanager
    async def _aside(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        connection = await open_connection(self._config, direct=True)
        try:
            yield connection
            await connection.close()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise translate(error, None) from error
        finally:
            connection.terminate()
