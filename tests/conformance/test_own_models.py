"""Every repository again, for classes that subclass the entities, add fields and freeze."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from pydantic import BaseModel

from holdfast.backend import PersistenceBackend
from holdfast.storage.mapping import MAPPERS
from holdfast.testing import samples
from holdfast.testing.catalogue import SUBJECTS
from holdfast.testing.databases import MakeBackend
from holdfast.testing.extended import extended, extended_entities
from holdfast.testing.suite import (
    ArgumentSuite,
    ChangeSuite,
    ConcurrencySuite,
    DamageSuite,
    ListSuite,
    RecordSuite,
    TenantSuite,
    TransactionSuite,
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


@pytest.fixture(scope="session")
def holdfast_make_backend(holdfast_make_backend: MakeBackend) -> MakeBackend:
    return partial(holdfast_make_backend, entities=extended_entities())


@pytest.fixture
def holdfast_shared(holdfast_bound: PersistenceBackend) -> PersistenceBackend:
    return holdfast_bound


class TestRecords(RecordSuite):
    subjects = OWN
    # `BoundSuite` puts these to the same classes.
    test_whatever_the_entity_accepts_comes_back = None  # type: ignore[assignment]
    test_comes_back_whole_within_a_transaction = None


class TestLists(ListSuite):
    subjects = OWN


class TestArguments(ArgumentSuite):
    subjects = OWN


class TestTenants(TenantSuite):
    subjects = OWN


class TestDamage(DamageSuite):
    subjects = OWN


class TestChanges(ChangeSuite):
    subjects = OWN


@pytest.fixture
def own_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `TransactionSuite` and `ConcurrencySuite` save are instances of the own classes."""

    def required(kind: type[BaseModel], **fields: Any) -> Any:
        return samples.required(extended(kind), **fields)

    monkeypatch.setattr("holdfast.testing.suite.transactions.required", required)


@pytest.mark.usefixtures("own_samples")
class TestTransactions(TransactionSuite):
    pass


@pytest.mark.usefixtures("own_samples")
class TestConcurrency(ConcurrencySuite):
    pass
