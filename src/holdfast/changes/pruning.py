"""Pruning: what is deleted is always the oldest part of the log, and the log says up to where.

The last of the deleted rows stays as a note of its kind. So a watcher who comes from before it
reads the note, and a tenant always has a newest row.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import bindparam, delete, literal_column, select, update

from holdfast import checks
from holdfast.engines.base import CHUNK, Engine, Statement
from holdfast.errors import InvalidArgumentError
from holdfast.schema.changes import changes
from holdfast.schema.types import INTEGER

__all__ = ["PRUNED", "prune"]

#: The kind of a row that says: everything up to here was deleted.
PRUNED = "pruned"

_tenant = changes.c.tenant == bindparam("tenant", type_=changes.c.tenant.type)
_through = bindparam("through", type_=INTEGER)

_OLDEST = Statement(
    "changes.oldest",
    select(changes.c.revision, changes.c.kind, changes.c.recorded_at)
    .where(_tenant, changes.c.revision <= _through)
    .order_by(changes.c.revision)
    .limit(literal_column(str(CHUNK))),
    ("tenant", "through"),
    changes,
)
_DELETE = Statement(
    "changes.delete",
    delete(changes).where(_tenant, changes.c.revision < _through),
    ("tenant", "through"),
    changes,
)
_NOTE = Statement(
    "changes.note",
    update(changes)
    .values(
        kind=literal_column(f"'{PRUNED}'"),
        table_name=literal_column("''"),
        key=literal_column("'[]'"),
    )
    .where(_tenant, changes.c.revision == _through),
    ("tenant", "through"),
    changes,
)


async def prune(
    engine: Engine, tenant: str, through: int | None, older_than: timedelta | None
) -> int:
    """See `holdfast.backend.PersistenceBackend.prune_changes`."""
    if (through is None) == (older_than is None):
        raise InvalidArgumentError("prune_changes: pass either through or older_than")
    if older_than is not None:
        if older_than < timedelta(0):
            raise InvalidArgumentError("prune_changes: older_than must not be negative")
        cutoff = datetime.now(UTC) - older_than
    else:
        cutoff = datetime.max.replace(tzinfo=UTC)
    last = 2**63 - 1 if through is None else checks.integer(through, "prune_changes: through")
    deleted = 0
    while True:
        rows = await engine.fetch(_OLDEST, (tenant, last), at_most=CHUNK)
        old = next((n for n, row in enumerate(rows) if row[2] > cutoff), len(rows))
        fresh = sum(row[1] != PRUNED for row in rows[:old])
        if fresh:
            async with engine.transaction() as session:
                await session.execute(_NOTE, (tenant, rows[old - 1][0]))
                await session.execute(_DELETE, (tenant, rows[old - 1][0]))
            deleted += fresh
        if old < CHUNK:
            return deleted
