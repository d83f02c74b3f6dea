"""What acts on Holdfast's tables and was made by no revision; and what should, and is not there.

A trigger, a rule, a policy or a function of a stranger's, once it is in a database, copies or hides
the rows of every tenant; without one of ours, one of Holdfast's rules holds no more. So a copy that
comes from elsewhere is compared with a reference: the same revisions, run where nothing else is,
and looked at in the same way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from holdfast.changes import recorders
from holdfast.changes.recording import FORMER
from holdfast.migrations.attached import (
    EVENT_TRIGGER,
    FUNCTION,
    POLICY,
    ROW_SECURITY,
    attached,
    schemas_of,
)
from holdfast.migrations.chain import Chain
from holdfast.schema import policies

__all__ = ["Differences", "differences"]


class Differences(NamedTuple):
    """By kind and name, as ``trigger t on users``; sorted."""

    #: What is on the tables, or has the name of something of theirs, and is another's.
    foreign: list[str]
    missing: list[str]


def differences(
    connection: Connection, reference: Connection, chains: Sequence[Chain]
) -> Differences:
    """Compare what is attached to the tables of these chains with what their revisions make.

    Of a database at any revision that the chains know, else `SchemaTooNewError`. ``reference`` is
    an empty database of the same kind, which is filled.
    """
    from alembic import command

    for chain in chains:
        chain.stands_at_head(connection)
    names = sorted(
        {name for chain in chains for name in (*chain.metadata.tables, chain.version_table)}
    )
    schemas = schemas_of(connection) | schemas_of(reference)
    found = attached(connection, names, schemas)
    recorded = recorders.on(connection)
    tables = [table for chain in chains for table in chain.metadata.tables.values()]
    for chain in chains:
        if (revision := chain.revision(connection)) is not None:
            command.upgrade(chain.config(connection=reference, apart=True), revision)
    policies.enforce(reference, tables)
    for table in tables:
        if table.name in recorded:
            recorders.start(reference, table)
    made = [attached(reference, names, schemas)]
    for form in FORMER if recorded else ():
        recorders.renew(reference, tables, form)
        made.append(attached(reference, names, schemas))
    expected: dict[str, set[str]] = defaultdict(set)
    for name, definition in (item for each in made for item in each.items()):
        # The reference may be in the same database, which event triggers belong to; none is ours.
        if not name.startswith(EVENT_TRIGGER):
            expected[name].add(definition)
    # An application may have functions of its own: one that ours call shows in what calls it.
    foreign = sorted(
        name
        for name, definition in found.items()
        if (definition not in expected[name] if name in expected else not name.startswith(FUNCTION))
    )
    missing = set(expected).intersection(*made) - set(found)
    if not any(name.startswith(POLICY) for name in found):  # from before there were any
        missing = {
            name for name in missing if not name.startswith((POLICY, FUNCTION, ROW_SECURITY))
        }
    return Differences(foreign, sorted(missing))
