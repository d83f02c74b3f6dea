"""How long the memories of an agent are kept."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from holdfast.entities.base import Count, Entity, unique

__all__ = [
    "AgentRetentionRule",
    "ConsolidationInterval",
    "MemoryCategory",
    "MemoryConfig",
    "MemoryLevel",
]


class MemoryCategory(StrEnum):
    """Kind of content of a memory."""

    WORKING = "working"
    EPISODIC = "episodic"
    SEMANTIC = "semantic"
    PROCEDURAL = "procedural"
    SOCIAL = "social"


class MemoryLevel(StrEnum):
    """Lifetime of memories, from the longest to none at all."""

    PERSISTENT = "persistent"
    PROJECT = "project"
    SESSION = "session"
    NONE = "none"


class ConsolidationInterval(StrEnum):
    """How often memories are consolidated."""

    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    NEVER = "never"


_Days = Annotated[Count, Field(ge=1)]


class AgentRetentionRule(Entity):
    """Retention of one category of memories."""

    category: MemoryCategory = Field(description="Category that the rule is for")
    retention_days: _Days = Field(
        description="Days that memories of the category are kept; at least 1"
    )


class MemoryConfig(Entity):
    """Lifetime and retention of an agent's memories; type ``none`` allows no retention."""

    type: MemoryLevel = Field(default=MemoryLevel.SESSION, description="Lifetime of the memories")
    retention_days: _Days | None = Field(
        default=None, description="Days that memories are kept, at least 1; None for no limit"
    )
    retention_overrides: tuple[AgentRetentionRule, ...] = Field(
        default=(), description="Exceptions for single categories; at most one per category"
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        unique(tuple(o.category for o in self.retention_overrides), "retention_overrides")
        kept = self.retention_days is not None or self.retention_overrides
        if self.type is MemoryLevel.NONE and kept:
            raise ValueError("type none has no retention_days and no retention_overrides")
        return self
