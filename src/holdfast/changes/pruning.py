"""Pruning: what is deleted is always the oldest part of the log, and the log says up to where.

The last of the deleted rows stays as a note of its kind. So a watcher who comes from before it
reads the note, and a tenant always has a newest row.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import bindparam, delete, literal_column, select, update

from holdfast import validation
from holdfast.engines.protocol import Engine
from holdfast.errors import InvalidArgumentError
from holdfast.schema.changes import changes
from holdfast.storage.session import CHUNK, Statement
from holdfast.storage.types import INTEGER

__all__ = ["PRUNED", "prune"]

#: The kind of a row that says: everything up to here was deleted.
PRUNED = "pruned"

_tenant = changes.c.tenant == bindparam("tenant", type_=changes.c.tenant.type)
_through = bindparam("through", type_=INTEGER)

# Of several who prune at once, none waits for another's rows, and none counts them.
_OLDEST = Statement(
    "changes.oldest",
    select(changes.c.revision, changes.c.kind, changes.c.recorded_at)
    .where(_tenant, changes.c.revision <= _through)
    .order_by(changes.c.revision)
    .limit(literal_column(str(CHUNK)))
    .with_for_update(skip_locked=True),
    ("tenant", "through"),
    changes,
)
_free = changes.alias("free")
_DELETE = Statement(
    "changes.delete",
    delete(changes)
    .where(
        _tenant,
        changes.c.revision < _through,
        changes.c.revision.in_(
            select(_free.c.revision)
            .where(_free.c.tenant == bindparam("tenant"), _free.c.revision < _through)
            .with_for_update(skip_locked=True)
        ),
    )
    .returning(changes.c.kind),
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
    cutoff = datetime.max.replace(tzinfo=UTC)
    if older_than is not None:
        if not isinstance(older_than, timedelta):
            kind = type(older_than).__name__
            raise InvalidArgumentError(f"prune_changes: older_than must be a timedelta, not {kind}")
        if older_than < timedelta(0):
            raise InvalidArgumentError("prune_changes: older_than must not be negative")
        now = datetime.now(UTC)
        cutoff = now - min(older_than, now - datetime.min.replace(tzinfo=UTC))
    last = 2**63 - 1 if through is None else validation.integer(through, "prune_changes: through")
    deleted = 0
    while True:
        async with engine.transaction() as session:
            rows = await session.fetch(_OLDEST, (tenant, last), at_most=CHUNK)
            old = next((n for n, row in enumerate(rows) if row[2] > cutoff), len(rows))
            if old > 1 or (old and rows[0][1] != PRUNED):
                upto, kind, _ = rows[old - 1]
                gone = await session.returning(_DELETE, (tenant, upto))
                await session.execute(_NOTE, (tenant, upto))
                deleted += sum(row[0] != PRUNED for row in [*gone, (kind,)])
        if old < CHUNK:
            return deleted
