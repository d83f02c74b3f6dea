"""Rows 17 and 18: the primary is lost, a standby takes over: what is missing, and who says so."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import asyncpg
import pytest

from holdfast import OutcomeUnknownError, PersistenceBackend, PersistenceError, create_backend
from holdfast.engines.postgres.replication.timeline import Timelines
from holdfast.testing import PostgresCluster
from holdfast.testing.standby import Standby

from ..conformance.test_work import task
from .scorecard import Ledger, Record, sized

WRITERS = 16
LAG_SECONDS = 0.3


class Load:
    """Callers that write, each id once, and a ledger of what they were told."""

    def __init__(self, backend: PersistenceBackend) -> None:
        self.backend = backend
        self.ledger = Ledger()
        self.acked_at: list[float] = []
        self._stop = False
        self._writers = [asyncio.create_task(self._write(number)) for number in range(WRITERS)]

    async def _write(self, number: int) -> None:
        turn = 0
        while not self._stop:
            turn += 1
            operation = f"{number}-{turn}"
            try:
                if turn % 10:
                    await self.backend.tasks.save(task(operation))
                else:
                    async with self.backend.transaction() as tx:
                        await tx.tasks.save(task(operation))
            except OutcomeUnknownError:
                self.ledger.unknown.add(operation)
            except PersistenceError:
                self.ledger.refused.add(operation)
                await asyncio.sleep(0.01)
            else:
                self.ledger.acked.add(operation)
                self.acked_at.append(time.perf_counter())

    async def until(self, acks: int) -> None:
        async with asyncio.timeout(60):
            while len(self.ledger.acked) < acks:  # noqa: ASYNC110 - a load, not a wait
                await asyncio.sleep(0.01)

    async def end(self) -> None:
        self._stop = True
        await asyncio.gather(*self._writers)


def both(primary: PostgresCluster, standby: Standby) -> str:
    return f"{primary.url()}?fallback_hosts=127.0.0.1:{standby.port}&pool_timeout_seconds=10"


async def stored(server: PostgresCluster) -> list[str]:
    return server.psql("SELECT id FROM tasks").split("\n")


async def _fail_over(
    acks: int, *, synchronous: bool, behind: bool = False, found_out: bool = True
) -> dict[str, Any]:
    """Write, lose the primary, promote, write on; what the ledger says on the new primary."""
    durable = {"fsync": "on"} if synchronous else {}
    with PostgresCluster.create(settings=durable) as primary, primary.standby() as standby:
        backend = create_backend(both(primary, standby))
        alone = create_backend(f"{primary.url()}?pool_timeout_seconds=0.2")
        await backend.connect()
        await backend.migrate()
        await alone.connect()
        if synchronous:
            standby.synchronise()
        load = Load(backend)
        await load.until(acks)
        if behind:
            await asyncio.to_thread(standby.hold_back)
            await asyncio.sleep(LAG_SECONDS)
        await asyncio.to_thread(primary.kill)
        await asyncio.to_thread(standby.promote)
        promoted = time.perf_counter()
        await load.until(len(load.ledger.acked) + 200)
        first = min(at for at in load.acked_at if at > promoted) - promoted
        with pytest.raises(PersistenceError):  # one host: it never comes back
            await alone.tasks.save(task("alone"))
        await load.end()
        if found_out:
            async with asyncio.timeout(20):
                while not backend.stats().failovers:  # noqa: ASYNC110 - the audit ends by itself
                    await asyncio.sleep(0.01)
        found = {
            "first": first,
            "ledger": load.ledger,
            "verdict": load.ledger.verdict(await stored(standby)),
            "failovers": backend.stats().failovers,
            "missing": load.ledger.acked - set(await stored(standby)),
        }
        await alone.disconnect()
        await backend.disconnect()
    return found


async def test_row_17_a_synchronous_standby_takes_over(record: Record) -> None:
    acks = sized(1_500, 20_000)
    found = await _fail_over(acks, synchronous=True)
    control = await _fail_over(1_000, synchronous=False, behind=True)
    lost = control["verdict"]["lost"]
    record(
        17,
        "failover, synchronous standby",
        f"{len(found['ledger'].acked):,} acked, {found['verdict']}, "
        f"{len(found['ledger'].unknown)} unknown, first write {found['first']:.2f} s after promote",
        f"asynchronous, {LAG_SECONDS} s behind, lost {lost}",
    )
    assert set(found["verdict"].values()) == {0}
    assert found["first"] <= 2
    assert lost > 0
    (failover,) = found["failovers"]
    assert failover.missing == ()
    assert failover.checked == failover.acknowledged > 0


async def test_row_18_what_an_asynchronous_standby_lacks_is_reported(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await _fail_over(sized(1_500, 10_000), synchronous=False, behind=True)
    (failover,) = found["failovers"]
    missing = {key for table, _, key in failover.missing if table == "tasks"}

    async def unseeing(*_: object) -> str:
        return ""

    monkeypatch.setattr(Timelines, "look", unseeing)
    control = await _fail_over(1_000, synchronous=False, behind=True, found_out=False)
    record(
        18,
        "failover, asynchronous standby",
        f"{len(found['ledger'].acked):,} acked, {len(found['missing'])} lost, "
        f"{len(missing)} of them reported, first write {found['first']:.2f} s after promote",
        f"without a look at timelines {control['verdict']['lost']} lost, "
        f"{len(control['failovers'])} reported",
    )
    assert len(found["missing"]) > 0
    assert missing == found["missing"]
    assert found["first"] <= 2
    assert control["verdict"]["lost"] > 0
    assert control["failovers"] == ()


async def test_row_17_a_server_that_became_read_only_is_left(record: Record) -> None:
    with PostgresCluster.create() as old, old.standby() as new:
        backend = create_backend(both(old, new))
        bare = await asyncpg.create_pool(  # type: ignore[call-overload]
            host=["127.0.0.1", "127.0.0.1"], port=[old.port, new.port], user="postgres",
            database="postgres", target_session_attrs="read-write", min_size=1, max_size=1,
        )  # fmt: skip
        await backend.connect()
        await backend.migrate()
        await backend.tasks.save(task("before"))
        new.catch_up()
        await asyncio.to_thread(new.promote)
        # The old primary lives on, and refuses writes.
        old.psql("ALTER SYSTEM SET default_transaction_read_only = on; SELECT pg_reload_conf()")
        async with asyncio.timeout(10):  # it reads its settings when it comes to it
            while old.psql("SHOW default_transaction_read_only") != "on":  # noqa: ASYNC110 - a server
                await asyncio.sleep(0.01)
        begun = time.perf_counter()
        async with asyncio.timeout(10):
            while True:
                try:
                    await backend.tasks.save(task("after"))
                    break
                except PersistenceError:
                    await asyncio.sleep(0.01)
        left = time.perf_counter() - begun
        stuck = 0
        for _ in range(10):
            try:
                await bare.execute("DELETE FROM tasks WHERE id = 'nobody'")
            except asyncpg.ReadOnlySQLTransactionError:
                stuck += 1
        assert await stored(new) == ["before", "after"]
        # It forgets that it was left, and takes writes again: an old history, never to be used.
        old.psql("ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf()")
        backend._engine()._pool.expire_all()  # type: ignore[attr-defined]
        for number in range(10):
            await backend.tasks.save(task(f"later-{number}"))
        strays = [name for name in await stored(old) if name.startswith("later")]
        await bare.close()
        await backend.disconnect()
    record(
        17,
        "read-only, then an old primary",
        f"left after {left:.2f} s, {len(strays)} writes on the old history",
        f"asyncpg.Pool(read-write) stuck in {stuck} of 10 calls",
    )
    assert left <= 2
    assert strays == []
    assert stuck == 10
