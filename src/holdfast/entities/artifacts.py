"""Artifacts that agents produce."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime, Field

from holdfast.entities.base import Count, Entity, NotBlankStr

__all__ = ["Artifact", "ArtifactType"]


class ArtifactType(StrEnum):
    """What an artifact is."""

    CODE = "code"
    TESTS = "tests"
    DOCUMENTATION = "documentation"


class Artifact(Entity):
    """A description of what an agent produced; its bytes are stored elsewhere."""

    id: NotBlankStr = Field(description="Key, also of the content in an artifact store")
    path: NotBlankStr = Field(
        description="Where the artifact belongs, in the application's own notation"
    )
    task_id: NotBlankStr = Field(
        description="Id of the task that produced it; need not be stored in ``tasks``"
    )
    created_by: NotBlankStr = Field(description="Id of the agent that produced it")
    type: ArtifactType = Field(description="Whether it is code, tests or documentation")
    description: str = Field(default="", description="What it is for; may be empty")
    project_id: NotBlankStr | None = Field(
        default=None, description="Id of the project that it belongs to; None if unknown"
    )
    content_type: str = Field(
        default="", description="Media type of the content; empty if unknown or without content"
    )
    size_bytes: Count = Field(
        default=0, description="Size of the content in bytes; 0 without content"
    )
    created_at: AwareDatetime | None = Field(
        default=None, description="When it was produced; None if unknown"
    )
