"""Writes whose answer takes something: what nobody gets is given back."""

from __future__ import annotations

import asyncio
import logging
import random
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from typing import Any, TypeVar

from holdfast.engines.drain import Drain
from holdfast.engines.retry import ATTEMPTS
from holdfast.engines.transactions import own
from holdfast.errors import OutcomeUnknownError, PersistenceConnectionError, PersistenceError
from holdfast.storage.session import GiveBack, Row, Statement, TransactionScope

__all__ = ["Handing", "Taking"]

logger = logging.getLogger("holdfast")

T = TypeVar("T")

Read = Callable[[Sequence[Row]], Any]
Atomically = Callable[[Callable[[TransactionScope], Awaitable[None]]], Awaitable[None]]


def _as_it_is(rows: Sequence[Row]) -> Sequence[Row]:
    return rows


#: How long a cancelled caller waits until its write is undone; usually it is by then.
_SECONDS = 0.5
_FIRST_PAUSE = 0.04


class Taking:
    """One write with ``RETURNING``, from its rows to its caller; see `Session.returning`."""

    def __init__(self, read: Read, give_back: GiveBack | None, atomically: Atomically) -> None:
        #: `read`; ``None`` where the rows are all that is wanted.
        self.reader = None if read is _as_it_is else self.read
        self._read = read
        self.give_back = give_back
        self.withdraw: Callable[[asyncio.Future[Any]], bool] = lambda answer: False
        self._atomically = atomically
        self._context = copy_context()
        self._rows: Sequence[Row] = ()

    def read(self, rows: Sequence[Row]) -> Any:
        """What is made of the rows, on whichever thread, in the context of the caller."""
        self._rows = rows
        return self._context.run(self._read, rows)

    async def read_or_undo(self, write: Awaitable[Sequence[Row]]) -> Any:
        """What is made of the rows of a write that is committed as soon as it answers.

        It takes one round trip, where a transaction takes three.
        """
        rows = await write
        try:
            value = self.read(rows)
        except Exception:
            await self._undo()
            raise
        if isinstance(value, PersistenceError):
            await self._undo()
        return value

    async def hand_over(self, answer: asyncio.Future[T], owned: set[asyncio.Task[Any]]) -> T:
        """The answer; if the caller is cancelled, a task in ``owned`` undoes the write.

        Not if `withdraw` kept it from being sent.
        """
        if self.give_back is None:
            return await answer
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            if not answer.cancelled() and not self.withdraw(answer):
                await asyncio.wait([own(self._undo_when(answer), owned)], timeout=_SECONDS)
            raise

    async def _undo_when(self, answer: asyncio.Future[T]) -> None:
        try:
            value = await answer
        except PersistenceError:
            return  # nothing was taken; or nobody knows what
        if not isinstance(value, PersistenceError):
            await self._undo()

    async def _undo(self) -> None:
        """Also over a lost connection: to do it twice harms nobody."""
        give_back = self.give_back
        if give_back is None or not self._rows:
            return
        for attempt in range(ATTEMPTS):
            try:
                await self._atomically(lambda session: give_back(session, self._rows))
            except (PersistenceConnectionError, OutcomeUnknownError) as error:
                problem: PersistenceError = error
                await asyncio.sleep(random.uniform(0, _FIRST_PAUSE * 2**attempt))  # noqa: S311
            except PersistenceError as error:
                problem = error
                break
            else:
                return
        logger.warning("what nobody got could not be given back: %s", problem)


class Handing:
    """What both engines do alike with a write that answers rows."""

    _drain: Drain
    _owned: set[asyncio.Task[Any]]

    async def returning(
        self,
        statement: Statement,
        arguments: tuple[Any, ...],
        read: Read = _as_it_is,
        give_back: GiveBack | None = None,
    ) -> Any:
        with self._drain:
            taking = Taking(read, give_back, self._atomically)
            answer = self._take(statement, arguments, taking)
            return await taking.hand_over(answer, self._owned)

    @abstractmethod
    def _take(
        self, statement: Statement, arguments: tuple[Any, ...], taking: Taking
    ) -> asyncio.Future[Any]:
        """Send the write; the future is what ``taking`` reads."""

    @abstractmethod
    async def _atomically(self, work: Callable[[TransactionScope], Awaitable[T]]) -> T:
        """As `Session.atomically`, also for what is under way when the engine closes."""
