"""Row 40: thousands of orders of events, each with faults at every wait, and each repeatable."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from holdfast import (
    OutcomeUnknownError,
    PersistenceError,
    PostgresConfig,
)
from holdfast.engines.batching import Request
from holdfast.engines.postgres import engine
from holdfast.engines.postgres.engine import PostgresEngine
from holdfast.engines.postgres.executor import Executor
from holdfast.engines.postgres.group_commit import GroupCommit
from holdfast.engines.postgres.pool import Pool

from .scorecard import SEED, Ledger, Record, sized
from .simulation import COMPILER, GET, INSERT, UPSERT, SeededLoop, Server

CONNECTIONS, CALLERS, STEPS = 3, 6, 4
CONFIG = PostgresConfig(
    host="nowhere", database="d", username="u", password="", pool_min_size=1,
    pool_max_size=CONNECTIONS, pool_timeout_seconds=5.0, statement_timeout_ms=1_000,
    ssl_mode="disable", pooler="none",
)  # fmt: skip


class Caller:
    """Inserts rows of its own, and writes and reads one key, in a fixed order."""

    def __init__(self, engine: PostgresEngine, number: int, ledger: Ledger, server: Server) -> None:
        self._engine = engine
        self._number = number
        self._ledger = ledger
        self._server = server
        self._key = f"key-{number}"
        #: What may be stored under the key, in the order in which it was sent.
        self._possible: list[str | None] = [None]
        self._made = 0

    async def run(self) -> None:
        chance = self._server.chance
        kinds = (self._insert, self._upsert, self._burst, self._get, self._transaction)
        for _ in range(STEPS):
            await chance.choice(kinds)()
            await asyncio.sleep(chance.choice((0, 0, 0.005)))

    def _new(self) -> str:
        self._made += 1
        return f"{self._number}-{self._made}"

    async def _insert(self) -> None:
        operation = self._new()
        await self._settle(self._engine.write(INSERT, ("t", operation, "x")), [operation])

    async def _settle(self, work: Any, operations: list[str]) -> None:
        self._ledger.unknown.update(operations)
        try:
            await work
        except OutcomeUnknownError:
            return
        except PersistenceError:
            self._ledger.refused.update(operations)
        else:
            self._ledger.acked.update(operations)
        self._ledger.unknown.difference_update(operations)

    async def _upsert(self) -> None:
        await self._answer(self._submit())

    def _submit(self) -> tuple[str, asyncio.Future[Any]]:
        value = self._new()
        self._possible.append(value)
        future = self._engine._batches.writes.submit(UPSERT, ("t", self._key, value))
        future.add_done_callback(_look_at)
        return value, future

    async def _burst(self) -> None:
        """Several saves of one key, none of which waits for another: the last one stays."""
        for one in [self._submit() for _ in range(3)]:
            await self._answer(one)

    async def _answer(self, submitted: tuple[str, asyncio.Future[Any]]) -> None:
        value, future = submitted
        try:
            await future
        except OutcomeUnknownError:
            pass
        except PersistenceError:
            self._possible.remove(value)
        else:  # it or what was sent behind it
            del self._possible[: self._possible.index(value)]

    async def _get(self) -> None:
        try:
            row = await self._engine.get(GET, ("t", self._key))
        except PersistenceError:
            return
        self.check(None if row is None else row[0])

    async def _transaction(self) -> None:
        operations = [self._new(), self._new()]
        await self._settle(self._together(operations), operations)

    async def _together(self, operations: list[str]) -> None:
        async with self._engine.transaction() as session:
            await session.write(INSERT, ("t", operations[0], "x"))
            try:
                async with session.transaction() as inner:
                    await inner.write(INSERT, ("t", operations[1], "x"))
                    await inner.write(INSERT, ("t", operations[0], "x"))
            except PersistenceError:
                await session.write(INSERT, ("t", operations[1], "x"))

    def check(self, found: str | None) -> None:
        if found not in self._possible:
            self._server.problems.append(
                f"{self._key} is {found}, and should be one of {self._possible}"
            )


def _look_at(future: asyncio.Future[Any]) -> None:
    """Its caller may be gone."""
    if not future.cancelled():
        future.exception()


async def _play(server: Server) -> None:
    chance = server.chance
    played, ledger = PostgresEngine(CONFIG), Ledger()
    faults = server.faults
    if chance.random() < 0.8:
        server.faults = 0.0
    try:
        await played.connect()
    except PersistenceError:  # nothing began, and nothing may be left
        await _check_for_remains(server)
        return
    server.faults = faults
    played._executor.compile = COMPILER
    callers = [Caller(played, number, ledger, server) for number in range(CALLERS)]
    running = [asyncio.create_task(caller.run()) for caller in callers]
    for task in running:
        if chance.random() < 0.3:
            asyncio.get_running_loop().call_later(chance.uniform(0, 0.3), task.cancel)
    await asyncio.wait(running)
    for task in running:
        if not task.cancelled() and (error := task.exception()) is not None:
            server.problems.append(f"a caller met {error!r}")
    server.faults = 0.0
    await asyncio.sleep(20)  # whatever was begun for a cancelled caller ends meanwhile
    stats = played.stats()
    if stats.pool.busy or stats.pool.waiting:
        server.problems.append(f"a connection is missing: {stats.pool}")
    if any(connection.layers for connection in server.connections):
        server.problems.append("a transaction was left open")
    for caller in callers:
        caller.check(server.rows.get(caller._key))
    verdict = ledger.verdict([key for key in server.rows if not key.startswith("key")])
    server.problems += [f"{count} {what}" for what, count in verdict.items() if count]
    await played.close()
    await _check_for_remains(server)


async def _check_for_remains(server: Server) -> None:
    await asyncio.sleep(1)
    if server.most > CONNECTIONS:
        server.problems.append(f"{server.most} connections at once")
    if not all(connection.closed for connection in server.connections):
        server.problems.append("a connection was never closed")
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        server.problems.append(f"{len(others)} tasks are left")


def _sweep(loop: SeededLoop) -> None:
    """End what a broken world has left: found by the garbage collector, it would fail some test."""
    for _ in range(5):
        if not (left := asyncio.all_tasks(loop)):
            return
        for task in left:
            task.cancel()
        with suppress(RuntimeError):  # nothing can happen any more
            loop.run_until_complete(asyncio.wait(left, timeout=10))


def simulate(seed: int) -> Server:
    """One world from beginning to end."""
    loop = SeededLoop(seed)
    random.seed(seed)  # the engine's own jitter
    server = Server(loop.chance, loop.chance.choice((0.0, 0.02, 0.1, 0.3)))
    connect: Any = server.connect
    loop.set_exception_handler(
        lambda _, about: server.problems.append(f"{about['message']}: {about.get('exception')!r}")
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(engine, "Pool", lambda config, *_, **__: Pool(config, connect))
        try:
            loop.run_until_complete(_play(server))
        except RuntimeError as error:
            server.problems.append(str(error))
        finally:
            loop.set_exception_handler(lambda *_: None)
            _sweep(loop)
            loop.close()
    return server


def _twice(patched: pytest.MonkeyPatch) -> None:
    """Now and then a connection is given back twice."""
    release = Pool.release

    def twice(self: Pool, connection: Any) -> None:
        release(self, connection)
        if self._loop.chance.random() < 0.05:  # type: ignore[attr-defined]
            release(self, connection)

    patched.setattr(Pool, "release", twice)


def _early(patched: pytest.MonkeyPatch) -> None:
    """Callers are answered when their batch is sent."""
    flush = GroupCommit._flush_writes

    async def early(self: GroupCommit, batch: list[Request]) -> None:
        for request in batch:
            request.succeed(None)
        await flush(self, batch)

    patched.setattr(GroupCommit, "_flush_writes", early)


def _forgetful(patched: pytest.MonkeyPatch) -> None:
    """A connection is given back only when all went well."""
    release = Pool.release

    def forget(self: Pool, connection: Any) -> None:
        if not connection.raw.is_closed():
            release(self, connection)

    patched.setattr(Pool, "release", forget)


def _trusting(patched: pytest.MonkeyPatch) -> None:
    """Lost is taken for failed."""
    problem = Executor._problem

    def known(self: Executor, connection: Any, statement: Any, error: Any, _: bool) -> Any:
        return problem(self, connection, statement, error, True)

    patched.setattr(Executor, "_problem", known)


def _unordered(patched: pytest.MonkeyPatch) -> None:
    """Batches of one statement overtake each other."""
    made = GroupCommit.__init__

    def init(self: GroupCommit, *arguments: Any, **options: Any) -> None:
        made(self, *arguments, **options)
        self.writes._width, self.writes._largest = 3, 1

    patched.setattr(GroupCommit, "__init__", init)


MUTANTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "released twice": _twice, "answered early": _early, "not released": _forgetful,
    "lost taken for failed": _trusting, "out of order": _unordered,
}  # fmt: skip


def test_row_40_seeded_interleavings(record: Record, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "holdfast")
    seeds = range(SEED * 1_000_000, SEED * 1_000_000 + sized(150, 10_000))
    events = 0
    for seed in seeds:
        server = simulate(seed)
        events += len(server.trace)
        assert server.problems == [], f"seed {seed}"
    again = seeds[:10]
    assert [simulate(seed).trace for seed in again] == [simulate(seed).trace for seed in again]

    caught: Counter[str] = Counter()
    tried = sized(20, 200)
    for name, mutate in MUTANTS.items():
        with pytest.MonkeyPatch.context() as patched:
            mutate(patched)
            for seed in seeds[:tried]:
                problems = simulate(seed).problems
                caught[name] += bool(problems)
                assert not problems or simulate(seed).problems == problems, f"seed {seed}"
    record(
        40,
        "seeded interleavings",
        f"{len(seeds):,} seeds, {events:,} round trips, 0 broken promises, each repeats itself",
        ", ".join(f"{name}: caught by {caught[name]} of {tried}" for name in MUTANTS),
    )
    assert all(caught[name] for name in MUTANTS), caught
