"""``holdfast prune``: delete what is older than it is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
import yaml
from pydantic import ValidationError

from holdfast import InvalidArgumentError
from holdfast.cli.extensions import Names, load
from holdfast.cli.output import Json, Url, connected, print_json, say
from holdfast.operations import Pruned, RetentionPolicy, parse_age


def prune(
    url: Url = None,
    extension: Names = None,
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep", metavar="AGE", help="Of every history, or of each --table: 90d, 12h, 2w."
        ),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option("--policy", help="A YAML file that says how long what is kept."),
    ] = None,
    table: Annotated[
        list[str] | None, typer.Option("--table", help="Only this one; may be given again.")
    ] = None,
    tenant: Annotated[
        list[str] | None, typer.Option("--tenant", help="Only this one; may be given again.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be deleted; delete nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Delete rows that are older than they are kept, of all tenants, in small transactions.

    Without --keep and --policy only what has expired: sessions, refresh tokens, idempotency keys.
    """
    if keep is not None and policy is not None:
        raise typer.BadParameter("give --keep or --policy, not both")
    ages = _read(policy) if policy is not None else None if keep is None else parse_age(keep)

    async def run() -> Sequence[Pruned]:
        async with connected(url, load(extension)) as backend:
            return await backend.operations.prune(
                ages, tables=table or None, tenants=tenant or None, dry_run=dry_run
            )

    found = asyncio.run(run())
    if json:
        print_json({"dry_run": dry_run, "pruned": [asdict(item) for item in found]})
        return
    for item in found:
        say(f"{item.table}  {item.tenant}  {item.rows:,}")
    verb = "would be deleted" if dry_run else "deleted"
    say(f"{sum(item.rows for item in found):,} rows {verb}")


def _read(path: Path) -> RetentionPolicy:
    try:
        return RetentionPolicy.model_validate(yaml.safe_load(path.read_bytes()) or {})
    except OSError as error:
        raise InvalidArgumentError(f"--policy {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidArgumentError(f"--policy {path}: {place}: {first['msg']}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        # Without the cause, which is as long as the file is deep.
        raise InvalidArgumentError(f"--policy {path} is not YAML, or nested too deeply") from None
