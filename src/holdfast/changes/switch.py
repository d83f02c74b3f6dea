"""Switching recorders on and off, one table at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from sqlalchemy import Connection, Table, select

from holdfast.changes import recorders
from holdfast.engines.protocol import Engine
from holdfast.errors import (
    InvalidArgumentError,
    QueryError,
    QueryTimeoutError,
    SerializationFailureError,
)
from holdfast.schema.changes import changes
from holdfast.storage.session import Statement
from holdfast.storage.triggers import may_change

__all__ = ["record", "recorded_tables", "stop_recording", "tables_of"]

_MANY = 10_000
_TRIGGERS = Statement("changes.triggers", select(recorders.trigger_names().c.name), (), changes)


def tables_of(repositories: Iterable[object], place: str) -> list[Table]:
    """Where the records of these repositories are."""
    tables = []
    for repository in repositories:
        table = getattr(type(repository), "table", None)
        if not isinstance(table, Table):
            raise InvalidArgumentError(
                f"{place} takes repositories, such as backend.tasks, "
                f"not {type(repository).__name__}"
            )
        tables.append(table)
    if not tables:
        raise InvalidArgumentError(f"{place} takes at least one repository, such as backend.tasks")
    return tables


async def record(engine: Engine, tables: Sequence[Table]) -> None:
    """See `holdfast.backend.PersistenceBackend.record_changes`."""
    await _switch(engine, tables, recorders.start)


async def stop_recording(engine: Engine, tables: Sequence[Table]) -> None:
    """See `holdfast.backend.PersistenceBackend.stop_recording`."""
    await _switch(engine, tables, recorders.stop)


async def recorded_tables(engine: Engine) -> Sequence[str]:
    """See `holdfast.backend.PersistenceBackend.recorded_tables`."""
    rows = await engine.fetch(_TRIGGERS, (), at_most=_MANY)
    return sorted(recorders.recorded([row[0] for row in rows]))


async def _switch(
    engine: Engine, tables: Sequence[Table], turn: Callable[[Connection, Table], None]
) -> None:
    on = turn is recorders.start
    known = await recorded_tables(engine)
    for table in tables:
        if (table.name in known) is on:
            continue  # the usual start of a process: no lock taken

        def work(connection: Connection, table: Table = table) -> None:
            if not may_change(connection, table):
                raise QueryError(
                    f"{'record_changes' if on else 'stop_recording'}: only the owner of the table "
                    f"{table.name} may change its triggers: run it as the migrator that "
                    "`holdfast roles` makes",
                    is_retryable=False,
                )
            turn(connection, table)

        # One transaction for each: it waits for the table's users, who may wait for another.
        try:
            await engine.run_sync(work, exclusive=True)
        except (QueryTimeoutError, SerializationFailureError) as error:
            users = "writes to the table" if on else "uses the table, if only to read,"
            raise QueryTimeoutError(
                f"the recording of {table.name} could not be switched: {error}; "
                f"a transaction that {users} may be in the way: end it, and try again"
            ) from error
