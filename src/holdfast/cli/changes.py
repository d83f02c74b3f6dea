"""``holdfast changes``: which tables record their changes, and how long they are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any

import typer

from holdfast import InvalidArgumentError, PersistenceBackend
from holdfast.cli.output import Json, Url, connected, print_json, say
from holdfast.storage.repository import Repository

app = typer.Typer(help="Record the changes of tables, so that they can be watched.")

#: Hours, longer than there are instants.
_EVER = 1e8

Names = Annotated[list[str], typer.Argument(help="Repositories, such as tasks.")]


@app.command("on")
def on(names: Names, url: Url = None) -> None:
    """Record the changes of these repositories. Safe from many processes at once."""
    _switch(names, url, lambda backend, found: backend.record_changes(*found))


@app.command("off")
def off(names: Names, url: Url = None) -> None:
    """Record no more; watchers are told, and what was recorded stays."""
    _switch(names, url, lambda backend, found: backend.stop_recording(*found))


@app.command("list")
def list_recorded(url: Url = None, json: Json = False) -> None:
    """List the tables that are recorded."""

    async def run() -> list[str]:
        async with connected(url) as backend:
            return list(await backend.recorded_tables())

    tables = asyncio.run(run())
    if json:
        print_json({"recorded": tables})
    else:
        for table in tables:
            say(table)


@app.command("prune")
def prune(
    hours: Annotated[float, typer.Argument(help="Delete what was recorded longer ago.", min=0)],
    url: Url = None,
) -> None:
    """Delete the oldest changes of the URL's tenant."""
    age = timedelta(hours=min(hours, _EVER))

    async def run() -> int:
        async with connected(url) as backend:
            return await backend.prune_changes(older_than=age)

    say(f"{asyncio.run(run())} changes deleted")


def _switch(
    names: list[str], url: str | None, turn: Callable[[PersistenceBackend, Any], Awaitable[None]]
) -> None:
    async def run() -> None:
        async with connected(url) as backend:
            await turn(backend, [_repository(backend, name) for name in names])

    asyncio.run(run())


def _repository(backend: PersistenceBackend, name: str) -> Repository:
    found = getattr(backend, name, None)
    if not isinstance(found, Repository):
        raise InvalidArgumentError(f"there is no repository {name!r}")
    return found
