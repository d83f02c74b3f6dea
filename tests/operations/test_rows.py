"""Rows that cannot be read are found, shown as they are, and repaired without a loss."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from holdfast import (
    BackupError,
    ConstraintViolationError,
    DecisionRecord,
    Heartbeat,
    InvalidArgumentError,
    MalformedRow,
    MalformedRowError,
    PersistenceBackend,
    RecordNotFoundError,
    Task,
    create_backend,
)
from holdfast.operations import RawRow
from holdfast.testing.databases import connected
from holdfast.testing.samples import required

from ..binding.test_own_classes import Item, item
from ..cli.test_printing import call as call_fixture
from ..conformance.test_bad_input import run_sql
from ..conformance.test_work import task

call = call_fixture


async def found(backend: PersistenceBackend, tenant: str | None = None) -> list[MalformedRow]:
    return [row async for row in backend.operations.malformed_rows(tenant=tenant)]


@pytest.fixture
async def hurt(backend: PersistenceBackend) -> PersistenceBackend:
    """A damaged row in each of three tables of two tenants, beside good ones."""
    for tenant in ("acme", "zeta"):
        owner = backend.for_tenant(tenant)
        for name in ("fine", "hurt"):
            await owner.tasks.save(task(name))
            await owner.heartbeats.save(required(Heartbeat, execution_id=name))
            await owner.settings.set("n", name, "v", "1")
    await run_sql(backend, "UPDATE tasks SET title = ' ' WHERE id = 'hurt'")
    beat = {
        "sqlite": "agent_id = CAST(x'61ff62' AS TEXT)",
        "postgres": "last_heartbeat_at = '20000-01-01'",
    }[backend.backend_name]
    await run_sql(backend, f"UPDATE heartbeats SET {beat} WHERE execution_id = 'hurt'")
    return backend


async def test_all_are_found_of_one_or_of_all_tenants(hurt: PersistenceBackend) -> None:
    expected = {(table, ("hurt",)) for table in ("tasks", "heartbeats")}
    assert {(row.table, row.key) for row in await found(hurt, "acme")} == expected
    rows = await found(hurt)
    assert {(row.table, row.tenant) for row in rows} == {
        (table, tenant) for table, _ in expected for tenant in ("acme", "zeta")
    }
    assert all(row.reason for row in rows)
    assert await found(hurt, "nobody") == []
    with pytest.raises(InvalidArgumentError):
        await found(hurt, " ")
    async for _ in hurt.operations.malformed_rows():
        break  # and nothing stays open behind it
    assert await hurt.for_tenant("acme").tasks.get("fine") == task("fine")


async def test_what_a_list_cannot_read_is_found_in_tables_without_an_entity(
    sqlite_url: str,
) -> None:
    """Bytes that would be text are none, and a list refuses them."""
    async with connected(create_backend(sqlite_url)) as backend:
        await backend.settings.set("n", "fine", "v", "1")
        for column in ("value", "updated_at"):
            await backend.settings.set("n", "hurt", "v", "1")
            await run_sql(backend, f"UPDATE settings SET {column} = x'6162' WHERE key = 'hurt'")
            with pytest.raises(MalformedRowError):
                await backend.settings.get("n", "hurt")
            (row,) = await found(backend)
            assert (row.table, row.key) == ("settings", ("n", "hurt"))
            assert row.reason == f"{column}: is not text in UTF-8"
            await backend.operations.replace_row(await backend.operations.read_row(row))
            assert await found(backend) == []
            assert len(await backend.settings.get_namespace("n")) == 2


@pytest.mark.parametrize("key", ["CAST(x'ff61' AS TEXT)", "x'ff61'"])
async def test_a_row_whose_key_is_no_text_is_moved(
    sqlite_url: str, tmp_path: Path, key: str
) -> None:
    async with connected(create_backend(sqlite_url)) as backend:
        for name in ("fine", "hurt"):
            await backend.tasks.save(task(name))
        await run_sql(backend, f"UPDATE tasks SET id = {key} WHERE id = 'hurt'")
        (row,) = await found(backend)
        assert row.key == (b"\xffa",)
        assert (await backend.operations.read_row(row)).columns["id"] == "\udcffa"
        await backend.operations.quarantine_row(row, tmp_path / "moved.jsonl")
        assert await found(backend) == []
        assert [one.id for one in await backend.tasks.list_tasks()] == ["fine"]
        with pytest.raises(RecordNotFoundError):
            await backend.operations.read_row(row)


async def test_a_row_is_moved_into_a_file(hurt: PersistenceBackend, tmp_path: Path) -> None:
    target = tmp_path / "quarantine.jsonl"
    rows = await found(hurt, "acme")
    moved = [await hurt.operations.quarantine_row(row, target) for row in rows]
    lines = [json.loads(line) for line in target.read_text("ascii").splitlines()]
    assert [RawRow(**line) for line in lines] == moved
    if os.name == "posix":
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
    beats = next(line for line in lines if line["table"] == "heartbeats")["columns"]
    if hurt.backend_name == "sqlite":
        assert beats["agent_id"].encode("utf-8", "surrogateescape") == b"a\xffb"
    else:
        assert beats["last_heartbeat_at"].startswith("20000-01-01")
    assert await found(hurt, "acme") == []
    assert len(await found(hurt, "zeta")) == 2
    assert [one.id for one in await hurt.for_tenant("acme").tasks.list_tasks()] == ["fine"]
    with pytest.raises(RecordNotFoundError, match="hurt"):
        await hurt.operations.quarantine_row(rows[0], target)
    with pytest.raises(RecordNotFoundError):
        await hurt.operations.read_row(rows[0])


async def test_what_cannot_be_copied_is_not_deleted(
    hurt: PersistenceBackend, tmp_path: Path
) -> None:
    rows = await found(hurt, "acme")
    with pytest.raises(BackupError):
        await hurt.operations.quarantine_row(rows[0], tmp_path / "no" / "such" / "folder")
    assert await found(hurt, "acme") == rows


async def test_a_row_is_corrected_and_written_back(hurt: PersistenceBackend) -> None:
    (row,) = [row for row in await found(hurt, "acme") if row.table == "tasks"]
    raw = await hurt.operations.read_row(row)
    assert raw.columns["title"] == " "
    with pytest.raises(InvalidArgumentError, match="title"):
        await hurt.operations.replace_row(raw)
    wrong: list[Any] = [
        {**raw.columns, "title": 7},
        {**raw.columns, "title": "a\0"},
        {**raw.columns, "reviewers": "["},
        {**raw.columns, "status": "done"},
        {**raw.columns, "more": 1},
        {"id": "hurt"},
    ]
    for columns in wrong:
        with pytest.raises(InvalidArgumentError, match="replace_row: tasks"):
            await hurt.operations.replace_row(RawRow("tasks", "acme", columns))
    mended = RawRow("tasks", "acme", {**raw.columns, "title": "mended"})
    await hurt.operations.replace_row(mended)
    stored = await hurt.for_tenant("acme").tasks.get("hurt")
    assert stored == task("hurt", title="mended")
    assert await hurt.operations.read_row(row) == mended
    with pytest.raises(MalformedRowError):
        await hurt.for_tenant("zeta").tasks.get("hurt")


async def test_what_others_refer_to_stays(backend: PersistenceBackend, tmp_path: Path) -> None:
    record = required(DecisionRecord)
    await backend.tasks.save(task(record.task_id))
    fields = {n: getattr(record, n) for n in DecisionRecord.model_fields if n != "version"}
    await backend.decision_records.append_with_next_version(record_id=fields.pop("id"), **fields)
    row = MalformedRow("tasks", "default", (record.task_id,))
    raw = await backend.operations.read_row(row)  # any row can be asked for
    assert raw.columns["id"] == record.task_id
    with pytest.raises(ConstraintViolationError):
        await backend.operations.quarantine_row(row, tmp_path / "q")
    assert await backend.tasks.get(record.task_id) == task(record.task_id)
    assert not (tmp_path / "q").exists()


@pytest.mark.parametrize(
    "row",
    [
        MalformedRow("nothing", "t", ("k",)),
        MalformedRow("tasks", "t", ()),
        MalformedRow("tasks", "t", ("k", "l")),
        MalformedRow("tasks", " ", ("k",)),
        MalformedRow("tasks", "t\ud800", ("k",)),
        MalformedRow("tasks", "t", (7,)),
        MalformedRow("role_versions", "t", ("e", None)),
    ],
    ids=str,
)
async def test_a_row_is_named_by_its_table_and_key(
    sqlite_url: str, row: MalformedRow, tmp_path: Path
) -> None:
    async with connected(create_backend(sqlite_url)) as backend:
        with pytest.raises(InvalidArgumentError):
            await backend.operations.read_row(row)
        with pytest.raises(InvalidArgumentError):
            await backend.operations.quarantine_row(row, tmp_path / "q")
    assert not (tmp_path / "q").exists()


class Stricter(Item):
    effort_in_days: int


async def test_rows_must_be_readable_as_bound_classes(shared_url: str) -> None:
    kinds: dict[type[BaseModel], type[BaseModel]] = {Task: Item}
    async with connected(create_backend(shared_url, entities=kinds)) as theirs:
        repository: Any = theirs.tasks
        await repository.save(item("a"))
        assert await found(theirs) == []
    async with connected(create_backend(shared_url, entities={Task: Stricter})) as mine:
        (row,) = await found(mine)
        assert row.key == ("i-a",)
        assert "effort_in_days" in row.reason
        raw = await mine.operations.read_row(row)
        extra = json.dumps({**json.loads(raw.columns["extra"]), "effort_in_days": 3})
        await mine.operations.replace_row(
            RawRow("tasks", "default", {**raw.columns, "extra": extra})
        )
        assert await found(mine) == []


def test_from_the_command_line(
    sqlite_url: str, call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_URL", sqlite_url)

    async def fill() -> None:
        async with connected(create_backend(sqlite_url)) as backend:
            for name in ("a", "b", "c"):
                await backend.tasks.save(task(name))
            await run_sql(backend, "UPDATE tasks SET title = ' ' WHERE id <> 'c'")

    asyncio.run(fill())
    said = call("rows", "check", code=1)
    assert "tasks a (tenant default): title: " in said
    assert "2 rows cannot be read" in said
    lines = call("rows", "check", "--json", "--tenant", "default", code=1).splitlines()
    assert [json.loads(line)["key"] for line in lines] == [["a"], ["b"]]
    assert "('a',)" in call("doctor", "--rows", code=1)
    shown = call("rows", "show", "tasks", "a", "--tenant", "default")
    row = tmp_path / "row.json"
    row.write_text(shown.replace('"title": " "', '"title": "mended"'))
    assert "tasks: written" in call("rows", "put", str(row))
    row.write_text(shown)
    assert "title" in call("rows", "put", str(row), code=1)
    row.write_text("[]")
    assert "is no row" in call("rows", "put", str(row), code=1)
    into = tmp_path / "q"
    call("rows", "quarantine", "tasks", "b", "--tenant", "default", "--into", str(into))
    assert json.loads(into.read_text())["columns"]["id"] == "b"
    assert "every row can be read" in call("rows", "check")
    assert "all can be read" in call("doctor", "--rows")


NO_TEXTS = {
    "bytes": ("x'6162'", b"ab"),
    "bytes that are no text": ("x'ff61'", b"\xffa"),
    "a text that is not UTF-8": ("CAST(x'ff61' AS TEXT)", b"\xffa"),
    "no bytes": ("x''", b""),
    "a text with a NUL": ("CAST(x'610062' AS TEXT)", "a\0b"),
    "a NUL": ("CAST(x'00' AS TEXT)", "\0"),
    "bytes with a NUL": ("x'610062'", b"a\0b"),
}


@pytest.mark.parametrize("column", ["id", "tenant"])
@pytest.mark.parametrize(("sql", "held"), NO_TEXTS.values(), ids=NO_TEXTS)
async def test_what_sqlite_holds_as_a_key_is_found_and_moved(
    sqlite_url: str, tmp_path: Path, column: str, sql: str, held: str | bytes
) -> None:
    async with connected(create_backend(sqlite_url)) as backend:
        for name in ("fine", "hurt"):
            await backend.tasks.save(task(name))
        await run_sql(backend, f"UPDATE tasks SET {column} = {sql} WHERE id = 'hurt'")
        (row,) = await found(backend)
        assert (row.tenant, row.key[0])[column == "id"] == held
        raw = await backend.operations.read_row(row)
        assert await backend.operations.quarantine_row(row, tmp_path / "moved.jsonl") == raw
        assert RawRow(**json.loads((tmp_path / "moved.jsonl").read_text("ascii"))) == raw
        assert await found(backend) == []
        assert (await backend.status()).tables["tasks"].rows == 1
        assert await backend.tasks.get("fine") is not None


@pytest.mark.parametrize("column", ["id", "tenant"])
@pytest.mark.parametrize(("sql", "held"), NO_TEXTS.values(), ids=NO_TEXTS)
def test_a_command_line_can_name_it(
    sqlite_url: str, tmp_path: Path, call: Any, column: str, sql: str, held: str | bytes
) -> None:
    async def fill() -> None:
        async with connected(create_backend(sqlite_url)) as backend:
            await backend.tasks.save(task("hurt"))
            await run_sql(backend, f"UPDATE tasks SET {column} = {sql} WHERE id = 'hurt'")

    asyncio.run(fill())
    spelled = f"x'{(held.encode() if isinstance(held, str) else held).hex()}'"
    key, tenant = (spelled, "default") if column == "id" else ("hurt", spelled)
    said = call("rows", "check", "--url", sqlite_url, code=1)
    assert f"tasks {key} (tenant {tenant}): " in said
    said = call("rows", "check", "--url", sqlite_url, "--json", code=1)
    assert json.loads(said.splitlines()[0])["table"] == "tasks"
    where = ["tasks", key, "--tenant", tenant, "--url", sqlite_url]
    assert json.loads(call("rows", "show", *where))["table"] == "tasks"
    into = tmp_path / "moved.jsonl"
    call("rows", "quarantine", *where, "--into", str(into))
    assert json.loads(into.read_text("ascii"))["table"] == "tasks"
    call("rows", "check", "--url", sqlite_url)
    call("rows", "show", *where, code=1)


async def test_text_and_bytes_with_one_key_are_not_taken_for_each_other(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with connected(create_backend(sqlite_url)) as backend:
        for name in ("ab", "hurt"):
            await backend.tasks.save(task(name))
        await run_sql(backend, "UPDATE tasks SET id = CAST(x'ff' AS TEXT) WHERE id = 'ab'")
        await run_sql(backend, "UPDATE tasks SET id = x'ff' WHERE id = 'hurt'")
        row, _ = await found(backend)
        with pytest.raises(InvalidArgumentError, match="two rows"):
            await backend.operations.quarantine_row(row, tmp_path / "moved.jsonl")
        assert (await backend.status()).tables["tasks"].rows == 2


@pytest.mark.parametrize(
    ("sql", "held"),
    [("'abc'", "abc"), ("1.5", 1.5), ("x'31'", b"1"), ("CAST(x'00' AS TEXT)", "\0")],
)
async def test_what_sqlite_holds_in_the_place_of_a_number(
    sqlite_url: str, tmp_path: Path, sql: str, held: Any
) -> None:
    async with connected(create_backend(sqlite_url)) as backend:
        await run_sql(
            backend,
            "INSERT INTO role_versions (tenant, entity_id, version, content_hash, snapshot,"
            f" saved_by, saved_at) VALUES ('t', 'e', {sql}, 'h', '{{}}', 'ada', 'now')",
        )
        (row,) = await found(backend)
        assert row.key == ("e", held)
        await backend.operations.quarantine_row(row, tmp_path / "moved.jsonl")
        assert await found(backend) == []


@pytest.mark.parametrize(
    "row",
    [
        MalformedRow("tasks", "t", (b"ab",)),
        MalformedRow("tasks", b"t", ("k",)),
        MalformedRow("tasks", "t", ("a\0b",)),
        MalformedRow("tasks", "t\0", ("k",)),
        MalformedRow("role_versions", "t", ("e", "first")),
        MalformedRow("role_versions", "t", ("e", 1.5)),
        MalformedRow("role_versions", "t", ("e", b"1")),
    ],
    ids=str,
)
async def test_what_no_row_can_be_named_by(backend: PersistenceBackend, row: MalformedRow) -> None:
    """SQLite may hold it, and does not here; PostgreSQL cannot."""
    with pytest.raises((RecordNotFoundError, InvalidArgumentError)):
        await backend.operations.read_row(row)
