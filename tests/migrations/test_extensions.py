"""Chains beside Holdfast's: in order, under one lock, all or nothing, each counted for itself."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from holdfast import (
    ExtensionStatus,
    MigrationError,
    PersistenceBackend,
    SchemaTooNewError,
    create_backend,
    migrations,
)
from holdfast.extending import Extension

from ..extending.things import Note, make, notes_table, written
from .conftest import engine_of, everything, run_sql


@asynccontextmanager
async def opened(url: str, *extensions: Extension) -> AsyncIterator[PersistenceBackend]:
    backend = create_backend(url, extensions=extensions)
    await backend.connect()
    try:
        yield backend
    finally:
        await backend.disconnect()


def add(extension: Extension, number: str, after: str | None, upgrade: str) -> None:
    """A revision by hand."""
    (extension.chain.folder / f"{number}_more.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        f"revision = {number!r}\ndown_revision = {after!r}\n"
        f"def upgrade():\n    {upgrade}\n"
        "def downgrade():\n    op.drop_table('novel')\n"
    )


NOVEL = "op.create_table('novel', sa.Column('id', sa.Text))"


async def drift(backend: PersistenceBackend) -> list[str]:
    """But for what Holdfast's own tables differ in."""
    return [line for line in await backend.schema_drift() if "pad" in line or "novel" in line]


async def test_each_chain_has_its_own_count(empty_url: str, tmp_path: Path) -> None:
    one, two = make(tmp_path, "pad"), make(tmp_path, "pad2", tables=("pad2_notes",))
    await written(one)
    await written(two, one)
    async with opened(empty_url, one, two) as backend:
        assert (await backend.status()).extensions == {
            "pad": ExtensionStatus(None, "0001"),
            "pad2": ExtensionStatus(None, "0001"),
        }
        assert "add_table: pad_notes" in await drift(backend)
        await backend.migrate()
        status = await backend.status()
        assert status.revision == migrations.head()
        assert status.extensions["pad2"] == ExtensionStatus("0001", "0001")
        assert {"pad_notes", "pad2_notes", "tasks"} <= status.tables.keys()
        assert await drift(backend) == []
        made = await everything(backend)
        # Undone one by one, the last first; what is below stays.
        await backend.downgrade("base", extension="pad2")
        assert await drift(backend) == ["add_table: pad2_notes", "add_index: ix_pad2_notes_text"]
        await backend.downgrade("-1", extension="pad")
        await backend.downgrade("base")
        assert {
            row for row in await everything(backend) if "holdfast_revision" not in row[1]
        } == set()
        await backend.migrate()
        assert await everything(backend) == made


async def test_what_others_build_on_is_undone_last(shared_url: str, tmp_path: Path) -> None:
    one, two = make(tmp_path, "pad"), make(tmp_path, "pad2", tables=("pad2_notes",))
    await written(one)
    await written(two, one)
    async with opened(shared_url, one, two) as backend:
        await backend.migrate()
        before = await everything(backend)
        with pytest.raises(MigrationError, match="downgrade pad, pad2 to base first"):
            await backend.downgrade("base")
        with pytest.raises(MigrationError, match="extension pad: downgrade pad2 to base first"):
            await backend.downgrade("base", extension="pad")
        assert await everything(backend) == before


async def test_a_usual_start_takes_no_lock(
    shared_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extension = make(tmp_path)
    await written(extension)
    async with opened(shared_url, extension) as backend:
        engine, exclusive = engine_of(backend), []
        run_sync = engine.run_sync

        async def watched(work: Any, **options: bool) -> Any:
            exclusive.append(options.get("exclusive", False))
            return await run_sync(work, **options)

        monkeypatch.setattr(engine, "run_sync", watched)
        await backend.migrate()  # Holdfast's chain stands at its head, the extension's does not
        assert exclusive == [False, True]
        await backend.migrate()
        assert exclusive == [False, True, False]


async def test_all_chains_or_none(empty_url: str, tmp_path: Path) -> None:
    extension = make(tmp_path)
    await written(extension)
    add(extension, "0002", "0001", f"{NOVEL}; op.execute('SELECT nothing FROM nowhere')")
    async with opened(empty_url, extension) as backend:
        with pytest.raises(MigrationError, match="extension pad: the migration failed and was und"):
            await backend.migrate()
        assert await everything(backend) == set()
        assert (await backend.status()).revision is None
        # Repaired, it goes through.
        add(extension, "0002", "0001", NOVEL)
        await backend.migrate()
        assert (await backend.status()).extensions["pad"].revision == "0002"


async def test_an_extension_newer_than_the_code_is_refused(shared_url: str, tmp_path: Path) -> None:
    extension = make(tmp_path)
    await written(extension)
    async with opened(shared_url, extension) as backend:
        await backend.migrate()
        await run_sql(backend, "UPDATE holdfast_revision_pad SET version_num = '9999'")
        before = await everything(backend)
        for refused in (backend.migrate(), backend.downgrade("base", extension="pad")):
            with pytest.raises(SchemaTooNewError, match=r"extension pad: .*9999.*Upgrade Pad"):
                await refused
        assert await everything(backend) == before
    async with opened(shared_url) as backend:  # nobody else minds
        await backend.migrate()


async def test_what_is_not_attached_is_unknown_and_in_nobodys_way(
    shared_url: str, tmp_path: Path
) -> None:
    extension = make(tmp_path)
    await written(extension)
    async with opened(shared_url, extension) as backend:
        await backend.migrate()
        notes: Any = backend.repository(extension.repositories[0])
        await notes.save(Note(id="n", text="t"))
    async with opened(shared_url) as backend:
        await backend.migrate()
        assert await drift(backend) == []
        assert (await backend.status()).extensions == {}
        assert "pad_notes" not in (await backend.status()).tables
    async with opened(shared_url, extension) as backend:
        await backend.migrate()
        notes = backend.repository(extension.repositories[0])
        assert await notes.get("n") == Note(id="n", text="t")


async def test_drift_of_an_extension_is_seen(shared_url: str, tmp_path: Path) -> None:
    extension = make(tmp_path)
    await written(extension)
    async with opened(shared_url, extension) as backend:
        await backend.migrate()
        await run_sql(backend, "DROP INDEX ix_pad_notes_text", "CREATE TABLE novel (id TEXT)")
        assert await drift(backend) == ["add_index: ix_pad_notes_text"]


async def test_a_revision_is_written_of_what_changed(tmp_path: Path) -> None:
    """In the extension's own directory, and of nobody else's tables."""
    first = make(tmp_path)
    path = await written(first)
    assert path == tmp_path / "pad" / "0001_tables.py"
    text = path.read_text(encoding="utf-8")
    assert text.count("create_table") == 1
    assert "pad_notes" in text
    notes_table("pad_more", first.metadata)
    text = (await written(first, message="add more")).read_text(encoding="utf-8")
    assert 'down_revision = "0001"' in text.replace("'", '"')
    assert "pad_more" in text
    assert "pad_notes" not in text
    # A table that is declared no more is dropped; Holdfast's and other extensions' are not.
    other = make(tmp_path, "other", tables=("other_notes",))
    await written(other)
    only = make(tmp_path, "pad", tables=("pad_more",))
    path = await written(only, other, message="forget notes")
    text = path.read_text(encoding="utf-8")
    assert path.name == "0003_forget_notes.py"
    assert text.count("drop_table") == 1
    assert "other_notes" not in text
    assert sorted(p.name for p in (tmp_path / "other").glob("*.py")) == ["0001_tables.py"]


async def test_the_sql_of_an_extension_is_printed_too(
    tmp_path: Path, empty_postgres_url: str
) -> None:
    extension = make(tmp_path)
    await written(extension)
    chains = (migrations.HOLDFAST, extension.chain)
    path = tmp_path / "by-hand.db"
    connection = sqlite3.connect(path)
    connection.executescript(migrations.migration_sql("sqlite", chains=chains))
    connection.close()
    postgres = await asyncpg.connect(empty_postgres_url)
    await postgres.execute(migrations.migration_sql("postgresql", chains=chains))
    await postgres.close()
    for url in (f"sqlite:///{path}", empty_postgres_url):
        async with opened(url, extension) as backend:
            assert (await backend.status()).extensions["pad"].revision == "0001"
            assert await drift(backend) == []


async def test_an_extension_without_revisions_yet(shared_url: str, tmp_path: Path) -> None:
    async with opened(shared_url, make(tmp_path)) as backend:
        await backend.migrate()
        assert (await backend.status()).extensions["pad"] == ExtensionStatus(None, None)
        assert "add_table: pad_notes" in await drift(backend)


async def test_a_newer_holdfast_moves_on_below(
    shared_url: str, tmp_path: Path, scripts: Callable[[str], None]
) -> None:
    (tmp_path / "own").mkdir()
    extension = make(tmp_path / "own")
    await written(extension)
    async with opened(shared_url, extension) as backend:
        await backend.migrate()
        scripts(NOVEL)
        await backend.migrate()
        assert (await backend.status()).revision == "9999"
        await backend.downgrade("-1")  # a step, with the extension in place
        assert (await backend.status()).extensions["pad"].revision == "0001"
