"""The commands, and how their errors are shown."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from holdfast import __version__
from holdfast.cli import (
    backup,
    changes,
    doctor,
    extensions,
    migrate,
    prune,
    roles,
    rows,
    status,
    tenants,
)
from holdfast.cli import demo as demo
from holdfast.cli.output import Json, errors, print_json
from holdfast.errors import PersistenceError

app = typer.Typer(
    name="holdfast",
    rich_markup_mode=None,
    # A traceback with local variables could show a password.
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def holdfast(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print Holdfast's version."
        ),
    ] = False,
) -> None:
    """The persistence layer for organisations of AI agents."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.command("demo")(demo.demo)
app.add_typer(migrate.app, name="migrate")
app.command("status")(status.status)
app.command("doctor")(doctor.doctor)
app.add_typer(rows.app, name="rows")
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.add_typer(changes.app, name="changes")
app.add_typer(tenants.app, name="tenant")
app.command("prune")(prune.prune)
app.command("roles")(roles.roles)
app.command("revision")(extensions.revision)


@app.command("version")
def version(json: Json = False) -> None:
    """Print Holdfast's version."""
    if json:
        print_json({"holdfast": __version__})
    else:
        typer.echo(__version__)


def main() -> None:
    """Run the command line; a Holdfast error is one line and exit code 1."""
    try:
        app()
    except PersistenceError as error:
        errors.print(f"[bold red]{type(error).__name__}[/]", end=": ")
        errors.print(str(error), markup=False, highlight=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
