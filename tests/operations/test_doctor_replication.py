"""The doctor sees whom commits wait for, what a standby is, and slots that keep the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from holdfast import create_backend
from holdfast.operations import Finding
from holdfast.testing import PostgresCluster
from holdfast.testing.standby import Standby

from .test_doctor import about, look


async def _migrate(url: str) -> None:
    backend = create_backend(url)
    await backend.connect()
    await backend.migrate()
    await backend.disconnect()


async def _until(url: str, condition: Callable[[Sequence[Finding]], bool]) -> Sequence[Finding]:
    async with asyncio.timeout(20):
        while not condition(found := await look(url)):  # noqa: ASYNC110 - the server's own pace
            await asyncio.sleep(0.1)
    return found


def _replication(found: Sequence[Finding]) -> tuple[str, str]:
    ((level, said),) = about(found, "replication")
    return level, said


def _slots(found: Sequence[Finding], name: str) -> list[tuple[str, str]]:
    return [each for each in about(found, "replication slots") if each[1].startswith(name)]


def _wait_for(primary: PostgresCluster, names: str) -> None:
    primary.psql(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'; SELECT pg_reload_conf()")


async def test_a_commit_that_waits_for_a_standby_which_is_not_there_is_a_problem() -> None:
    with PostgresCluster.create() as primary, primary.standby() as standby:
        url = primary.url()
        primary.psql("CREATE ROLE reader LOGIN")
        reader = url.replace("postgres@", "reader@")
        assert _replication(await look(url)) == ("ok", "commits wait for no standby, 1 connected")

        await asyncio.to_thread(standby.synchronise)
        followed = f"commits wait for 1 of 1 that follow ({standby.name})"
        assert _replication(await look(url)) == ("ok", followed)
        level, said = _replication(await look(reader))
        assert (level, "may not see whether they follow" in said) == ("notice", True)

        for commit in ("off", "local"):
            primary.psql(f"ALTER ROLE reader SET synchronous_commit = {commit}")
            level, said = _replication(await look(reader))
            assert (level, "no commit waits" in said) == ("warning", True)
        primary.psql("ALTER ROLE reader RESET synchronous_commit")
        level, said = _replication(await look(f"{url}?synchronous_commit=off"))
        assert (level, "no commit waits" in said) == ("warning", True)

        for names in (f"FIRST 2 ({standby.name}, s2)", f"any 2({standby.name}, s2)"):
            await asyncio.to_thread(_wait_for, primary, names)
            found = await _until(url, lambda found: _replication(found)[0] == "problem")
            said = _replication(found)[1]
            assert f"waits for 2 of '{names}', and 1 follow (1 connected)" in said
            assert _replication(await look(reader))[0] == "problem"  # one cannot be two

        await asyncio.to_thread(_wait_for, primary, standby.name)
        await asyncio.to_thread(standby.stop)
        found = await _until(url, lambda found: _replication(found)[0] == "problem")
        assert "and 0 follow (none is connected): it waits for ever" in _replication(found)[1]
        (advice,) = (each.advice for each in found if each.subject == "replication")
        assert "start the standby" in advice
        assert "clear synchronous_standby_names and call pg_reload_conf()" in advice
        assert _replication(await look(reader))[0] == "problem"
        assert about(found, "durability")[0][0] == "problem"  # of the tests' careless server


async def test_a_standby_says_what_it_is() -> None:
    with PostgresCluster.create(settings={"fsync": "on"}) as primary, primary.standby() as standby:
        url = standby.url()
        await _migrate(primary.url())
        primary.psql(
            "CREATE ROLE reader LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader"
        )
        await asyncio.to_thread(standby.catch_up)
        found = await _until(url, lambda found: _replication(found)[0] == "ok")
        assert _replication(found)[1] == "this standby follows its primary"
        (server,) = about(found, "server")
        assert (server[0], "takes no writes" in server[1]) == ("warning", True)
        assert about(found, "durability") == [("ok", "what arrives is kept")]
        assert about(found, "bloat")[0][0] == "notice"
        assert [each for each in found if each.level == "problem"] == []
        hidden = _replication(await look(url.replace("postgres@", "reader@")))
        assert hidden == ("notice", "whether this standby follows was not shown")
        standby.replay("pause")
        assert "it was paused" in _replication(await look(url))[1]
        standby.replay("resume")
        await asyncio.to_thread(primary.stop)
        found = await _until(url, lambda found: "not connected" in _replication(found)[1])
        assert _replication(found)[0] == "warning"
        assert about(await look(url), "server") != []
        await asyncio.to_thread(standby.promote)
        assert about(await look(url), "server") == []


def _write_log(server: PostgresCluster, files: int) -> None:
    for _ in range(files):
        server.psql("SELECT pg_logical_emit_message(false, 'a', 'b'), pg_switch_wal()")


async def test_slots_that_keep_the_log_are_seen() -> None:
    settings = {"max_wal_size": "32MB", "min_wal_size": "32MB"}
    with PostgresCluster.create(settings=settings) as primary, primary.standby() as standby:
        url = primary.url()
        await asyncio.to_thread(standby.catch_up)
        assert about(await look(url), "replication slots") == []
        primary.psql("SELECT pg_create_physical_replication_slot('reserves_nothing')")
        primary.psql("SELECT pg_create_physical_replication_slot('unused', true)")
        found = await look(url)
        assert _slots(found, "reserves_nothing") == []
        ((level, said),) = _slots(found, "unused")
        assert (level, said.endswith("nobody reads it")) == ("warning", True)
        assert any("pg_drop_replication_slot('unused')" in each.advice for each in found)
        await _behind(primary, standby)
        primary.psql("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'; SELECT pg_reload_conf()")
        _write_log(primary, 2)
        primary.psql("CHECKPOINT")
        ((level, said),) = _slots(await look(url), "unused")
        assert (level, said.startswith("unused has lost log")) == ("warning", True)


async def _behind(primary: PostgresCluster, standby: Standby) -> None:
    """A slot with a reader is fine until the reader is far behind."""
    assert _slots(await look(primary.url()), standby.name) == []
    await asyncio.to_thread(standby.hold_back)
    _write_log(primary, 8)
    ((level, said),) = _slots(await look(primary.url()), standby.name)
    assert (level, said.endswith("MiB of log: its reader is behind")) == ("warning", True)
    primary.thaw()
    await asyncio.to_thread(standby.catch_up)
