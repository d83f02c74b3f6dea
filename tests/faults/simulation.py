"""A world for row 40: an event loop in shuffled order and virtual time, and a server of our own.

Everything that happens in it follows from the seed. The engine is the real one, from its batches
down to its connections; only the driver's connection is played, and each of its waits may be slow,
fail before or after the effect, or never end.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import asyncpg
from asyncpg.exceptions import (
    ConnectionDoesNotExistError,
    DeadlockDetectedError,
    InFailedSQLTransactionError,
    InvalidCachedStatementError,
    UniqueViolationError,
)
from sqlalchemy import Column, PrimaryKeyConstraint, Table, Text
from sqlalchemy.dialects.postgresql import asyncpg as dialect

from holdfast.engines.compiler import Compiler
from holdfast.engines.postgres.namespace import LOOK
from holdfast.errors import PersistenceConnectionError
from holdfast.storage.statements import insert, select_by, upsert
from holdfast.storage.tables import new_metadata

__all__ = ["COMPILER", "GET", "INSERT", "UPSERT", "SeededLoop", "Server"]

_TABLE = Table(
    "things",
    new_metadata(),
    Column("tenant", Text),
    Column("id", Text),
    Column("value", Text),
    PrimaryKeyConstraint("tenant", "id"),
    info={"key": ("id",)},
)
_PARAMETERS = ("tenant", "id", "value")
INSERT = insert("things.insert", _TABLE, _PARAMETERS)
UPSERT = upsert("things.upsert", _TABLE, _PARAMETERS)
GET = select_by("things.get", _TABLE, [_TABLE.c.value], ("id",))

#: Faults, and how often each is met where faults are met at all.
_FAULTS = {
    "slow": 6, "lost before": 2, "lost after": 2, "never ends": 1, "deadlock": 2, "new plan": 1,
}  # fmt: skip


class SeededLoop(asyncio.SelectorEventLoop):
    """Runs what is ready in an order the seed decides; time passes when nothing is ready.

    Whatever is ready may be overtaken by what becomes ready later, which real loops do not do:
    what holds here does not hang on the order in which tasks were started.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.chance = random.Random(seed)
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        inner: Any = self
        ready, held = list(inner._ready), []
        if ready:
            self.chance.shuffle(ready)
            held = [handle for handle in ready[1:] if self.chance.random() < 0.25]
            inner._ready.clear()
            inner._ready.extend(handle for handle in ready if handle not in held)
        else:
            due = [handle.when() for handle in inner._scheduled if not handle.cancelled()]
            if not due and not inner._stopping:
                raise RuntimeError("nothing can happen any more: somebody waits for ever")
            self._now = max(self._now, min(due, default=self._now))
        super()._run_once()  # type: ignore[misc]
        inner._ready.extend(held)


#: The answer to `LOOK`.
_PLACE = ("org", "UTF8", "ann", "ann", "public", "public", True, True)
#: One for all worlds: compiling takes longer than a world lasts.
COMPILER = Compiler(dialect.dialect())  # type: ignore[no-untyped-call]
assert INSERT.confirm is not None
_MEANING = {
    COMPILER(INSERT).sql: ("insert", False), COMPILER.many(INSERT): ("insert", True),
    COMPILER(UPSERT).sql: ("upsert", False), COMPILER.many(UPSERT): ("upsert", True),
    COMPILER(GET).sql: ("get", False), COMPILER.many(GET): ("get", True),
    COMPILER(INSERT.confirm).sql: ("confirm", False),
}  # fmt: skip


class Server:
    """Rows by key, and the connections to them. ``problems`` are what no client may do."""

    def __init__(self, chance: random.Random, faults: float) -> None:
        self.chance = chance
        self.faults = faults
        self.rows: dict[str, str] = {}
        self.connections: list[Connection] = []
        self.problems: list[str] = []
        #: What happened, for the proof that a seed repeats it.
        self.trace: list[tuple[float, int, str]] = []
        self.most = 0

    async def connect(self, *_: Any, **__: Any) -> Connection:
        """What the pool opens connections with."""
        await asyncio.sleep(self.chance.uniform(0, 0.01))
        if self.chance.random() < self.faults:
            raise PersistenceConnectionError("refused")
        connection = Connection(self, len(self.connections))
        self.connections.append(connection)
        self.most = max(self.most, sum(not one.closed for one in self.connections))
        return connection


class Prepared:
    def __init__(self, connection: Connection, sql: str) -> None:
        self._connection = connection
        self._sql = sql

    async def fetch(self, *values: Any) -> list[Any]:
        return await self._connection.statement(self._sql, values)

    def get_statusmsg(self) -> str:
        return "INSERT 0 1"

    def get_name(self) -> str:
        return "prepared"


class Connection:
    """As much of asyncpg's as the engine uses."""

    def __init__(self, server: Server, number: int) -> None:
        self._server = server
        self._number = number
        self.closed = False
        #: Rows of the open transaction on top of the server's, one layer for each savepoint.
        self.layers: list[dict[str, str]] = []
        self._aborted = False
        self._waiting: asyncio.Future[None] | None = None

    def is_closed(self) -> bool:
        return self.closed

    def terminate(self) -> None:
        self.closed = True
        self.layers = []
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionDoesNotExistError("ended in the middle"))

    async def close(self) -> None:
        await self._step("close", lambda: None)
        self.terminate()

    async def prepare(self, sql: str) -> Prepared:
        await self._step("prepare", lambda: None)
        return Prepared(self, sql)

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        return await self.statement(sql, values)

    async def statement(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        if sql not in _MEANING:  # a question about the server; the answer to all others is no
            row = _PLACE if sql == LOOK else (False,)
            answer: list[Any] = await self._step("ask", lambda: [row])
            return answer
        kind, many = _MEANING[sql]
        calls = list(zip(*values, strict=True)) if many else [values]

        def act() -> list[Any]:
            if self._aborted:
                raise InFailedSQLTransactionError("aborted")
            try:
                return self._do(kind, many, calls)
            except UniqueViolationError:
                self._aborted = bool(self.layers)
                raise

        found: list[Any] = await self._step(kind, act)
        return found

    async def execute(self, sql: str) -> str:
        tag: str = await self._step(sql, lambda: self._command(sql))
        return tag

    def _do(self, kind: str, many: bool, calls: list[tuple[Any, ...]]) -> list[Any]:
        view = {
            key: value
            for layer in (self._server.rows, *self.layers)
            for key, value in layer.items()
        }
        if kind == "get":
            rows = [(n, view[key]) for n, (_, key) in enumerate(calls, 1) if key in view]
            return [(value, n) if many else (value,) for n, value in rows]
        if kind == "confirm":
            return [("t", key, view[key]) for _, key, _ in calls if key in view]
        new = {key: value for _, key, value in calls}
        if kind == "insert" and (len(new) < len(calls) or new.keys() & view.keys()):
            error = UniqueViolationError("taken")
            error.constraint_name, error.table_name = "pk_things", "things"
            raise error
        (self.layers[-1] if self.layers else self._server.rows).update(new)
        return []

    def _command(self, sql: str) -> str:
        word = sql.split()[0] if sql else ""  # nothing at all asks whether the server is there
        if not word:
            return word
        if word == "BEGIN":
            if self.layers:
                self._server.problems.append("a connection came back inside a transaction")
            self.layers, self._aborted = [{}], False
        elif word == "COMMIT" or sql == "ROLLBACK":
            if self._aborted or word == "ROLLBACK":
                word, self.layers = "ROLLBACK", []
            for layer in self.layers:
                self._server.rows.update(layer)
            self.layers, self._aborted = [], False
        elif word == "SAVEPOINT" and not self._aborted:
            self.layers.append({})
        elif sql.startswith("ROLLBACK TO"):
            self.layers[-1].clear()
            self._aborted = False
        elif word == "RELEASE" and not self._aborted:
            self.layers[-2].update(self.layers.pop())
        else:
            raise InFailedSQLTransactionError("aborted")
        return word

    async def _step(self, what: str, act: Callable[[], Any]) -> Any:
        """One round trip: somewhere in its wait the effect takes place, if it does."""
        server, chance = self._server, self._server.chance
        server.trace.append((asyncio.get_running_loop().time(), self._number, what))
        if self.closed:
            raise asyncpg.InterfaceError("connection is closed")
        if self._waiting is not None:
            server.problems.append("two at once on one connection")
        fault = ""
        if chance.random() < server.faults:
            fault = chance.choices(list(_FAULTS), list(_FAULTS.values()))[0]
        if what == "close" and fault != "never ends":
            fault = ""
        try:
            await self._wait(chance.uniform(0, 3.0 if fault == "slow" else 0.01))
            if fault == "lost before":
                self.terminate()
                raise ConnectionDoesNotExistError("lost")
            if fault == "deadlock" and self._fails(what):
                raise DeadlockDetectedError("deadlock")
            if fault == "new plan" and self._fails(what):
                raise InvalidCachedStatementError("cached statement plan is invalid")
            if fault == "never ends" and chance.random() < 0.5:
                await self._wait(None)
            answer = act()
            if fault == "never ends":
                await self._wait(None)
            if fault == "lost after":
                self.terminate()
                raise ConnectionDoesNotExistError("lost")
            await self._wait(chance.uniform(0, 0.01))
            return answer
        finally:
            self._waiting = None

    def _fails(self, what: str) -> bool:
        """Whether this is a statement that can fail by itself; its transaction has failed then."""
        if what not in ("insert", "upsert", "get"):
            return False
        self._aborted = bool(self.layers)
        return True

    async def _wait(self, seconds: float | None) -> None:
        """For ever, if that is how long; ends at once when the connection does."""
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        timer = None
        if seconds is not None:
            timer = loop.call_later(seconds, _wake, self._waiting)
        try:
            await self._waiting
        finally:
            if timer is not None:
                timer.cancel()


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
