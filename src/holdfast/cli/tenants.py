"""``holdfast tenant``: list, export, import and erase tenants."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.extensions import Names, load
from holdfast.cli.output import Json, Url, connected, print_json, say
from holdfast.operations import Export, read_export
from holdfast.printable import printable

app = typer.Typer(help="List, export, import and erase tenants.")

_Tenant = Annotated[str, typer.Argument(show_default=False)]
_File = Annotated[Path, typer.Argument(show_default=False)]


@app.command("list")
def list_tenants(
    url: Url = None,
    extension: Names = None,
    rows: Annotated[bool, typer.Option("--rows", help="Count their rows: reads them all.")] = False,
    json: Json = False,
) -> None:
    """List every tenant who has a row in any table."""

    async def run() -> dict[str, Mapping[str, int] | None]:
        async with connected(url, load(extension)) as backend:
            operations = backend.operations
            return {
                tenant: await operations.count_tenant(tenant) if rows else None
                for tenant in await operations.tenants()
            }

    found = asyncio.run(run())
    if json:
        print_json(found if rows else {"tenants": list(found)})
        return
    for tenant, counted in found.items():
        say(tenant if counted is None else f"{tenant}  {sum(counted.values()):,}")


@app.command("export")
def export(
    tenant: _Tenant,
    target: _File,
    url: Url = None,
    extension: Names = None,
    json: Json = False,
) -> None:
    """Write all rows of a tenant, as they are now, into a new file of JSON lines.

    Compressed if the name ends in .gz. It holds what the database holds, hashes of passwords too.
    """

    async def run() -> Export:
        async with connected(url, load(extension)) as backend:
            return await backend.operations.export_tenant(tenant, target)

    _show_export(asyncio.run(run()), f"{tenant} exported into {target}", json)


@app.command("import")
def import_(
    source: _File,
    url: Url = None,
    extension: Names = None,
    as_: Annotated[
        str | None,
        typer.Option("--as", help="The tenant to fill; else the one that was exported."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Only read the file to its end and compare.")
    ] = False,
    json: Json = False,
) -> None:
    """Fill a tenant who has no rows from an export: all of it or nothing."""

    async def run() -> Export:
        if verify:
            return read_export(source)
        async with connected(url, load(extension)) as backend:
            return await backend.operations.import_tenant(source, tenant=as_)

    found = asyncio.run(run())
    done = f"{source} is what was exported" if verify else f"{as_ or found.tenant} imported"
    _show_export(found, done, json)


@app.command("erase")
def erase(
    tenant: _Tenant,
    url: Url = None,
    extension: Names = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be deleted; delete nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Delete all rows of a tenant, in small transactions. Run again, it goes on."""

    async def run() -> Mapping[str, int]:
        async with connected(url, load(extension)) as backend:
            operations = backend.operations
            found = await operations.count_tenant(tenant)
            if dry_run or not found:
                return found
            if not yes:
                total = sum(found.values())
                question = f"Delete the {total:,} rows of {tenant} for ever?"
                typer.confirm(printable(question), abort=True, err=True)
            return await operations.erase_tenant(tenant)

    rows = asyncio.run(run())
    if json:
        print_json({"tenant": tenant, "dry_run": dry_run, "rows": rows})
        return
    for table, count in rows.items():
        say(f"{table}  {count:,}")
    if not rows:
        say(f"there are no rows of {tenant}")
        return
    verb = "would be deleted" if dry_run else "deleted"
    say(f"{sum(rows.values()):,} rows of {tenant} {verb}")


def _show_export(found: Export, done: str, json: bool) -> None:
    if json:
        print_json(found.model_dump(mode="json"))
        return
    total = sum(found.rows.values())
    say(f"{done}: {total:,} rows in {len(found.rows)} tables")
