"""``holdfast backup`` and ``holdfast restore``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.extensions import Names, load
from holdfast.cli.output import Json, Url, connected, print_json, read_config, say, size
from holdfast.operations import Backup, verify_backup

_File = Annotated[Path, typer.Argument(show_default=False)]


def backup(target: _File, url: Url = None, extension: Names = None, json: Json = False) -> None:
    """Copy the database, as it is now, into a new file; writers go on meanwhile.

    Its manifest, TARGET.json, holds the checksum and the rows of each table: keep the two together.
    """

    async def run() -> Backup:
        async with connected(url, load(extension)) as backend:
            return await backend.operations.backup(target)

    _show(asyncio.run(run()), f"backed up into {target}", json)


def restore(
    source: _File,
    url: Url = None,
    extension: Names = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Only compare the file with its manifest.")
    ] = False,
    keep_foreign: Annotated[
        bool,
        typer.Option("--keep-foreign", help="Take triggers and functions of others along."),
    ] = False,
    json: Json = False,
) -> None:
    """Fill an empty database from a backup, and compare the rows with its manifest."""

    async def run() -> Backup:
        # First, though restoring does it again: connecting makes the database where it is a file.
        if verify:
            return await verify_backup(source)
        await verify_backup(source, read_config(url).backend)
        async with connected(url, load(extension), new=True) as backend:
            return await backend.operations.restore(source, keep_foreign=keep_foreign)

    done = f"{source} is what was backed up" if verify else f"restored from {source}"
    _show(asyncio.run(run()), done, json)


def _show(found: Backup, done: str, json: bool) -> None:
    if json:
        print_json(found.model_dump(mode="json"))
        return
    rows = sum(found.rows.values())
    say(f"{done}: {rows:,} rows in {len(found.rows)} tables, {size(found.bytes)}")
