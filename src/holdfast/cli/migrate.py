"""``holdfast migrate``: bring a schema to a revision, look at it, compare it."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from holdfast import migrations
from holdfast.cli.output import Json, Url, connected, console, print_json, read_config

app = typer.Typer(help="Bring the schema to the newest revision, or look at it.")

_DIALECTS = {"sqlite": "sqlite", "postgres": "postgresql"}


@app.callback(invoke_without_command=True)
def migrate(
    context: typer.Context,
    url: Url = None,
    sql: Annotated[
        bool, typer.Option("--sql", help="Print the SQL for an empty database; send nothing.")
    ] = False,
) -> None:
    """Bring the schema to the newest revision. Safe from many processes at once."""
    if context.invoked_subcommand is not None:
        context.obj = url
        return
    if sql:
        typer.echo(migrations.migration_sql(_DIALECTS[read_config(url).backend]))
        return

    async def run() -> None:
        async with connected(url) as backend:
            await backend.migrate()

    asyncio.run(run())
    console.print(f"{read_config(url).safe_url} is at revision {migrations.head()}")


@app.command("current")
def current(context: typer.Context, url: Url = None, json: Json = False) -> None:
    """Print the database's revision; exit code 1 if it is not the newest."""

    async def run() -> str | None:
        async with connected(url or context.obj) as backend:
            return (await backend.status()).revision

    revision = asyncio.run(run())
    if json:
        print_json({"revision": revision, "newest": migrations.head()})
    else:
        typer.echo(revision or "not migrated")
    if revision != migrations.head():
        raise typer.Exit(1)


@app.command("history")
def history(json: Json = False) -> None:
    """List every revision this Holdfast knows, newest first."""
    revisions = migrations.history()
    if json:
        print_json([revision._asdict() for revision in revisions])
        return
    for revision in revisions:
        typer.echo(f"{revision.revision}  {revision.message}")


@app.command("check")
def check(context: typer.Context, url: Url = None, json: Json = False) -> None:
    """Compare the database with this Holdfast's schema; exit code 1 if they differ."""

    async def run() -> list[str]:
        async with connected(url or context.obj) as backend:
            return list(await backend.schema_drift())

    found = asyncio.run(run())
    if json:
        print_json({"differences": found})
    else:
        for line in found:
            typer.echo(line)
        if not found:
            typer.echo("no difference")
    if found:
        raise typer.Exit(1)


@app.command("downgrade")
def downgrade(
    context: typer.Context,
    revision: Annotated[str, typer.Argument(help="A revision, 'base', or '-1' for one step.")],
    url: Url = None,
) -> None:
    """Undo revisions. What they created, and its rows, is gone."""

    async def run() -> str | None:
        async with connected(url or context.obj) as backend:
            await backend.downgrade(revision)
            return (await backend.status()).revision

    console.print(f"at revision {asyncio.run(run()) or 'base'}")
