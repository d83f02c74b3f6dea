"""What agents spend."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import AwareDatetime, model_validator

from holdfast.entities.base import Amount, Count, Entity, NotBlankStr

__all__ = ["CostRecord", "FinishReason", "LLMCallCategory", "ProjectCostAggregate"]


class LLMCallCategory(StrEnum):
    PRODUCTIVE = "productive"
    COORDINATION = "coordination"
    SYSTEM = "system"
    EMBEDDING = "embedding"


class FinishReason(StrEnum):
    STOP = "stop"
    MAX_TOKENS = "max_tokens"
    TOOL_USE = "tool_use"
    CONTENT_FILTER = "content_filter"
    ERROR = "error"


class CostRecord(Entity):
    """One call of a model. What costs something used tokens; a retry reason needs a retry."""

    agent_id: NotBlankStr
    task_id: NotBlankStr
    provider: NotBlankStr
    model: NotBlankStr
    project_id: NotBlankStr | None = None
    input_tokens: Count
    output_tokens: Count
    cost_usd: Amount
    timestamp: AwareDatetime
    call_category: LLMCallCategory | None = None
    accuracy_effort_ratio: Amount | None = None
    latency_ms: Amount | None = None
    cache_hit: bool | None = None
    retry_count: Count | None = None
    retry_reason: str | None = None
    finish_reason: FinishReason | None = None
    success: bool | None = None

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.cost_usd > 0 and not (self.input_tokens or self.output_tokens):
            raise ValueError("cost_usd above 0 needs input_tokens or output_tokens")
        if self.retry_reason is not None and not self.retry_count:
            raise ValueError("retry_reason needs a retry_count of at least 1")
        return self


class ProjectCostAggregate(Entity):
    """What a project has spent so far; ``record_count`` is how often something was added."""

    project_id: NotBlankStr
    total_cost: Amount
    total_input_tokens: Count
    total_output_tokens: Count
    record_count: Count
    last_updated: AwareDatetime
