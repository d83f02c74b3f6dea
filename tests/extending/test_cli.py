"""The commands with ``--extension``, as a shell runs them in an application's directory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast import migrations

from .. import forked

EXAMPLES = Path(__file__).parents[2] / "examples"
HELPDESK = ("--extension", "helpdesk.extension:HELPDESK")


def run(*arguments: str, code: int = 0) -> str:
    done = forked.run("-P", "-m", "holdfast.cli", *arguments, cwd=EXAMPLES)
    assert done.returncode == code, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr if code else done.stdout


@pytest.fixture
def at(shared_url: str) -> tuple[str, str]:
    return ("--url", shared_url)


def test_from_the_first_migration_to_the_last_downgrade(at: tuple[str, str]) -> None:
    assert "helpdesk not migrated" in run("migrate", "current", *at, *HELPDESK, code=1)
    assert "add_table: helpdesk_tickets" in run("migrate", "check", *at, *HELPDESK, code=1)
    said = run("migrate", *at, *HELPDESK)
    assert f"is at revision {migrations.head()}" in " ".join(said.split())
    assert "helpdesk is at revision 0001" in said
    # In front of the command it means the same.
    found = json.loads(run("migrate", *HELPDESK, *at, "current", "--json"))
    assert found["extensions"] == {"helpdesk": {"revision": "0001", "newest_revision": "0001"}}
    assert "helpdesk 0001" in run("migrate", "current", *at, *HELPDESK)
    assert "helpdesk" not in json.dumps(json.loads(run("migrate", "current", "--json", *at)))

    found = json.loads(run("status", "--json", *at, *HELPDESK))
    assert found["extensions"]["helpdesk"]["revision"] == "0001"
    assert found["tables"]["helpdesk_tickets"]["rows"] == 0
    assert "helpdesk_tickets" in run("status", *at, *HELPDESK)
    assert "helpdesk_tickets" not in run("status", *at)

    refused = run("migrate", "downgrade", "base", *at, *HELPDESK, code=1)
    assert "downgrade helpdesk to base first" in " ".join(refused.split())
    said = run("migrate", "downgrade", "base", "--of", "helpdesk", *at, *HELPDESK)
    assert "at revision base" in said
    assert "not migrated" in run("status", *at, *HELPDESK)
    assert "is not attached" in run("migrate", "downgrade", "-1", "--of", "desk", *at, code=1)


def test_its_sql_is_printed() -> None:
    sql = run("migrate", "--sql", "--url", "sqlite:///x.db", *HELPDESK)
    assert sql.index("CREATE TABLE tasks") < sql.index("CREATE TABLE helpdesk_tickets")
    assert "CREATE TABLE holdfast_revision_helpdesk" in sql


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere:X", "No module named 'nowhere'"),
        ("helpdesk.extension:X", "has no attribute 'X'"),
        ("helpdesk.extension", "module and the name in it"),
        (":", "module and the name in it"),
        ("helpdesk:Ticket", "is no Extension"),
    ],
)
def test_an_extension_that_is_not_there(name: str, says: str) -> None:
    said = run("status", "--url", "sqlite:///:memory:", "--extension", name, code=1)
    assert "InvalidArgumentError" in said
    assert says in " ".join(said.split())


def test_a_revision_needs_an_extension_and_a_message() -> None:
    run("revision", "more", code=2)
    run("revision", " ", *HELPDESK, code=2)
    assert len(list((EXAMPLES / "helpdesk" / "migrations").glob("*.py"))) == 1
