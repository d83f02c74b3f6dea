"""The repositories on one connection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, TypeVar, cast

from holdfast import validation
from holdfast.backend.once import Once, awaitable, callable_
from holdfast.repositories import Repositories
from holdfast.storage.reading import Report
from holdfast.storage.repository import Repository
from holdfast.storage.session import Session

__all__ = ["Transaction"]

R = TypeVar("R", bound=Repository)
T = TypeVar("T")

#: Makes a repository of a kind on a session for a tenant.
Maker = Callable[..., Any]


class Transaction(Repositories):
    """The repositories inside one transaction; opened by `PersistenceBackend.transaction`."""

    def __init__(self, session: Session, tenant: str, make: Maker) -> None:
        self._session = session
        self._tenant = tenant
        self._make = make
        self._made: dict[type[Any], Any] = {}

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Open a savepoint: an error inside undoes its writes only, and can be caught outside."""
        return Once(self._savepoint(), "tx.transaction")

    @asynccontextmanager
    async def _savepoint(self) -> AsyncIterator[Transaction]:
        async with self._session.transaction() as session:
            yield Transaction(session, self._tenant, self._make)

    async def atomically(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Return ``work(tx)`` from a savepoint, run once: only a whole transaction is run again."""
        callable_(work)
        async with self.transaction() as inner:
            found: T = await awaitable(work(inner))
            return found

    def for_tenant(self, tenant: str) -> Transaction:
        """Return a view of the same transaction for another tenant's records."""
        validation.not_blank(tenant, "for_tenant: tenant")
        return Transaction(self._session, tenant, self._make)

    def skipping_malformed(self, report: Report) -> Transaction:
        """Return a view of the same transaction whose lists leave out unreadable rows.

        See `PersistenceBackend.skipping_malformed`.
        """
        return Transaction(self._session, self._tenant, partial(self._make, report=report))

    def repository(self, kind: type[R]) -> R:
        """Return the repository of a class: one object for the length of the transaction."""
        if kind not in self._made:
            self._made[kind] = self._make(kind, self._session, self._tenant)
        return cast("R", self._made[kind])
