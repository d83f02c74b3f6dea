"""The drivers alone, on the same tables, with the same SQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite
import asyncpg
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from benchmarks.workloads import Workload
from holdfast import PersistenceBackend
from holdfast.engines.compiler import CompiledStatement

__all__ = ["POOL_SIZE", "Contender", "compiler", "postgres_drivers", "sqlite_drivers"]

POOL_SIZE = 10

#: Runs one call with arguments that are bound already.
Contender = Callable[[Workload, tuple[Any, ...]], Awaitable[Any]]


def compiler(backend: PersistenceBackend) -> Callable[[Workload], CompiledStatement]:
    """Holdfast's own SQL for a workload, so that every contender sends the same."""
    engine = backend._core.engine  # type: ignore[attr-defined]
    compile_ = engine._runner.compile if backend.backend_name == "postgres" else engine._compile
    return lambda workload: compile_(workload.statement)


@asynccontextmanager
async def postgres_drivers(
    url: str, sql: Callable[[Workload], CompiledStatement]
) -> AsyncIterator[dict[str, Contender]]:
    async with AsyncExitStack() as stack:
        connection = await asyncpg.connect(url)
        stack.push_async_callback(connection.close)
        pool = await asyncpg.create_pool(url, min_size=POOL_SIZE, max_size=POOL_SIZE)
        stack.push_async_callback(pool.close)
        engine = create_async_engine(
            url.replace("postgresql://", "postgresql+asyncpg://", 1), pool_size=POOL_SIZE
        )
        stack.push_async_callback(engine.dispose)
        prepared: dict[str, Any] = {}

        async def bare(workload: Workload, arguments: tuple[Any, ...]) -> Any:
            text = sql(workload).sql
            if text not in prepared:
                prepared[text] = await connection.prepare(text)
            return await prepared[text].fetch(*arguments)

        async def per_call(workload: Workload, arguments: tuple[Any, ...]) -> Any:
            async with pool.acquire() as borrowed:
                return await borrowed.fetch(sql(workload).sql, *arguments)

        yield {
            "prepared": bare,
            "asyncpg.Pool": per_call,
            "SQLAlchemy": _through_sqlalchemy(engine),
        }


@asynccontextmanager
async def sqlite_drivers(
    path: Path, sql: Callable[[Workload], CompiledStatement]
) -> AsyncIterator[dict[str, Contender]]:
    async with AsyncExitStack() as stack:
        # Each statement commits by itself. With the driver's implicit transactions, one caller's
        # commit would carry whatever half-done work others have on the connection.
        connection = await stack.enter_async_context(aiosqlite.connect(path, isolation_level=None))
        await connection.execute("PRAGMA journal_mode=WAL")
        await connection.execute("PRAGMA synchronous=FULL")
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        event.listen(engine.sync_engine, "connect", _be_durable)
        stack.push_async_callback(engine.dispose)

        async def per_call(workload: Workload, arguments: tuple[Any, ...]) -> Any:
            async with connection.execute(sql(workload).sql, arguments) as cursor:
                return await cursor.fetchone()

        async def one_trip(workload: Workload, arguments: tuple[Any, ...]) -> Any:
            return await connection.execute_fetchall(sql(workload).sql, arguments)

        yield {
            "aiosqlite": per_call,
            "aiosqlite, one trip": one_trip,
            "SQLAlchemy": _through_sqlalchemy(engine),
        }


def _through_sqlalchemy(engine: AsyncEngine) -> Contender:
    async def per_call(workload: Workload, arguments: tuple[Any, ...]) -> Any:
        values = dict(zip(workload.statement.parameters, arguments, strict=False))
        async with engine.begin() as connection:
            result = await connection.execute(workload.statement.expression, values)
            return result.all() if result.returns_rows else None

    return per_call


def _be_durable(connection: Any, _: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000"):
        connection.execute(f"PRAGMA {pragma}")
