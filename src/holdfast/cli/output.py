"""What the commands share: the options for where and how, and the consoles they print on."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from pydantic import SecretStr
from rich.console import Console, RenderableType

from holdfast import (
    PersistenceBackend,
    PersistenceConfig,
    PersistenceConnectionError,
    create_backend,
)
from holdfast.extending import Extension
from holdfast.printable import printable

__all__ = [
    "Json",
    "Url",
    "connected",
    "console",
    "errors",
    "print_json",
    "read_config",
    "say",
    "show",
    "size",
]

console = Console(highlight=False, emoji=False)
errors = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)  # one line is one error

#: For tables that a program reads, which would stumble over a broken line.
_wide = Console(highlight=False, emoji=False, width=10_000)

_PASSWORD = "HOLDFAST_POSTGRES__PASSWORD"  # noqa: S105 - the name of the variable

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
    """The configuration of a URL, else of the environment.

    The password may be in the environment in any case: on a command line every user of the machine
    can read it.
    """
    if not url or url == os.environ.get("HOLDFAST_URL"):
        return PersistenceConfig.from_env()
    config, password = PersistenceConfig.from_url(url), os.environ.get(_PASSWORD)
    if config.postgres is None or not password or urlsplit(url).password is not None:
        return config
    postgres = config.postgres.model_copy(update={"password": SecretStr(password)})
    return config.model_copy(update={"postgres": postgres})


@asynccontextmanager
async def connected(
    url: str | None, extensions: Sequence[Extension] = (), *, new: bool = False
) -> AsyncIterator[PersistenceBackend]:
    """``new``: a database that is a file may be made. Else a mistyped name would leave one."""
    config = read_config(url)
    if not new and config.missing_file is not None:
        raise PersistenceConnectionError(
            f"there is no database {config.missing_file}: look at the URL, or make it with "
            "`holdfast migrate`",
            is_retryable=False,
        )
    # What migrates and looks around must be let in whatever the schema is.
    settings = getattr(config, config.backend).model_copy(update={"schema_check": "warn"})
    config = config.model_copy(update={config.backend: settings})
    backend = create_backend(config, extensions=extensions)
    await backend.connect()
    try:
        yield backend
    finally:
        await backend.disconnect()


def say(line: str) -> None:
    """Print one line as it is, but for characters that are not printable."""
    typer.echo(printable(line))


def show(table: RenderableType) -> None:
    """Print a table: in a terminal as wide as that is, elsewhere as wide as the table."""
    (console if console.is_terminal else _wide).print(table)


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
