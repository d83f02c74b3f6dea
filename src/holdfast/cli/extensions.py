"""Extensions named on the command line."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from holdfast import migrations
from holdfast.cli.output import say
from holdfast.errors import InvalidArgumentError
from holdfast.extending import Extension

__all__ = ["Names", "load", "revision"]

Names = Annotated[
    list[str] | None,
    typer.Option(
        "--extension",
        metavar="MODULE:NAME",
        help="An extension to attach; may be given several times, in the order of attachment.",
        show_default=False,
    ),
]


def load(names: Sequence[str] | None) -> list[Extension]:
    """The extensions; modules are also looked for in the current directory.

    There last: a file that lies about must not stand in for an installed module.
    """
    here = str(Path.cwd())
    if names and here not in sys.path:
        sys.path.append(here)
    return [_load(name) for name in names or ()]


def _load(name: str) -> Extension:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidArgumentError(
            f"--extension {name}: {error}; give the module and the name in it, such as "
            "helpdesk.extension:HELPDESK"
        ) from error
    if not isinstance(found, Extension):
        raise InvalidArgumentError(f"--extension {name} is no Extension")
    return found


def revision(
    message: Annotated[str, typer.Argument(help="What changes, in a few words.")],
    extension: Names = None,
) -> None:
    """Write the migration for the changed tables of an extension, the last one that is named."""
    extensions = load(extension)
    if not extensions or not message.strip():
        raise typer.BadParameter("give --extension and say what changes")
    chains = [migrations.HOLDFAST, *(item.chain for item in extensions)]
    say(str(asyncio.run(migrations.write_revision(message, chains))))
