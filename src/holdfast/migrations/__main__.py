"""``python -m holdfast.migrations "add budgets"`` writes the revision for a changed schema."""

from __future__ import annotations

import asyncio
import sys

from holdfast.config import SQLiteConfig
from holdfast.engines.sqlite.engine import SQLiteEngine
from holdfast.migrations import generate, migrate


async def main(message: str) -> None:
    engine = SQLiteEngine(SQLiteConfig(path=":memory:"))
    await engine.connect()
    try:
        await migrate(engine)
        await generate(engine, message)
    finally:
        await engine.close()


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].strip():
        sys.exit('usage: make revision m="what changes"')
    asyncio.run(main(sys.argv[1]))
