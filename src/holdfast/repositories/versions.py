"""Numbered snapshots of configured entities."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel

from holdfast import validation
from holdfast.entities import (
    AgentIdentity,
    BudgetConfig,
    Company,
    EvaluationConfig,
    Role,
    VersionSnapshot,
    WorkflowDefinition,
    compute_content_hash,
)
from holdfast.schema import versions as tables
from holdfast.storage.records import History
from holdfast.storage.repository import Repository, provide

__all__ = ["VersionRepositories", "VersionRepository", "VersioningService"]

T = TypeVar("T", bound=BaseModel)


@runtime_checkable
class VersionRepository(Protocol[T]):
    """Snapshots by (entity_id, version), written once."""

    async def save_version(self, version: VersionSnapshot[T]) -> bool:
        """Insert a version; False if the pair is taken, whatever it holds: it is never replaced."""

    async def get_version(self, entity_id: str, version: int) -> VersionSnapshot[T] | None:
        """Return that version of the entity; ``None`` if there is none."""

    async def get_latest_version(self, entity_id: str) -> VersionSnapshot[T] | None:
        """Return the highest version of the entity; ``None`` if there is none."""

    async def get_by_content_hash(
        self, entity_id: str, content_hash: str
    ) -> VersionSnapshot[T] | None:
        """Return the highest version with that content; ``None`` if there is none."""

    async def list_versions(
        self,
        entity_id: str,
        *,
        limit: int | None = 50,
        offset: int = 0,
        after: VersionSnapshot[T] | tuple[str, int] | None = None,
    ) -> tuple[VersionSnapshot[T], ...]:
        """Return the versions of an entity, the highest first.

        ``limit=None`` returns all, 0 none. ``after`` is the last version seen, or its (entity_id,
        version); prefer it to ``offset``.
        """

    async def count_versions(self, entity_id: str) -> int:
        """Count the versions of the entity."""

    async def delete_versions_for_entity(self, entity_id: str) -> int:
        """Delete all versions of the entity, and return how many."""


class VersioningService(Generic[T]):
    """Takes a snapshot when something changed, right also when several processes do at once."""

    def __init__(self, repository: VersionRepository[T]) -> None:
        self._repository = repository

    async def snapshot_if_changed(
        self, entity_id: str, snapshot: T, saved_by: str
    ) -> VersionSnapshot[T] | None:
        """Save and return the next version; ``None`` if the latest one has the same content.

        Both are of the application's class, where one is bound. A caller that loses a race against
        the same content gets the winner's version; against other content the next number, and if
        that is taken as well, the latest version as it is then.
        """
        content_hash = compute_content_hash(snapshot)
        latest = await self._repository.get_latest_version(entity_id)
        if latest is not None and latest.content_hash == content_hash:
            return None
        for _ in range(2):
            made = self._make(
                entity_id=entity_id,
                version=1 if latest is None else latest.version + 1,
                content_hash=content_hash,
                snapshot=snapshot,
                saved_by=saved_by,
                saved_at=datetime.now(UTC),
            )
            if await self._repository.save_version(made):
                return made
            latest = await self._repository.get_latest_version(entity_id)
            if latest is not None and latest.content_hash == content_hash:
                return latest
        return latest

    def _make(self, **fields: Any) -> VersionSnapshot[T]:
        """A version of the class that the repository takes, if it says which."""
        make = getattr(self._repository, "_make", VersionSnapshot[Any])
        made: VersionSnapshot[T] = make(**fields)
        return made

    async def get_latest(self, entity_id: str) -> VersionSnapshot[T] | None:
        """Return the highest version of the entity; ``None`` if there is none."""
        return await self._repository.get_latest_version(entity_id)


class VersionRepositories(Protocol):
    """The repositories of this module, as a backend or a transaction offers them."""

    @property
    def workflow_versions(self) -> VersionRepository[WorkflowDefinition]:
        """Versions of workflow definitions."""
        return provide(self, _WorkflowVersions)

    @property
    def identity_versions(self) -> VersionRepository[AgentIdentity]:
        """Versions of the identities of agents."""
        return provide(self, _IdentityVersions)

    @property
    def evaluation_config_versions(self) -> VersionRepository[EvaluationConfig]:
        """Versions of evaluation configurations."""
        return provide(self, _EvaluationConfigVersions)

    @property
    def budget_config_versions(self) -> VersionRepository[BudgetConfig]:
        """Versions of budget configurations."""
        return provide(self, _BudgetConfigVersions)

    @property
    def company_versions(self) -> VersionRepository[Company]:
        """Versions of companies."""
        return provide(self, _CompanyVersions)

    @property
    def role_versions(self) -> VersionRepository[Role]:
        """Versions of roles."""
        return provide(self, _RoleVersions)


_DEFINITIONS = History(tables.workflow_definition_versions, VersionSnapshot[WorkflowDefinition])
_IDENTITIES = History(tables.agent_identity_versions, VersionSnapshot[AgentIdentity])
_EVALUATIONS = History(tables.evaluation_config_versions, VersionSnapshot[EvaluationConfig])
_BUDGETS = History(tables.budget_config_versions, VersionSnapshot[BudgetConfig])
_COMPANIES = History(tables.company_versions, VersionSnapshot[Company])
_ROLES = History(tables.role_versions, VersionSnapshot[Role])


class _Versions(Repository, VersionRepository[T]):
    history: ClassVar[History[Any]]

    def _make(self, **fields: Any) -> VersionSnapshot[T]:
        """A version of the application's class, where it has one."""
        made: VersionSnapshot[T] = self._bound(self.history.mapper).make(fields)
        return made

    async def save_version(self, version: VersionSnapshot[T]) -> bool:
        return await self.history.add(self, version)

    async def get_version(self, entity_id: str, version: int) -> VersionSnapshot[T] | None:
        place = f"{self.table.name}.get_version: version"
        return await self._first(
            "get_version", entity_id, version=validation.integer(version, place)
        )

    async def get_latest_version(self, entity_id: str) -> VersionSnapshot[T] | None:
        return await self._first("get_latest_version", entity_id)

    async def get_by_content_hash(
        self, entity_id: str, content_hash: str
    ) -> VersionSnapshot[T] | None:
        validation.not_blank(content_hash, f"{self.table.name}.get_by_content_hash: content_hash")
        return await self._first("get_by_content_hash", entity_id, content_hash=content_hash)

    async def list_versions(
        self,
        entity_id: str,
        *,
        limit: int | None = 50,
        offset: int = 0,
        after: VersionSnapshot[T] | tuple[str, int] | None = None,
    ) -> tuple[VersionSnapshot[T], ...]:
        listing = self.history.list
        validation.limit(limit, place=f"{listing.name}: limit", least=0)
        filters = {"entity_id": validation.not_blank(entity_id, f"{listing.name}: entity_id")}
        if limit == 0:  # allowed here; what else was passed is looked at all the same
            await listing.fetch(self, filters, limit=1, after=after, offset=offset)
            return ()
        return await listing.fetch(self, filters, limit=limit, after=after, offset=offset)

    async def count_versions(self, entity_id: str) -> int:
        return await self.history.count_of(self, entity_id)

    async def delete_versions_for_entity(self, entity_id: str) -> int:
        return await self.history.forget(self, entity_id)

    async def _first(
        self, method: str, entity_id: str, **filters: Any
    ) -> VersionSnapshot[T] | None:
        validation.not_blank(entity_id, f"{self.table.name}.{method}: entity_id")
        given = {"entity_id": entity_id, **filters}
        return await self.history.list.first(self, given)


class _WorkflowVersions(_Versions[WorkflowDefinition]):
    table = _DEFINITIONS.table
    history = _DEFINITIONS


class _IdentityVersions(_Versions[AgentIdentity]):
    table = _IDENTITIES.table
    history = _IDENTITIES


class _EvaluationConfigVersions(_Versions[EvaluationConfig]):
    table = _EVALUATIONS.table
    history = _EVALUATIONS


class _BudgetConfigVersions(_Versions[BudgetConfig]):
    table = _BUDGETS.table
    history = _BUDGETS


class _CompanyVersions(_Versions[Company]):
    table = _COMPANIES.table
    history = _COMPANIES


class _RoleVersions(_Versions[Role]):
    table = _ROLES.table
    history = _ROLES
