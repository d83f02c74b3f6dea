"""Writes the revision for a changed schema."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection

from holdfast.config import SQLiteConfig
from holdfast.engines.protocol import Engine
from holdfast.engines.sqlite.engine import SQLiteEngine
from holdfast.migrations.chain import HOLDFAST, Chain
from holdfast.migrations.runner import failing, migrate, run
from holdfast.migrations.trial import alone

__all__ = ["generate", "write_revision"]


async def write_revision(message: str, chains: Sequence[Chain] = (HOLDFAST,)) -> Path:
    """Write the last chain's next revision: what its tables lack after all chains have run."""
    engine = SQLiteEngine(SQLiteConfig(path=":memory:"))
    await engine.connect()
    try:
        await migrate(engine, chains)
        return await generate(engine, message, chains)
    finally:
        await engine.close()


async def generate(engine: Engine, message: str, chains: Sequence[Chain] = (HOLDFAST,)) -> Path:
    """Write the revision that brings a migrated database to the schema of this code."""
    *others, chain = chains
    foreign = {name for other in others for name in (*other.metadata.tables, other.version_table)}

    def write(connection: Connection) -> Path:
        from alembic import command

        newest = sorted(chain.folder.glob("[0-9]*.py"))
        number = f"{int(newest[-1].stem.split('_')[0]) + 1 if newest else 1:04d}"
        config = chain.config(connection=connection, foreign=foreign)
        with failing(chain), alone():
            script = command.revision(config, message, autogenerate=True, rev_id=number)
        return Path(script.path)  # type: ignore[union-attr]

    return await run(engine, write)
