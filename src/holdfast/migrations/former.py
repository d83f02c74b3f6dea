"""Revisions that older releases kept in a table of Alembic's usual name.

An application's own Alembic may have a table of that name in the same schema. So what is in it
counts only if the tables of that revision are there as well.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    column,
    delete,
    inspect,
    select,
    table,
)

from holdfast.migrations.catalogue import may_read, rename
from holdfast.migrations.trial import made

if TYPE_CHECKING:
    from holdfast.migrations.chain import Chain

__all__ = ["carry_over", "former_revision", "revisions"]

logger = logging.getLogger("holdfast.migrations")

_COLUMN = "version_num"


def revisions(connection: Connection, name: str) -> list[str] | None:
    """What a table of revisions holds; ``None`` if there is none of the name and shape."""
    inspector = inspect(connection)
    if not inspector.has_table(name):
        return None
    if [found["name"] for found in inspector.get_columns(name)] != [_COLUMN]:
        return None
    stored = connection.execute(select(column(_COLUMN, String)).select_from(table(name)))
    return list(stored.scalars())


def former_revision(chain: Chain, connection: Connection) -> str | None:
    """The chain's revision, if it is still where older releases kept it."""
    if not may_read(connection, chain.former_table):
        return None
    stored = revisions(connection, chain.former_table) or ()
    known = {step.revision for step in chain.history()}
    for revision in known.intersection(stored):
        if _is_at(chain, connection, revision):
            return revision
    return None


def carry_over(chain: Chain, connection: Connection) -> None:
    """Move the revision to the chain's own table; what else is in the former one stays there."""
    if revisions(connection, chain.version_table) is not None:
        return
    revision = former_revision(chain, connection)
    if revision is None:
        return
    key = f"{chain.version_table}_pkc"
    if revisions(connection, chain.former_table) == [revision]:
        rename(connection, chain.former_table, chain.version_table, key)
    else:
        number = Column(_COLUMN, String(32), nullable=False)
        kept = Table(
            chain.version_table, MetaData(), number, PrimaryKeyConstraint(number, name=key)
        )
        kept.create(connection)
        connection.execute(kept.insert().values({_COLUMN: revision}))
        left = table(chain.former_table, column(_COLUMN))
        connection.execute(delete(left).where(left.c[_COLUMN] == revision))
    logger.info(
        "%sthe revision is kept in %s now, no longer in %s",
        chain.place, chain.version_table, chain.former_table,
        extra={"chain": chain.name, "revision": revision},
    )  # fmt: skip


def _is_at(chain: Chain, connection: Connection, revision: str) -> bool:
    """Whether every table of the revision is there, with its columns."""
    from alembic.util import CommandError

    try:
        wanted = made(chain, revision).tables
    except CommandError:
        return False
    there = {
        name: {found["name"] for found in columns}
        for (_, name), columns in inspect(connection).get_multi_columns().items()
    }
    return bool(wanted) and all(
        columns <= there.get(name, set()) for name, columns in wanted.items()
    )
