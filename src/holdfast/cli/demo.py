"""The command itself: options, progress bar, exit code."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from holdfast.cli import demo_report
from holdfast.cli.output import Json, Url, connected, console, errors, print_json, read_config, say
from holdfast.demo.conductor import Outcome, conduct
from holdfast.demo.organisation import make_plan

DEFAULT_URL = "sqlite:///org.db"


def demo(
    url: Url = None,
    agents: Annotated[int, typer.Option(min=2, max=64, help="Agents, in two processes.")] = 8,
    tasks: Annotated[int, typer.Option(min=10, help="Tasks to be done.")] = 800,
    seed: Annotated[int, typer.Option(help="Decides what the agents do.")] = 7,
    json: Json = False,
) -> None:
    """Let a small organisation work, kill one of its processes, and prove that nothing is lost.

    Without --url it works on org.db, and continues there when it is run again. Exit code 1 if an
    acknowledged record is missing.
    """
    outcome = asyncio.run(_run(url or DEFAULT_URL, agents, tasks, seed, quiet=json))
    if json:
        print_json(demo_report.as_json(outcome))
    else:
        demo_report.show(outcome)
        say(f"Look at it: {_program()} status --url {shlex.quote(_shown(url or DEFAULT_URL))}")
    if not outcome.intact:
        raise typer.Exit(1)


def _program() -> str:
    """How this shell calls the program that runs."""
    script = Path(sys.executable).with_name("holdfast")
    if shutil.which("holdfast") == str(script) or not script.exists():
        return "holdfast"
    here = script.relative_to(Path.cwd()) if script.is_relative_to(Path.cwd()) else script
    return shlex.quote(str(here))


def _shown(url: str) -> str:
    """The URL as it was given, without a password."""
    return url if urlsplit(url).password is None else read_config(url).safe_url


async def _run(url: str, agents: int, tasks: int, seed: int, *, quiet: bool) -> Outcome:
    async with connected(url, new=True) as backend:
        await backend.migrate()
        run = int(await backend.get_setting("demo.runs") or 0) + 1
        plan = make_plan(run, seed, agents, tasks)
        if not quiet:
            again = f", which has {run - 1} earlier runs" if run > 1 else ""
            console.print(
                f"{agents} agents in two processes work on {tasks} tasks in "
                f"[cyan]{read_config(url).safe_url}[/]{again}."
            )
            console.print("[dim]Half-way one of the processes is killed and started again.[/]")
        columns = (
            TextColumn("tasks"), BarColumn(bar_width=48), MofNCompleteColumn(), TimeElapsedColumn()
        )  # fmt: skip
        with Progress(*columns, console=errors, disable=quiet) as progress:
            bar = progress.add_task("tasks", total=tasks)
            return await conduct(
                backend, url, plan, lambda done: progress.update(bar, completed=done)
            )
