"""What the commands print and ask, whatever the names and values hold."""

from __future__ import annotations

import asyncio
import io
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import holdfast
from holdfast import InvalidArgumentError, PersistenceError, create_backend
from holdfast.cli import extensions
from holdfast.cli.app import main
from holdfast.printable import printable
from holdfast.testing.databases import connected

from ..conformance.test_work import task

#: Moves the cursor up, changes the title of the window, hides and reverses text, ends the line.
HOSTILE = "acme\x1b[2A\x1b]0;owned\x07\u202e\x9b31m\r\nroot"
ESCAPED = "acme\\x1b[2A\\x1b]0;owned\\x07\\u202e\\x9b31m\\r\\nroot"

Call = Callable[..., str]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Run a command in this process; answers what it printed, on both outputs."""

    def call(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["holdfast", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        try:
            main()
            ended = 0
        except SystemExit as end:
            ended = int(end.code or 0)
        out, err = capfd.readouterr()
        assert ended == code, out + err
        return out + err

    return call


async def fill(url: str, tenant: str) -> None:
    async with connected(create_backend(url, tenant=tenant)) as backend:
        await backend.tasks.save(task("t"))


def run(url: str, tenant: str) -> None:
    asyncio.run(fill(url, tenant))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ökonom 火 🔥", "Ökonom 火 🔥"),
        (HOSTILE, ESCAPED),
        ("\x00\t\u2028\ud800\U000e0001", "\\x00\\t\\u2028\\ud800\\U000e0001"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert str(PersistenceError(f"no {text}")) == f"no {shown}"


def test_names_of_the_database_are_escaped(sqlite_url: str, tmp_path: Path, call: Call) -> None:
    run(sqlite_url, HOSTILE)
    hostile_url = f"{sqlite_url}?tenant=default"
    export = str(tmp_path / "[bold]e\x1b[31m.jsonl")
    for command in (
        ("tenant", "list"),
        ("tenant", "list", "--rows"),
        ("tenant", "export", HOSTILE, export),
        ("tenant", "import", export, "--as", f"{HOSTILE}2"),
        ("tenant", "erase", HOSTILE, "--dry-run"),
        ("prune", "--keep", "0s", "--dry-run"),
        ("status",),
    ):
        said = call(*command, "--url", hostile_url)
        assert not {"\x1b", "\x07", "\u202e", "\x9b", "\r"} & set(said)
        if "export" in command:
            assert f"{ESCAPED} exported into" in said
            assert "[bold]e\\x1b[31m.jsonl" in said
    assert ESCAPED in call("tenant", "list", "--url", sqlite_url)
    said = call("tenant", "import", export, "--as", HOSTILE, "--url", sqlite_url, code=1)
    assert "has rows already" in said
    assert "\x1b" not in said


def test_names_of_a_hostile_schema_are_escaped(sqlite_url: str, call: Call) -> None:
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    connection.execute('CREATE TABLE "evil\x1b[2J" (id)')
    connection.execute(
        'CREATE TRIGGER "evil\x1b]0;x\x07" AFTER DELETE ON tasks BEGIN SELECT 1; END'
    )
    connection.close()
    for command in (("doctor",), ("migrate", "check")):
        said = call(*command, "--url", sqlite_url, code=1)
        assert "evil\\x1b]0;x\\x07" in said
        assert "\x1b" not in said


def test_help_and_version(call: Call) -> None:
    assert call("--version").strip() == holdfast.__version__
    assert call() == call("--help")
    assert "COMMAND" in call()
    call("nonsense", code=2)


def test_tables_that_are_piped_are_not_wrapped(
    sqlite_url: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    for line in call("doctor", "--url", sqlite_url).splitlines():
        assert line.startswith(("ok", "notice", "warning", "problem", " "))
    lines = call("status", "--url", sqlite_url).splitlines()
    assert any("connections" in line and "callers waiting" in line for line in lines)


def test_a_downgrade_that_drops_rows_is_asked_for(sqlite_url: str, call: Call) -> None:
    run(sqlite_url, "acme")
    said = call("migrate", "downgrade", "base", "--url", sqlite_url, code=1)
    assert "1 rows in 1 tables" in said
    assert call("tenant", "list", "--url", sqlite_url) == "acme\n"
    assert "base" in call("migrate", "downgrade", "base", "--yes", "--url", sqlite_url)


def test_a_deep_policy_is_one_line(tmp_path: Path, call: Call) -> None:
    for text in ("[" * 20_000, "a: " + "{a: " * 5_000, "\x00", "a: b: c", "keep: [1, {2: 3}]"):
        (tmp_path / "policy.yaml").write_text(text)
        said = call(
            "prune", "--policy", str(tmp_path / "policy.yaml"), "--url", "sqlite:///x", code=1
        )
        assert said.startswith("InvalidArgumentError: --policy")
        assert len(said.splitlines()) == 1


def test_the_current_directory_is_the_last_place_for_extensions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "json.py").write_text("raise SystemExit('a file that lies about was run')")
    (tmp_path / "mine.py").write_text("import json\nNOT_ONE = json.dumps(1)\n")
    before = [*sys.path]
    with pytest.raises(InvalidArgumentError, match="is no Extension"):
        extensions.load(["mine:NOT_ONE"])
    assert sys.path == [*before, str(tmp_path)]


#: Longer than a file's name may be.
LONG = "n" * 300


@pytest.mark.parametrize(
    "command",
    [
        ("backup", LONG),
        ("restore", LONG),
        ("tenant", "export", "acme", LONG),
        ("tenant", "import", LONG),
        ("rows", "put", LONG),
        ("status",),
        ("migrate",),
    ],
    ids=" ".join,
)
def test_a_name_that_no_file_can_have_is_one_line(
    command: tuple[str, ...], tmp_path: Path, call: Call
) -> None:
    url = f"sqlite:///{tmp_path / 'org.db'}"
    if LONG in command:
        call("migrate", "--url", url)
    else:
        url = f"sqlite:///{tmp_path / LONG}"
    said = call(*command, "--url", url, code=1)
    assert "File name too long" in said
    assert said.count("\n") == 1


def test_a_row_is_put_from_no_other_file(tmp_path: Path, call: Call) -> None:
    """Binary, a directory: one line each."""
    url, binary = f"sqlite:///{tmp_path / 'org.db'}", tmp_path / "binary"
    call("migrate", "--url", url)
    binary.write_bytes(bytes(range(256)))
    for file in (binary, tmp_path):
        assert call("rows", "put", str(file), "--url", url, code=1).count("\n") == 1


def test_names_between_colons_are_no_pictures(call: Call) -> None:
    assert "status:x:" in call("migrate", "--extension", "status:x:", code=1)
