"""What revisions make, found out by running them: on a database in memory, and nowhere else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, inspect
from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet

from holdfast.errors import MigrationError

if TYPE_CHECKING:
    from holdfast.migrations.chain import Chain

__all__ = ["Made", "alone", "made"]

_RUNNING = threading.Lock()
_PAUSE = 0.01

_NAMES = """
SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
"""


@contextmanager
def alone(*, wait: bool = True) -> Iterator[None]:
    """Keep every other run of revisions in this process waiting, or be refused.

    Alembic has one ``op`` for all: a second run would send its statements to the first one's
    database.
    """
    while not _RUNNING.acquire(blocking=wait and not _in_greenlet()):
        if not wait:
            raise MigrationError("this process is migrating a database: try again when it has")
        await_only(asyncio.sleep(_PAUSE))
    try:
        yield
    finally:
        _RUNNING.release()


def _in_greenlet() -> bool:
    try:
        return in_greenlet()
    except ImportError:  # greenlet comes with PostgreSQL's extra, and nothing runs in one without
        return False


@dataclass(frozen=True, slots=True)
class Made:
    """The columns of each table, and the names of tables, indexes and triggers."""

    tables: dict[str, set[str]]
    names: set[str]


def made(chain: Chain, revision: str) -> Made:
    """What the chain's revisions up to this one have made, and have not dropped again."""
    from alembic import command

    engine = create_engine("sqlite://")
    try:
        with engine.begin() as connection, alone():
            command.upgrade(chain.config(connection=connection), revision)
            names = set(connection.exec_driver_sql(_NAMES).scalars()) - {chain.version_table}
            found = inspect(connection).get_multi_columns()
            tables = {
                table: {column["name"] for column in columns}
                for (_, table), columns in found.items()
                if table in names
            }
    finally:
        engine.dispose()
    return Made(tables, names)
