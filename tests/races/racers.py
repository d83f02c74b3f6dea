"""Processes that wait for the word and then all do the same to one database.

They are started once and run many races: a process takes longer to start than most races take.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from holdfast import PersistenceBackend, create_backend

from ..forked import forks

__all__ = ["PROCESSES", "Race", "Racer", "Racers", "winners"]

P = ParamSpec("P")
T = TypeVar("T")

PROCESSES = 8
_PATIENCE = 60.0


@dataclass(frozen=True)
class Racer:
    """One process of a race."""

    number: int
    backend: PersistenceBackend
    barrier: Barrier

    @property
    def name(self) -> str:
        return f"racer-{self.number}"

    async def meet(self) -> None:
        """Wait until all have come this far."""
        await asyncio.to_thread(self.barrier.wait, _PATIENCE)


class Racers:
    """The processes. Leaving the context ends them."""

    def __enter__(self) -> Self:
        context = forks()
        self._barrier = context.Barrier(PROCESSES)
        self._pipes: list[Connection[Any, Any]] = []
        self._processes = []
        for number in range(PROCESSES):
            here, there = context.Pipe()
            process = context.Process(
                target=_serve, args=(number, there, self._barrier), daemon=True
            )
            process.start()
            there.close()  # so that the end of the process is the end of the pipe
            self._pipes.append(here)
            self._processes.append(process)
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(_PATIENCE)

    async def run(self, order: tuple[Any, ...]) -> list[Any]:
        """What each process answers to the order, by number."""
        for pipe in self._pipes:
            pipe.send(order)
        answers = await asyncio.gather(*(asyncio.to_thread(pipe.recv) for pipe in self._pipes))
        if failures := [text for text, _ in answers if text is not None]:
            self._barrier.reset()
            raise AssertionError("\n".join(failures))
        return [answer for _, answer in answers]


@dataclass(frozen=True)
class Race:
    """Runs a function in each process, with a backend on the database of the test."""

    racers: Racers
    url: str

    async def __call__(
        self,
        run: Callable[Concatenate[Racer, P], Awaitable[T]],
        *arguments: P.args,
        **options: P.kwargs,
    ) -> list[T]:
        """What each process answers, by number. All that travels must pickle."""
        return await self.racers.run((self.url, run, arguments, options))


def winners(answers: Sequence[Sequence[bool]]) -> list[str]:
    """The one who won each round; not always the same, or they did not compete."""
    rounds = [[f"racer-{n}" for n, won in enumerate(r) if won] for r in zip(*answers, strict=True)]
    assert all(len(names) == 1 for names in rounds), rounds
    assert len({name for (name,) in rounds}) > 1
    return [name for (name,) in rounds]


def _serve(number: int, pipe: Connection[Any, Any], barrier: Barrier) -> None:
    while True:
        try:
            order = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((None, asyncio.run(_obey(number, barrier, *order))))
        except Exception:
            barrier.abort()  # else the others would wait for this one
            pipe.send((traceback.format_exc(), None))


async def _obey(
    number: int,
    barrier: Barrier,
    url: str,
    run: Callable[..., Awaitable[Any]],
    arguments: tuple[Any, ...],
    options: dict[str, Any],
) -> Any:
    backend = create_backend(url)
    await backend.connect()
    racer = Racer(number, backend, barrier)
    try:
        await racer.meet()
        return await run(racer, *arguments, **options)
    finally:
        await backend.disconnect()
