"""Facts that the organisation knows, their authors, and the log of every change."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from holdfast.entities.base import Count, Entity, NotBlankStr
from holdfast.entities.levels import AutonomyLevel, SeniorityLevel

__all__ = [
    "OperationLogEntry",
    "OperationLogSnapshot",
    "OrgFact",
    "OrgFactAuthor",
    "OrgFactCategory",
    "OrgFactWriteRequest",
    "OrgMemoryQuery",
]


class OrgFactCategory(StrEnum):
    """What sort of knowledge a fact is; ``adr`` is an architecture decision."""

    CORE_POLICY = "core_policy"
    ADR = "adr"
    PROCEDURE = "procedure"
    CONVENTION = "convention"
    ENTITY_DEFINITION = "entity_definition"


_Version = Annotated[Count, Field(ge=1)]


class OrgFactAuthor(Entity):
    """The author of a fact: a person, or an agent with its rank."""

    agent_id: NotBlankStr | None = Field(
        default=None, description="Id of the agent; None exactly for a human"
    )
    seniority: SeniorityLevel | None = Field(
        default=None, description="Rank of the agent at that time; None exactly for a human"
    )
    autonomy_level: AutonomyLevel | None = Field(
        default=None, description="How freely the agent acts; None if unknown, and for a human"
    )
    is_human: bool = Field(
        default=False, description="True for a person, who is not identified further"
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.is_human:
            if self.agent_id or self.seniority or self.autonomy_level:
                raise ValueError("a human has no agent_id, seniority or autonomy_level")
        elif self.agent_id is None or self.seniority is None:
            raise ValueError("an agent needs agent_id and seniority")
        return self


class OrgFact(Entity):
    """A fact that the organisation knows."""

    id: NotBlankStr = Field(description="Key; stays the same when the fact is published again")
    content: NotBlankStr = Field(description="The fact, in words")
    category: OrgFactCategory = Field(
        description="What sort of knowledge it is; decides which authors may write it"
    )
    tags: tuple[NotBlankStr, ...] = Field(default=(), description="Labels, in the order given")
    author: OrgFactAuthor = Field(description="The author of the last publication")
    created_at: AwareDatetime = Field(
        description="When the fact was stated; the first publication's value is kept"
    )


class OrgFactWriteRequest(Entity):
    """A fact to be published; its id and time are assigned by the store."""

    content: NotBlankStr = Field(description="The fact, in words")
    category: OrgFactCategory = Field(
        description="What sort of knowledge it is; decides which authors may write it"
    )
    tags: tuple[NotBlankStr, ...] = Field(default=(), description="Labels; their order is kept")


class OrgMemoryQuery(Entity):
    """A search for facts."""

    context: NotBlankStr | None = Field(
        default=None, description="Text to look for; None for no text"
    )
    categories: frozenset[OrgFactCategory] | None = Field(
        default=None, description="Categories to look in; None or empty for all"
    )
    limit: Annotated[Count, Field(ge=1, le=100)] = Field(
        default=5, description="Most facts to return, 1 to 100"
    )


class OperationLogEntry(Entity):
    """One change of a fact: a publication has content, a retraction has none."""

    operation_id: NotBlankStr = Field(
        description="Key; a random UUID as text, assigned by the repository"
    )
    fact_id: NotBlankStr = Field(description="Id of the fact that changed")
    operation_type: Literal["PUBLISH", "RETRACT"] = Field(
        description="``PUBLISH`` for a new or changed fact, ``RETRACT`` for one taken back"
    )
    content: NotBlankStr | None = Field(
        default=None, description="The fact as published; None exactly for a retraction"
    )
    category: OrgFactCategory | None = Field(
        default=None, description="Category at that time; the last published one for a retraction"
    )
    tags: tuple[NotBlankStr, ...] = Field(
        default=(), description="Labels at that time; those last published for a retraction"
    )
    author_agent_id: NotBlankStr | None = Field(
        default=None, description="Id of the agent that made the change; None for a human"
    )
    author_seniority: SeniorityLevel | None = Field(
        default=None, description="Rank of that agent at that time; None for a human"
    )
    author_is_human: bool = Field(default=False, description="Whether a person made the change")
    author_autonomy_level: AutonomyLevel | None = Field(
        default=None, description="How freely that agent acts; None if unknown, and for a human"
    )
    timestamp: AwareDatetime = Field(
        description="When the change was made; not the ``created_at`` of the fact"
    )
    version: _Version = Field(description="Number of the change among those of its fact, from 1")

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if (self.content is not None) is not (self.operation_type == "PUBLISH"):
            raise ValueError("a publication has content, a retraction has none")
        return self


class OperationLogSnapshot(Entity):
    """A fact as it stood at an instant."""

    fact_id: NotBlankStr = Field(description="Id of the fact")
    content: NotBlankStr = Field(description="The fact as last published by that instant")
    category: OrgFactCategory = Field(description="Category as last published by that instant")
    tags: tuple[NotBlankStr, ...] = Field(
        default=(), description="Labels as last published by that instant, in the order given"
    )
    created_at: AwareDatetime = Field(description="When the fact was first published")
    retracted_at: AwareDatetime | None = Field(
        default=None, description="When it had been taken back by that instant; None if it had not"
    )
    version: _Version = Field(description="Number of the last change by that instant, from 1")

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.retracted_at is not None and self.retracted_at < self.created_at:
            raise ValueError("retracted_at must not lie before created_at")
        return self
