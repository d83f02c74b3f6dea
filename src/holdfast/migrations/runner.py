"""Runs Alembic inside the process: nothing to install, no file to write."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from alembic import autogenerate, command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from holdfast.engines.base import Engine
from holdfast.errors import MigrationError, PersistenceError, SchemaTooNewError
from holdfast.schema import metadata
from holdfast.schema.triggers import TRIGGERS, existing

__all__ = [
    "Revision",
    "check",
    "current",
    "downgrade",
    "generate",
    "head",
    "history",
    "migrate",
    "migration_sql",
]

T = TypeVar("T")

logger = logging.getLogger("holdfast.migrations")


class Revision(NamedTuple):
    """A step of the chain."""

    revision: str
    down_revision: str | None
    message: str


async def migrate(engine: Engine) -> None:
    """Bring the schema to the newest revision; of processes that start at once, one works.

    Raises `SchemaTooNewError` if the database is ahead of this code, else `MigrationError`.
    """
    if await _run(engine, _stands_at_head):
        return  # the usual start of a process: no lock taken

    def upgrade(connection: Connection) -> None:
        if not _stands_at_head(connection):  # somebody may have migrated while we waited
            command.upgrade(_config(connection=connection), "head")
            logger.info("migrated to revision %s", head())

    await _run(engine, upgrade, exclusive=True)


async def downgrade(engine: Engine, revision: str) -> None:
    """Undo revisions down to ``revision`` (or ``base``, or ``-1`` for one step)."""

    def undo(connection: Connection) -> None:
        _stands_at_head(connection)
        command.downgrade(_config(connection=connection), revision)

    await _run(engine, undo, exclusive=True)


async def current(engine: Engine) -> str | None:
    """The database's revision; ``None`` before the first migration."""
    return await _run(engine, _revision)


async def check(engine: Engine) -> Sequence[str]:
    """How the database differs from this code's schema, one line each; empty if it does not."""

    def compare(connection: Connection) -> Sequence[str]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found = [_describe(item) for item in autogenerate.compare_metadata(context, metadata)]
        stored = existing(connection)
        found += [f"missing trigger {name}" for name in TRIGGERS if name not in stored]
        found += [f"unknown trigger {name}" for name in sorted(stored) if name not in TRIGGERS]
        return found

    return await _run(engine, compare)


def head() -> str:
    """The newest revision this code knows."""
    newest = _scripts().get_current_head()
    assert newest is not None  # noqa: S101 - there is always a first revision
    return newest


def history() -> Sequence[Revision]:
    """Every revision, newest first."""
    return [
        Revision(script.revision, script.down_revision, script.doc)  # type: ignore[arg-type]
        for script in _scripts().walk_revisions()
    ]


def migration_sql(dialect: str, *, revisions: str = "head") -> str:
    """What a migration would send, as SQL text; ``revisions`` may be a range ``from:to``."""
    output = io.StringIO()
    config = _config(dialect=dialect)
    config.output_buffer = output
    command.upgrade(config, revisions, sql=True)
    return output.getvalue()


async def generate(engine: Engine, message: str) -> Path:
    """Write the revision that brings a migrated database to the schema of this code."""

    def write(connection: Connection) -> Path:
        newest = sorted(Path(__file__).with_name("versions").glob("[0-9]*.py"))
        number = f"{int(newest[-1].stem.split('_')[0]) + 1 if newest else 1:04d}"
        script = command.revision(
            _config(connection=connection), message, autogenerate=True, rev_id=number
        )
        return Path(script.path)  # type: ignore[union-attr]

    return await _run(engine, write)


async def _run(engine: Engine, work: Callable[[Connection], T], *, exclusive: bool = False) -> T:
    try:
        return await engine.run_sync(work, exclusive=exclusive)
    except MigrationError:
        raise
    except CommandError as error:
        raise MigrationError(str(error)) from error
    except Exception as error:  # a revision is code: it can raise anything
        # SQLAlchemy's text quotes the statement and its parameters; the cause keeps them.
        reason = type(getattr(error, "orig", None) or error).__name__
        detail = f": {error}" if isinstance(error, PersistenceError) else f" ({reason})"
        raise MigrationError(f"the migration failed and was undone{detail}") from error


def _stands_at_head(connection: Connection) -> bool:
    revision = _revision(connection)
    known = {script.revision for script in _scripts().walk_revisions()}
    if revision is not None and revision not in known:
        raise SchemaTooNewError(
            f"the database is at revision {revision}, which this Holdfast does not know (its "
            f"newest is {head()}): it was migrated by a newer release. Upgrade Holdfast, or "
            "downgrade the database with that release"
        )
    return revision == head()


def _revision(connection: Connection) -> str | None:
    # In the transaction that an exclusive run began: on SQLite that is what excludes the others,
    # so it must last until the end. Alembic joins it, and `run_sync` commits.
    return MigrationContext.configure(connection).get_current_revision()


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config(**attributes: Any) -> Config:
    config = Config(attributes=attributes)
    here = str(Path(__file__).parent)
    config.set_main_option("script_location", here.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    return config


def _describe(item: Any) -> str:
    if isinstance(item, list):  # changes of one column come as a list
        return "; ".join(_describe(part) for part in item)
    kind, *rest = item
    names = [str(getattr(part, "name", part)) for part in rest if part is not None]
    return f"{kind}: {'.'.join(names)}"
