"""Plays the same script on both engines and compares."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any

from holdfast import PersistenceBackend

from .contents import contents
from .steps import Offer, Step, Transaction, Wait
from .views import View, elsewhere
from .world import World

__all__ = ["Pair"]


class Pair:
    """Both engines on one loop; each example is a tenant of its own."""

    def __init__(
        self, runner: asyncio.Runner, backends: Sequence[PersistenceBackend], world: World
    ) -> None:
        self._executor = runner
        self._backends = backends
        self._world = world
        self._tenants = count()
        #: What was called, and not refused each time.
        self.answered: set[tuple[str, str]] = set()

    def play(self, script: Sequence[Step], offers: Sequence[Offer]) -> None:
        self._executor.run(self._play(script, offers))

    async def _play(self, script: Sequence[Step], offers: Sequence[Offer]) -> None:
        tenant, world = f"t{next(self._tenants)}", self._world
        views = [View(backend.for_tenant(tenant), self.answered) for backend in self._backends]
        world.begin()
        for step in script:
            world.wait(step.seconds if isinstance(step, Wait) else 1)
            answers = []
            for engine, view in enumerate(views):
                world.turn(engine)
                answers.append(list(await view.take(step)))
            same(answers[0], answers[1], step)
        tenants = [tenant]
        if any(isinstance(step, Transaction) and step.elsewhere for step in script):
            tenants.append(elsewhere(tenant))
        for one in tenants:
            found = []
            for engine, backend in enumerate(self._backends):
                world.turn(engine)
                view = View(backend.for_tenant(one), set())
                found.append(await contents(view, offers, world.times))
            same(found[0], found[1], "contents")


def same(one: Any, other: Any, place: object) -> None:
    """Equal, and of the same types: 1 is neither ``True`` nor 1.0, and an instant is in UTC."""
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for first, second in zip(one, other, strict=True):  # to show no more than what differs
            same(first, second, place)
        return
    assert one == other, place
    assert repr(one) == repr(other), place
