"""How the suite's tests find the repositories they are about."""

from __future__ import annotations

import holdfast.testing.extra  # noqa: F401 - before what it looks for

# isort: split

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar

import pytest
from pydantic import BaseModel

from holdfast.backend import PersistenceBackend
from holdfast.testing.extended import OWN_FIELDS
from holdfast.testing.subjects import Subject

__all__ = ["Suite", "apart", "as_stored", "fresh", "needs", "same"]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
Condition = Callable[[Subject[Any]], Any]

#: A test without this attribute is for every subject.
_NEEDS = "holdfast_needs"


def needs(condition: Condition) -> Callable[[F], F]:
    """A test that only some subjects can be put to."""

    def mark(test: F) -> F:
        setattr(test, _NEEDS, condition)
        return test

    return mark


@pytest.mark.asyncio(loop_scope="session")
class Suite:
    """Tests that take a ``subject``, each of `subjects`, or one of its lists as ``listed``."""

    subjects: ClassVar[tuple[Subject[Any], ...]] = ()

    def __init_subclass__(cls) -> None:
        if isinstance(one := vars(cls).get("subject"), Subject):
            cls.subjects = (one,)
        for name in dir(cls):
            condition = getattr(getattr(cls, name), _NEEDS, None)
            if condition is not None and cls.subjects and not any(map(condition, cls.subjects)):
                setattr(cls, name, None)  # otherwise pytest would call it skipped

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        condition: Condition = getattr(metafunc.function, _NEEDS, lambda subject: True)
        subjects = [subject for subject in self.subjects if condition(subject)]
        if "listed" in metafunc.fixturenames:
            pairs = [(subject, listed) for subject in subjects for listed in subject.lists]
            names = [f"{subject}.{listed.method}" for subject, listed in pairs]
            metafunc.parametrize(("subject", "listed"), pairs, ids=names)
        elif "subject" in metafunc.fixturenames:
            metafunc.parametrize("subject", subjects, ids=str)


def apart(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task that is not inside of the transaction which its maker is in."""
    return asyncio.create_task(work, context=Context())


def fresh(backend: PersistenceBackend) -> PersistenceBackend:
    """The backend as a tenant that nobody was before."""
    return backend.for_tenant(uuid.uuid4().hex)


def same(stored: Any, record: BaseModel) -> bool:
    """Assert that nothing was lost or changed: values, types, and instants told in UTC."""
    assert stored == record
    assert type(stored) is type(record)
    for name in type(record).model_fields:
        value = getattr(stored, name)
        assert type(value) is type(getattr(record, name)), name
        if isinstance(value, datetime) and name not in OWN_FIELDS:  # those keep their time zone
            assert value.utcoffset() == timedelta(0), name
    assert stored.model_dump_json() == as_stored(record).model_dump_json()
    return True


def as_stored(record: BaseModel) -> BaseModel:
    """With what is equal told as a database tells it: instants in UTC, and no -0.0."""
    told = {
        name: value.astimezone(UTC) if isinstance(value, datetime) else value + 0.0
        for name in type(record).model_fields
        if isinstance(value := getattr(record, name), datetime | float) and name not in OWN_FIELDS
    }
    return record.model_copy(update=told)
