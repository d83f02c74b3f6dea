"""Backup, restore and inspection, each on a thread and a connection of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from holdfast.engines.sqlite.admin import copying
from holdfast.engines.sqlite.admin.inspection import bytes_of_tables, inspect, only_text
from holdfast.engines.sqlite.errors import translate
from holdfast.engines.sqlite.files import Database
from holdfast.engines.sqlite.thread import ConnectionThread
from holdfast.engines.upkeep import Accept, Finding

__all__ = ["SQLiteUpkeep"]

T = TypeVar("T")


class SQLiteUpkeep:
    """See `holdfast.engines.upkeep.Upkeep`."""

    _database: Database
    _writer_thread: ConnectionThread

    async def describe(self) -> Mapping[str, str]:
        return {
            "engine": "sqlite",
            "version": sqlite3.sqlite_version,
            "database": ":memory:" if self._database.in_memory else str(self._database.path),
        }

    async def table_bytes(self) -> Mapping[str, int | None]:
        return await self._writer_thread.run(bytes_of_tables)

    async def look_up(self, table: str, column: str) -> str | None:
        try:
            return await self._writer_thread.run(partial(only_text, table=table, column=column))
        except sqlite3.Error as error:
            raise translate(error, None) from error

    async def backup(self, target: Path, tables: Sequence[str]) -> Mapping[str, int]:
        return await self._aside(partial(copying.copy_to, target=target, tables=tables))

    async def restore(self, source: Path, accept: Accept) -> None:
        self._database.check_writable()
        await self._aside(partial(copying.copy_from, source=source, accept=accept))

    async def count(self, tables: Sequence[str]) -> Mapping[str, int]:
        return await self._aside(partial(copying.count_at_once, tables=tables))

    async def inspect(self, *, thorough: bool = False) -> Sequence[Finding]:
        return await self._aside(partial(inspect, database=self._database, thorough=thorough))

    async def _aside(self, work: Callable[[sqlite3.Connection], T]) -> T:
        thread = ConnectionThread("holdfast-sqlite-upkeep", self._database.open_direct)
        try:
            try:
                await thread.start()
                found = await thread.run(work)
                self._database.check_opened()
                return found
            finally:
                await thread.stop()
        except sqlite3.Error as error:
            raise translate(error, None) from error
