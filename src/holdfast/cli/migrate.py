"""``holdfast migrate``: bring a schema to a revision, look at it, compare it."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from typing import Annotated

import typer

from holdfast import PersistenceBackend, Status, migrations
from holdfast.cli.extensions import Names, load
from holdfast.cli.output import Json, Url, connected, print_json, read_config, say
from holdfast.printable import printable

app = typer.Typer(help="Bring the schema to the newest revision, or look at it.")

_DIALECTS = {"sqlite": "sqlite", "postgres": "postgresql"}


@app.callback(invoke_without_command=True)
def migrate(
    context: typer.Context,
    url: Url = None,
    extension: Names = None,
    sql: Annotated[
        bool, typer.Option("--sql", help="Print the SQL for an empty database; send nothing.")
    ] = False,
) -> None:
    """Bring the schema to the newest revision. Safe from many processes at once."""
    if context.invoked_subcommand is not None:
        context.obj = (url, extension)
        return
    if sql:
        chains = [migrations.HOLDFAST, *(item.chain for item in load(extension))]
        dialect = _DIALECTS[read_config(url).backend]
        typer.echo(migrations.migration_sql(dialect, chains=chains))
        return

    async def run() -> Status:
        async with connected(url, load(extension), new=True) as backend:
            await backend.migrate()
            return await backend.status()

    found = asyncio.run(run())
    say(f"{read_config(url).safe_url} is at revision {found.revision}")
    for name, item in found.extensions.items():
        say(f"{name} is at revision {item.revision}")


def _connected(
    context: typer.Context, url: str | None, extension: list[str] | None
) -> AbstractAsyncContextManager[PersistenceBackend]:
    """The database and the extensions, named behind the command or in front of it."""
    outer_url, outer_extension = context.obj
    return connected(url or outer_url, load(extension or outer_extension))


@app.command("current")
def current(
    context: typer.Context, url: Url = None, extension: Names = None, json: Json = False
) -> None:
    """Print the database's revision; exit code 1 if it is not the newest."""

    async def run() -> Status:
        async with _connected(context, url, extension) as backend:
            return await backend.status()

    found = asyncio.run(run())
    if json:
        extensions = {name: asdict(item) for name, item in found.extensions.items()}
        shown = {"revision": found.revision, "newest": found.newest_revision}
        print_json(shown | ({"extensions": extensions} if extensions else {}))
    else:
        say(found.revision or "not migrated")
        for name, item in found.extensions.items():
            say(f"{name} {item.revision or 'not migrated'}")
    steps = [(item.revision, item.newest_revision) for item in found.extensions.values()]
    if any(at != newest for at, newest in [(found.revision, found.newest_revision), *steps]):
        raise typer.Exit(1)


@app.command("history")
def history(json: Json = False) -> None:
    """List every revision this Holdfast knows, newest first."""
    revisions = migrations.history()
    if json:
        print_json([revision._asdict() for revision in revisions])
        return
    for revision in revisions:
        say(f"{revision.revision}  {revision.message}")


@app.command("check")
def check(
    context: typer.Context, url: Url = None, extension: Names = None, json: Json = False
) -> None:
    """Compare the database with this Holdfast's schema; exit code 1 if they differ."""

    async def run() -> list[str]:
        async with _connected(context, url, extension) as backend:
            return list(await backend.schema_drift())

    found = asyncio.run(run())
    if json:
        print_json({"differences": found})
    else:
        for line in found:
            say(line)
        if not found:
            say("no difference")
    if found:
        raise typer.Exit(1)


@app.command("downgrade", context_settings={"ignore_unknown_options": True})  # for -1
def downgrade(
    context: typer.Context,
    revision: Annotated[str, typer.Argument(help="A revision, 'base', or '-1' for one step.")],
    url: Url = None,
    extension: Names = None,
    of: Annotated[
        str | None, typer.Option("--of", help="The name of the extension whose revisions to undo.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Undo revisions. What they created, and its rows, is gone."""

    async def run() -> str | None:
        async with _connected(context, url, extension) as backend:
            if not yes:
                _confirm(await backend.status(), revision)
            await backend.downgrade(revision, extension=of)
            found = await backend.status()
            return found.revision if of is None else found.extensions[of].revision

    say(f"at revision {asyncio.run(run()) or 'base'}")


def _confirm(found: Status, revision: str) -> None:
    """Ask before anything is dropped; a database without rows has nothing to lose."""
    rows = {name: table.rows for name, table in found.tables.items() if table.rows}
    if rows:
        typer.confirm(
            f"Downgrade to {printable(revision)}? What the undone revisions made is dropped with "
            f"its rows; there are {sum(rows.values()):,} rows in {len(rows)} tables",
            abort=True,
            err=True,
        )
