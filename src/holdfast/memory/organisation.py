"""The organisation's memory: policies and facts that its members share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol, runtime_checkable
from uuid import uuid4

from holdfast.backend import PersistenceBackend
from holdfast.entities import (
    OrgFact,
    OrgFactAuthor,
    OrgFactCategory,
    OrgFactWriteRequest,
    OrgMemoryConfig,
    OrgMemoryQuery,
)
from holdfast.errors import PersistenceConnectionError, PersistenceError
from holdfast.memory.errors import (
    OrgMemoryAccessDeniedError,
    OrgMemoryConnectionError,
    OrgMemoryError,
    OrgMemoryQueryError,
    OrgMemoryWriteError,
)
from holdfast.repositories import OrgFactRepository
from holdfast.storage.mapping import checked

__all__ = ["OrgMemoryBackend", "create_org_memory"]


@runtime_checkable
class OrgMemoryBackend(Protocol):
    """Facts of the whole organisation. Every data method may raise `OrgMemoryConnectionError`."""

    async def connect(self) -> None:
        """Connect the backend it is built on, if that is not yet; idempotent."""

    async def disconnect(self) -> None:
        """Safe when not connected; leaves a backend alone that was connected before."""

    async def health_check(self) -> bool:
        """Whether the database answers; never raises."""

    @property
    def is_connected(self) -> bool: ...

    @property
    def backend_name(self) -> str:
        """How facts are found: ``"hybrid_prompt_retrieval"``."""

    async def query(self, query: OrgMemoryQuery) -> tuple[OrgFact, ...]:
        """The facts in force that fit, best first, as `OrgFactRepository.query` orders them.

        At most ``query.limit``, and no more than the configuration's ``max_retrieved_per_query``.
        `OrgMemoryQueryError`.
        """

    async def write(self, request: OrgFactWriteRequest, *, author: OrgFactAuthor) -> str:
        """Publish a fact, and answer its id. `OrgMemoryWriteError`, or
        `OrgMemoryAccessDeniedError` if the rules do not let the author.

        Where a class is bound to `OrgFact`, the author may be of the class that it has for it.
        """

    async def list_policies(self) -> tuple[OrgFact, ...]:
        """The configured policies in their order, then the stored ones, newest first.

        `OrgMemoryQueryError`.
        """


def create_org_memory(
    backend: PersistenceBackend, config: OrgMemoryConfig | None = None
) -> OrgMemoryBackend:
    """The memory of the backend's tenant, kept in ``backend.org_facts``."""
    return _OrgMemory(backend, config or OrgMemoryConfig())


class _OrgMemory:
    def __init__(self, backend: PersistenceBackend, config: OrgMemoryConfig) -> None:
        self._backend = backend
        self._config = config
        self._connected_it = False

    async def connect(self) -> None:
        if not self._backend.is_connected:
            with _as(OrgMemoryConnectionError):
                await self._backend.connect()
            self._connected_it = True

    async def disconnect(self) -> None:
        if self._connected_it:
            self._connected_it = False
            await self._backend.disconnect()

    async def health_check(self) -> bool:
        return await self._backend.health_check()

    @property
    def is_connected(self) -> bool:
        return self._backend.is_connected

    @property
    def backend_name(self) -> str:
        return self._config.backend

    async def query(self, query: OrgMemoryQuery) -> tuple[OrgFact, ...]:
        limit = min(query.limit, self._config.extended_store.max_retrieved_per_query)
        with _as(OrgMemoryQueryError):
            return await self._backend.org_facts.query(
                categories=query.categories, text=query.context, limit=limit
            )

    async def write(self, request: OrgFactWriteRequest, *, author: OrgFactAuthor) -> str:
        with _as(OrgMemoryWriteError):
            wanted = checked(request, OrgFactWriteRequest, "write: request")
            known = self._author(author)
        if not self._config.write_access.allows(wanted.category, known):
            raise OrgMemoryAccessDeniedError(
                f"the write rules let this author write no fact of category {wanted.category}"
            )
        fact_id = str(uuid4())
        with _as(OrgMemoryWriteError):
            facts = self._backend.org_facts
            fact = _make(
                facts,
                id=fact_id,
                content=wanted.content,
                category=wanted.category,
                tags=wanted.tags,
                author=author,
                created_at=datetime.now(UTC),
            )
            await facts.save(fact)
        return fact_id

    def _author(self, author: OrgFactAuthor) -> OrgFactAuthor:
        """What the rules know, of an instance of the application's class as well."""
        if type(author) is OrgFactAuthor:
            return author
        known = getattr(self._backend.org_facts, "_author", None)
        if known is None:
            return checked(author, OrgFactAuthor, "write: author")
        stands_for: OrgFactAuthor = known(author, "write: author")
        return stands_for

    async def list_policies(self) -> tuple[OrgFact, ...]:
        policy = OrgFactCategory.CORE_POLICY
        now = datetime.now(UTC)
        with _as(OrgMemoryQueryError):
            facts = self._backend.org_facts
            stored = await facts.list_by_category(policy)
            configured = [
                _make(
                    facts,
                    id=f"core-policy-{number}",
                    content=content,
                    category=policy,
                    author=OrgFactAuthor(is_human=True),
                    created_at=now,
                )
                for number, content in enumerate(self._config.core_policies)
            ]
        return (*configured, *stored)


def _make(facts: OrgFactRepository, **fields: Any) -> OrgFact:
    """A fact of the class that the repository takes, if it says which."""
    make = getattr(facts, "_make", OrgFact)
    fact: OrgFact = make(**fields)
    return fact


@contextmanager
def _as(kind: type[OrgMemoryError]) -> Iterator[None]:
    """Raise a Holdfast error as one of this family."""
    try:
        yield
    except PersistenceConnectionError as error:
        raise OrgMemoryConnectionError(str(error)) from error
    except PersistenceError as error:
        raise kind(str(error)) from error
