"""What an agent remembers, and for how long."""

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
    WORKING = "working"
    EPISODIC = "episodic"
    SEMANTIC = "semantic"
    PROCEDURAL = "procedural"
    SOCIAL = "social"


class MemoryLevel(StrEnum):
    """From what outlives everything to what is not kept at all."""

    PERSISTENT = "persistent"
    PROJECT = "project"
    SESSION = "session"
    NONE = "none"


class ConsolidationInterval(StrEnum):
    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    NEVER = "never"


_Days = Annotated[Count, Field(ge=1)]


class AgentRetentionRule(Entity):
    """How long one category of memories is kept."""

    category: MemoryCategory
    retention_days: _Days


class MemoryConfig(Entity):
    """``retention_days`` of ``None`` are no limit; a category is overridden once.

    Who remembers nothing (``none``) has neither days nor overrides.
    """

    type: MemoryLevel = MemoryLevel.SESSION
    retention_days: _Days | None = None
    retention_overrides: tuple[AgentRetentionRule, ...] = ()

    @model_validator(mode="after")
    def _rules(self) -> Self:
        unique(tuple(o.category for o in self.retention_overrides), "retention_overrides")
        kept = self.retention_days is not None or self.retention_overrides
        if self.type is MemoryLevel.NONE and kept:
            raise ValueError("type none has no retention_days and no retention_overrides")
        return self
