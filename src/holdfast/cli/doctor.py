"""``holdfast doctor``: what is wrong, or will be, and what to do about it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from holdfast.cli.extensions import Names, load
from holdfast.cli.output import Json, Url, connected, print_json, show
from holdfast.operations import Finding
from holdfast.printable import printable

_STYLES = {"problem": "bold red", "warning": "yellow", "notice": "cyan", "ok": "green"}


def doctor(
    url: Url = None,
    extension: Names = None,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Also read the whole database for damage.")
    ] = False,
    rows: Annotated[
        bool, typer.Option("--rows", help="Also look for rows that cannot be read: reads them all.")
    ] = False,
    json: Json = False,
) -> None:
    """Look at server, settings, sizes and schema. Exit code 1 if there is a problem."""

    async def run() -> Sequence[Finding]:
        async with connected(url, load(extension)) as backend:
            return await backend.operations.doctor(thorough=thorough, rows=rows)

    found = asyncio.run(run())
    if json:
        print_json([asdict(finding) for finding in found])
    else:
        _show(found)
    if any(finding.level == "problem" for finding in found):
        raise typer.Exit(1)


def _show(found: Sequence[Finding]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for finding in found:
        said = Text(printable(finding.message))
        if finding.advice:
            said.append(f"\n{printable(finding.advice)}", style="dim")
        level = Text(finding.level, style=_STYLES[finding.level])
        table.add_row(level, Text(printable(finding.subject)), said)
    show(table)
