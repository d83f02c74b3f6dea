"""Tenants are listed, leave as a file, come back from it, and go without a trace."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import json
import stat
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from holdfast import (
    BackupError,
    ConstraintViolationError,
    InvalidArgumentError,
    PersistenceBackend,
    QueryError,
    User,
    create_backend,
)
from holdfast.engines.protocol import Engine
from holdfast.operations import portable, read_export
from holdfast.operations.portable import Writer
from holdfast.schema import metadata
from holdfast.testing import samples
from holdfast.testing.databases import connected

from ..cli.test_commands import run
from ..conformance.test_claims import claimed, done, waiting
from ..conformance.test_work import save, task
from .filled import contents, fill


@pytest.fixture
async def filled(backend: PersistenceBackend) -> PersistenceBackend:
    """Two tenants with rows in every table."""
    await fill(backend, "acme")
    await fill(backend, "Ökonom")
    return backend


def left(folder: Path) -> list[str]:
    """Exports, and pieces of them."""
    return sorted(path.name for path in folder.iterdir() if "jsonl" in path.name)


async def many(backend: PersistenceBackend, count: int) -> None:
    await asyncio.gather(*(backend.tasks.save(task(f"t{n:05}")) for n in range(count)))


async def test_there_is_a_row_in_every_table(filled: PersistenceBackend) -> None:
    assert set(await contents(filled, "acme")) == set(metadata.tables)


async def test_tenants_are_listed_and_counted(filled: PersistenceBackend) -> None:
    operations = filled.operations
    assert await operations.tenants() == ("acme", "Ökonom")
    await filled.for_tenant("Zed").settings.set("n", "k", "v", "2026-01-31T09:00:00+00:00")
    await filled.for_tenant("Zed").settings.delete("n", "k")
    assert await operations.tenants() == ("Zed", "acme", "Ökonom")  # whose log has rows
    counted = await operations.count_tenant("acme")
    assert counted == {name: len(rows) for name, rows in (await contents(filled, "acme")).items()}
    assert await operations.count_tenant("nobody") == {}
    with pytest.raises(InvalidArgumentError, match="tenant must not be blank"):
        await operations.count_tenant(" ")


@pytest.mark.parametrize("name", ["acme.jsonl", "acme.jsonl.gz"])
async def test_an_export_comes_back_as_it_was(
    filled: PersistenceBackend, tmp_path: Path, name: str
) -> None:
    before, file = await contents(filled, "acme"), tmp_path / name
    exported = await filled.operations.export_tenant("acme", file)
    assert exported.rows == {table: len(rows) for table, rows in before.items()}
    assert read_export(file) == exported
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert left(tmp_path) == [name]

    await filled.operations.import_tenant(file, tenant="copy")
    copied = await contents(filled, "copy")
    log, new_log = before.pop("changes"), copied.pop("changes")
    assert copied == before
    assert len(new_log) == len(before["settings"]) <= len(log)


async def test_what_tasks_wait_for_is_worked_out_again(
    sqlite_url: str, postgres_url: str, tmp_path: Path
) -> None:
    """Whatever order they come in, and more of them than one statement writes."""
    for source, target in ((sqlite_url, postgres_url), (postgres_url, sqlite_url)):
        async with (
            connected(create_backend(source)) as one,
            connected(create_backend(target, tenant="copy")) as other,
        ):
            names = [f"{n:03}" for n in range(300)]
            await save(one, *(task(f"a{n}", dependencies=(f"b{n}", f"c{n}")) for n in names))
            await save(one, *(done(f"b{n}") for n in names), *(done(f"c{n}") for n in names[:50]))
            file = tmp_path / one.backend_name
            await one.operations.export_tenant(one.tenant, file)
            await other.operations.import_tenant(file, tenant="copy")
            marked = {f"a{n}": f"c{n}" for n in names[50:]}
            assert await waiting(other) == marked
            assert [await claimed(other) for _ in range(51)] == [
                *(f"a{n}" for n in names[:50]),
                None,
            ]
            await other.operations.erase_tenant("copy")


async def test_an_export_goes_from_one_engine_to_the_other(
    sqlite_url: str, postgres_url: str, tmp_path: Path
) -> None:
    async with (
        connected(create_backend(sqlite_url)) as one,
        connected(create_backend(postgres_url)) as other,
    ):
        await fill(one, "acme")
        before = await contents(one, "acme")
        await one.operations.export_tenant("acme", tmp_path / "there")
        await other.operations.import_tenant(tmp_path / "there")
        await other.operations.export_tenant("acme", tmp_path / "back")
        await one.operations.erase_tenant("acme")
        await one.operations.import_tenant(tmp_path / "back")
        for backend in (one, other):
            after = await contents(backend, "acme")
            assert {**after, "changes": []} == {**before, "changes": []}


async def test_an_export_is_of_one_moment(
    backend: PersistenceBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written after its beginning, to tables it has not come to, is not in it."""
    await many(backend, 1_200)
    await backend.users.save(samples.required(User, id="before", username="before"))
    begun, go_on = asyncio.Event(), asyncio.Event()
    sleep = asyncio.sleep

    async def wait(seconds: float) -> None:
        if not begun.is_set():
            begun.set()
            await go_on.wait()
        await sleep(seconds)

    monkeypatch.setattr("holdfast.operations.exports._TURN", 0.0)  # others get a turn at each row
    monkeypatch.setattr("holdfast.operations.exports.asyncio.sleep", wait)
    export = asyncio.create_task(backend.operations.export_tenant(backend.tenant, tmp_path / "e"))
    await begun.wait()
    monkeypatch.undo()
    await backend.users.save(samples.required(User, id="after", username="after"))
    await backend.tasks.save(task("z"))
    await backend.tasks.delete("t01199")
    go_on.set()
    assert (await export).rows == {"users": 1, "tasks": 1_200}


async def test_a_failed_or_cancelled_export_leaves_no_file(
    backend: PersistenceBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await many(backend, 10)
    folder = tmp_path / "exports"
    folder.mkdir()
    for error in (OSError(28, "No space left on device"), asyncio.CancelledError()):

        def fail(*_: Any, error: BaseException = error) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(Writer, "finish", fail)
            with pytest.raises((BackupError, asyncio.CancelledError)):
                await backend.operations.export_tenant(backend.tenant, folder / "e")
        assert list(folder.iterdir()) == []
    await backend.operations.export_tenant(backend.tenant, folder / "e")
    for place in (folder / "e", tmp_path / "none" / "e"):
        with pytest.raises(BackupError, match=r"exists|No such file"):
            await backend.operations.export_tenant(backend.tenant, place)
    assert [path.name for path in folder.iterdir()] == ["e"]


def damaged(data: bytes) -> dict[str, bytes]:
    """Files that were exports once."""
    lines = data.splitlines(keepends=True)
    forged = [*lines[:-1], lines[-1].replace(b'"sha256":"', b'"sha256":"0')]
    head = json.loads(lines[0]) | {"format_version": 2}
    body = b"".join([lines[0], *lines[2:-1]])
    fewer = json.loads(lines[-1]) | {"sha256": hashlib.sha256(body).hexdigest()}
    return {
        "no end": b"".join(lines[:-1]),
        "half": data[: len(data) // 2],
        "changed": data.replace(b"admin", b"other"),
        "a row less": b"".join([lines[0], *lines[2:]]),
        "a row less, and its digest": body + json.dumps(fewer).encode() + b"\n",
        "more": data + lines[1],
        "no digest": b"".join(forged),
        "newer": b"".join([json.dumps(head).encode() + b"\n", *lines[1:]]),
        "empty": b"",
        "other": b"\xff\x00 no text\n" * 3,
    }


async def test_a_damaged_export_is_refused(backend: PersistenceBackend, tmp_path: Path) -> None:
    await many(backend, 20)
    await backend.operations.export_tenant(backend.tenant, tmp_path / "e")
    data = (tmp_path / "e").read_bytes()
    for what, wrong in damaged(data).items():
        for file, written in (("w", wrong), ("w.gz", gzip.compress(wrong))):
            (tmp_path / file).write_bytes(written)
            with pytest.raises(BackupError):
                read_export(tmp_path / file)
                pytest.fail(f"{what}: passed")
            with pytest.raises(BackupError):
                await backend.operations.import_tenant(tmp_path / file, tenant="copy")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(data)[:-20])
    with pytest.raises(BackupError, match="damaged or cut"):
        read_export(tmp_path / "cut.gz")
    assert await backend.operations.count_tenant("copy") == {}


def signed(file: Path, *lines: bytes) -> Path:
    """An export with these lines whose sums are right."""
    body = b"".join(line + b"\n" for line in lines)
    tables: list[Any] = []
    for line in lines[1:]:
        with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
            tables.append(json.loads(line)["table"])
    rows = {table: tables.count(table) for table in tables if isinstance(table, str)}
    end = {"rows": rows, "sha256": hashlib.sha256(body).hexdigest()}
    data = body + json.dumps(end).encode() + b"\n"
    file.write_bytes(gzip.compress(data) if file.suffix == ".gz" else data)
    return file


async def test_an_import_is_all_or_nothing_and_into_nothing(
    backend: PersistenceBackend, tmp_path: Path
) -> None:
    await many(backend, 20)
    operations = backend.operations
    await operations.export_tenant(backend.tenant, tmp_path / "e")
    with pytest.raises(BackupError, match="has rows already, in tasks"):
        await operations.import_tenant(tmp_path / "e")
    head, *rows = (tmp_path / "e").read_bytes().splitlines()[:-1]
    old = json.loads(head)
    cases = {
        "at revision 0000": {"revisions": {"holdfast": "0000"}},
        "attach it": {"revisions": old["revisions"] | {"pad": "0001"}},
        "line 1: it does not name the revision of holdfast": {"revisions": {}},
        "line 1: tenant must not be blank": {"tenant": " "},
        "line 1: tenant holds a NUL": {"tenant": "a\0"},
    }
    for message, forged in cases.items():
        file = signed(tmp_path / "f", json.dumps(old | forged).encode(), *rows)
        assert read_export(file).rows == {"tasks": 20}
        tenant = None if "tenant" in forged else "copy"
        with pytest.raises(BackupError, match=message):
            await operations.import_tenant(file, tenant=tenant)
    assert await operations.tenants() == (backend.tenant,)


#: What replaces the fields of a task's row, and what is said of it.
CRAFTED: dict[str, tuple[dict[str, Any], str]] = {
    "a column less": ({"id": ...}, "other columns"),
    "a column more": ({"tenant": "other"}, "other columns"),
    "NUL": ({"title": "a\0b"}, "title holds a NUL character"),
    "a lone surrogate": ({"title": "\ud800"}, "title holds a lone surrogate"),
    "no text": ({"title": 5}, "title must be text, not int"),
    "a list for a text": ({"title": ["x"]}, "title must be text, not list"),
    "null": ({"max_retries": None}, "max_retries must not be null"),
    "no JSON": ({"dependencies": "[1,"}, "dependencies must be JSON"),
    "not a number": ({"dependencies": "[NaN]"}, "dependencies must be JSON"),
    "NUL in JSON": ({"dependencies": '["\\u0000"]'}, "dependencies.* holds a NUL"),
    "deep JSON": ({"dependencies": "[" * 9_000 + "]" * 9_000}, "dependencies"),
    "no number": ({"budget_limit": "5"}, "budget_limit must be a number"),
    "truth for a number": ({"budget_limit": True}, "budget_limit must be a number"),
    "no integer": ({"max_retries": 1.5}, "max_retries must be an integer"),
    "past 64 bits": ({"max_retries": 2**63}, "max_retries does not fit into 64 bits"),
    "outside an enumeration": ({"status": "done", "priority": "huge"}, "status"),
    "what the entity refuses": ({"max_retries": -1}, "max_retries"),
    "an id twice": ({"id": "t00001"}, "a second row of tasks with the same key"),
}


@pytest.mark.parametrize("case", CRAFTED)
async def test_a_crafted_row_is_refused_by_its_line(
    backend: PersistenceBackend, tmp_path: Path, case: str
) -> None:
    await many(backend, 3)
    operations = backend.operations
    await operations.export_tenant(backend.tenant, tmp_path / "e")
    head, *rows = (tmp_path / "e").read_bytes().splitlines()[:-1]
    changed, message = CRAFTED[case]
    row = json.loads(rows[-1])
    row["row"] = {k: v for k, v in (row["row"] | changed).items() if v is not ...}
    file = signed(tmp_path / "f", head, *rows[:-1], json.dumps(row).encode())
    assert read_export(file).rows == {"tasks": 3}
    with pytest.raises(BackupError, match=f"f: line 4: .*{message}"):
        await operations.import_tenant(file, tenant="copy")
    assert await operations.tenants() == (backend.tenant,)


async def test_times_and_bytes_of_a_crafted_row_are_checked(
    backend: PersistenceBackend, tmp_path: Path
) -> None:
    await fill(backend, "acme")
    operations = backend.operations
    await operations.export_tenant("acme", tmp_path / "e")
    head, *rows = (tmp_path / "e").read_bytes().splitlines()[:-1]
    at = next(n for n, line in enumerate(rows) if json.loads(line)["table"] == "messages")
    for time in ("yesterday", "2026-01-31T09:00:00", "0001-01-01T00:00:00+14:00", 5):
        row = json.loads(rows[at])
        row["row"]["timestamp"] = time
        lines = [*rows[:at], json.dumps(row).encode(), *rows[at + 1 :]]
        with pytest.raises(BackupError, match=f"line {at + 2}: .* messages: timestamp"):
            await operations.import_tenant(signed(tmp_path / "f", head, *lines), tenant="copy")
    assert "copy" not in await operations.tenants()


@pytest.mark.parametrize(
    "line",
    [
        b'{"table":["tasks"],"row":{}}',
        b'{"table":null,"row":{}}',
        b'{"table":"tasks","row":[]}',
        b'{"table":"tasks"}',
        b'{"table":"tasks","row":{"id":' + b"1" * 5_000 + b"}}",
        b'{"table":"tasks","row":{"id":NaN}}',
        b"[" * 100_000,
        '{"table":"tasks","row":{}}'.encode("utf-16"),
        b"\xff",
        b"",
    ],
)
def test_a_line_that_is_no_row_is_named(tmp_path: Path, line: bytes) -> None:
    head = {"holdfast": "1", "revisions": {}, "tenant": "a", "created_at": "2026-01-31T09:00:00Z"}
    for name in ("f", "f.gz"):
        file = signed(tmp_path / name, json.dumps(head).encode(), line)
        with pytest.raises(BackupError, match="line 2 is no row of a table"):
            read_export(file)


def test_a_small_file_does_not_unpack_to_a_large_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portable, "LONGEST_LINE", 1024 * 1024)
    (tmp_path / "f.gz").write_bytes(gzip.compress(b"a" * 64 * 1024 * 1024))
    tracemalloc.start()
    try:
        with pytest.raises(BackupError, match="line 1 is longer than 1,048,576 bytes"):
            read_export(tmp_path / "f.gz")
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    finally:
        tracemalloc.stop()


async def test_a_row_that_no_import_would_take_is_not_exported(
    backend: PersistenceBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portable, "LONGEST_LINE", 1024)
    await backend.tasks.save(task("t").model_copy(update={"description": "x" * 1024}))
    with pytest.raises(BackupError, match=r"a row of tasks takes 1,\d+ bytes"):
        await backend.operations.export_tenant(backend.tenant, tmp_path / "e")
    assert left(tmp_path) == []


async def test_an_erased_tenant_is_gone_and_no_other(filled: PersistenceBackend) -> None:
    """The chief and the last owner too, whom the database's rules keep; and the log."""
    other = await contents(filled, "Ökonom")
    for name in ("chief", "two", "one"):  # the second owner may go, the last one may not
        with contextlib.suppress(ConstraintViolationError):
            await filled.for_tenant("acme").users.delete(name)
    kept = {user.id for user in await filled.for_tenant("acme").users.list_users()}
    assert kept >= {"chief", "one"}
    counted = await filled.operations.count_tenant("acme")
    deleted = await filled.operations.erase_tenant("acme")
    assert {**deleted, "changes": 0} == {**counted, "changes": 0}
    assert deleted["changes"] == counted["changes"] + counted["settings"]
    assert await contents(filled, "acme") == {}
    assert await contents(filled, "Ökonom") == other
    assert await filled.operations.erase_tenant("acme") == {}
    assert await filled.schema_drift() == []
    with pytest.raises(ConstraintViolationError, match="ceo_minimum"):  # the rules hold again
        await filled.for_tenant("Ökonom").users.delete("chief")


async def test_many_rows_go_in_batches(backend: PersistenceBackend) -> None:
    await many(backend, 2_345)
    commits = backend.stats().commits
    assert await backend.operations.erase_tenant(backend.tenant) == {"tasks": 2_345}
    tables = len(metadata.tables)
    assert backend.stats().commits - commits >= tables + 2


async def test_who_goes_on_writing_is_named(
    backend: PersistenceBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An erasure that does not end is an error, and the next one goes on."""
    await many(backend, 3)
    engine: Engine = backend._engine()  # type: ignore[attr-defined]
    transaction, n = engine.transaction, iter(range(100))

    def late() -> Any:
        task_ = asyncio.create_task(backend.tasks.save(task(f"late-{next(n)}")))

        class Late:
            async def __aenter__(self) -> Any:
                await task_
                self.inner = transaction()
                return await self.inner.__aenter__()

            async def __aexit__(self, *error: Any) -> Any:
                return await self.inner.__aexit__(*error)

        return Late()

    with monkeypatch.context() as patch:
        patch.setattr(engine, "transaction", late, raising=False)
        with pytest.raises(QueryError, match="writes for this tenant still, to tasks"):
            await backend.operations.erase_tenant(backend.tenant)
    assert await backend.operations.erase_tenant(backend.tenant) == {"tasks": 1}


async def test_the_command(shared_url: str, tmp_path: Path) -> None:
    async with connected(create_backend(shared_url, tenant="acme")) as backend:
        await many(backend, 3)
    loop = asyncio.get_running_loop()

    async def command(*arguments: str, code: int = 0) -> str:
        call = lambda: run("tenant", *arguments, url=shared_url, code=code)  # noqa: E731
        return await loop.run_in_executor(None, call)

    file = str(tmp_path / "acme.jsonl.gz")
    assert await command("list") == "acme\n"
    assert json.loads(await command("list", "--rows", "--json")) == {"acme": {"tasks": 3}}
    assert "3 rows in 1 tables" in await command("export", "acme", file)
    assert "exists" in await command("export", "acme", file, code=1)
    assert "3 rows of acme would be deleted" in await command("erase", "acme", "--dry-run")
    assert "for ever?" in await command("erase", "acme", code=1)  # nobody answers
    assert json.loads(await command("list", "--json")) == {"tenants": ["acme"]}
    assert "3 rows of acme deleted" in await command("erase", "acme", "--yes")
    assert await command("list") == ""
    assert "is what was exported" in await command("import", file, "--verify")
    assert "emca imported: 3 rows" in await command("import", file, "--as", "emca")
    assert await command("list") == "emca\n"
