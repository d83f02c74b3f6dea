"""What the commands share: the options for where and how, and the consoles they print on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

import typer
from rich.console import Console

from holdfast import PersistenceBackend, PersistenceConfig, create_backend
from holdfast.extending import Extension

__all__ = ["Json", "Url", "connected", "console", "errors", "print_json", "read_config", "size"]

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="HOLDFAST_URL",
        show_envvar=True,
        help="The database, such as sqlite:///org.db or postgresql://user@host/db.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


def read_config(url: str | None) -> PersistenceConfig:
    """The configuration of a URL, else of the environment."""
    return PersistenceConfig.from_url(url) if url else PersistenceConfig.from_env()


@asynccontextmanager
async def connected(
    url: str | None, extensions: Sequence[Extension] = ()
) -> AsyncIterator[PersistenceBackend]:
    backend = create_backend(read_config(url), extensions=extensions)
    await backend.connect()
    try:
        yield backend
    finally:
        await backend.disconnect()


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, default=str))


def size(count: int | None) -> str:
    """Bytes for a person."""
    if count is None:
        return "?"
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
