"""Other people's objects that have the names of what a migration is about to make."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from holdfast.errors import MigrationError
from holdfast.migrations.catalogue import Names, clashes, names_of, way_out
from holdfast.migrations.chain import HOLDFAST, Chain
from holdfast.migrations.trial import made
from holdfast.schema import policies

__all__ = ["refuse_obstacles"]


def refuse_obstacles(connection: Connection, chains: Sequence[Chain]) -> None:
    """Raise a `MigrationError` that names every object in the way of what the chains lack."""
    found = [
        clash
        for chain in chains
        if chain.revision(connection) != chain.head()
        for clash in clashes(connection, _lacking(connection, chain))
    ]
    if found:
        are = "exists already and is" if len(found) == 1 else "exist already and are"
        raise MigrationError(
            f"nothing was changed: {', '.join(found)} {are} not Holdfast's. "
            f"Rename or move what is in the way, or {way_out(connection)}"
        )


def _lacking(connection: Connection, chain: Chain) -> Names:
    """The names of what is not there yet at the database's revision."""
    every = list(chain.metadata.tables.values())
    revision = chain.revision(connection)
    if revision is None:
        wanted = names_of(connection, every)
        if not chain.is_carried_over(connection):  # one that is empty is left of a downgrade
            wanted.tables.add(chain.version_table)
            wanted.relations.add(chain.version_table)
        if chain is HOLDFAST:
            wanted.functions.add(policies.NAME)
        return wanted
    before = made(chain, revision)
    new = names_of(connection, [table for table in every if table.name not in before.tables])
    later = {str(index.name) for table in every for index in table.indexes} - before.names
    return new._replace(relations=new.relations | later)
