"""``holdfast rows``: find rows that cannot be read, and repair them."""

from __future__ import annotations

import asyncio
import json as json_
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from holdfast import MalformedRow
from holdfast.cli.extensions import Names, load
from holdfast.cli.output import Json, Url, connected, print_json, say
from holdfast.errors import InvalidArgumentError
from holdfast.operations import RawRow

app = typer.Typer(help="Find rows that cannot be read, and repair them.")

_Table = Annotated[str, typer.Argument(show_default=False)]
#: As `check` prints what is no text in UTF-8, or has a NUL.
_BYTES = re.compile(r"x'((?:[0-9a-f]{2})*)'")

_Key = Annotated[list[str], typer.Argument(show_default=False, help="The values of its key.")]
_Tenant = Annotated[str, typer.Option("--tenant", help="Whose row it is.")]


@app.command("check")
def check(
    url: Url = None,
    extension: Names = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only this one's rows.")] = None,
    json: Json = False,
) -> None:
    """Read every row and list those that cannot be read. Exit code 1 if there are any."""

    async def run() -> int:
        count = 0
        async with connected(url, load(extension)) as backend:
            async for row in backend.operations.malformed_rows(tenant=tenant):
                count += 1
                if json:
                    say(json_.dumps(asdict(row), default=_spelled))
                else:
                    key = " ".join(map(_spelled, row.key))
                    say(f"{row.table} {key} (tenant {_spelled(row.tenant)}): {row.reason}")
        return count

    count = asyncio.run(run())
    if not json:
        say(f"{count:,} rows cannot be read" if count else "every row can be read")
    if count:
        raise typer.Exit(1)


@app.command("show")
def show(
    table: _Table, key: _Key, tenant: _Tenant, url: Url = None, extension: Names = None
) -> None:
    """Print what the columns of a row hold as JSON, for `rows put` to read when corrected."""

    async def run() -> RawRow:
        async with connected(url, load(extension)) as backend:
            return await backend.operations.read_row(_row(table, tenant, key))

    print_json(asdict(asyncio.run(run())))


@app.command("quarantine")
def quarantine(
    table: _Table,
    key: _Key,
    tenant: _Tenant,
    into: Annotated[Path, typer.Option("--into", help="The file that gets it, as a line.")],
    url: Url = None,
    extension: Names = None,
) -> None:
    """Move a row out of the database to the end of a file."""

    async def run() -> None:
        async with connected(url, load(extension)) as backend:
            row = _row(table, tenant, key)
            await backend.operations.quarantine_row(row, into)

    asyncio.run(run())
    say(f"{table} {' '.join(key)} is in {into} and no longer in the database")


@app.command("put")
def put(
    source: Annotated[Path, typer.Argument(show_default=False, help="A file, or - for input.")],
    url: Url = None,
    extension: Names = None,
) -> None:
    """Write a row as `rows show` prints it, corrected; refused if it still could not be read."""
    row = _parsed(_read(source))

    async def run() -> None:
        async with connected(url, load(extension)) as backend:
            await backend.operations.replace_row(row)

    asyncio.run(run())
    say(f"{row.table}: written")


def _spelled(value: object) -> str:
    """A value of a key as `_row` takes it: what a command line cannot hold as SQL spells bytes."""
    if isinstance(value, str) and "\0" in value:
        value = value.encode(errors="surrogateescape")
    return f"x'{value.hex()}'" if isinstance(value, bytes) else str(value)


def _row(table: str, tenant: str, key: list[str]) -> MalformedRow:
    return MalformedRow(table, _meant(tenant), tuple(map(_meant, key)))


def _meant(text: str) -> str | bytes:
    found = _BYTES.fullmatch(text)
    return bytes.fromhex(found[1]) if found else text


def _read(source: Path) -> bytes:
    if str(source) == "-":
        return sys.stdin.buffer.read()
    try:
        return source.read_bytes()
    except OSError as error:
        raise InvalidArgumentError(f"{source}: {error.strerror}") from error


def _parsed(text: bytes) -> RawRow:
    try:
        found = json_.loads(text)
        return RawRow(str(found["table"]), str(found["tenant"]), dict(found["columns"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InvalidArgumentError("this is no row as `holdfast rows show` prints it") from None
