"""What goes wrong leaves the schema as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast import (
    InvalidArgumentError,
    MigrationError,
    PersistenceBackend,
    SchemaTooNewError,
    migrations,
)
from holdfast.migrations import HOLDFAST

from .conftest import engine_of, everything, run_sql

NOVEL = "op.create_table('novel', sa.Column('id', sa.Text))"
FAILS = [
    "op.execute('SELECT nothing FROM nowhere')",
    "raise sa.exc.InvalidRequestError('on purpose')",
    "op.create_table('tasks', sa.Column('id', sa.Text))",
]


@pytest.mark.parametrize("fails", FAILS)
async def test_a_failing_revision_changes_nothing(
    migrated: PersistenceBackend, scripts: Callable[[str], None], fails: str
) -> None:
    await migrated.set_setting("k", "kept")
    before, known = await everything(migrated), migrations.head()
    scripts(f"{NOVEL}; op.drop_table('settings'); {fails}")
    assert migrations.head() == "9999"
    with pytest.raises(MigrationError, match="undone"):
        await migrated.migrate()
    assert await everything(migrated) == before
    assert await migrations.current(engine_of(migrated)) == known
    assert await migrated.get_setting("k") == "kept"
    # And it can be tried again once it is repaired.
    scripts(NOVEL)
    await migrated.migrate()
    assert await migrations.current(engine_of(migrated)) == "9999"
    assert any("novel" in item for item in await everything(migrated))


async def test_a_first_migration_that_fails_half_way_leaves_nothing(
    empty: PersistenceBackend, scripts: Callable[[str], None]
) -> None:
    scripts(FAILS[0])
    with pytest.raises(MigrationError, match="undone"):
        await empty.migrate()
    assert await everything(empty) == set()
    assert await migrations.current(engine_of(empty)) is None


async def test_an_error_that_is_no_database_s_is_a_migration_error_too(
    empty: PersistenceBackend, scripts: Callable[[str], None]
) -> None:
    scripts(f"{NOVEL}; raise KeyError('on purpose')")
    with pytest.raises(MigrationError):
        await empty.migrate()
    assert await everything(empty) == set()


async def test_a_schema_newer_than_the_code_is_refused(migrated: PersistenceBackend) -> None:
    await run_sql(migrated, "UPDATE holdfast_revision SET version_num = '9999'")
    before = await everything(migrated)
    for refused in (migrated.migrate(), migrated.downgrade("base"), migrated.downgrade("-1")):
        with pytest.raises(SchemaTooNewError, match=r"9999.*Upgrade Holdfast"):
            await refused
    assert await everything(migrated) == before
    assert (await migrated.status()).revision == "9999"


async def test_a_database_a_newer_release_migrated_is_refused(
    empty: PersistenceBackend, scripts: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    older = Path(migrations.__file__).with_name("versions")
    scripts(NOVEL)
    await empty.migrate()
    with monkeypatch.context() as this_release:
        this_release.setitem(vars(HOLDFAST), "folder", older)
        for refused in (empty.migrate(), empty.downgrade("-1")):
            with pytest.raises(SchemaTooNewError, match="9999"):
                await refused
    await empty.downgrade("-1")  # with the release that knows how
    assert (await empty.status()).revision == migrations.history()[1].revision
    assert await empty.schema_drift() == []


@pytest.mark.parametrize("revision", ["nowhere", "-9", "+3"])
async def test_a_revision_that_does_not_exist(migrated: PersistenceBackend, revision: str) -> None:
    before = await everything(migrated)
    with pytest.raises(MigrationError):
        await migrated.downgrade(revision)
    assert await everything(migrated) == before
    assert (await migrated.status()).revision == migrations.head()


async def test_words_that_are_no_revision(migrated: PersistenceBackend) -> None:
    before = await everything(migrated)
    for word in (
        "", " ", "@", "-0", "+1", "-x", "--1", "-1-1", "0001-1", "0001+1", "00", "0001:base",
        "heads", "a@b", "no-such", "\0", "\ud800", "-99999999999999999999",
    ):  # fmt: skip
        with pytest.raises(MigrationError, match=r"there is no revision .* give base, -1 for one"):
            await migrated.downgrade(word)
    for value in (None, 1, b"base", ["base"]):
        with pytest.raises(InvalidArgumentError, match="downgrade: revision must be text"):
            await migrated.downgrade(value)  # type: ignore[arg-type]
    assert await everything(migrated) == before
