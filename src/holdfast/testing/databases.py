"""Fresh, migrated databases, each a copy of a template that was migrated once."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

from holdfast.backend import PersistenceBackend

__all__ = [
    "ADMINISTERED",
    "ENGINES",
    "MakeBackend",
    "PostgresDatabases",
    "SQLiteFiles",
    "at",
    "connected",
    "run_sql",
]

#: As the fixtures name them.
ENGINES = ("sqlite-memory", "sqlite-file", "postgres")

#: By name the databases there are, as the URL of the role that made them.
ADMINISTERED: dict[str, str] = {}

#: Makes a disconnected backend on a database of its own; what is passed goes to `create_backend`.
MakeBackend = Callable[..., Awaitable[PersistenceBackend]]
Connect = Callable[[str], PersistenceBackend]


def at(server: str, database: str) -> str:
    """The URL of another database of the same server."""
    return urlunsplit(urlsplit(server)._replace(path=f"/{database}"))


async def run_sql(url: str, *statements: str) -> None:
    """Run statements on PostgreSQL, each committed on its own."""
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@asynccontextmanager
async def connected(
    backend: PersistenceBackend, *, like: SQLiteFiles | None = None
) -> AsyncIterator[PersistenceBackend]:
    """Connect, migrate what is not migrated yet, and disconnect in the end.

    ``like`` is for a database in memory: it gets that schema at once, instead of step by step.
    """
    await backend.connect()
    try:
        if like is not None:
            await like.fill(backend)
        if not await backend.health():
            await backend.migrate()
        yield backend
    finally:
        await backend.disconnect()


async def _migrate(backend: PersistenceBackend) -> None:
    async with connected(backend):
        pass


async def _give(backend: PersistenceBackend, prefix: str) -> None:
    """Make roles, and give the owner among them what is there."""
    await backend.connect()
    try:
        await backend.operations.create_roles(prefix, passwords={"app": SecretStr(prefix)})
    finally:
        await backend.disconnect()


async def _copies_files_fast(server: str) -> bool:
    """Whether databases are copied best file by file: a tenth of the work of going through the
    log, but for a checkpoint, which takes its time where the server syncs."""
    import asyncpg

    connection = await asyncpg.connect(server)
    try:
        syncs = await connection.fetchval("SHOW fsync") == "on"
        return connection.get_server_version().major >= 15 and not syncs
    finally:
        await connection.close()


class PostgresDatabases:
    """Databases on one server, ``server`` being the URL of one that exists.

    ``confined``: they belong to an owner, and `url` is for a role under row-level security.
    """

    def __init__(self, server: str, connect: Connect, *, confined: bool = False) -> None:
        self.server = server
        self._connect = connect
        self._made: list[str] = []
        self._copying = ""
        #: What the names of its roles begin with.
        self.roles = f"hf_{uuid.uuid4().hex[:12]}" if confined else None
        #: A migrated database that nobody is connected to; set by `prepare`.
        self.template = ""

    def prepare(self) -> None:
        """Make and migrate the template; not on an event loop."""
        if asyncio.run(_copies_files_fast(self.server)):
            self._copying = " STRATEGY FILE_COPY"
        template = asyncio.run(self.create(copy_of="template0"))
        asyncio.run(_migrate(self._connect(at(self.server, template))))
        if self.roles is not None:
            asyncio.run(_give(self._connect(at(self.server, template)), self.roles))
        self.template = template

    def url(self, name: str) -> str:
        """Of a database that `create` made, for an application."""
        found = at(self.server, name)
        if self.roles is None:
            return found
        parts = urlsplit(found)
        who = f"{self.roles}_app:{self.roles}"
        return urlunsplit(parts._replace(netloc=f"{who}@{parts.netloc.rpartition('@')[2]}"))

    async def create(self, *, copy_of: str | None = None) -> str:
        """The name of a new database, a copy of the template if no other is given."""
        name = f"holdfast_{uuid.uuid4().hex}"
        source = copy_of or self.template
        await run_sql(self.server, f"CREATE DATABASE {name} TEMPLATE {source}{self._copying}")
        if self.roles is not None:  # rights on a database are not copied
            await run_sql(self.server, f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC")
        self._made.append(name)
        ADMINISTERED[name] = at(self.server, name)
        return name

    async def drop(self, name: str) -> None:
        await run_sql(self.server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self._made.remove(name)
        del ADMINISTERED[name]

    def close(self) -> None:
        """Drop what is left, the template too; not on an event loop."""
        for name in [*self._made]:
            asyncio.run(self.drop(name))
        if self.roles is not None:
            names = (f"{self.roles}_{role}" for role in ("app", "migrator", "owner"))
            asyncio.run(run_sql(self.server, *(f"DROP ROLE IF EXISTS {name}" for name in names)))


class SQLiteFiles:
    """Files in directories of their own."""

    def __init__(self, template: Path, connect: Connect) -> None:
        self.template = template
        asyncio.run(_migrate(connect(f"sqlite:///{template}")))

    def create(self, directory: Path) -> str:
        """The URL of a copy; nobody has the template open, so that copying is safe."""
        path = directory / "org.db"
        shutil.copy(self.template, path)
        return f"sqlite:///{path}"

    async def fill(self, backend: PersistenceBackend) -> None:
        """Give an empty SQLite database the schema of the template."""
        await backend.get_db().run(lambda connection: connection.executescript(self._script))

    @cached_property
    def _script(self) -> str:
        with closing(sqlite3.connect(self.template)) as connection:
            return "\n".join(connection.iterdump())
