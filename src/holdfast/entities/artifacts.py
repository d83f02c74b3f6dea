"""What agents produce."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime

from holdfast.entities.base import Count, Entity, NotBlankStr

__all__ = ["Artifact", "ArtifactType"]


class ArtifactType(StrEnum):
    CODE = "code"
    TESTS = "tests"
    DOCUMENTATION = "documentation"


class Artifact(Entity):
    """What is known of an artifact; its bytes lie elsewhere."""

    id: NotBlankStr
    path: NotBlankStr
    task_id: NotBlankStr
    created_by: NotBlankStr
    type: ArtifactType
    description: str = ""
    project_id: NotBlankStr | None = None
    content_type: str = ""
    size_bytes: Count = 0
    created_at: AwareDatetime | None = None
