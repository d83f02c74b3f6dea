"""A backend or a transaction as the steps of a script see it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from inspect import isawaitable
from typing import Any, NamedTuple

from pydantic import ValidationError

from holdfast import LockoutConfig, PersistenceError, VersioningService

from .steps import Call, Step, Together, Transaction

__all__ = ["MADE", "Refused", "View", "elsewhere"]

STRICT = LockoutConfig(max_attempts=2, window_seconds=5.0, lockout_seconds=8.0)
#: What has no property of its own.
MADE: dict[str, Callable[[Any], Any]] = {
    "strict_lockouts": lambda owner: owner.build_lockouts(STRICT),
    "company_versioning": lambda owner: VersioningService(owner.company_versions),
    "role_versioning": lambda owner: VersioningService(owner.role_versions),
}
#: Rules that one save can break at the same time; engines look at them in orders of their own.
TWINS = {
    "users.username": "users.unique", "users.single_ceo": "users.unique",
    "users.ceo_minimum": "users.minimum", "users.owner_minimum": "users.minimum",
}  # fmt: skip


class _StopError(Exception):
    pass


class Refused(NamedTuple):
    """An error, as far as it must be the same."""

    kind: type[Exception]
    about: Any

    @classmethod
    def by(cls, error: Exception) -> Refused:
        if isinstance(error, ValidationError):
            return cls(type(error), [(item["loc"], item["type"]) for item in error.errors()])
        constraint = getattr(error, "constraint", None)
        return cls(type(error), TWINS.get(str(constraint), constraint))


class View:
    """A backend or a transaction, whose repositories are reached by name."""

    def __init__(self, owner: Any, answered: set[tuple[str, str]]) -> None:
        self.owner = owner
        self._answered = answered
        self._made: dict[str, Any] = {}

    def repository(self, name: str) -> Any:
        if name not in MADE:
            return getattr(self.owner, name)
        if name not in self._made:
            self._made[name] = MADE[name](self.owner)
        return self._made[name]

    async def make(self, one: Call) -> Any:
        try:
            member = getattr(self.repository(one.repository), one.method)
            answer = member(*one.arguments, **one.options) if callable(member) else member
            answer = await answer if isawaitable(answer) else answer
        except (PersistenceError, ValidationError) as error:
            return Refused.by(error)
        self._answered.add((one.repository, one.method))
        return answer

    async def take(self, step: Step) -> list[Any]:
        """The answers, in the order of the calls."""
        if isinstance(step, Call):
            return [await self.make(step)]
        if isinstance(step, Together):
            return await asyncio.gather(*(self.make(one) for one in step.calls))
        return await self._transact(step) if isinstance(step, Transaction) else []

    async def _transact(self, step: Transaction) -> list[Any]:
        answers: list[Any] = []
        try:
            async with self.owner.transaction() as tx:
                here = tx.for_tenant(elsewhere(self.owner.tenant)) if step.elsewhere else tx
                view = View(here, self._answered)
                answers += [await view.make(one) for one in step.calls]
                try:
                    async with here.transaction() as savepoint:
                        inner = View(savepoint, self._answered)
                        answers += [await inner.make(one) for one in step.nested]
                        if step.nested_fails:
                            raise _StopError
                except (_StopError, PersistenceError) as error:
                    answers.append(Refused.by(error))
                if step.fails:
                    raise _StopError
        except (_StopError, PersistenceError) as error:
            answers.append(Refused.by(error))
        return answers


def elsewhere(tenant: str) -> str:
    """Another tenant of the same example."""
    return f"{tenant} elsewhere"
