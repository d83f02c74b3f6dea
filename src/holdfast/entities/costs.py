"""Costs of the calls of models."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import AwareDatetime, Field, model_validator

from holdfast.entities.base import Amount, Count, Entity, NotBlankStr

__all__ = ["CostRecord", "FinishReason", "LLMCallCategory", "ProjectCostAggregate"]


class LLMCallCategory(StrEnum):
    """What a model was called for."""

    PRODUCTIVE = "productive"
    COORDINATION = "coordination"
    SYSTEM = "system"
    EMBEDDING = "embedding"


class FinishReason(StrEnum):
    """Why a model stopped writing."""

    STOP = "stop"
    MAX_TOKENS = "max_tokens"
    TOOL_USE = "tool_use"
    CONTENT_FILTER = "content_filter"
    ERROR = "error"


class CostRecord(Entity):
    """The cost of one call of a model.

    A cost above 0 needs tokens, a ``retry_reason`` at least one retry.
    """

    agent_id: NotBlankStr = Field(description="Id of the agent that made the call")
    task_id: NotBlankStr = Field(
        description="Id of the task that the call served; need not be stored in ``tasks``"
    )
    provider: NotBlankStr = Field(description="Name of the provider that ran the model")
    model: NotBlankStr = Field(description="Name of the model, as the provider writes it")
    project_id: NotBlankStr | None = Field(
        default=None, description="Id of the project that pays; None if unknown"
    )
    input_tokens: Count = Field(description="Tokens sent to the model")
    output_tokens: Count = Field(description="Tokens that the model wrote")
    cost_usd: Amount = Field(description="Price of the call in US dollars; summed exactly to 1e-9")
    timestamp: AwareDatetime = Field(
        description="When the call was made; lists follow the order of saving instead"
    )
    call_category: LLMCallCategory | None = Field(
        default=None, description="What the call was for; None if not classified"
    )
    accuracy_effort_ratio: Amount | None = Field(
        default=None, description="Accuracy in relation to effort; None if not measured"
    )
    latency_ms: Amount | None = Field(
        default=None, description="Duration of the call in milliseconds; None if not measured"
    )
    cache_hit: bool | None = Field(
        default=None, description="Whether a cache of the provider answered; None if unknown"
    )
    retry_count: Count | None = Field(
        default=None, description="Attempts after the first one; None if not counted"
    )
    retry_reason: str | None = Field(
        default=None, description="Why the call was repeated; None if it was not, or if unknown"
    )
    finish_reason: FinishReason | None = Field(
        default=None, description="Why the model stopped writing; None if unknown"
    )
    success: bool | None = Field(
        default=None, description="Whether the call gave a usable answer; None if unknown"
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.cost_usd > 0 and not (self.input_tokens or self.output_tokens):
            raise ValueError("cost_usd above 0 needs input_tokens or output_tokens")
        if self.retry_reason is not None and not self.retry_count:
            raise ValueError("retry_reason needs a retry_count of at least 1")
        return self


class ProjectCostAggregate(Entity):
    """The spend of a project so far, kept by `increment`."""

    project_id: NotBlankStr = Field(description="Key; id of the project, which need not be stored")
    total_cost: Amount = Field(
        description="Sum of the costs in the unit they were given in, exact to 1e-9"
    )
    total_input_tokens: Count = Field(description="Sum of the tokens sent to models")
    total_output_tokens: Count = Field(description="Sum of the tokens that models wrote")
    record_count: Count = Field(description="Number of additions, not of stored cost records")
    last_updated: AwareDatetime = Field(
        description="When the last addition was made, by the clock of the process that made it"
    )
