"""One tenant's rows, out of a database into a file and back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

from sqlalchemy import Table, select

from holdfast import migrations, validation
from holdfast.engines.protocol import Engine
from holdfast.errors import (
    BackupError,
    ConstraintViolationError,
    DuplicateRecordError,
    InvalidArgumentError,
)
from holdfast.migrations import Chain
from holdfast.operations import portable
from holdfast.operations.portable import Export, Header, Writer
from holdfast.operations.rows import reader
from holdfast.operations.tenants import with_rows
from holdfast.schema.changes import changes
from holdfast.storage.binding import Models
from holdfast.storage.session import Session, Statement
from holdfast.storage.statements import insert, where_equal
from holdfast.storage.tables import TENANT

__all__ = ["load", "save"]


#: Seconds of writing after which other tasks have a turn.
_TURN = 0.01


@cache
def _rows(table: Table) -> Statement:
    """All rows of a tenant in the order of the key."""
    key = [table.c[name] for name in table.info["key"]]
    expression = select(*portable.columns_of(table)).where(*where_equal(table, ())).order_by(*key)
    return Statement(f"{table.name}.export", expression, (TENANT,), table)


@cache
def _insert(table: Table) -> Statement:
    names = (TENANT, *(column.name for column in portable.columns_of(table)))
    return insert(f"{table.name}.import", table, names)


async def save(
    engine: Engine, chains: Sequence[Chain], tables: Sequence[Table], tenant: str, target: Path
) -> Export:
    """See `holdfast.operations.Operations.export_tenant`."""
    validation.not_blank(tenant, "export_tenant: tenant")
    header = Header(
        holdfast=version("holdfast"),
        revisions=await _revisions(engine, chains),
        tenant=tenant,
        created_at=datetime.now(UTC),
    )
    writer: Writer | None = None
    try:
        writer = Writer(target, header)
        async with engine.snapshot() as session:
            for table in tables:
                stream = session.stream(_rows(table), (tenant,))
                async with aclosing(stream) as pieces:  # type: ignore[type-var]
                    async for rows in pieces:
                        await _add(writer, table, rows)
        return writer.finish()
    except OSError as error:
        raise BackupError(f"{target}: {error.strerror or type(error).__name__}") from error
    finally:
        if writer is not None:
            writer.discard()


async def _add(writer: Writer, table: Table, rows: Sequence[Sequence[object]]) -> None:
    """In this task and not on a thread, which a cancellation would leave writing."""
    began = perf_counter()
    try:
        for _ in writer.add(table, rows):
            if perf_counter() - began > _TURN:
                await asyncio.sleep(0)
                began = perf_counter()
    except (TypeError, ValueError, AttributeError):
        # Without the cause, which quotes the value.
        raise BackupError(
            f"{table.name} holds a value that its column cannot have: `holdfast rows check` names "
            "the row; repair it, and export again"
        ) from None


async def load(
    engine: Engine,
    chains: Sequence[Chain],
    tables: Sequence[Table],
    models: Models | None,
    source: Path,
    tenant: str | None,
) -> Export:
    """See `holdfast.operations.Operations.import_tenant`."""
    # To its end, before any writer is kept waiting.
    export = await asyncio.to_thread(portable.read_export, source)
    if tenant is not None:
        name = validation.not_blank(tenant, "import_tenant: tenant")
    else:
        try:
            name = validation.not_blank(export.tenant, "tenant")
        except InvalidArgumentError as error:
            raise BackupError(f"{source}: line 1: {error}") from None
    revisions = await _revisions(engine, chains)
    if chains[0].name not in export.revisions:
        raise BackupError(f"{source}: line 1: it does not name the revision of {chains[0].name}")
    for chain, revision in export.revisions.items():
        if chain not in revisions:
            raise BackupError(
                f"{source} holds rows of the extension {chain!r}: attach it to the backend"
            )
        if revisions[chain] != revision:
            raise BackupError(
                f"{source} was exported at revision {revision} of {chain}, and the database is at "
                f"{revisions[chain]}: bring both to the same one"
            )
    # Of the chains whose revision the file names. The log numbers what happened where the export
    # comes from.
    named = {id(chain.metadata) for chain in chains if chain.name in export.revisions}
    stored = [t for t in tables if t is not changes]
    async with engine.transaction() as session:
        if taken := await with_rows(session, stored, name):
            raise BackupError(
                f"the tenant {name!r} has rows already, in {', '.join(taken)}: import under "
                "another name, or erase what is there"
            )
        known = {table.name: table for table in stored if id(table.metadata) in named}
        await _fill(session, known, models, source, name)
    return export


async def _fill(
    session: Session,
    stored: Mapping[str, Table],
    models: Models | None,
    source: Path,
    tenant: str,
) -> None:
    readers = {name: reader(table, models) for name, table in stored.items()}
    for number, name, row in portable.rows_of(source):
        if name == changes.name:
            continue
        place = f"{source}: line {number}"
        if (table := stored.get(name)) is None:
            raise BackupError(f"{place}: a row of {name}, a table that this database lacks")
        try:
            values = portable.decode(portable.columns_of(table), row)
            # What no list could read is not written.
            if (malformed := readers[name]((tenant, *values), patient=True)) is not None:
                raise ValueError(malformed.reason)
            await session.write(_insert(table), (tenant, *values))
        except DuplicateRecordError:
            raise BackupError(f"{place}: a second row of {name} with the same key") from None
        except (ValueError, ConstraintViolationError) as error:
            raise BackupError(f"{place}: the row does not fit {name}: {error}") from None


async def _revisions(engine: Engine, chains: Sequence[Chain]) -> dict[str, str | None]:
    return {chain.name: await migrations.current(engine, chain) for chain in chains}
