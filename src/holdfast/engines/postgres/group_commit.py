"""Group commit and read coalescing on PostgreSQL.

A batch is one statement over arrays: one round trip, atomic and committed by itself. What fails
is halved until the caller at fault is alone; what is lost is written again, where that is safe.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Hashable, Sequence
from operator import itemgetter
from typing import Any, TypeVar

from holdfast.config import PostgresConfig
from holdfast.engines.batching import Batcher, Request
from holdfast.engines.compiler import tenant_of
from holdfast.engines.postgres.connection import PooledConnection
from holdfast.engines.postgres.errors import is_undecodable
from holdfast.engines.postgres.executor import Executor
from holdfast.engines.postgres.pool import Pool
from holdfast.engines.postgres.replication.recent_writes import RecentWrites
from holdfast.engines.retry import repeat
from holdfast.engines.transactions import Kind
from holdfast.errors import (
    ConstraintViolationError,
    DuplicateRecordError,
    InvalidArgumentError,
    OutcomeUnknownError,
    PersistenceConnectionError,
    PersistenceError,
    QueryError,
)
from holdfast.storage.session import Row, Statement

__all__ = ["GroupCommit"]

T = TypeVar("T")

#: Calls in one batch; more gains little and makes every caller in it wait.
LARGEST_BATCH = 256
#: A read that may answer more rows than this travels alone.
SHORT_LIST = 50
#: Batches in flight at once: of all statements, and of one.
LANES = 4
READ_WIDTH = 2
#: Errors that one row can cause; all others are no row's fault and fail the whole batch.
_OF_A_ROW = (ConstraintViolationError, DuplicateRecordError, InvalidArgumentError)


class GroupCommit:
    """Reads and writes outside of transactions, over the pool."""

    def __init__(
        self, config: PostgresConfig, pool: Pool, executor: Executor, acknowledged: RecentWrites
    ) -> None:
        self._pool = pool
        self._executor = executor
        self._acknowledged = acknowledged
        self._keys: dict[Statement, Callable[[tuple[Any, ...]], Hashable]] = {}
        self._loop = asyncio.get_running_loop()
        self._patience = patience = config.pool_timeout_seconds
        # One batch of a statement at a time keeps two saves of one key in order.
        self.writes = Batcher(
            self._flush_writes, group=self._group, lanes=LANES, width=1, largest=LARGEST_BATCH,
            patience=patience, busy=pool.describe_busy, distinct=self._key,
        )  # fmt: skip
        self.reads = Batcher(
            self._flush_reads, group=self._group, lanes=LANES, width=READ_WIDTH,
            largest=LARGEST_BATCH, patience=patience, busy=pool.describe_busy,
        )  # fmt: skip

    async def close(self) -> None:
        await self.writes.close()
        await self.reads.close()

    async def read(
        self, statement: Statement, arguments: tuple[Any, ...], *, at_most: int
    ) -> Sequence[Row]:
        """The rows of a read. Reads that wait together and are short become one statement.

        Who reads alone reads in his own task: there is nobody to share with, and handing over to
        a task of the engine and back costs a third of the time.
        """
        if at_most > SHORT_LIST:
            return await self.repeat_read(statement, arguments)
        group = self._group_of(statement, arguments)
        if self.reads.enter_alone(group):
            try:
                return await self.repeat_read(statement, arguments)
            finally:
                self.reads.leave(group)
        rows: Sequence[Row] = await self.reads.submit(statement, arguments)
        return rows

    async def repeat_read(
        self, statement: Statement, arguments: tuple[Any, ...], *, many: bool = False
    ) -> Sequence[Row]:
        """Read, on another connection if the first was lost: reading twice harms nobody."""
        deadline = self._loop.time() + self._patience
        while True:
            # The pool waits for a server that is away, so what it says is final.
            connection = await self._pool.acquire(deadline)
            try:
                rows: Sequence[Row] = await self._executor.run(
                    connection, Kind.FETCH, statement, arguments, many=many
                )
            except PersistenceConnectionError:
                if self._pool.closed or self._loop.time() >= deadline:
                    raise
            else:
                return rows
            finally:
                self._pool.release(connection)
            self._executor.retries.connection_lost += 1
            await _pause()

    async def repeat_write(
        self,
        kind: Kind,
        statement: Statement,
        arguments: tuple[Any, ...],
        *,
        many: bool = False,
        deadline: float | None = None,
        read: Callable[[Sequence[Row]], Any] | None = None,
    ) -> Any:
        """Write, and again after a deadlock: the server rolled back, so nothing is doubled.

        With ``read``, what it makes of the rows before they are committed.
        """
        by = self._loop.time() + self._patience if deadline is None else deadline

        async def write() -> Any:
            connection = await self._pool.acquire(by)
            try:
                if read is not None:
                    return await self._read_before_commit(connection, statement, arguments, read)
                return await self._executor.run(connection, kind, statement, arguments, many=many)
            finally:
                self._pool.release(connection)

        return await repeat(write, by, self._executor.retries)

    async def _read_before_commit(
        self,
        connection: PooledConnection,
        statement: Statement,
        arguments: tuple[Any, ...],
        read: Callable[[Sequence[Row]], T],
    ) -> T:
        await self._executor.command(connection, "BEGIN")
        try:
            value = read(
                await self._executor.run(
                    connection, Kind.RETURNING, statement, arguments, in_transaction=True
                )
            )
        except Exception:
            if not connection.raw.is_closed():
                await self._executor.command(connection, "ROLLBACK")
            raise
        await self._executor.command(connection, "COMMIT")
        return value

    async def _flush_reads(self, batch: list[Request]) -> None:
        statement = batch[0].statement
        alone = len(batch) == 1
        arguments = batch[0].arguments if alone else self._arrays(batch)
        try:
            found = await self.repeat_read(statement, arguments, many=not alone)
        except QueryError as error:
            if alone:
                batch[0].fail(error)
            elif isinstance(error, InvalidArgumentError) or is_undecodable(error):
                # Of one caller's argument or row. Halving finds whose, and answers the others.
                half = len(batch) // 2
                await self._flush_reads(batch[:half])
                await self._flush_reads(batch[half:])
            else:
                raise
            return
        if alone:
            batch[0].succeed(found)
            return
        # The last column of a row says which call it answers. The rows of one call come in the
        # statement's order: each call is one run of it, inside a nested loop over the calls.
        answers: list[list[Row]] = [[] for _ in batch]
        for row in found:
            answers[row[-1] - 1].append(row)
        for request, rows in zip(batch, answers, strict=True):
            request.succeed(rows)

    async def _flush_writes(self, batch: list[Request]) -> None:
        # In key order: batches of several processes that touch the same rows then cannot deadlock.
        batch.sort(key=self._key)
        await self._write(batch)

    async def _write(
        self, batch: list[Request], *, doubt: OutcomeUnknownError | None = None
    ) -> None:
        """Write a batch and answer its callers; ``doubt``: it may have been written already.

        In doubt an upsert may be repeated. An insert that meets its key asks what is stored: equal
        to what it wanted to write, it was its own first attempt.
        """
        statement = batch[0].statement
        alone = len(batch) == 1
        arguments = batch[0].arguments if alone else self._arrays(batch)
        deadline = batch[0].queued_at + self._patience
        try:
            await self.repeat_write(
                Kind.WRITE, statement, arguments, many=not alone, deadline=deadline
            )
        except OutcomeUnknownError as error:
            if self._loop.time() >= deadline:
                _fail(batch, error)
            else:
                self._executor.retries.outcome_unknown += 1
                await _pause()
                await self._write(batch, doubt=error)
        except _OF_A_ROW as error:
            if not alone:
                # Somebody's row was refused. Halving finds whose, and commits the others.
                half = len(batch) // 2
                await self._write(batch[:half], doubt=doubt)
                await self._write(batch[half:], doubt=doubt)
            elif doubt and isinstance(error, DuplicateRecordError):
                await self._confirm(batch[0], error)
            else:
                _fail(batch, error)
        except PersistenceError as error:
            _fail(batch, doubt or error)
        else:
            self._executor.commits += 1
            self._acknowledged.add(statement, [request.arguments for request in batch])
            for request in batch:
                request.succeed(None)

    async def _confirm(self, request: Request, duplicate: DuplicateRecordError) -> None:
        confirm = request.statement.confirm
        if confirm is None:
            request.fail(duplicate)
            return
        try:
            rows = await self.repeat_read(confirm, request.arguments)
        except PersistenceError as error:
            request.fail(OutcomeUnknownError(f"{request.statement.name}: {error}"))
            return
        if rows and tuple(rows[0]) == tuple(request.arguments):
            self._executor.commits += 1
            self._acknowledged.add(request.statement, (request.arguments,))
            request.succeed(None)
        else:
            request.fail(duplicate)

    def _arrays(self, batch: list[Request]) -> tuple[Any, ...]:
        """The calls' arguments, one array per parameter."""
        return tuple(zip(*(request.arguments for request in batch), strict=True))

    def _group(self, request: Request) -> Hashable:
        return self._group_of(request.statement, request.arguments)

    def _group_of(self, statement: Statement, arguments: tuple[Any, ...]) -> Hashable:
        """What may share a batch: calls of a statement and, if that names its tenant to the
        server, of one tenant."""
        if not self._executor.naming or (place := tenant_of(statement)) is None:
            return statement
        return statement, arguments[place]

    def _key(self, request: Request) -> Any:
        statement = request.statement
        pick = self._keys.get(statement)
        if pick is None:
            names = [column.name for column in statement.table.primary_key]
            pick = self._keys[statement] = itemgetter(*map(statement.parameters.index, names))
        return pick(request.arguments)


async def _pause() -> None:
    """Before trying again: a server that answers and hangs up must not be asked in a loop."""
    await asyncio.sleep(random.uniform(0.005, 0.05))  # noqa: S311


def _fail(batch: list[Request], error: PersistenceError) -> None:
    for request in batch:
        request.fail(error)
