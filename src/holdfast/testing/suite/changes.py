"""Every repository in a transaction: committed together, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.backend import PersistenceBackend
from holdfast.testing.subjects import Subject
from holdfast.testing.suite.base import Suite, apart, fresh, needs

__all__ = ["ChangeSuite"]


class _StopError(Exception):
    pass


class ChangeSuite(Suite):
    """A repository's part in transactions."""

    @needs(lambda subject: subject.save is not None)
    async def test_is_undone_with_its_transaction(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any]
    ) -> None:
        tenant = fresh(holdfast_shared)
        record = subject.full()
        with pytest.raises(_StopError):
            async with tenant.transaction() as tx:
                await subject.put(tx, record)
                assert await subject.read(tx, record) == record
                raise _StopError
        assert await subject.read(tenant, record) is None
        await subject.put(tenant, record)
        assert await subject.read(tenant, record) == record

    @needs(lambda subject: subject.save is not None)
    async def test_is_undone_with_its_savepoint(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any]
    ) -> None:
        tenant = fresh(holdfast_shared)
        kept, lost = subject.record(0), subject.record(1)
        async with tenant.transaction() as tx:
            await subject.put(tx, kept)
            with pytest.raises(_StopError):
                async with tx.transaction() as inner:
                    await subject.put(inner, lost)
                    raise _StopError
            assert await subject.read(tx, kept) == kept
        assert await subject.read(tenant, kept) == kept
        if subject.key:
            assert await subject.read(tenant, lost) is None

    @needs(lambda subject: subject.save is not None)
    async def test_nobody_sees_it_before_the_commit(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any]
    ) -> None:
        tenant = fresh(holdfast_shared)
        record = subject.full()
        async with tenant.transaction() as tx:
            await subject.put(tx, record)
            assert await apart(subject.read(tenant, record)) is None
        assert await subject.read(tenant, record) == record

    @needs(lambda subject: subject.delete is not None)
    async def test_a_deletion_is_undone(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any]
    ) -> None:
        tenant = fresh(holdfast_shared)
        record = subject.full()
        await subject.put(tenant, record)
        with pytest.raises(_StopError):
            async with tenant.transaction() as tx:
                assert await subject.remove(tx, record) is True
                assert await subject.read(tx, record) is None
                raise _StopError
        assert await subject.read(tenant, record) == record

    @needs(lambda subject: subject.save is not None)
    async def test_several_tenants_share_a_transaction(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any]
    ) -> None:
        mine, theirs = fresh(holdfast_shared), fresh(holdfast_shared)
        record = subject.full()
        async with mine.transaction() as tx:
            await subject.put(tx, record)
            assert await subject.read(tx.for_tenant(theirs.tenant), record) is None
            await subject.put(tx.for_tenant(theirs.tenant), record)
        assert await subject.read(mine, record) == await subject.read(theirs, record) == record
