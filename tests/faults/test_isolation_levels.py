"""Row 37: what transactions may see of each other, by the histories they leave."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, get_args

import pytest
from sqlalchemy.dialects import postgresql

from holdfast import OutcomeUnknownError, PersistenceBackend, PersistenceError, create_backend
from holdfast.storage.session import Isolation, Session, Statement
from holdfast.storage.statements import select_by, upsert
from holdfast.storage.tables import column, new_metadata, store_table
from holdfast.storage.types import STRING
from holdfast.testing import PostgresCluster, databases
from holdfast.testing.databases import connected

from ..conformance.test_bad_input import run_sql
from .anomalies import Append, Read, Transaction, anomalies
from .scorecard import SEED, Record, sized

#: Few at a time, so that transactions meet; new ones now and then, so that lists stay short.
KEYS, ELEMENTS_OF_KEYS = ("a", "b", "c", "d", "e"), 2_000

_LISTS = store_table(
    "lists", column("id", STRING), column("elements", STRING), key=("id",), metadata=new_metadata()
)
_PARAMETERS = ("tenant", "id", "elements")
READ = select_by("lists.get", _LISTS, [_LISTS.c.elements], ("id",))
#: The control: the whole list is written, as it was read before.
OVERWRITE = upsert("lists.save", _LISTS, _PARAMETERS)


def _append() -> Statement:
    """One statement reads and writes: the row's lock is held in between."""
    fresh = postgresql.insert(_LISTS)
    longer = _LISTS.c.elements + fresh.excluded.elements
    expression = fresh.on_conflict_do_update(
        index_elements=["tenant", "id"], set_={"elements": longer}
    )
    return Statement("lists.append", expression, _PARAMETERS, _LISTS)


APPEND = _append()

Do = Callable[[Session, Transaction, str, int], Awaitable[None]]


async def _read(session: Session, key: str) -> tuple[int, ...]:
    row = await session.get(READ, ("t", key))
    return () if row is None else tuple(map(int, row[0].split()))


async def append(session: Session, one: Transaction, key: str, element: int) -> None:
    one.steps.append(Append(key, element))
    await session.write(APPEND, ("t", key, f"{element} "))


async def overwrite(session: Session, one: Transaction, key: str, element: int) -> None:
    before = await _read(session, key)
    one.steps.append(Append(key, element))
    text = "".join(f"{each} " for each in (*before, element))
    await session.write(OVERWRITE, ("t", key, text))


class History:
    """Transactions of many workers on a few lists, of which some are cancelled."""

    def __init__(
        self, backend: PersistenceBackend, do: Do, cancelled: float, level: Isolation
    ) -> None:
        self._engine: Any = backend._core.engine  # type: ignore[attr-defined]
        self._level = level
        self._do = do
        self._cancelled = cancelled
        self._chance = random.Random(SEED)
        self._elements = 0
        self.transactions: list[Transaction] = []

    async def run(self, count: int, workers: int = 12) -> Counter[str]:
        await asyncio.gather(*(self._work(count // workers) for _ in range(workers)))
        last = self._elements // ELEMENTS_OF_KEYS
        used = [f"{key}{age}" for age in range(last + 1) for key in KEYS]
        final = {key: await _read(self._engine, key) for key in used}
        return anomalies(self.transactions, final)

    async def _work(self, count: int) -> None:
        for _ in range(count):
            one = Transaction()
            self.transactions.append(one)
            call = asyncio.create_task(self._transact(one))
            if self._chance.random() < self._cancelled:
                asyncio.get_running_loop().call_later(self._chance.uniform(0, 0.01), call.cancel)
            with suppress(asyncio.CancelledError):
                await call

    async def _transact(self, one: Transaction) -> None:
        # A write on its own is read committed, and would be what others cannot be ordered with.
        alone = self._level == "read committed" and self._chance.random() < 0.3
        try:
            if alone:  # outside of a transaction, where writes share a commit
                await self._do(self._engine, one, self._keys(1)[0], self._next())
            else:
                async with self._engine.transaction(isolation=self._level) as session:
                    # In order, or they would do nothing but deadlock.
                    for key in sorted(self._keys(2)):
                        await self._step(session, one, key)
                    if self._chance.random() < 0.1:
                        raise _GiveUpError
        except _GiveUpError:
            one.outcome = "aborted"
        except OutcomeUnknownError:
            pass
        except PersistenceError:
            one.outcome = "aborted"
        else:
            one.outcome = "committed"

    async def _step(self, session: Session, one: Transaction, key: str) -> None:
        if self._chance.random() < 0.5:
            await self._do(session, one, key, self._next())
        else:
            one.steps.append(Read(key, await _read(session, key)))

    def _keys(self, count: int) -> list[str]:
        age = self._elements // ELEMENTS_OF_KEYS
        return [f"{key}{age}" for key in self._chance.sample(KEYS, count)]

    def _next(self) -> int:
        self._elements += 1
        return self._elements


class _GiveUpError(Exception):
    pass


_CREATE = "CREATE TABLE lists (tenant TEXT, id TEXT, elements TEXT, PRIMARY KEY (tenant, id))"


@asynccontextmanager
async def _lists(url: str) -> Any:
    async with connected(create_backend(url)) as backend:
        await run_sql(backend, "DROP TABLE IF EXISTS lists")
        await run_sql(backend, _CREATE)
        yield backend


def _t(*steps: Append | Read, outcome: Any = "committed") -> Transaction:
    return Transaction(outcome, list(steps))


A, R = Append, Read
#: Histories in which one thing went wrong.
WRONG: dict[str, tuple[list[Transaction], dict[str, tuple[int, ...]]]] = {
    "G0": ([_t(A("x", 1), A("y", 2)), _t(A("x", 3), A("y", 4))], {"x": (1, 3), "y": (4, 2)}),
    "G1a": ([_t(A("x", 1), outcome="aborted"), _t(R("x", (1,)))], {"x": (1,)}),
    "G1b": ([_t(A("x", 1), A("x", 2)), _t(R("x", (1,)))], {"x": (1, 2)}),
    "G1c": (
        [_t(A("x", 1), R("y", (2,))), _t(A("y", 2), R("x", (1,)))],
        {"x": (1,), "y": (2,)},
    ),
    "G-single": (
        [_t(A("x", 1), A("y", 2)), _t(R("x", ()), R("y", (2,)))],
        {"x": (1,), "y": (2,)},
    ),
    "G2": (
        [_t(R("x", ()), A("y", 1)), _t(R("y", ()), A("x", 2))],
        {"x": (2,), "y": (1,)},
    ),
    "lost update": ([_t(A("x", 1)), _t(A("x", 2))], {"x": (2,)}),
    "duplicate": ([_t(A("x", 1))], {"x": (1, 1)}),
    "incompatible order": (
        [_t(A("x", 1)), _t(A("x", 2)), _t(R("x", (2, 1)))],
        {"x": (1, 2)},
    ),
    "internal": ([_t(A("x", 1), R("x", ()))], {"x": (1,)}),
    "half a transaction": ([_t(A("x", 1), A("y", 2), outcome="unknown")], {"x": (1,), "y": ()}),
}


@pytest.mark.parametrize("name", WRONG)
def test_row_37_the_checker_sees(name: str) -> None:
    assert anomalies(*WRONG[name])[name] > 0


def test_row_37_the_checker_sees_nothing_in_what_is_right() -> None:
    history = [
        _t(A("x", 1), A("y", 2)),
        _t(R("x", (1,)), A("x", 3)),
        _t(A("x", 4), outcome="unknown"),
        _t(R("x", (1, 3, 4)), R("y", (2,))),
        _t(A("x", 5), outcome="unknown"),
        _t(A("y", 6), R("y", (2, 6)), outcome="aborted"),
    ]
    assert anomalies(history, {"x": (1, 3, 4), "y": (2,)}) == {}


#: What PostgreSQL's levels allow; transactions on SQLite are serial, and allow nothing.
ALLOWED: dict[Isolation, set[str]] = {
    "read committed": {"G-single", "G2"},
    "repeatable read": {"G2"},
    "serializable": set(),
}


@pytest.mark.parametrize("level", get_args(Isolation))
async def test_row_37_isolation(shared_url: str, level: Isolation, record: Record) -> None:
    engine = shared_url.split(":")[0]
    # SQLite's transactions are serial, by whatever name: one of them is for all.
    again = engine == "sqlite" and level != "serializable"
    count = sized(600, 10_000 if again else 100_000)
    async with _lists(shared_url) as backend:
        history = History(backend, append, cancelled=0.1, level=level)
        found = await history.run(count)
    async with _lists(shared_url) as backend:
        control = await History(backend, overwrite, cancelled=0.0, level="read committed").run(300)
    outcomes = Counter(one.outcome for one in history.transactions)
    record(
        37,
        f"list-append, {engine}, {level}",
        f"{count:,} transactions ({outcomes['aborted']} aborted, {outcomes['unknown']} unknown): "
        f"{dict(found) or 'no anomaly'}",
        f"read, then write the whole: {dict(control)}",
    )
    assert set(found) <= (ALLOWED[level] if engine == "postgresql" else set())
    assert outcomes["committed"] > count / 4
    assert control["lost update"] > 0
    if engine == "postgresql" and level == "read committed":
        assert found["G-single"] > 0  # the checker sees what is allowed, and would see the rest


async def test_row_37_isolation_on_a_server_that_is_killed(record: Record) -> None:
    count, kills = sized(1_200, 30_000), sized(2, 20)
    with PostgresCluster.create(settings={"fsync": "on"}) as cluster:
        await databases.run_sql(cluster.url(), _CREATE)
        url = f"{cluster.url()}?pool_timeout_seconds=20"
        async with databases.connected(create_backend(url)) as backend:
            history = History(backend, append, cancelled=0.1, level="serializable")
            running = asyncio.create_task(history.run(count))
            for turn in range(1, kills + 1):
                while len(history.transactions) < turn * count / (kills + 1):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                cluster.kill()
                await asyncio.to_thread(cluster.start)
            found = await running
    outcomes = Counter(one.outcome for one in history.transactions)
    control = anomalies(*WRONG["half a transaction"])
    record(
        37,
        f"list-append, {kills} kills, serializable",
        f"{count:,} transactions ({outcomes['aborted']} aborted, {outcomes['unknown']} unknown): "
        f"{dict(found) or 'no anomaly'}",
        f"a history with half a transaction: {dict(control)}",
    )
    assert found == {}
    assert outcomes["committed"] > count / 8
    assert control["half a transaction"] > 0
