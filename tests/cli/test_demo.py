"""The demo keeps every acknowledged record through a kill, on both engines, again and again."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from holdfast.schema import metadata

from .. import forked

#: The tables that the demo's organisation works with.
USED = {
    "agent_states", "api_keys", "artifacts", "audit_entries", "checkpoints", "cost_records",
    "heartbeats", "messages", "parked_contexts", "projects", "settings", "tasks", "users",
}  # fmt: skip
SIZE = ("--agents", "4", "--tasks", "60")


def demo(url: str, *options: str) -> dict[str, Any]:
    command = ("-m", "holdfast.cli", "demo", "--url", url, "--json", *SIZE, *options)
    done = forked.run(*command, timeout=120)
    assert done.returncode == 0, done.stderr + done.stdout
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_nothing_acknowledged_is_lost(shared_url: str) -> None:
    report = demo(shared_url)
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


def test_a_second_run_continues(sqlite_url: str) -> None:
    first, second = demo(sqlite_url), demo(sqlite_url)
    assert (first["run"], second["run"]) == (1, 2)
    assert second["intact"]
    assert second["rows"]["tasks"] == 2 * first["rows"]["tasks"]
    assert second["rows"]["users"] == first["rows"]["users"]


def test_the_report_is_for_a_person(sqlite_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "holdfast.cli", "demo", "--url", sqlite_url, *SIZE],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    for words in ("Rows per repository", "Spend per agent", "acknowledged writes are there"):
        assert words in done.stdout
