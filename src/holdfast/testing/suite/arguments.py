"""Every parameter of every method, given what no database should see."""

from __future__ import annotations

import asyncio
from typing import Any

from holdfast.backend import PersistenceBackend
from holdfast.errors import PersistenceError
from holdfast.testing.subjects import Subject
from holdfast.testing.suite.base import Suite, fresh
from holdfast.testing.suite.calls import methods

__all__ = ["ArgumentSuite"]


class ArgumentSuite(Suite):
    """What is bad is refused by name, before anything is sent."""

    async def test_bad_arguments_are_refused(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any]
    ) -> None:
        tenant = fresh(holdfast_shared)
        record = subject.full()
        before = tenant.stats()
        sent = before.writes.items, before.commits
        for method in methods(tenant, subject):
            for parameter in method.parameters:
                for value in method.bad(parameter):
                    tried = f"{method.name}({parameter.name}={value!r})"
                    answers: Any = await asyncio.gather(
                        method.call(record, **{parameter.name: value}), return_exceptions=True
                    )
                    assert isinstance(answers[0], subject.refusals), (tried, answers[0])
                    if isinstance(answers[0], PersistenceError):
                        assert answers[0].is_retryable is False
                        assert _names(subject, tenant, str(answers[0])), (tried, answers[0])
        after = tenant.stats()
        assert (after.writes.items, after.commits) == sent

    async def test_a_refused_argument_does_not_end_a_transaction(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any]
    ) -> None:
        tenant = fresh(holdfast_shared)
        record = subject.full()
        async with tenant.transaction() as tx:
            for method in methods(tx, subject):
                for parameter in method.parameters:
                    for value in list(method.bad(parameter))[:1]:
                        answers: Any = await asyncio.gather(
                            method.call(record, **{parameter.name: value}), return_exceptions=True
                        )
                        assert isinstance(answers[0], subject.refusals), method.name
            if subject.save is not None:
                await subject.put(tx, record)
        if subject.save is not None:
            assert await subject.read(tenant, record) == record


def _names(subject: Subject[Any], owner: Any, message: str) -> bool:
    """Whether a message says which repository it is about."""
    return subject.name in message or type(subject.of(owner)).table.name in message
