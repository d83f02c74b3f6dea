"""Configuration of the organisation's memory, and of the right to write to it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, WrapSerializer

from holdfast.entities.base import Count, Entity, NotBlankStr
from holdfast.entities.json import JsonHolder
from holdfast.entities.knowledge import OrgFactAuthor, OrgFactCategory
from holdfast.entities.levels import SeniorityLevel

__all__ = ["CategoryWriteRule", "ExtendedStoreConfig", "OrgMemoryConfig", "WriteAccessConfig"]


class CategoryWriteRule(Entity):
    """Which authors may write facts of a category."""

    allowed_seniority: SeniorityLevel | None = Field(
        default=None, description="Lowest rank of agents that may write; None for no agents"
    )
    human_allowed: bool = Field(default=True, description="Whether people may write")

    def allows(self, author: OrgFactAuthor) -> bool:
        """Return whether the author may write facts of the category."""
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
    """Which authors may write facts, by category.

    A category without a rule, as ``entity_definition`` by default, cannot be written at all.
    """

    rules: Annotated[
        dict[OrgFactCategory, CategoryWriteRule],
        AfterValidator(MappingProxyType),
        WrapSerializer(_plain),
    ] = Field(
        default_factory=_defaults,
        validate_default=True,
        description="Rule of each category; a read-only copy of what was given",
    )

    def allows(self, category: OrgFactCategory, author: OrgFactAuthor) -> bool:
        """Return whether the author may write facts of the category; False without a rule."""
        rule = self.rules.get(category)
        return rule is not None and rule.allows(author)


class ExtendedStoreConfig(Entity):
    """The store of the facts that are not configured."""

    backend: Literal["sqlite"] = Field(
        default="sqlite", description="Name of the store; ``sqlite`` is the only one"
    )
    max_retrieved_per_query: Annotated[Count, Field(ge=1, le=50)] = Field(
        default=5, description="Most facts that a query returns, 1 to 50"
    )


class OrgMemoryConfig(Entity):
    """How the organisation's memory is kept, and which authors may write to it."""

    backend: Literal["hybrid_prompt_retrieval"] = Field(
        default="hybrid_prompt_retrieval",
        description="Name of the backend; ``hybrid_prompt_retrieval`` is the only one",
    )
    core_policies: tuple[NotBlankStr, ...] = Field(
        default=(), description="Facts that are configured instead of stored, in order"
    )
    extended_store: ExtendedStoreConfig = Field(
        default_factory=ExtendedStoreConfig, description="The store of all other facts"
    )
    write_access: WriteAccessConfig = Field(
        default_factory=WriteAccessConfig, description="Which authors may write facts, by category"
    )
