"""Descriptions of artifacts that agents produce."""

from __future__ import annotations

import operator
from typing import Protocol, runtime_checkable

from holdfast import validation
from holdfast.entities import Artifact, ArtifactType
from holdfast.schema.artifacts import artifacts
from holdfast.storage.listing import EntityListing
from holdfast.storage.records import Keyed
from holdfast.storage.repository import Repository, provide
from holdfast.storage.statements import upsert_counting

__all__ = ["ArtifactRepositories", "ArtifactRepository"]


@runtime_checkable
class ArtifactRepository(Protocol):
    """Descriptions of artifacts, by ``id``; their content is stored elsewhere."""

    async def save(self, artifact: Artifact) -> bool:
        """Save an artifact; True if it was inserted, False if it replaced the one with its id."""

    async def get(self, artifact_id: str) -> Artifact | None:
        """Return the artifact with this id; ``None`` if there is none."""

    async def list_artifacts(
        self,
        *,
        task_id: str | None = None,
        created_by: str | None = None,
        artifact_type: ArtifactType | None = None,
        limit: int | None = None,
        after: Artifact | str | None = None,
    ) -> tuple[Artifact, ...]:
        """Return the artifacts that match all filters, in order of ``id``.

        ``after`` is the last artifact seen, or its id.
        """

    async def delete(self, artifact_id: str) -> bool:
        """Delete the record of an artifact; False if there is none. The content stays."""


class ArtifactRepositories(Protocol):
    """The repositories of this module, as a backend or a transaction offers them."""

    @property
    def artifacts(self) -> ArtifactRepository:
        """Descriptions of artifacts by ``id``; the content is stored elsewhere."""
        return provide(self, _Artifacts)


_ARTIFACTS = Keyed(artifacts, Artifact)
_SAVE_ARTIFACT = upsert_counting(
    "artifacts.save", artifacts, _ARTIFACTS.mapper.parameters, counter="save_count"
)
_LIST_ARTIFACTS = EntityListing(
    "artifacts.list_artifacts",
    _ARTIFACTS.mapper,
    order=("id",),
    filters={
        "task_id": ("task_id", operator.eq),
        "created_by": ("created_by", operator.eq),
        "artifact_type": ("type", operator.eq),
    },
)


class _Artifacts(Repository, ArtifactRepository):
    table = artifacts

    async def save(self, artifact: Artifact) -> bool:
        arguments = await _ARTIFACTS.encode(self, artifact)
        rows = await self._session.returning(_SAVE_ARTIFACT, arguments)
        return bool(rows[0][0] == 1)

    async def get(self, artifact_id: str) -> Artifact | None:
        return await _ARTIFACTS.get(self, artifact_id)

    async def list_artifacts(
        self,
        *,
        task_id: str | None = None,
        created_by: str | None = None,
        artifact_type: ArtifactType | None = None,
        limit: int | None = None,
        after: Artifact | str | None = None,
    ) -> tuple[Artifact, ...]:
        name = _LIST_ARTIFACTS.name
        filters = {
            "task_id": validation.optional(validation.text, task_id, f"{name}: task_id"),
            "created_by": validation.optional(validation.text, created_by, f"{name}: created_by"),
            "artifact_type": self._choice(
                _ARTIFACTS.mapper, "type", artifact_type, ArtifactType, f"{name}: artifact_type"
            ),
        }
        return await _LIST_ARTIFACTS.fetch(self, filters, limit=limit, after=after)

    async def delete(self, artifact_id: str) -> bool:
        return await _ARTIFACTS.delete(self, artifact_id)
