"""Every repository of Holdfast on every engine."""

from __future__ import annotations

from holdfast.testing.catalogue import SUBJECTS
from holdfast.testing.suite import (
    ArgumentSuite,
    BoundSuite,
    ChangeSuite,
    ConcurrencySuite,
    DamageSuite,
    LifecycleSuite,
    ListSuite,
    RecordSuite,
    TenantSuite,
    TransactionSuite,
    WidthSuite,
)


class TestRecords(RecordSuite):
    subjects = SUBJECTS


class TestLists(ListSuite):
    subjects = SUBJECTS


class TestArguments(ArgumentSuite):
    subjects = SUBJECTS


class TestWidths(WidthSuite):
    subjects = SUBJECTS


class TestTenants(TenantSuite):
    subjects = SUBJECTS


class TestChanges(ChangeSuite):
    subjects = SUBJECTS


class TestOwnClasses(BoundSuite):
    subjects = SUBJECTS


class TestDamage(DamageSuite):
    subjects = SUBJECTS


class TestLifecycle(LifecycleSuite):
    pass


class TestTransactions(TransactionSuite):
    pass


class TestConcurrency(ConcurrencySuite):
    pass
