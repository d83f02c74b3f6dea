"""The demo's last page."""

from __future__ import annotations

from math import fsum
from typing import Any

from rich.columns import Columns
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from holdfast.cli.output import console, size
from holdfast.cli.output import show as wide
from holdfast.demo.conductor import Outcome
from holdfast.printable import printable

__all__ = ["as_json", "show"]


def as_json(outcome: Outcome) -> dict[str, Any]:
    status = outcome.status
    assert status is not None  # noqa: S101 - set by then
    return {
        "intact": outcome.intact,
        "run": outcome.plan.run,
        "engine": status.engine,
        "seconds": round(outcome.seconds, 3),
        "tasks": outcome.plan.tasks,
        "completed": outcome.completed,
        "killed_pid": outcome.killed_pid,
        "resumed": [{"task": task, "from_turn": turn} for task, turn in outcome.resumed],
        "acknowledged": outcome.ledger.writes,
        "acknowledged_at_kill": outcome.acknowledged_at_kill,
        "missing": outcome.missing,
        "writes": outcome.batched_writes,
        "commits": outcome.commits,
        "spend": {agent: round(dollars, 6) for agent, dollars in outcome.spend.items()},
        "rows": {name: table.rows for name, table in status.tables.items()},
    }


def show(outcome: Outcome) -> None:
    """Print the report for a person."""
    status, plan, ledger = outcome.status, outcome.plan, outcome.ledger
    assert status is not None  # noqa: S101 - set by then
    console.print()
    console.rule(f"[bold]Holdfast[/] on {status.engine} {status.version}, run {plan.run}")
    console.print()

    rows = Table(title="Rows per repository", title_justify="left", box=None, padding=(0, 2, 0, 0))
    rows.add_column("repository", style="cyan")
    rows.add_column("rows", justify="right")
    rows.add_column("size", justify="right", style="dim")
    for name, table in status.tables.items():
        if table.rows:
            rows.add_row(name, f"{table.rows:,}", size(table.bytes))

    spend = Table(title="Spend per agent", title_justify="left", box=None, padding=(0, 2, 0, 0))
    spend.add_column("agent", style="cyan")
    spend.add_column("dollars", justify="right")
    spend.add_column("")
    most = max(outcome.spend.values(), default=0.0) or 1.0
    for agent, dollars in outcome.spend.items():
        spend.add_row(
            Text(printable(agent)),
            f"{dollars:.3f}",
            f"[green]{'━' * round(14 * dollars / most)}[/]",
        )
    spend.add_row("", "")
    spend.add_row("[bold]all[/]", f"[bold]{fsum(outcome.spend.values()):.3f}[/]", "")
    wide(Columns([rows, spend], padding=(0, 6)))
    console.print()

    per_second = ledger.writes / outcome.seconds if outcome.seconds else 0.0
    ratio = outcome.batched_writes / outcome.commits if outcome.commits else 0.0
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column()
    facts.add_row(
        "work", f"{outcome.completed:,} of {plan.tasks:,} tasks in {outcome.seconds:.1f} s"
    )
    facts.add_row("durable writes", f"{ledger.writes:,} acknowledged, {per_second:,.0f} a second")
    facts.add_row(
        "commits",
        f"{outcome.commits:,} carried {outcome.batched_writes:,} batched writes: {ratio:.1f} each "
        "[dim](as the workers last reported)[/]",
    )
    wide(facts)
    console.print()
    console.print(_proof(outcome))


def _proof(outcome: Outcome) -> Panel:
    lost = {name: count for name, count in outcome.missing.items() if count}
    again = ", ".join(f"{task} from turn {turn + 1}" for task, turn in outcome.resumed[:3])
    if len(outcome.resumed) > 3:
        again += f" and {len(outcome.resumed) - 3} more"
    story = (
        f"Process {outcome.killed_pid} was killed with SIGKILL after "
        f"{outcome.acknowledged_at_kill:,} acknowledged writes and started again.\n"
        f"It took up {again or 'nothing: no task of its agents was under way'}.\n"
        if outcome.killed_pid is not None
        else "The process ended before it could be killed; use more --tasks.\n"
    )
    if outcome.intact:
        verdict = (
            f"[bold green]All {outcome.ledger.writes:,} acknowledged writes are there[/], read "
            "back and compared; every task was completed once."
        )
    elif lost:
        verdict = "[bold red]Lost:[/] " + ", ".join(f"{n} of {name}" for name, n in lost.items())
    else:
        verdict = "[bold yellow]Nothing is lost, but the run was not what it should be.[/]"
    style = "green" if outcome.intact else "red"
    return Panel(story + verdict, title="Proof", title_align="left", border_style=style)
