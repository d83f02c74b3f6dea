"""What an extension must be, and what of it a backend offers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr
from sqlalchemy import Column, Table, Text

from holdfast import (
    ConstraintViolationError,
    InvalidArgumentError,
    MalformedRowError,
    PersistenceBackend,
    PostgresConfig,
    PostgresPersistenceBackend,
    Project,
    SQLiteConfig,
    SQLitePersistenceBackend,
    Task,
    create_backend,
    extending,
)
from holdfast.extending import (
    STRING,
    TABLES,
    Entity,
    Extension,
    Keyed,
    Repository,
    column,
    foreign_key,
    index,
    new_metadata,
    store_table,
)
from holdfast.storage.tables import referring
from holdfast.testing import samples
from holdfast.testing.suite.base import apart

from .things import Note, Notes, make, make_notes, notes_table, written

BAD_NAMES = ["", "Pad", "1pad", "pa-d", "pä", "pad ", "a" * 41, "holdfast", None, 5]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_is_a_part_of_a_table_s(tmp_path: Path, name: Any) -> None:
    metadata = new_metadata()
    notes_table("pad_notes", metadata)
    with pytest.raises(InvalidArgumentError, match="name"):
        Extension(name, metadata, (), tmp_path)
    assert len("holdfast_revision_" + "a" * 40) <= 63


def _extension(tmp_path: Path, table: Table, *kinds: Any) -> Extension:
    return Extension("pad", table.metadata, kinds, tmp_path)


def test_its_tables_are_its_own(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="tables of its own"):
        Extension("pad", new_metadata(), (), tmp_path)
    with pytest.raises(InvalidArgumentError, match="tables of its own"):
        _extension(tmp_path, TABLES["tasks"])
    with pytest.raises(InvalidArgumentError, match="Holdfast has a table or index 'tasks'"):
        _extension(tmp_path, notes_table("tasks", new_metadata()))
    table = notes_table("pad_notes", new_metadata(), index("ix_tasks_claim", "text"))
    with pytest.raises(InvalidArgumentError, match="'ix_tasks_claim'"):
        _extension(tmp_path, table)
    with pytest.raises(InvalidArgumentError, match="Alembic counts"):
        _extension(tmp_path, notes_table("holdfast_revision_pad", new_metadata()))


def test_the_tenant_leads_every_key(tmp_path: Path) -> None:
    bare = Table("bare", new_metadata(), Column("id", Text, primary_key=True))
    with pytest.raises(InvalidArgumentError, match="bare must begin with the tenant"):
        _extension(tmp_path, bare)
    unsaid = Table(
        "unsaid", new_metadata(), Column("tenant", Text, primary_key=True),
        Column("id", Text, primary_key=True),
    )  # fmt: skip
    with pytest.raises(InvalidArgumentError, match="store_table"):
        _extension(tmp_path, unsaid)


def test_its_repositories_are_of_its_tables(tmp_path: Path) -> None:
    mine, other = notes_table("mine", new_metadata()), notes_table("other", new_metadata())

    class Nowhere(Repository):
        pass

    for wrong, says in [
        (make_notes(other), "NotesOf.table"),
        (Nowhere, "Nowhere.table"),
        (Note, "no class derived from Repository"),
        ("Notes", "no class derived from Repository"),
    ]:
        with pytest.raises(InvalidArgumentError, match=f"extension pad: .*{says}"):
            _extension(tmp_path, mine, wrong)


def test_a_field_without_a_column_is_refused(tmp_path: Path) -> None:
    class Wide(Entity):
        id: str
        text: str
        lost: str
        gone: int = 0

    class Wides(Repository):
        table = store_table("wides", column("id", STRING), column("text", STRING), key=("id",),
                            metadata=new_metadata())  # fmt: skip

    Keyed(Wides.table, Wide)
    with pytest.raises(InvalidArgumentError, match=r"wides has no column for Wide\.lost, gone"):
        _extension(tmp_path, Wides.table, Wides)


def test_its_migrations_are_a_directory_or_a_package(tmp_path: Path) -> None:
    table = notes_table("pad_notes", new_metadata())
    for missing in (tmp_path / "nowhere", "holdfast.nowhere"):
        with pytest.raises(InvalidArgumentError, match=re.escape(str(missing))):
            Extension("pad", table.metadata, (), missing)
    found = Extension("pad", table.metadata, (), "tests.extending").chain.folder
    assert found == Path(__file__).parent


def test_extensions_that_do_not_go_together(tmp_path: Path) -> None:
    one = make(tmp_path, "one", tables=("one_a", "shared"))
    for extensions, says in [
        ([one, one], "'one' is there twice"),
        ([one, make(tmp_path, "two", tables=("shared",))], "both have a table or index"),
        (["one"], "str is no Extension"),
    ]:
        with pytest.raises(InvalidArgumentError, match=says):
            create_backend("sqlite:///:memory:", extensions=extensions)  # type: ignore[arg-type]


def test_every_way_to_make_a_backend_attaches(tmp_path: Path) -> None:
    one = make(tmp_path)
    made: list[Any] = [
        create_backend("sqlite:///:memory:", extensions=[one]),
        create_backend("postgresql://nobody@127.0.0.1:1/none", extensions=(one,)),
        SQLitePersistenceBackend(SQLiteConfig(path=":memory:"), extensions=[one]),
        PostgresPersistenceBackend(
            PostgresConfig(database="d", username="u", password=SecretStr("p")), extensions=[one]
        ),
    ]
    for backend in made:
        assert backend._core.extensions == (one,)
        assert backend.for_tenant("acme")._core.extensions == (one,)


async def test_what_is_not_attached_is_not_there(backend: PersistenceBackend) -> None:
    kind = make_notes(notes_table("stray", new_metadata()))
    says = r"NotesOf: its table stray belongs to no attached extension.*extensions="
    with pytest.raises(InvalidArgumentError, match=says):
        backend.repository(kind)
    async with backend.transaction() as tx:
        with pytest.raises(InvalidArgumentError, match=says):
            tx.repository(kind)
    with pytest.raises(InvalidArgumentError, match="'stray' is not attached"):
        await backend.downgrade("base", extension="stray")


async def test_views_and_transactions_offer_it(url: str, tmp_path: Path) -> None:
    extension = make(tmp_path)
    kind: Any = extension.repositories[0]
    await written(extension)
    backend = create_backend(url, extensions=[extension])
    await backend.connect()
    try:
        await backend.migrate()
        notes: Any = backend.repository(kind)
        assert backend.repository(kind) is notes
        acme: Any = backend.for_tenant("acme").repository(kind)
        note, other = Note(id="n", text="a"), Note(id="n", text="b")
        await notes.save(note)
        await acme.save(other)
        assert (await notes.get("n"), await acme.get("n")) == (note, other)
        async with backend.transaction() as tx:
            inside: Any = tx.repository(kind)
            with pytest.raises(RuntimeError):
                async with tx.transaction() as attempt:
                    tried: Any = attempt.for_tenant("acme").repository(kind)
                    await tried.save(note)
                    raise RuntimeError
            await inside.save(other)
            assert await apart(notes.get("n")) == note
        assert await notes.get("n") == other
        assert await acme.get("n") == other
        assert (await backend.status()).tables["pad_notes"].rows == 2
    finally:
        await backend.disconnect()


async def test_its_entities_can_be_bound_and_damaged(url: str, tmp_path: Path) -> None:
    class Page(BaseModel):
        id: str
        text: str
        lines: int = 0

    extension = make(tmp_path)
    kind: Any = extension.repositories[0]
    await written(extension)
    backend = create_backend(url, extensions=[extension], entities={Note: Page})
    await backend.connect()
    try:
        await backend.migrate()
        notes: Any = backend.repository(kind)
        page = Page(id="p", text="t", lines=3)
        await notes.save(page)
        assert await notes.get("p") == page
        with pytest.raises(InvalidArgumentError, match="pad_notes takes Page, not Note"):
            await notes.save(Note(id="p", text="t"))
        with pytest.raises(InvalidArgumentError, match="pad_notes: text"):
            await notes.save(Page(id="p", text=" "))
        await backend._core.engine.run_sync(  # type: ignore[attr-defined]
            lambda connection: connection.exec_driver_sql(
                """UPDATE pad_notes SET extra = '{"lines": "many"}'"""
            )
        )
        with pytest.raises(MalformedRowError, match=r"id='p'.*Page: lines") as damaged:
            await notes.get("p")
        assert (damaged.value.table, damaged.value.key) == ("pad_notes", ("p",))
    finally:
        await backend.disconnect()


def test_a_foreign_key_may_lead_to_holdfast_and_to_another_extension() -> None:
    one, two = new_metadata(), new_metadata()
    first = notes_table("first", one, foreign_key("text", TABLES["tasks"].c.id, ondelete="CASCADE"))
    second = notes_table("second", two, foreign_key("text", first.c.id, ondelete="RESTRICT"))
    assert referring(TABLES["tasks"])["first"] is first
    assert referring(first).keys() == {"first", "second"}
    (key,) = second.foreign_key_constraints
    assert key.name == "fk_second_text"
    assert [element.column for element in key.elements] == [first.c.tenant, first.c.id]
    assert "second" not in TABLES


def test_the_public_module_has_all_that_is_needed() -> None:
    assert extending.__all__ == sorted(extending.__all__, key=_order)
    assert [name for name in extending.__all__ if not hasattr(extending, name)] == []
    assert isinstance(TABLES["tasks"], Table)
    assert not issubclass(Task, Notes)


def _order(name: str) -> tuple[int, str]:
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2, name)


async def test_what_refuses_a_delete_is_named(url: str, tmp_path: Path) -> None:
    """The rule is the extension's, and the same on both engines."""
    metadata = new_metadata()
    project = TABLES["projects"].c.id
    table = notes_table("pad_notes", metadata, foreign_key("text", project, ondelete="RESTRICT"))
    kind: Any = make_notes(table)
    extension = Extension("pad", metadata, (kind,), tmp_path)
    await written(extension)
    backend = create_backend(url, extensions=[extension])
    await backend.connect()
    try:
        await backend.migrate()
        notes = backend.repository(kind)
        with pytest.raises(ConstraintViolationError) as refused:
            await notes.save(Note(id="n", text="t"))
        assert refused.value.constraint == "pad_notes.text"
        await backend.projects.save(samples.required(Project, id="t"))
        await notes.save(Note(id="n", text="t"))
        with pytest.raises(ConstraintViolationError) as refused:
            await backend.projects.delete("t")
        assert refused.value.constraint == "pad_notes.text"
    finally:
        await backend.disconnect()
