"""Recorders as older releases made them, in a database that goes on or in a backup."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast import PersistenceBackend

from ..conformance.test_work import task
from ..operations.test_backup import connected, empty_url, programs
from ..operations.test_foreign import run_on
from .conftest import brief, put, take

__all__ = ["empty_url", "programs"]

#: Word for word.
_TRIGGER = """
CREATE TRIGGER changes_{kind}_tasks AFTER {kind} ON tasks BEGIN
  INSERT INTO changes (tenant, revision, table_name, key, kind, recorded_at)
  VALUES ({row}.tenant, (SELECT coalesce(max(revision), 0) + 1 FROM changes WHERE tenant = {row}.tenant), 'tasks', '[' || '"' || replace(replace({row}.id, '\\', '\\\\'), '"', '\\"') || '"' || ']', '{kind}', strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00');
END
"""  # noqa: E501
_FUNCTION = """
CREATE OR REPLACE FUNCTION changes_tasks() RETURNS trigger LANGUAGE plpgsql AS $recorder$
BEGIN
  -- Before the insert, which would lock the log to the end of the transaction, also with no row.
  IF NOT EXISTS (SELECT FROM changed) THEN
    RETURN NULL;
  END IF;
  INSERT INTO public.changes (tenant, table_name, key, kind, recorded_at)
  SELECT changed.tenant, 'tasks', json_build_array(changed.id::text), lower(TG_OP), clock_timestamp() FROM changed;
  PERFORM pg_notify('holdfast_changes', '');
  RETURN NULL;
END $recorder$
"""  # noqa: E501


async def as_older_releases_left_it(backend: PersistenceBackend) -> None:
    """At their revision, with tasks and settings recorded."""
    await backend.record_changes(backend.tasks, backend.settings)
    await backend.downgrade("0003")
    statements = [_FUNCTION]
    if backend.backend_name == "sqlite":
        rows = {"insert": "NEW", "update": "NEW", "delete": "OLD"}
        statements = [f"DROP TRIGGER changes_{kind}_tasks" for kind in rows]
        statements += [_TRIGGER.format(kind=kind, row=row) for kind, row in rows.items()]
    await run_on(backend, statements)
    assert await backend.recorded_tables() == ["settings", "tasks"]


async def test_migrating_renews_them(backend: PersistenceBackend) -> None:
    await as_older_releases_left_it(backend)
    async with backend.watch(backend.tasks, backend.settings) as changes:
        place = changes.revision
    await put(backend, "before")
    await backend.migrate()
    async with backend.watch(backend.tasks, backend.settings, after=place) as changes:
        await backend.tasks.save(task("first", status="in_progress", assigned_to="x"))
        await backend.tasks.save(task("second", dependencies=("first",)))
        # What it waits for is kept in a column of the store's own, and is nobody's change.
        await backend.tasks.save(task("first", status="completed", assigned_to="x"))
        await put(backend, "after")
        assert brief(await take(changes, 5)) == [
            ("insert", "before"),
            ("insert", "first"),
            ("insert", "second"),
            ("update", "first"),
            ("insert", "after"),
        ]


@pytest.mark.parametrize("migrated", [False, True])
async def test_a_backup_of_them_is_restored(
    backend: PersistenceBackend, empty_url: str, tmp_path: Path, migrated: bool
) -> None:
    await as_older_releases_left_it(backend)
    if migrated:
        await backend.migrate()
    made = await backend.operations.backup(tmp_path / "org.backup")
    async with connected(empty_url) as restored:
        assert await restored.operations.restore(tmp_path / "org.backup") == made
        await restored.migrate()
        assert await restored.recorded_tables() == ["settings", "tasks"]
        assert await restored.schema_drift() == []
        async with restored.watch(restored.tasks) as changes:
            await restored.tasks.save(task("t"))
            assert brief(await take(changes, 1)) == [("insert", "t")]
