"""One statement on one connection: prepared once, bounded by its deadline, errors translated."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from asyncpg.exceptions import InvalidCachedStatementError
from sqlalchemy import Table
from sqlalchemy.dialects.postgresql import asyncpg as dialect

from holdfast.config import PostgresConfig
from holdfast.engines.compiler import CompiledStatement, Compiler
from holdfast.engines.postgres.connection import PooledConnection
from holdfast.engines.postgres.errors import (
    has_moved,
    is_lost,
    is_refusal,
    is_undecodable,
    translate,
)
from holdfast.engines.postgres.row_level_security import name_tenant
from holdfast.engines.protocol import RetryStats
from holdfast.engines.transactions import Kind
from holdfast.errors import (
    OutcomeUnknownError,
    PersistenceError,
    QueryError,
    QueryTimeoutError,
)
from holdfast.storage.session import Row, Statement

__all__ = ["Executor", "readable"]

#: What the server's own deadline gets on top, as a share of it, before we end the connection.
GRACE = 0.1

_READS = frozenset({Kind.GET, Kind.FETCH})


@lru_cache(maxsize=64)
def _compiler(schema: str | None, naming: bool) -> Compiler:
    """What compiles for every engine of the process that has its tables in this schema."""

    def schema_of(item: Any) -> str | None:
        # Not of an alias, such as the row that an upsert calls excluded.
        return schema if isinstance(item, Table) else item.schema

    spoken: Any = dialect.dialect()  # type: ignore[no-untyped-call]
    spoken.default_schema_name = schema
    spoken.identifier_preparer.schema_for_object = schema_of
    return Compiler(spoken, name_tenant if naming else None)


class Executor:
    """Runs statements and commands on connections that the caller holds."""

    def __init__(self, config: PostgresConfig) -> None:
        #: Whether statements name their tenant to the server, for its policies.
        self.naming = False
        self._schema: str | None = None
        self.compile = _compiler(self._schema, self.naming)
        self.commits = 0
        self.retries = RetryStats()
        seconds = config.statement_timeout_ms / 1000
        self._limit = seconds * (1 + GRACE) if seconds else None
        self._loop = asyncio.get_running_loop()

    def qualify(self, schema: str) -> None:
        """Name this schema in every statement."""
        self._schema = schema
        self.compile = _compiler(self._schema, self.naming)

    def name_tenants(self, naming: bool) -> None:
        """Compile anew if this changes; no connection may go on with what it has prepared."""
        if naming != self.naming:
            self.naming = naming
            self.compile = _compiler(self._schema, self.naming)

    async def run(
        self,
        connection: PooledConnection,
        kind: Kind,
        statement: Statement,
        arguments: tuple[Any, ...],
        *,
        many: bool = False,
        in_transaction: bool = False,
    ) -> Any:
        """Run a statement; ``many`` is its form over arrays, with arrays that are already bound.

        A read that the driver cannot decode is read again, as far as it is one caller's.
        """
        compiled = self.compile(statement)
        if many:
            sql, values = self.compile.many(statement), arguments
        else:
            sql, values = compiled.sql, compiled.bind(arguments)
        timer = self._deadline(connection)
        try:
            prepared = connection.prepared(sql) or await connection.prepare(sql)
            try:
                rows = await prepared.fetch(*values)
            except InvalidCachedStatementError:
                # The schema changed since it was prepared. Inside a transaction the server has
                # given the whole transaction up.
                connection.forget_statements()
                if in_transaction:
                    raise
                prepared = await connection.prepare(sql)
                rows = await prepared.fetch(*values)
        except asyncio.CancelledError:
            # Only a read on behalf of a single caller can be cancelled. What it left on the
            # connection is not worth waiting for.
            connection.raw.terminate()
            raise
        except Exception as error:
            if is_undecodable(error) and kind in _READS and not many:
                return await self._run_as_text(connection, kind, statement, arguments)
            known = in_transaction or kind in _READS
            raise self._problem(connection, statement, error, known) from error
        finally:
            _stop(timer)
        if kind is Kind.WRITE:
            return None
        if kind is Kind.EXECUTE:
            return int((prepared.get_statusmsg() or "0").rsplit(" ", 1)[-1])
        if kind is Kind.GET and not many:
            return rows[0] if rows else None
        return rows

    async def _run_as_text(
        self,
        connection: PooledConnection,
        kind: Kind,
        statement: Statement,
        arguments: tuple[Any, ...],
    ) -> Any:
        compiled = self.compile(self.compile.as_text(statement))
        found = await self.query(connection, compiled.sql, compiled.bind(arguments), statement)
        rows = readable(compiled, found)
        if kind is Kind.GET:
            return rows[0] if rows else None
        return rows

    async def query(
        self,
        connection: PooledConnection,
        sql: str,
        values: tuple[Any, ...] = (),
        statement: Statement | None = None,
    ) -> Sequence[Row]:
        """Run SQL that is not a named statement and changes nothing."""
        timer = self._deadline(connection)
        try:
            rows: Sequence[Row] = await connection.raw.fetch(sql, *values)
        except Exception as error:
            raise self._problem(connection, statement, error, True) from error
        finally:
            _stop(timer)
        return rows

    async def command(self, connection: PooledConnection, sql: str) -> None:
        """BEGIN, SAVEPOINT, COMMIT, ...; a COMMIT counts only if the server says so."""
        timer = self._deadline(connection)
        # What is not sent, because the connection had ended before, does nothing.
        known = sql != "COMMIT" or connection.raw.is_closed()
        try:
            tag = await connection.raw.execute(sql)
        except Exception as error:
            raise self._problem(connection, None, error, known) from error
        finally:
            _stop(timer)
        if sql == "COMMIT":
            # The server answers ROLLBACK to COMMIT when a statement had failed, and the driver
            # calls that success.
            if tag != "COMMIT":
                raise QueryError(f"the server answered {tag} to COMMIT: nothing was committed")
            self.commits += 1

    def _deadline(self, connection: PooledConnection) -> asyncio.TimerHandle | None:
        return self._loop.call_later(self._limit, connection.expire) if self._limit else None

    def _problem(
        self,
        connection: PooledConnection,
        statement: Statement | None,
        error: Exception,
        outcome_known: bool,
    ) -> PersistenceError:
        if not is_lost(error):
            connection.doubt_statements()
            return translate(error, statement)
        connection.raw.terminate()
        connection.moved = has_moved(error)
        name = statement.name if statement is not None else "transaction"
        if not outcome_known and not is_refusal(error):
            return OutcomeUnknownError(
                f"{name}: the connection was lost while the write was in flight; "
                "look the record up before writing it again"
            )
        if connection.expired:
            return QueryTimeoutError(
                f"{name}: the server did not answer within {self._limit or 0:.3g} s"
            )
        return translate(error, statement)


def readable(compiled: CompiledStatement, rows: Sequence[Row]) -> Sequence[Row]:
    """What `Compiler.as_text` made text of is time again, where Python can tell it."""
    return rows if compiled.read is None else [compiled.read(row) for row in rows]


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
