"""Backends and SQL for databases in which other people's objects are."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any
from urllib.parse import quote

import asyncpg

from holdfast import PersistenceBackend, create_backend

__all__ = ["ask", "in_schema", "opened", "run"]


@asynccontextmanager
async def opened(url: str, *, migrate: bool = True) -> AsyncIterator[PersistenceBackend]:
    """A backend that is connected, and migrated if nothing else is said."""
    backend = create_backend(url)
    await backend.connect()
    try:
        if migrate:
            await backend.migrate()
        yield backend
    finally:
        await backend.disconnect()


def in_schema(url: str, schema: str) -> str:
    return f"{url}?schema={quote(schema, safe='')}"


async def run(url: str, *statements: str) -> None:
    """What somebody else sends to the database, on either engine."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file, file:
            for statement in statements:
                file.execute(statement)
        return
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def ask(url: str, sql: str) -> list[tuple[Any, ...]]:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            return list(file.execute(sql))
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()
