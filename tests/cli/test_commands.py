"""`version`, `migrate` and `status`, as a shell runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast
from holdfast import create_backend, migrations
from holdfast.cli.output import read_config

from .. import forked

CLI = ("-m", "holdfast.cli")


def run(*arguments: str, code: int = 0, url: str | None = None) -> str:
    done = forked.run(*CLI, *arguments, *(() if url is None else ("--url", url)))
    assert done.returncode == code, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr if code else done.stdout


async def corrupt(url: str, sql: str) -> None:
    """Change a schema behind Holdfast's back."""
    backend = create_backend(url)
    await backend.connect()
    try:
        handle = backend.get_db()
        if backend.backend_name == "sqlite":
            await handle.run(lambda connection: connection.execute(sql))
        else:
            connection = await handle.acquire()
            await connection.raw.execute(sql)
            handle.release(connection)
    finally:
        await backend.disconnect()


def test_version() -> None:
    done = subprocess.run([sys.executable, *CLI, "version"], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == (holdfast.__version__, "")
    assert run("version").strip() == holdfast.__version__
    assert json.loads(run("version", "--json")) == {"holdfast": holdfast.__version__}


def test_history_ends_at_the_head() -> None:
    assert run("migrate", "history").startswith(migrations.head())
    assert json.loads(run("migrate", "history", "--json"))[0]["revision"] == migrations.head()


def test_migrate_an_empty_database(tmp_path: Path, empty_postgres_url: str) -> None:
    (tmp_path / "new.db").touch()
    for url in (f"sqlite:///{tmp_path}/new.db", empty_postgres_url):
        assert "not migrated" in forked.run(*CLI, "migrate", "current", "--url", url).stdout
        assert migrations.head() in run("migrate", url=url)
        assert run("migrate", "current", url=url).strip() == migrations.head()
        assert json.loads(run("migrate", "check", "--json", url=url)) == {"differences": []}


@pytest.mark.parametrize("url", ["sqlite:///x.db", "postgresql://nobody@127.0.0.1:1/none"])
def test_sql_is_printed_without_a_database(url: str) -> None:
    sql = run("migrate", "--sql", url=url)
    assert "CREATE TABLE tasks" in sql
    assert ('COLLATE "C"' in sql) == url.startswith("postgresql")


async def test_drift_is_named(shared_url: str) -> None:
    await corrupt(shared_url, "DROP INDEX ix_tasks_project")
    await corrupt(shared_url, "ALTER TABLE tasks ADD COLUMN extra_column TEXT")
    done = forked.run(*CLI, "migrate", "check", "--url", shared_url)
    assert done.returncode == 1
    assert "ix_tasks_project" in done.stdout
    assert "extra_column" in done.stdout


def test_downgrade_to_nothing_and_up_again(shared_url: str) -> None:
    assert "base" in run("migrate", "downgrade", "base", url=shared_url)
    run("migrate", url=shared_url)
    assert "no difference" in run("migrate", "check", url=shared_url)


async def test_a_newer_schema_is_refused(shared_url: str) -> None:
    await corrupt(shared_url, "UPDATE holdfast_revision SET version_num = '9999'")
    message = run("migrate", code=1, url=shared_url)
    assert "SchemaTooNewError" in message
    assert "9999" in message


def test_status(shared_url: str) -> None:
    found = json.loads(run("status", "--json", url=shared_url))
    assert found["revision"] == found["newest_revision"] == migrations.head()
    assert found["tables"]["tasks"]["rows"] == 0
    assert found["tables"]["tasks"]["bytes"] > 0
    text = run("status", url=shared_url)
    assert "tasks" in text
    assert found["version"] in text


def test_a_missing_server_is_one_clear_line() -> None:
    message = run("status", code=1, url="postgresql://app:canary@127.0.0.1:1/org")
    assert "cannot connect to PostgreSQL at 127.0.0.1:1/org" in " ".join(message.split())
    assert "canary" not in message


def test_bad_usage() -> None:
    run("status", "--nonsense", code=2)
    assert "InvalidArgumentError" in run("status", code=1, url="mysql://host/db")


def test_the_password_may_stand_apart_from_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    def password(url: str) -> str:
        config = read_config(url)
        assert config.postgres is not None
        return config.postgres.password.get_secret_value()

    monkeypatch.setenv("PGPASSWORD", "another")
    monkeypatch.setenv("HOLDFAST_POSTGRES__PASSWORD", "apart")
    assert password("postgresql://app@db/org") == "apart"
    assert password("postgresql://app:inside@db/org") == "inside"
    assert read_config("sqlite:///org.db").backend == "sqlite"
    monkeypatch.setenv("HOLDFAST_URL", "postgresql://app@db/org")
    assert password("postgresql://app@db/org") == "apart"


def test_a_restore_that_is_refused_makes_no_database(tmp_path: Path) -> None:
    new, backup = tmp_path / "new.db", tmp_path / "org.backup"
    url = f"sqlite:///{new}"
    assert f"{backup} does not exist" in run("restore", str(backup), url=url, code=1)
    backup.write_bytes(b"something else")
    assert "org.backup.json: No such file" in run("restore", str(backup), url=url, code=1)
    # One of the other engine, as its manifest says.
    run("migrate", url=f"sqlite:///{tmp_path / 'old.db'}")
    whole, manifest = tmp_path / "whole.backup", tmp_path / "whole.backup.json"
    run("backup", str(whole), url=f"sqlite:///{tmp_path / 'old.db'}")
    manifest.write_text(manifest.read_text().replace('"sqlite"', '"postgres"'))
    said = run("restore", str(whole), url=url, code=1)
    assert "is a backup of postgres and cannot be restored into sqlite" in said
    assert not new.exists()
    assert "is what was backed up" in run("restore", "--verify", str(whole), url=url)


def test_an_error_is_one_line(tmp_path: Path) -> None:
    far = tmp_path / ("a" * 100) / ("b" * 100) / "org.db"
    said = run("migrate", url=f"sqlite:///{far}", code=1)
    assert "does not exist" in said
    assert len(said.splitlines()) == 1


_ON_REVISIONS = ("migrate current", "migrate check", "migrate downgrade base")


@pytest.mark.parametrize(
    "command", ["status", "doctor", "prune", "tenant list", "backup b.db", *_ON_REVISIONS]
)
def test_a_mistyped_name_makes_no_database(tmp_path: Path, command: str) -> None:
    said = run(*command.split(), url=f"sqlite:///{tmp_path / 'typo.db'}", code=1)
    assert said.startswith("PersistenceConnectionError: there is no database")
    assert "look at the URL" in said
    assert list(tmp_path.iterdir()) == []


def test_nobody_is_erased(sqlite_url: str) -> None:
    said = run("tenant", "erase", "nobody", "--yes", url=sqlite_url)
    assert said == "there are no rows of nobody\n"
