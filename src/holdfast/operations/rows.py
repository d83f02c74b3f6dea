"""Rows that cannot be read: finding them, and repairing them without losing what they hold."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, Table, cast, delete, or_, select
from sqlalchemy.dialects import postgresql

from holdfast import validation
from holdfast.engines.protocol import Engine
from holdfast.errors import (
    BackupError,
    InvalidArgumentError,
    MalformedRowError,
    RecordNotFoundError,
)
from holdfast.operations import portable
from holdfast.storage.binding import Models
from holdfast.storage.explaining import insist_on_texts
from holdfast.storage.mapping import MAPPERS, Mapper
from holdfast.storage.reading import MalformedRow, entities
from holdfast.storage.session import Row, Session, Statement
from holdfast.storage.statements import parameter, where_equal
from holdfast.storage.tables import TENANT
from holdfast.storage.types import CodePointText, JsonText

__all__ = ["RawRow", "find", "quarantine", "read", "reader", "replace"]


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row as the columns hold it, in the form of exports.

    A text that is not UTF-8 has its odd bytes as lone surrogates (``"surrogateescape"``), a time
    that Python cannot tell is the text the server makes of it.
    """

    table: str
    tenant: str
    columns: Mapping[str, Any]


async def find(
    engine: Engine, tables: Sequence[Table], models: Models | None, tenant: str | None
) -> AsyncIterator[MalformedRow]:
    """See `holdfast.operations.Operations.malformed_rows`."""
    if tenant is not None:
        validation.not_blank(tenant, "malformed_rows: tenant")
    arguments = () if tenant is None else (tenant,)
    for table in tables:
        look = reader(table, models)
        stream = engine.stream(_all_rows(table, tenant is not None), arguments)
        async with aclosing(stream) as pieces:  # type: ignore[type-var]
            async for rows in pieces:
                for found in await entities(rows, look):
                    if found is not None:
                        yield found


def reader(table: Table, models: Models | None) -> Callable[..., MalformedRow | None]:
    """What says of a row of `_columns` why it cannot be read, ``None`` if it can."""
    names = [column.name for column in _columns(table)]
    mappers = [mapper for mapper in MAPPERS if mapper.table is table]
    bound = [mapper if models is None else models.bind(mapper) for mapper in mappers]
    naming = (TENANT, *table.info["key"])
    texts = [c.name for c in _columns(table) if isinstance(c.type, CodePointText | JsonText)]

    def look(row: Row, *, patient: bool = False) -> MalformedRow | None:
        values = dict(zip(names, row, strict=True))
        key = tuple(values[name] for name in table.info["key"])
        try:
            if not bound:
                held = {name: values[name] for name in texts if values[name] is not None}
                insist_on_texts(table, tuple(held), tuple(held.values()), key)
                _checked(table, _portable(table, values))
            for mapper in bound:
                mapper.decode(_of(mapper, values), patient=patient)
        except MalformedRowError as error:
            why = error.reason
        except ValueError as error:
            why = str(error)
        else:
            why = _no_key({table.c[name]: values[name] for name in naming})
            if not why:
                return None
        return MalformedRow(table.name, values[TENANT], key, why)

    return look


def _no_key(values: Mapping[Column[Any], Any]) -> str:
    """Why nobody finds a row by its key, though it can be read; empty if it can be found."""
    for column, value in values.items():
        if isinstance(column.type, BigInteger):
            if type(value) is not int:
                return f"{column.name}: is not an integer"
        elif isinstance(value, bytes):
            return f"{column.name}: is not text in UTF-8"
        elif isinstance(value, str) and "\0" in value:
            return f"{column.name}: holds a NUL character"
    return ""


def _columns(table: Table) -> list[Column[Any]]:
    return [table.c[TENANT], *portable.columns_of(table)]


def _of(mapper: Mapper[Any], values: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the mapper reads: its columns and, where that is not among them, the key."""
    names = [column.name for column in mapper.columns]
    key = [name for name in mapper.table.info["key"] if name not in mapper.fields]
    return tuple(values[name] for name in (*names, *key))


async def read(engine: Engine, tables: Sequence[Table], where: MalformedRow) -> RawRow:
    """See `holdfast.operations.Operations.read_row`."""
    table, key = _place(tables, where)
    return await _read(engine, table, where.tenant, key)


async def _read(
    session: Session, table: Table, tenant: str | bytes, key: tuple[Any, ...]
) -> RawRow:
    rows = await session.fetch(_one_row(table), (tenant, *key), at_most=2)
    if len(rows) > 1:  # on SQLite
        raise InvalidArgumentError(
            f"{table.name} has two rows {key!r} of the tenant {tenant!r}, one of text and one of "
            "bytes: correct one of them with SQL"
        )
    if not rows:
        raise RecordNotFoundError(f"{table.name} has no row {key!r} of the tenant {tenant!r}")
    names = [column.name for column in _columns(table)]
    columns = _portable(table, dict(zip(names, rows[0], strict=True)))
    return RawRow(table.name, _shown(tenant), columns)


async def quarantine(
    engine: Engine, tables: Sequence[Table], where: MalformedRow, target: Path
) -> RawRow:
    """See `holdfast.operations.Operations.quarantine_row`."""
    table, key = _place(tables, where)

    async def move(session: Session) -> RawRow:
        row = await _read(session, table, where.tenant, key)
        await session.execute(_delete_one(table), (where.tenant, *key))
        # Before the commit: a copy too many is harmless, one too few is not.
        await asyncio.to_thread(_append, target, row)
        return row

    return await engine.atomically(move)


def _append(target: Path, row: RawRow) -> None:
    # In ASCII, which holds lone surrogates as escapes.
    data = f"{json.dumps(asdict(row))}\n".encode()
    try:
        # For nobody else to read: it may hold what the database keeps secret.
        file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            while data:
                data = data[os.write(file, data) :]
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise BackupError(f"{target}: {error.strerror or type(error).__name__}") from error


async def replace(
    engine: Engine, tables: Sequence[Table], models: Models | None, row: RawRow
) -> None:
    """See `holdfast.operations.Operations.replace_row`."""
    table = _table(tables, validation.instance(row, RawRow, "replace_row: row").table)
    validation.not_blank(row.tenant, "replace_row: tenant")
    validation.instance(row.columns, Mapping, "replace_row: columns")  # type: ignore[type-abstract]
    try:
        values = _checked(table, row.columns)
    except ValueError as error:
        raise InvalidArgumentError(f"replace_row: {table.name}: {error}") from None
    malformed = reader(table, models)((row.tenant, *values), patient=True)
    if malformed is not None:
        raise InvalidArgumentError(f"replace_row: {table.name}: {malformed.reason}")
    await engine.write(_put(table), (row.tenant, *values))


def _checked(table: Table, columns: Mapping[str, Any]) -> tuple[Any, ...]:
    return portable.decode(portable.columns_of(table), columns)


def _portable(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for column in portable.columns_of(table):
        found[column.name] = portable.encoded(column, values[column.name])
    return found


def _shown(value: Any) -> str:
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else str(value)


def _table(tables: Sequence[Table], name: str) -> Table:
    for table in tables:
        if table.name == name:
            return table
    raise InvalidArgumentError(f"there is no table {name!r} of Holdfast or an attached extension")


def _place(tables: Sequence[Table], where: MalformedRow) -> tuple[Table, tuple[Any, ...]]:
    table = _table(tables, validation.instance(where, MalformedRow, "row").table)
    validation.instance(where.key, tuple, "row: key")
    names = table.info["key"]
    if len(where.key) != len(names):
        raise InvalidArgumentError(f"the key of {table.name} is {', '.join(names)}")
    if isinstance(_text(where.tenant, "tenant"), str):
        validation.not_blank(where.tenant.replace("\0", "."), "tenant")  # type: ignore[arg-type]
    return table, tuple(
        _number(value, name) if isinstance(table.c[name].type, BigInteger) else _text(value, name)
        for name, value in zip(names, where.key, strict=True)
    )


def _number(value: object, name: str) -> object:
    """A number of the key, also as the text that a command line has of it.

    SQLite may hold a fraction, a text or bytes in the place of one.
    """
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            return _text(value, name)
    return value if isinstance(value, bytes | float) else validation.integer(value, name)  # type: ignore[arg-type]


def _text(value: object, name: str) -> str | bytes:
    """A text of the key, or what SQLite holds in the place of one: bytes, a text with a NUL."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str) and "\0" in value:
        validation.text(value.replace("\0", ""), name)
        return value
    return validation.text(value, name)  # type: ignore[arg-type]


@cache
def _all_rows(table: Table, of_one: bool) -> Statement:
    """Every column, in the order of the primary key."""
    expression = select(*_columns(table)).order_by(*table.primary_key.columns)
    if of_one:
        expression = expression.where(*where_equal(table, ()))
    return Statement(f"{table.name}.check", expression, (TENANT,) if of_one else (), table)


@cache
def _one_row(table: Table) -> Statement:
    expression = select(*_columns(table)).where(*_is_it(table))
    return Statement(f"{table.name}.read_row", expression, (TENANT, *table.info["key"]), table)


@cache
def _delete_one(table: Table) -> Statement:
    expression = delete(table).where(*_is_it(table))
    return Statement(f"{table.name}.quarantine", expression, (TENANT, *table.info["key"]), table)


def _is_it(table: Table) -> list[ColumnElement[bool]]:
    """The row with a key, also one of texts that are not UTF-8, which SQLite tells as bytes."""
    found = []
    for column in (table.c[name] for name in (TENANT, *table.info["key"])):
        given = parameter(column)
        alike = column == given
        if isinstance(column.type, CodePointText):
            alike = or_(alike, column == cast(given, column.type))
        found.append(alike)
    return found


@cache
def _put(table: Table) -> Statement:
    names = (TENANT, *(column.name for column in portable.columns_of(table)))
    fresh = postgresql.insert(table)
    key = (TENANT, *table.info["key"])
    changed = {name: fresh.excluded[name] for name in names if name not in key}
    expression = (
        fresh.on_conflict_do_update(index_elements=list(key), set_=changed)
        if changed
        else fresh.on_conflict_do_nothing(index_elements=list(key))
    )
    return Statement(f"{table.name}.replace_row", expression, names, table)
