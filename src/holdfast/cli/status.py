"""``holdfast status``: what is there, how large it is, how it travels."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import asdict

from rich.table import Table
from rich.text import Text

from holdfast import Status
from holdfast.cli.extensions import Names, load
from holdfast.cli.output import Json, Url, connected, console, print_json, show, size
from holdfast.engines.protocol import EngineStats
from holdfast.printable import printable


def status(url: Url = None, extension: Names = None, json: Json = False) -> None:
    """Show engine, schema, rows and bytes per table, and this connection's figures."""

    async def run() -> Status:
        async with connected(url, load(extension)) as backend:
            return await backend.status()

    found = asyncio.run(run())
    if json:
        print_json(asdict(found))
    else:
        _show(found)


def _show(found: Status) -> None:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column()
    facts.add_row("engine", f"{found.engine} {found.version}")
    facts.add_row("database", _text(found.database))
    facts.add_row("schema", _revision(found.revision, found.newest_revision))
    for name, extension in found.extensions.items():
        facts.add_row(_text(name), _revision(extension.revision, extension.newest_revision))
    pool, writes, reads = found.stats.pool, found.stats.writes, found.stats.reads
    facts.add_row(
        "connections", f"{pool.size} open, {pool.busy} busy, {pool.waiting} callers waiting"
    )
    facts.add_row(
        "batches",
        f"{writes.items} writes in {writes.batches}, {reads.items} reads in {reads.batches}, "
        f"{found.stats.commits} commits",
    )
    for name, text in _figures(found.stats):
        facts.add_row(name, _text(text))
    show(facts)
    if not found.tables:
        return
    tables = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    tables.add_column("table")
    tables.add_column("rows", justify="right")
    tables.add_column("size", justify="right")
    for name, table in found.tables.items():
        tables.add_row(_text(name), f"{table.rows:,}", size(table.bytes))
    console.print()
    show(tables)


def _figures(stats: EngineStats) -> Iterator[tuple[str, str]]:
    """How the database answers from here, and what did not go well."""
    statements = stats.statements
    calls = sum(each.calls for each in statements.values())
    if calls:
        mean = sum(each.seconds for each in statements.values()) / calls
        longest = max(statements, key=lambda name: statements[name].longest)
        worst = f"{longest} in {statements[longest].longest * 1e3:.1f} ms"
        yield "statements", f"{calls} in {mean * 1e3:.1f} ms on average, the longest {worst}"
    if stats.slow:
        names = sorted({slow.statement for slow in stats.slowest})
        yield "slow", f"{stats.slow} statements: {', '.join(names)}"
    if stats.errors:
        yield "errors", ", ".join(f"{count} {name}" for name, count in stats.errors.items())


def _text(value: str, style: str = "") -> Text:
    return Text(printable(value), style=style)


def _revision(revision: str | None, newest: str | None) -> Text:
    at_head = revision == newest
    shown = _text(revision or "not migrated", style="green" if at_head else "yellow")
    if not at_head:
        shown.append(f"  (newest is {newest}: run holdfast migrate)")
    return shown
