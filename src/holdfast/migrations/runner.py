"""Runs Alembic inside the process: nothing to install, no file to write."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, inspect

from holdfast.changes.recorders import is_recorder, kept, renew
from holdfast.engines.protocol import Engine
from holdfast.errors import InvalidArgumentError, MigrationError, PersistenceError
from holdfast.migrations.chain import HOLDFAST, Chain, Revision
from holdfast.migrations.former import carry_over
from holdfast.migrations.obstacles import refuse_obstacles
from holdfast.migrations.trial import alone
from holdfast.printable import printable
from holdfast.schema import policies
from holdfast.storage.triggers import TRIGGERS, existing, switched_off

__all__ = [
    "beside",
    "check",
    "current",
    "downgrade",
    "head",
    "history",
    "migrate",
    "migration_sql",
    "why_not_current",
]

T = TypeVar("T")

#: The SQLSTATE of a privilege that the database role does not have.
_NO_PRIVILEGE = "42501"

#: Those of a name that another relation, type, function or schema has.
_TAKEN = ("42P07", "42710", "42723", "42P06")
_TAKEN_NAME = re.compile(r"(table|view|index|trigger) .{1,200} already exists|there is already .*")

#: Chains in the order in which they are run; Holdfast's is always the first.
Chains = Sequence[Chain]

logger = logging.getLogger("holdfast.migrations")


async def migrate(engine: Engine, chains: Chains = (HOLDFAST,)) -> None:
    """Bring every chain to its newest revision: all of them or none.

    Of processes that start at once, one works. Raises `SchemaTooNewError` if the database is ahead
    of this code, else `MigrationError`.
    """

    tables = [table for chain in chains for table in chain.metadata.tables.values()]

    def done(connection: Connection) -> bool:
        at_head = all(
            chain.stands_at_head(connection) and chain.is_carried_over(connection)
            for chain in chains
        )
        return at_head and not policies.lacking(connection, tables)

    if await run(engine, done):
        return  # the usual start of a process: no lock taken

    def upgrade(connection: Connection) -> None:
        from alembic import command  # here and below: what is up to date does without

        for chain in chains:
            chain.stands_at_head(connection)
            carry_over(chain, connection)
        refuse_obstacles(connection, chains)
        for chain in chains:
            if chain.stands_at_head(connection):  # somebody may have migrated while we waited
                continue
            with failing(chain), kept(connection), alone():
                command.upgrade(chain.config(connection=connection), "head")
                policies.protect(connection, chain.version_table)
            logger.info(
                "%smigrated to revision %s",
                chain.place,
                chain.head(),
                extra={"chain": chain.name, "revision": chain.head()},
            )
        # Behind the last chain: an extension's tables get theirs when Holdfast learns of policies.
        policies.enforce(connection, tables)
        renew(connection, tables)

    await run(engine, upgrade, exclusive=True)


async def downgrade(
    engine: Engine, revision: str, chain: Chain = HOLDFAST, *, later: Chains = ()
) -> None:
    """Undo revisions down to ``revision`` (or ``base``, or ``-1`` for one step).

    The chains that come ``later`` may build on this one, so none of them may be in the way of
    ``base``.
    """

    _refuse_unknown(revision, chain)

    def undo(connection: Connection) -> None:
        from alembic import command

        chain.stands_at_head(connection)
        held = [other.name for other in later if other.revision(connection) is not None]
        if revision == "base" and held:
            raise MigrationError(f"{chain.place}downgrade {', '.join(held)} to base first")
        carry_over(chain, connection)
        with failing(chain), kept(connection), alone():
            command.downgrade(chain.config(connection=connection), revision)

    await run(engine, undo, exclusive=True)


def _refuse_unknown(revision: str, chain: Chain) -> None:
    """Alembic takes many other words, and breaks off at some of them."""
    if not isinstance(revision, str):
        raise InvalidArgumentError(
            f"downgrade: revision must be text, not {type(revision).__name__}"
        )
    known = [step.revision for step in chain.history()]
    if revision not in ("base", "head", *known) and not re.fullmatch("-[1-9][0-9]{0,3}", revision):
        raise MigrationError(
            f"{chain.place}there is no revision {printable(revision)!r} to downgrade to: give "
            f"base, -1 for one step, or one of {', '.join(known)}"
        )


async def current(engine: Engine, chain: Chain = HOLDFAST) -> str | None:
    """The database's revision; ``None`` before the first migration."""
    return await run(engine, chain.revision)


async def why_not_current(engine: Engine, chains: Chains = (HOLDFAST,)) -> str:
    """Why the schema is not what this code works with, and the way out; empty if it is.

    Two short reads on a connection of the pool, none of its own: for every `connect`.
    """
    reasons = []
    for chain in chains:
        try:
            revision = await engine.look_up(chain.version_table, "version_num")
        except PersistenceError as error:
            reasons.append(f"{chain.place}the schema's revision cannot be read: {error}")
        else:
            reasons.append(chain.why_not_current(revision))
    return "; ".join(filter(None, reasons))


async def check(engine: Engine, chains: Chains = (HOLDFAST,)) -> Sequence[str]:
    """How the database differs from this code's schema, one line each; empty if it does not."""
    declared: Any = [chain.metadata for chain in chains]
    tables = [table for chain in chains for table in chain.metadata.tables.values()]
    ours = {table.name for table in tables}

    def is_of_interest(name: str | None, kind: str, parents: Any) -> bool:
        return kind != "table" or name in ours

    def compare(connection: Connection) -> Sequence[str]:
        from alembic.autogenerate import compare_metadata
        from alembic.runtime.migration import MigrationContext

        options = {"compare_type": True, "include_name": is_of_interest}
        context = MigrationContext.configure(connection, opts=options)
        found = [_describe(item) for item in compare_metadata(context, declared)]
        stored = {name for name in existing(connection, ours) if not is_recorder(name)}
        found += [f"missing trigger {name}" for name in TRIGGERS if name not in stored]
        found += [f"unknown trigger {name}" for name in sorted(stored) if name not in TRIGGERS]
        found += switched_off(connection, ours)
        found += policies.missing(connection, tables)
        found += [f"unknown policy {name}" for name in policies.strange(connection, tables)]
        return found

    return await run(engine, compare)


async def beside(engine: Engine, chains: Chains = (HOLDFAST,)) -> Sequence[str]:
    """Other people's tables in the same schema, by name."""
    ours = {name for chain in chains for name in (*chain.metadata.tables, chain.version_table)}

    def look(connection: Connection) -> Sequence[str]:
        return sorted(set(inspect(connection).get_table_names()) - ours)

    return await run(engine, look)


def head() -> str:
    """The newest revision this code knows."""
    newest = HOLDFAST.head()
    assert newest is not None  # noqa: S101 - there is always a first revision
    return newest


def history() -> Sequence[Revision]:
    """Every revision, newest first."""
    return HOLDFAST.history()


def migration_sql(dialect: str, *, revisions: str = "head", chains: Chains = (HOLDFAST,)) -> str:
    """What a migration would send, as SQL text; ``revisions`` may be a range ``from:to``."""
    from alembic import command

    output = io.StringIO()
    for chain in chains:
        config = chain.config(dialect=dialect)
        config.output_buffer = output
        if ":" in revisions:
            output.write(
                f"-- Where {chain.former_table} keeps the revision still, first: ALTER TABLE"
                f" {chain.former_table} RENAME TO {chain.version_table};\n\n"
            )
        with failing(chain), alone(wait=False):
            command.upgrade(config, revisions, sql=True)
        if revisions.rpartition(":")[2] == "head":
            made = policies.creation(dialect, chain.metadata.tables.values())
            output.writelines(f"{statement};\n\n" for statement in made)
    return output.getvalue()


async def run(engine: Engine, work: Callable[[Connection], T], *, exclusive: bool = False) -> T:
    """Run ``work`` on a connection of its own; what fails is a `MigrationError`."""
    with failing(HOLDFAST):
        return await engine.run_sync(work, exclusive=exclusive)


@contextmanager
def failing(chain: Chain) -> Iterator[None]:
    """Make a `MigrationError` that names the chain of any other error."""
    try:
        yield
    except MigrationError:
        raise
    except Exception as error:  # a revision is code: it can raise anything
        from alembic.util import CommandError

        if isinstance(error, CommandError):
            raise MigrationError(f"{chain.place}{error}") from error
        raise MigrationError(
            f"{chain.place}the migration failed and was undone{_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if getattr(cause, "sqlstate", None) in _TAKEN or _TAKEN_NAME.fullmatch(str(cause)):
            return f": {cause}"
        if getattr(cause, "sqlstate", None) == _NO_PRIVILEGE:
            return (
                ": the database role must own the tables, and may create in their schema; migrate "
                "as the owner, or as the migrator that `holdfast roles` makes"
            )
        cause = cause.__cause__
    if isinstance(error, PersistenceError):
        return f": {error}"
    # SQLAlchemy's text quotes the statement and its parameters; the cause keeps them.
    return f" ({type(getattr(error, 'orig', None) or error).__name__})"


def _describe(item: Any) -> str:
    if isinstance(item, list):  # changes of one column come as a list
        return "; ".join(_describe(part) for part in item)
    kind, *rest = item
    names = [str(getattr(part, "name", part)) for part in rest if part is not None]
    return f"{kind}: {'.'.join(names)}"
