"""Group commit and read coalescing: what waits together travels together.

There are no timers and nobody waits for company: a batch is whatever queued while the batches in
flight were in flight. The batches run in tasks of the engine, never of a caller, so a caller that
is cancelled takes nothing down with it; its own request still completes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Any

from holdfast.engines.affinity import Affinity
from holdfast.engines.protocol import BatchStats
from holdfast.engines.waiting import FOR, waited
from holdfast.errors import OutcomeUnknownError, PersistenceConnectionError, PoolTimeoutError
from holdfast.storage.session import Statement

__all__ = ["Batcher", "Request", "answer"]

#: Groups that are remembered before those at rest are forgotten.
_MANY_GROUPS = 1_000


class Request:
    """One caller's statement on its way; answered exactly once, after its commit."""

    __slots__ = ("arguments", "future", "kind", "queued_at", "read", "statement")

    def __init__(
        self,
        statement: Statement,
        arguments: tuple[Any, ...],
        kind: Any,
        future: asyncio.Future[Any],
        queued_at: float,
        read: Callable[[Any], Any] | None = None,
    ) -> None:
        self.statement = statement
        self.arguments = arguments
        self.kind = kind
        self.future = future
        self.queued_at = queued_at
        self.read = read

    def succeed(self, value: Any) -> None:
        if not self.future.done():
            self.future.set_result(value)

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


def answer(batch: list[Request], outcomes: Sequence[tuple[Any, BaseException | None]]) -> None:
    """Give each request its value, or the error that it fails with."""
    for request, (value, error) in zip(batch, outcomes, strict=True):
        if error is not None:
            request.fail(error)
        elif not (future := request.future).done():  # `Request.succeed`, without the call
            future.set_result(value)


def _interrupted(error: BaseException) -> OutcomeUnknownError:
    unknown = OutcomeUnknownError("the event loop was stopped while the statement was in flight")
    unknown.__cause__ = error
    return unknown


class _Group:
    __slots__ = ("in_flight", "key", "latest", "queue")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.queue: deque[Request] = deque()
        self.in_flight = 0
        #: Size of the last batch.
        self.latest = 0


class Batcher:
    """Sends requests in batches, first come first served within a group.

    ``flush(batch)`` answers every request of the batch, or raises, which fails them all. Only
    requests of one group share a batch, at most ``largest``; ``lanes`` batches are in flight at
    the most, ``width`` of one group. ``distinct`` keeps requests of equal value out of one batch
    (and a ``width`` of 1 keeps them in order). A request that waits longer than ``patience``
    seconds to be sent fails with `PoolTimeoutError`; ``busy`` says why. What enters alone counts
    as a lane if ``lanes_alone``.
    """

    def __init__(
        self,
        flush: Callable[[list[Request]], Awaitable[None]],
        *,
        group: Callable[[Request], Hashable],
        lanes: int,
        width: int,
        largest: int,
        patience: float,
        busy: Callable[[], str],
        distinct: Callable[[Request], Hashable] | None = None,
        lanes_alone: bool = False,
    ) -> None:
        self.stats = BatchStats()
        self._flush = flush
        self._group = group
        self._lanes = lanes
        self._width = width
        self._largest = largest
        self._patience = patience
        self._busy = busy
        self._distinct = distinct
        self._lanes_alone = lanes_alone
        self._groups: dict[Hashable, _Group] = {}
        self._ready: deque[_Group] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = 0
        self._affinity = Affinity()
        self._loop = self._affinity.loop
        self._alarm: asyncio.TimerHandle | None = None
        self._closed = False

    def submit(
        self,
        statement: Statement,
        arguments: tuple[Any, ...],
        kind: Any = None,
        read: Callable[[Any], Any] | None = None,
    ) -> asyncio.Future[Any]:
        """Queue a request; the future is its answer. Cancelling it only ends the wait.

        ``read`` is for whoever flushes: what the answer is to be made of the value.
        """
        self._affinity.check()
        if self._closed:
            raise PersistenceConnectionError("the backend is disconnecting", is_retryable=False)
        loop = self._loop
        future = loop.create_future()
        request = Request(statement, arguments, kind, future, loop.time(), read)
        key = self._group(request)
        group = self._groups.get(key) or self._new_group(key)
        queue = group.queue
        queue.append(request)
        if len(queue) == 1 and group.in_flight < self._width:
            self._ready.append(group)
        started = self._running < self._lanes and self._ready and self._start_lane()
        if not started and self._alarm is None:
            self._alarm = loop.call_later(self._patience, self._give_up)
        return future

    def withdraw(self, answer: asyncio.Future[Any]) -> bool:
        """Cancel a request; False if it was sent already."""
        waiting = (request.future for group in self._groups.values() for request in group.queue)
        return any(future is answer for future in waiting) and answer.cancel()

    def enter_alone(self, key: Hashable) -> bool:
        """Whether the group is at rest and its last batch carried one request at the most.

        If so it counts as one batch in flight until `leave`, and who comes meanwhile queues as
        ever.
        """
        self._affinity.check()
        if self._closed:
            raise PersistenceConnectionError("the backend is disconnecting", is_retryable=False)
        group = self._groups.get(key) or self._new_group(key)
        if group.queue or group.in_flight or group.latest > 1:
            return False
        if self._lanes_alone:
            if self._running >= self._lanes:
                return False
            self._running += 1
        group.in_flight += 1
        self.stats.count(1)
        return True

    def leave(self, key: Hashable) -> None:
        """The end of what `enter_alone` began."""
        group = self._groups[key]
        group.in_flight -= 1
        self._running -= self._lanes_alone
        if group.queue and group not in self._ready:
            self._ready.append(group)
        self._start_lane()

    async def close(self) -> None:
        """Refuse what comes, finish what was accepted."""
        self._closed = True
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._alarm is not None:
            self._alarm.cancel()

    @property
    def tasks(self) -> Iterable[asyncio.Task[None]]:
        """The lanes that run."""
        return self._tasks

    @property
    def waiting(self) -> int:
        return sum(len(group.queue) for group in self._groups.values())

    def _new_group(self, key: Hashable) -> _Group:
        if len(self._groups) >= _MANY_GROUPS:  # there may be one for each tenant
            busy = {k: g for k, g in self._groups.items() if g.queue or g.in_flight}
            self._groups = busy
        group = self._groups[key] = _Group(key)
        return group

    def _start_lane(self) -> bool:
        if self._running >= self._lanes or not self._ready:
            return False
        # The task starts in the loop's next round: all who submit in this one share its batch.
        self._running += 1
        task = self._loop.create_task(self._lane())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _lane(self) -> None:
        try:
            while self._ready:
                await self._send_next(self._ready.popleft())
        finally:
            # In the same step as the last look at `_ready`: who submits next starts a new lane.
            self._running -= 1

    async def _send_next(self, group: _Group) -> None:
        batch = self._take(group) if group.in_flight < self._width else []
        if not batch:
            return
        group.in_flight += 1
        if group.queue and group.in_flight < self._width:
            self._ready.append(group)
        group.latest = len(batch)
        self.stats.count(len(batch))
        # Else it is the call whose context the lane began in, and nothing had to wait.
        if self._alarm is not None or FOR.get() is not batch[0].arguments or len(batch) > 1:
            self._count_waits(batch)
        try:
            await self._flush(batch)
        except BaseException as error:
            for request in batch:
                request.fail(error if isinstance(error, Exception) else _interrupted(error))
            if not isinstance(error, Exception):
                raise
        finally:
            group.in_flight -= 1
            if group.queue and group not in self._ready:
                self._ready.append(group)

    def _count_waits(self, batch: list[Request]) -> None:
        """From here on the lane works for these calls."""
        FOR.set([request.arguments for request in batch])
        # They are in the order in which they came, and the first tells about how long all waited.
        waited(self._loop.time() - batch[0].queued_at)

    def _take(self, group: _Group) -> list[Request]:
        batch: list[Request] = []
        queue, largest, distinct = group.queue, self._largest, self._distinct
        seen: set[Hashable] = set()
        while queue and len(batch) < largest:
            request = queue.popleft()
            if request.future.done():  # cancelled before it was sent, or out of patience
                continue
            if distinct is not None:
                value = distinct(request)
                if value in seen:
                    queue.appendleft(request)
                    break
                seen.add(value)
            batch.append(request)
        return batch

    def _give_up(self) -> None:
        """Fail what has waited too long, and look again when the next would have."""
        self._alarm = None
        now = self._loop.time()
        oldest: float | None = None
        for group in self._groups.values():
            queue = group.queue
            while queue and (queue[0].future.done() or queue[0].queued_at + self._patience <= now):
                request = queue.popleft()
                request.fail(
                    PoolTimeoutError(
                        f"{request.statement.name} waited {now - request.queued_at:.1f} s "
                        f"to be sent: {self._busy()}"
                    )
                )
            if queue and (oldest is None or queue[0].queued_at < oldest):
                oldest = queue[0].queued_at
        if oldest is not None:
            # The very sum that is compared: a difference may round to a moment too early, for ever.
            self._alarm = self._loop.call_at(oldest + self._patience, self._give_up)
