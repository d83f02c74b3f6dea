"""``holdfast roles``: the owner, the migrator and the application's role."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Annotated

import typer
from pydantic import SecretStr

from holdfast.cli.extensions import Names, load
from holdfast.cli.output import Url, connected, errors, say
from holdfast.operations.roles import LOGINS
from holdfast.printable import printable

#: By role the variable its password is taken from.
_VARIABLES = {role: f"HOLDFAST_{role.upper()}_PASSWORD" for role in LOGINS}


def roles(
    url: Url = None,
    extension: Names = None,
    prefix: Annotated[
        str, typer.Option(help="What the names of the roles begin with.")
    ] = "holdfast",
    readonly: Annotated[
        bool, typer.Option("--readonly", help="Also a role that reads one tenant at a time.")
    ] = False,
    ask: Annotated[
        bool, typer.Option("--ask", help="Ask for passwords that the environment does not give.")
    ] = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Also take the tables from another prefix's owner.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "--sql", help="Print the SQL; send nothing.")
    ] = False,
) -> None:
    """Make the roles of a PostgreSQL database, or bring them to what they should be.

    Run it as a superuser, or as the database's owner with CREATEROLE, and again whenever you like.
    Passwords come from HOLDFAST_MIGRATOR_PASSWORD, HOLDFAST_APP_PASSWORD and
    HOLDFAST_READONLY_PASSWORD; a role without one keeps what it has, or logs in by other means.
    Those that have none in the end are named.
    """
    passwords = _passwords(("migrator", "app", *(["readonly"] if readonly else [])), ask)

    async def run() -> tuple[Sequence[str], Sequence[str]]:
        async with connected(url, load(extension)) as backend:
            operations = backend.operations
            # Before they are made: afterwards not everybody may see it.
            without = await operations.roles_without_password(prefix, readonly=readonly)
            statements = await operations.create_roles(
                prefix, passwords=passwords, readonly=readonly, take_over=take_over, dry_run=dry_run
            )
        return statements, [role for role in without if role not in passwords]

    statements, without = asyncio.run(run())
    # On standard error: --sql is for a program to read.
    for role in without:
        said = (
            f"{prefix}_{role} has no password, and none was set: unless it logs in by other means, "
            f"run this again with {_VARIABLES[role]}"
        )
        errors.print(printable(said), markup=False)
    if dry_run:
        for statement in statements:
            typer.echo(f"{statement};")
    else:
        say(f"{prefix}_owner owns the tables; migrate as {prefix}_migrator")
        say(f"the application connects as {prefix}_app, with row_security=required")


def _passwords(wanted: Sequence[str], ask: bool) -> dict[str, SecretStr]:
    found = {}
    for role in wanted:
        password = os.environ.get(_VARIABLES[role], "")
        if not password and ask:
            password = typer.prompt(
                f"password of the {role}", hide_input=True, confirmation_prompt=True
            )
        if password:
            found[role] = SecretStr(password)
    return found
