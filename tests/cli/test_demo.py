"""The demo keeps every acknowledged record through a kill, on both engines, again and again."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from holdfast.schema import metadata

from .. import forked
from .test_commands import run

#: The tables that the demo's organisation works with.
USED = {
    "agent_states", "api_keys", "artifacts", "audit_entries", "checkpoints", "cost_records",
    "heartbeats", "messages", "parked_contexts", "projects", "settings", "tasks", "users",
}  # fmt: skip
SIZE = ("--agents", "4", "--tasks", "60")


def demo(url: str) -> dict[str, Any]:
    """The report of a first run, in which nothing is lost."""
    command = ("-m", "holdfast.cli", "demo", "--url", url, "--json", *SIZE)
    done = forked.run(*command, timeout=120)
    assert done.returncode == 0, done.stderr + done.stdout
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["run"] == 1
    assert report["intact"]
    assert report["killed_pid"]
    assert 0 < report["acknowledged_at_kill"] < report["acknowledged"]
    assert set(report["missing"].values()) == {0}
    assert report["completed"] == report["tasks"] == 60
    assert report["rows"].keys() == metadata.tables.keys()
    assert {name for name, rows in report["rows"].items() if rows} >= USED
    assert report["commits"] > 0
    assert report["writes"] > 0
    assert sum(report["spend"].values()) > 0
    return report


def test_nothing_acknowledged_is_lost_on_postgres(postgres_url: str) -> None:
    demo(postgres_url)


def test_a_second_run_continues_and_is_told_to_a_person(sqlite_url: str) -> None:
    first = demo(sqlite_url)["rows"]
    done = subprocess.run(
        [sys.executable, "-m", "holdfast.cli", "demo", "--url", sqlite_url, *SIZE],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    said = (", run 2", "Rows per repository", "Spend per agent", "acknowledged writes are there")
    for words in said:
        assert words in done.stdout
    tables = json.loads(run("status", "--json", url=sqlite_url))["tables"]
    assert tables["tasks"]["rows"] == 2 * first["tasks"]
    assert tables["users"]["rows"] == first["users"]
