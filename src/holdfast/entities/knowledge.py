"""What the organisation knows: facts, who stated them, and the log of every change."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from holdfast.entities.base import Count, Entity, NotBlankStr
from holdfast.entities.identity import AutonomyLevel, SeniorityLevel

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
    CORE_POLICY = "core_policy"
    ADR = "adr"
    PROCEDURE = "procedure"
    CONVENTION = "convention"
    ENTITY_DEFINITION = "entity_definition"


_Version = Annotated[Count, Field(ge=1)]


class OrgFactAuthor(Entity):
    """A person, of whom nothing else is said, or an agent with its rank."""

    agent_id: NotBlankStr | None = None
    seniority: SeniorityLevel | None = None
    autonomy_level: AutonomyLevel | None = None
    is_human: bool = False

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.is_human:
            if self.agent_id or self.seniority or self.autonomy_level:
                raise ValueError("a human has no agent_id, seniority or autonomy_level")
        elif self.agent_id is None or self.seniority is None:
            raise ValueError("an agent needs agent_id and seniority")
        return self


class OrgFact(Entity):
    id: NotBlankStr
    content: NotBlankStr
    category: OrgFactCategory
    tags: tuple[NotBlankStr, ...] = ()
    author: OrgFactAuthor
    created_at: AwareDatetime


class OrgFactWriteRequest(Entity):
    content: NotBlankStr
    category: OrgFactCategory
    tags: tuple[NotBlankStr, ...] = ()


class OrgMemoryQuery(Entity):
    """``context`` is text to look for; ``categories`` unset or empty are all of them."""

    context: NotBlankStr | None = None
    categories: frozenset[OrgFactCategory] | None = None
    limit: Annotated[Count, Field(ge=1, le=100)] = 5


class OperationLogEntry(Entity):
    """One change of a fact, by whom; a publication has ``content``, a retraction has none."""

    operation_id: NotBlankStr
    fact_id: NotBlankStr
    operation_type: Literal["PUBLISH", "RETRACT"]
    content: NotBlankStr | None = None
    category: OrgFactCategory | None = None
    tags: tuple[NotBlankStr, ...] = ()
    author_agent_id: NotBlankStr | None = None
    author_seniority: SeniorityLevel | None = None
    author_is_human: bool = False
    author_autonomy_level: AutonomyLevel | None = None
    timestamp: AwareDatetime
    version: _Version

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if (self.content is not None) is not (self.operation_type == "PUBLISH"):
            raise ValueError("a publication has content, a retraction has none")
        return self


class OperationLogSnapshot(Entity):
    """A fact as it stood at an instant; ``retracted_at`` if it had been taken back by then."""

    fact_id: NotBlankStr
    content: NotBlankStr
    category: OrgFactCategory
    tags: tuple[NotBlankStr, ...] = ()
    created_at: AwareDatetime
    retracted_at: AwareDatetime | None = None
    version: _Version

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.retracted_at is not None and self.retracted_at < self.created_at:
            raise ValueError("retracted_at must not lie before created_at")
        return self
