"""What a repository speaks to: statements, and the sessions they run on, whatever the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, overload

from sqlalchemy import Table

__all__ = [
    "CHUNK",
    "GiveBack",
    "Isolation",
    "Log",
    "Row",
    "Session",
    "Statement",
    "TransactionScope",
]

T = TypeVar("T")

#: Column values in the order of the statement's columns.
Row = Sequence[Any]


#: Rows a stream hands over at a time.
CHUNK = 1_000


@dataclass(frozen=True, eq=False, slots=True)
class Statement:
    """A named statement, written once for every engine.

    ``parameters`` is the order in which its arguments are passed. ``confirm``, on an insert that
    must not overwrite, reads back what the insert writes: after a lost connection it tells an
    insert that had been committed from a duplicate. ``replica``: outside of transactions a replica
    may answer this read, which then includes what this process wrote, but not always what others
    did. Never for a read that decides about a write.
    """

    name: str
    expression: Any = field(repr=False)
    parameters: tuple[str, ...]
    table: Table = field(repr=False)
    confirm: Statement | None = field(default=None, repr=False)
    replica: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Log:
    """A table of rows that are numbered, per tenant, as they are written.

    ``newest(tenant)`` answers the largest number or ``None``; ``piece(tenant, names, after, upto)``
    at most ``CHUNK`` rows in order, the number first. ``channel`` is notified of new rows, where
    the database can do that.
    """

    newest: Statement
    piece: Statement
    channel: str


class Session(Protocol):
    """Where statements run: on the engine, each on its own; or on one transaction's connection.

    Arguments are checked and encoded by the repositories. Every method raises Holdfast errors
    only.
    """

    async def get(self, statement: Statement, arguments: tuple[Any, ...]) -> Row | None:
        """The only row of a point read, ``None`` if there is none."""

    async def fetch(
        self, statement: Statement, arguments: tuple[Any, ...], *, at_most: int
    ) -> Sequence[Row]:
        """All rows of a read, at once; no more than ``at_most``, which the statement sees to."""

    def stream(
        self, statement: Statement, arguments: tuple[Any, ...]
    ) -> AsyncIterator[Sequence[Row]]:
        """All rows of a read from one snapshot, in pieces of at most ``CHUNK``."""

    async def write(self, statement: Statement, arguments: tuple[Any, ...]) -> None:
        """One insert or upsert, durable on return. May share a commit with others."""

    async def execute(self, statement: Statement, arguments: tuple[Any, ...]) -> int:
        """Any write, durable on return; answers the number of rows it touched."""

    @overload
    async def returning(
        self, statement: Statement, arguments: tuple[Any, ...]
    ) -> Sequence[Row]: ...
    @overload
    async def returning(
        self,
        statement: Statement,
        arguments: tuple[Any, ...],
        read: Callable[[Sequence[Row]], T],
        give_back: GiveBack | None = None,
    ) -> T:
        """Any write with ``RETURNING``, durable on return; answers what ``read`` makes of the rows.

        ``read`` runs before the commit, maybe on another thread: if it raises or answers an error,
        nothing was written.
        ``give_back`` undoes the write in a transaction of its own, given the rows, before the
        engine closes. It is for a caller that is cancelled when the write can no longer be stopped.
        With it an engine may also commit first, and undo what cannot be read, where a commit of its
        own costs much. (Inside a transaction all of this ends with that.)
        """

    async def atomically(self, work: Callable[[TransactionScope], Awaitable[T]]) -> T:
        """``work``'s value, from a transaction of its own; durable on return.

        Run again, from the start, when the transaction lost against another one: a few times, and
        no later than the pool's deadline. Inside a transaction it is a savepoint and run once:
        what lost there is the whole.
        """

    def transaction(self) -> AbstractAsyncContextManager[TransactionScope]:
        """One connection for everything inside; committed on leaving, rolled back on an exception.

        Inside a transaction it is a savepoint. After a statement failed, the (sub)transaction it
        failed in can only be left.
        """


class TransactionScope(Session, Protocol):
    """A session inside a transaction."""

    def abandon(self) -> None:
        """Roll back on leaving, without an error."""


#: Undoes, inside a transaction, the write that answered these rows.
GiveBack: TypeAlias = Callable[[TransactionScope, Sequence[Row]], Awaitable[None]]


#: What transactions that run at the same time may see of each other, as the SQL standard names it.
Isolation: TypeAlias = Literal["read committed", "repeatable read", "serializable"]
