"""What is said of a failover: how many rows are missing, and whether all could be looked up."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

import pytest

from holdfast import PersistenceBackend, create_backend
from holdfast.engines.stats import EngineStats, Failover
from holdfast.testing import PostgresCluster

from ..conformance.test_work import task


async def test_a_look_up_that_is_broken_off_is_not_a_clean_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The new primary lacks a table: of its rows nothing can be known."""
    with PostgresCluster.create() as primary, primary.standby() as standby:
        hosts = f"{primary.url()}?fallback_hosts=127.0.0.1:{standby.port}"
        backend = create_backend(f"{hosts}&pool_timeout_seconds=20", tenant="acme")
        await backend.connect()
        await backend.migrate()
        for number in range(5):
            await backend.set_setting(f"k{number}", "v")
            await backend.tasks.save(task(f"t{number}"))
        primary.psql("DELETE FROM settings WHERE key = 'k3'; DROP TABLE tasks CASCADE")
        standby.catch_up()
        await asyncio.to_thread(primary.kill)
        await asyncio.to_thread(standby.promote)
        caplog.clear()
        failover = await _told(backend)
        stats = backend.stats().prometheus()
        await backend.disconnect()
    assert (failover.acknowledged, failover.checked, len(failover.missing)) == (10, 5, 1)
    assert failover.broken_off.startswith("QueryError: failover.tasks")
    assert "missing=<1 rows>" in repr(failover)
    assert "failover.tasks" in repr(failover)
    assert "holdfast_failover_unchecked_rows_total 5\n" in stats
    (line,) = (each for each in caplog.records if each.message.startswith("failover from"))
    assert line.levelno == logging.ERROR
    assert "5 were looked up and 1 are missing" in line.message
    assert "not finished, nothing is known of the other 5: QueryError" in line.message
    assert (vars(line)["missing"], vars(line)["unchecked"]) == (1, 5)


async def _told(backend: PersistenceBackend) -> Failover:
    """A call meets the new primary, and the look-up begins by itself."""
    await backend.set_setting("after", "v")
    async with asyncio.timeout(20):
        while not backend.operations.failovers():  # noqa: ASYNC110 - the look-up ends by itself
            await asyncio.sleep(0.01)
    (failover,) = backend.operations.failovers()
    return failover


def test_a_failover_shows_how_many_are_missing_and_no_tenant() -> None:
    missing = tuple(("tasks", "a-tenant", f"t{number}") for number in range(60))
    failover = Failover(datetime.now(UTC), "1/1", "1/2", 1.5, 85, 85, missing)
    assert "checked=85, missing=<60 rows>, broken_off=''" in repr(failover)
    stats = EngineStats(failovers=(failover,))
    assert "missing=<60 rows>" in repr(stats)
    assert "a-tenant" not in repr(stats)
