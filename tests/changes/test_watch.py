"""What a watch hands out, on every engine."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing, suppress
from datetime import timedelta

import pytest

from holdfast import (
    ApiKey,
    Change,
    ChangeKind,
    ChangesLostError,
    InvalidArgumentError,
    PersistenceBackend,
    PersistenceConnectionError,
    User,
    create_backend,
)
from holdfast.storage.repository import Repository
from holdfast.storage.session import CHUNK
from holdfast.storage.statements import insert
from holdfast.storage.tables import column, new_metadata, store_table
from holdfast.storage.types import INTEGER, STRING, Timestamp
from holdfast.testing.databases import connected
from holdfast.testing.suite.base import apart

from ..conformance.samples import LATER, WHEN, full
from ..conformance.test_work import task
from .conftest import NOW, brief, engine_of, nothing_comes, put, take


@pytest.fixture
async def recording(backend: PersistenceBackend) -> PersistenceBackend:
    await backend.record_changes(backend.settings, backend.tasks, backend.users, backend.api_keys)
    return backend


async def test_inserts_updates_and_deletes(recording: PersistenceBackend) -> None:
    async with recording.watch(recording.settings) as changes:
        begun = changes.revision
        await put(recording, "a", "a", "b")
        await recording.settings.delete("n", "a")
        await put(recording, "a")
        found = await take(changes, 5)
    assert [(c.kind, c.key) for c in found] == [
        (ChangeKind.INSERT, ("n", "a")),
        (ChangeKind.UPDATE, ("n", "a")),
        (ChangeKind.INSERT, ("n", "b")),
        (ChangeKind.DELETE, ("n", "a")),
        (ChangeKind.INSERT, ("n", "a")),
    ]
    assert {c.table for c in found} == {"settings"}
    revisions = [c.revision for c in found]
    assert revisions == sorted(set(revisions))
    assert begun is not None
    assert begun < revisions[0]
    assert changes.revision == revisions[-1]


async def test_what_changes_nothing_is_no_change(recording: PersistenceBackend) -> None:
    await put(recording, "known")
    async with recording.watch(recording.settings, recording.tasks) as changes:
        await recording.settings.get("n", "known")
        assert not await recording.settings.delete("n", "unknown")
        assert await recording.settings.set(
            "n", "known", "w", NOW, expected_updated_at="another"
        ) is False  # fmt: skip
        await put(recording, "end")
        assert brief(await take(changes, 1)) == [("insert", "end")]


async def test_a_claim_is_an_update(recording: PersistenceBackend) -> None:
    await recording.tasks.save(task("t"))
    async with recording.watch(recording.tasks) as changes:
        assert await recording.tasks.claim("ada") is not None
        assert brief(await take(changes, 1)) == [("update", "t")]


async def test_batched_saves_are_changes_each(recording: PersistenceBackend) -> None:
    async with recording.watch(recording.tasks) as changes:
        await asyncio.gather(*(recording.tasks.save(task(f"t{n}")) for n in range(300)))
        found = await take(changes, 300)
        await asyncio.gather(*(recording.tasks.save(task(f"t{n}")) for n in range(0, 600, 2)))
        again = await take(changes, 300)
    assert sorted(brief(found)) == sorted(("insert", f"t{n}") for n in range(300))
    assert sorted(brief(again)) == sorted(
        ("update" if n < 300 else "insert", f"t{n}") for n in range(0, 600, 2)
    )


async def test_cascaded_deletes(recording: PersistenceBackend) -> None:
    user = User(id="u", username="ada", password_hash="h", role="manager",
                created_at=LATER, updated_at=LATER)  # fmt: skip
    key = full()["api_keys"]
    assert isinstance(key, ApiKey)
    async with recording.watch(recording.users, recording.api_keys) as changes:
        await recording.users.save(user)
        await recording.api_keys.save(key)
        assert await recording.users.delete(user.id)
        found = await take(changes, 4)
    assert {(c.table, c.kind) for c in found[2:]} == {
        ("users", ChangeKind.DELETE), ("api_keys", ChangeKind.DELETE),
    }  # fmt: skip


async def test_only_what_was_committed(recording: PersistenceBackend) -> None:
    async with recording.watch(recording.settings) as changes:
        with pytest.raises(RuntimeError):
            async with recording.transaction() as tx:
                await put(tx, "undone")
                raise RuntimeError
        async with recording.transaction() as tx:
            await put(tx, "kept")
            with pytest.raises(RuntimeError):
                async with tx.transaction() as inner:
                    await put(inner, "undone", "kept")
                    raise RuntimeError
            async with tx.transaction() as inner:
                await put(inner, "inner")
            await put(tx, "kept")
            await apart(nothing_comes(changes))
        found = await take(changes, 3)
        await nothing_comes(changes)
    assert brief(found) == [("insert", "kept"), ("insert", "inner"), ("update", "kept")]


async def test_of_one_tenant_only(recording: PersistenceBackend) -> None:
    other = recording.for_tenant("other")
    async with (
        recording.watch(recording.settings) as ours,
        other.watch(other.settings) as theirs,
    ):
        await put(recording, "a")
        await put(other, "b", "a")
        await put(recording, "c")
        assert brief(await take(ours, 2)) == [("insert", "a"), ("insert", "c")]
        assert brief(await take(theirs, 2)) == [("insert", "b"), ("insert", "a")]


async def test_of_the_chosen_tables_only(recording: PersistenceBackend) -> None:
    async with (
        recording.watch(recording.tasks) as tasks,
        recording.watch(recording.settings, recording.tasks) as both,
    ):
        await put(recording, "a")
        await recording.tasks.save(task("t"))
        await put(recording, "b")
        assert brief(await take(both, 3)) == [("insert", "a"), ("insert", "t"), ("insert", "b")]
        assert brief(await take(tasks, 1)) == [("insert", "t")]
        await nothing_comes(tasks)
        assert tasks.revision == both.revision  # what it does not want to see is behind it too


async def test_begins_now(recording: PersistenceBackend) -> None:
    await put(recording, "before")
    changes = recording.watch(recording.settings)
    assert changes.revision is None
    async with changes:
        await put(recording, "after")
        assert brief(await take(changes, 1)) == [("insert", "after")]


async def test_begins_with_the_first_step(recording: PersistenceBackend) -> None:
    await put(recording, "before")
    async with aclosing(recording.watch(recording.settings)) as changes:
        step = asyncio.create_task(anext(changes))
        while changes.revision is None:  # noqa: ASYNC110 - a watch has no event for it
            await asyncio.sleep(0.005)
        await put(recording, "after")
        assert brief([await step]) == [("insert", "after")]


async def test_two_watchers_see_the_same(recording: PersistenceBackend) -> None:
    async with (
        recording.watch(recording.settings) as first,
        recording.watch(recording.settings) as second,
    ):
        await asyncio.gather(*(put(recording, f"k{n}") for n in range(50)))
        assert await take(first, 50) == await take(second, 50)


async def test_goes_on_from_a_revision(recording: PersistenceBackend) -> None:
    async with recording.watch(recording.settings) as changes:
        begun = changes.revision
        await put(recording, "a", "b", "c")
        found = await take(changes, 2)
        place = changes.revision
    await put(recording, "d")
    async with recording.watch(recording.settings, after=place) as changes:
        assert brief(await take(changes, 2)) == [("insert", "c"), ("insert", "d")]
        await nothing_comes(changes)
    async with recording.watch(recording.settings, after=begun) as changes:
        assert (await take(changes, 4))[:2] == found


async def test_a_cancelled_step_loses_nothing(recording: PersistenceBackend) -> None:
    found: list[Change] = []
    async with recording.watch(recording.settings) as changes:
        for turn in range(20):
            with suppress(TimeoutError):
                async with asyncio.timeout(0.001 * turn):
                    found.append(await anext(changes))
            await put(recording, f"k{turn}")
        found += await take(changes, 20 - len(found))
    assert brief(found) == [("insert", f"k{n}") for n in range(20)]


async def test_a_slow_consumer_reads_in_pieces(
    recording: PersistenceBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 3 * CHUNK + 7
    async with recording.watch(recording.settings) as changes:
        async with recording.transaction() as tx:
            for number in range(count):
                await put(tx, f"k{number}")
        found = await take(changes, 5)
        await asyncio.sleep(0.3)
        waiting = list(changes._rows)
        assert len(waiting) <= CHUNK
        changes._rows = iter(waiting)
        found += await take(changes, count - 5)
        await nothing_comes(changes)
    assert brief(found) == [("insert", f"k{n}") for n in range(count)]


async def test_leaving_early_leaves_nothing_behind(
    recording: PersistenceBackend, engine_name: str
) -> None:
    async def connections() -> int:
        if engine_name != "postgres":
            return threading.active_count()
        pool = recording.get_db()
        connection = await pool.acquire()
        try:
            count = await connection.raw.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND query LIKE '%LISTEN%' OR query LIKE '%changes%' AND pid <> pg_backend_pid()"
            )
            return int(count)
        finally:
            pool.release(connection)

    await put(recording, "warm")
    before = await connections()
    for _ in range(3):
        async with recording.watch(recording.settings) as changes:
            await put(recording, "a")
            async for _change in changes:
                break
            if engine_name == "postgres":
                assert await connections() > before
        with pytest.raises(StopAsyncIteration):
            await anext(changes)
    entering = asyncio.create_task(recording.watch(recording.settings).__aenter__())
    await asyncio.sleep(0.002)
    entering.cancel()
    watched = recording.watch(recording.settings, after=0)
    waiting = asyncio.create_task(take(watched, 10_000))
    await asyncio.sleep(0.1)
    waiting.cancel()
    await asyncio.gather(entering, waiting, return_exceptions=True)
    await watched.aclose()
    async with asyncio.timeout(5):
        while await connections() > before:  # noqa: ASYNC110 - the server's, not ours
            await asyncio.sleep(0.02)


async def test_ends_when_the_backend_disconnects(recording: PersistenceBackend) -> None:
    changes = recording.watch(recording.settings)
    async with changes:
        step = asyncio.create_task(anext(changes))
        await asyncio.sleep(0.1)
        await recording.disconnect()
        with pytest.raises(PersistenceConnectionError):
            await step
        with pytest.raises(PersistenceConnectionError, match="not connected"):
            await anext(changes)


async def test_watching_what_is_not_recorded(backend: PersistenceBackend) -> None:
    with pytest.raises(InvalidArgumentError, match=r"record_changes\(backend.tasks\)"):
        await anext(backend.watch(backend.tasks))
    await backend.record_changes(backend.tasks)
    with pytest.raises(InvalidArgumentError, match="settings are not recorded"):
        async with backend.watch(backend.tasks, backend.settings):
            pass


@pytest.mark.parametrize("after", [-1, True, "7", 1.5])
async def test_a_wrong_place(recording: PersistenceBackend, after: int) -> None:
    with pytest.raises(InvalidArgumentError, match="watch: after"):
        recording.watch(recording.settings, after=after)


async def test_a_place_of_another_log(recording: PersistenceBackend) -> None:
    await put(recording, "a")
    with pytest.raises(InvalidArgumentError, match="larger than any revision"):
        await anext(recording.watch(recording.settings, after=10**9))


async def test_wrong_arguments(recording: PersistenceBackend) -> None:
    with pytest.raises(InvalidArgumentError, match="at least one repository"):
        recording.watch()
    with pytest.raises(InvalidArgumentError, match="takes repositories"):
        recording.watch("tasks")
    with pytest.raises(InvalidArgumentError, match="pause"):
        recording.watch(recording.tasks, pause=0)
    with pytest.raises(InvalidArgumentError, match="takes repositories"):
        await recording.record_changes("tasks")
    for arguments in ({}, {"through": 1, "older_than": timedelta(1)}):
        with pytest.raises(InvalidArgumentError, match="either"):
            await recording.prune_changes(**arguments)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="older_than"):
        await recording.prune_changes(older_than=timedelta(-1))


async def test_what_was_pruned_is_not_missed_silently(recording: PersistenceBackend) -> None:
    async with recording.watch(recording.settings) as changes:
        begun = changes.revision
        await put(recording, "a", "b", "c", "d")
        a, b, c, d = await take(changes, 4)
    assert await recording.prune_changes(through=b.revision) >= 2
    assert await recording.prune_changes(through=b.revision) == 0
    for place in (begun, a.revision):
        with pytest.raises(ChangesLostError, match="deleted"):
            await anext(recording.watch(recording.settings, after=place))
    async with recording.watch(recording.settings, after=b.revision) as changes:
        assert await take(changes, 2) == [c, d]
    assert await recording.prune_changes(older_than=timedelta(0)) == 2
    await put(recording, "e")
    async with recording.watch(recording.settings, after=d.revision) as changes:
        assert brief(await take(changes, 1)) == [("insert", "e")]
    with pytest.raises(ChangesLostError):
        await anext(recording.watch(recording.settings, after=c.revision))
    assert await recording.prune_changes(older_than=timedelta(hours=1)) == 0


async def test_a_running_watch_notices_that_it_was_too_slow(recording: PersistenceBackend) -> None:
    async with recording.watch(recording.settings) as changes:
        await put(recording, "a", "b")
        await take(changes, 1)
        async with recording.transaction() as tx:
            for number in range(CHUNK):
                await put(tx, f"k{number}")
        await recording.prune_changes(older_than=timedelta(0))
        with pytest.raises(ChangesLostError):
            await take(changes, CHUNK + 1)
        with pytest.raises(ChangesLostError):  # and says so again
            await anext(changes)


async def test_pruning_a_long_log_of_one_tenant(recording: PersistenceBackend) -> None:
    other = recording.for_tenant("other")
    await put(other, "theirs")
    async with recording.transaction() as tx:
        for number in range(2 * CHUNK + 10):
            await put(tx, f"k{number}")
    # One more for the note on switching on, which says nothing to anybody any more.
    assert await recording.prune_changes(older_than=timedelta(0)) >= 2 * CHUNK + 10
    assert await other.prune_changes(older_than=timedelta(0)) == 1


async def test_numbers_go_on_after_everything_was_pruned(recording: PersistenceBackend) -> None:
    async with recording.watch(recording.settings) as changes:
        await put(recording, "a")
        (first,) = await take(changes, 1)
        await recording.prune_changes(older_than=timedelta(0))
        await put(recording, "b")
        (second,) = await take(changes, 1)
    assert second.revision > first.revision


async def test_keys_of_any_text(recording: PersistenceBackend) -> None:
    keys = ['"', "\\", "'", "é🦑", "a b", "\x01\t\n", "[]", "null", "1", "{x}", "%s", ":a"]
    async with recording.watch(recording.settings) as changes:
        await put(recording, *keys)
        assert [c.key for c in await take(changes, len(keys))] == [("n", key) for key in keys]


async def test_a_table_of_the_application(backend: PersistenceBackend) -> None:
    """Keys of numbers and instants are the same texts on every engine."""
    table = store_table(
        "readings", column("number", INTEGER), column("at", Timestamp()), column("to", STRING),
        key=("number", "at", "to"), metadata=new_metadata(),
    )  # fmt: skip

    class Readings(Repository):
        pass

    Readings.table = table
    engine = engine_of(backend)
    await engine.run_sync(table.create)
    readings = Readings(engine, backend.tenant)
    await backend.record_changes(readings)
    save = insert("readings.save", table, ("tenant", "number", "at", "to"))
    async with backend.watch(readings) as changes:
        await engine.write(save, (backend.tenant, -7, WHEN, "x"))
        (change,) = await take(changes, 1)
    assert change.table == "readings"
    assert change.key == ("-7", "2026-03-28T20:45:00.123456+00:00", "x")
    assert "readings" in await backend.recorded_tables()


async def test_a_file_is_watched_from_another_process(shared_url: str) -> None:
    """Two backends share nothing but the database."""
    async with (
        connected(create_backend(shared_url)) as one,
        connected(create_backend(shared_url)) as two,
    ):
        await one.record_changes(one.settings)
        async with two.watch(two.settings) as changes:
            await put(one, "a")
            begun = asyncio.get_running_loop().time()
            (change,) = await take(changes, 1)
            assert asyncio.get_running_loop().time() - begun < 5
    assert isinstance(change, Change)
