"""How the organisation's memory is kept, and who may write to it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, WrapSerializer

from holdfast.entities.base import Count, Entity, NotBlankStr
from holdfast.entities.identity import SeniorityLevel
from holdfast.entities.json import JsonHolder
from holdfast.entities.knowledge import OrgFactAuthor, OrgFactCategory

__all__ = ["CategoryWriteRule", "ExtendedStoreConfig", "OrgMemoryConfig", "WriteAccessConfig"]


class CategoryWriteRule(Entity):
    """Agents from ``allowed_seniority`` on, none if it is unset; humans if ``human_allowed``."""

    allowed_seniority: SeniorityLevel | None = None
    human_allowed: bool = True

    def allows(self, author: OrgFactAuthor) -> bool:
        if author.is_human:
            return self.human_allowed
        if self.allowed_seniority is None or author.seniority is None:
            return False
        return author.seniority.rank >= self.allowed_seniority.rank


def _plain(rules: Mapping[Any, Any], dump: SerializerFunctionWrapHandler) -> Any:
    return dump(dict(rules))


_FROM_SENIOR = CategoryWriteRule(allowed_seniority=SeniorityLevel.SENIOR)


def _defaults() -> dict[OrgFactCategory, CategoryWriteRule]:
    return {
        OrgFactCategory.CORE_POLICY: CategoryWriteRule(),
        OrgFactCategory.ADR: _FROM_SENIOR,
        OrgFactCategory.PROCEDURE: _FROM_SENIOR,
        OrgFactCategory.CONVENTION: _FROM_SENIOR,
    }


class WriteAccessConfig(JsonHolder):
    """A read-only copy of the rules. A category without one is closed to everybody; by default
    that is ``entity_definition``."""

    rules: Annotated[
        dict[OrgFactCategory, CategoryWriteRule],
        AfterValidator(MappingProxyType),
        WrapSerializer(_plain),
    ] = Field(default_factory=_defaults, validate_default=True)

    def allows(self, category: OrgFactCategory, author: OrgFactAuthor) -> bool:
        """Whether the author may write facts of the category."""
        rule = self.rules.get(category)
        return rule is not None and rule.allows(author)


class ExtendedStoreConfig(Entity):
    backend: Literal["sqlite"] = "sqlite"
    max_retrieved_per_query: Annotated[Count, Field(ge=1, le=50)] = 5


class OrgMemoryConfig(Entity):
    """``core_policies`` are facts that need no store."""

    backend: Literal["hybrid_prompt_retrieval"] = "hybrid_prompt_retrieval"
    core_policies: tuple[NotBlankStr, ...] = ()
    extended_store: ExtendedStoreConfig = Field(default_factory=ExtendedStoreConfig)
    write_access: WriteAccessConfig = Field(default_factory=WriteAccessConfig)
