"""CONTRIBUTING's example works as printed: three files, one generated migration, one stored row."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

_STORE = """
import asyncio
from datetime import UTC, datetime
from holdfast import Reminder, ReminderRepository, create_backend
async def main():
    backend = create_backend("sqlite:///:memory:")
    await backend.connect()
    await backend.migrate()
    reminder = Reminder(id="r", agent_id="ada", text="call", due_at=datetime.now(UTC))
    await backend.reminders.save(reminder)
    assert await backend.reminders.get("r") == reminder
    assert isinstance(backend.reminders, ReminderRepository)
    await backend.disconnect()
asyncio.run(main())
"""


def test_the_example_adds_an_entity(tmp_path: Path) -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    match = re.search(r"```diff\n(.*?)```", page, re.DOTALL)
    assert match is not None
    diff = match[1]
    assert len(re.findall(r"^\+\+\+ ", diff, re.MULTILINE)) == 3
    shutil.copytree(
        ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    versions = tmp_path / "src" / "holdfast" / "migrations" / "versions"
    before = set(versions.glob("*.py"))

    def run(*command: str, stdin: str | None = None) -> None:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "src"), "GIT_DIR": os.devnull}
        done = subprocess.run(
            command, input=stdin, text=True, capture_output=True, cwd=tmp_path, env=environment
        )
        assert done.returncode == 0, done.stderr

    run("git", "apply", "-", stdin=diff)
    run(sys.executable, "-m", "holdfast.migrations", "add reminders")
    (revision,) = set(versions.glob("*.py")) - before
    assert "create_table" in revision.read_text(encoding="utf-8")
    run(sys.executable, "-c", _STORE)
