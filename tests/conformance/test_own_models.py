"""Every repository again, for classes that subclass the entities, add fields and freeze."""

from __future__ import annotations

import pytest

from holdfast.backend import PersistenceBackend
from holdfast.mapping import MAPPERS
from holdfast.testing.catalogue import SUBJECTS
from holdfast.testing.suite import (
    ArgumentSuite,
    DamageSuite,
    ListSuite,
    RecordSuite,
    TenantSuite,
)

OWN = tuple(
    subject.extended
    for subject in SUBJECTS
    if subject.save is not None and any(mapper.entity is subject.entity for mapper in MAPPERS)
)


@pytest.fixture(scope="session", params=["sqlite-memory", "postgres"])
def holdfast_engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def holdfast_shared(holdfast_bound: PersistenceBackend) -> PersistenceBackend:
    return holdfast_bound


class TestRecords(RecordSuite):
    subjects = OWN


class TestLists(ListSuite):
    subjects = OWN


class TestArguments(ArgumentSuite):
    subjects = OWN


class TestTenants(TenantSuite):
    subjects = OWN


class TestDamage(DamageSuite):
    subjects = OWN
