"""Tables, JSON and a plot."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import matplotlib as mpl
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Cell

__all__ = ["missed", "plot", "print_tables", "write_json"]

#: (engine, operation, concurrency, peer) -> the least ratio that is promised.
TARGETS = {
    ("postgres", "save", 1, "prepared"): 1 / 1.5,
    ("postgres", "get", 1, "prepared"): 1 / 1.5,
    ("postgres", "save", 32, "asyncpg.Pool"): 2.5,
    ("postgres", "get", 32, "asyncpg.Pool"): 2.0,
    ("sqlite", "save", 32, "aiosqlite"): 3.0,
    ("sqlite", "get", 32, "aiosqlite"): 3.0,
}


def missed(cells: Sequence[Cell]) -> list[str]:
    """The promises that this run did not keep."""
    return [
        f"{cell.engine} {cell.entity}.{cell.operation} at {cell.concurrency}: "
        f"{cell.ratio(peer):.2f} of {peer}, promised {least:.2f}"
        for cell in cells
        for (engine, operation, concurrency, peer), least in TARGETS.items()
        if (cell.engine, cell.operation, cell.concurrency) == (engine, operation, concurrency)
        and cell.ratio(peer) < least
    ]


def print_tables(console: Console, cells: Sequence[Cell]) -> None:
    for engine in dict.fromkeys(cell.engine for cell in cells):
        ours = [cell for cell in cells if cell.engine == engine]
        peers = list(dict.fromkeys(name for cell in ours for name in cell.rates))[1:]
        table = Table(title=f"{engine}: calls a second, and times as fast as each peer")
        headings = ("operation", "at", "Holdfast", *peers, "statements", "commits", "rows each")
        for heading in headings:
            table.add_column(heading, justify="left" if heading == "operation" else "right")
        for cell in ours:
            row = [f"{cell.entity}.{cell.operation}", f"{cell.concurrency}"]
            row.append(f"{cell.rate('Holdfast'):,.0f}")
            row += [_peer(cell, peer) for peer in peers]
            row += [f"{cell.batches:,}", f"{cell.commits:,}"]
            row.append(f"{cell.calls / cell.batches:.1f}" if cell.batches else "-")
            table.add_row(*row, end_section=cell.concurrency == ours[-1].concurrency)
        console.print(table)


def _peer(cell: Cell, peer: str) -> str:
    if peer not in cell.rates:
        return "-"
    least = TARGETS.get((cell.engine, cell.operation, cell.concurrency, peer))
    ratio, (low, high) = cell.ratio(peer), cell.spread(peer)
    text = f"{cell.rate(peer):,.0f}  {ratio:.2f}x [dim]({low:.1f}-{high:.1f})[/]"
    if least is None:
        return text
    return f"[bold {'green' if ratio >= least else 'red'}]{text}[/]"


def write_json(path: Path, cells: Sequence[Cell], server: str | None) -> None:
    facts = {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "postgresql": server,
        "asyncpg": version("asyncpg"),
        "aiosqlite": version("aiosqlite"),
        "sqlalchemy": version("sqlalchemy"),
        "cores": os.cpu_count(),
    }
    ratios = [
        {
            **asdict(cell),
            "ratios": {peer: cell.ratio(peer) for peer in cell.rates if peer != "Holdfast"},
        }
        for cell in cells
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"facts": facts, "cells": ratios}, indent=1), encoding="utf-8")


def plot(path: Path, cells: Sequence[Cell]) -> None:
    """Throughput over concurrency: a row per engine, a column per operation."""
    mpl.use("Agg")
    from matplotlib import pyplot

    kinds = list(dict.fromkeys((c.engine, c.entity, c.operation) for c in cells))
    columns = 3
    rows = -(-len(kinds) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(13, 3.4 * rows), squeeze=False)
    for axis, kind in zip(axes.flat, kinds, strict=False):
        chosen = [c for c in cells if (c.engine, c.entity, c.operation) == kind]
        for name in dict.fromkeys(n for cell in chosen for n in cell.rates):
            points = [(c.concurrency, c.rate(name)) for c in chosen if name in c.rates]
            width = 2.4 if name == "Holdfast" else 1.2
            axis.plot(*zip(*points, strict=True), marker="o", linewidth=width, label=name)
        axis.set_xscale("log", base=2)
        axis.set_title(f"{kind[0]}: {kind[1]}.{kind[2]}", fontsize=10)
        axis.set_ylim(bottom=0)
        axis.set_xlabel("concurrent callers")
        axis.set_ylabel("calls a second")
        axis.legend(fontsize=7)
    for axis in list(axes.flat)[len(kinds) :]:
        axis.set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
