"""Actions that wait for a person."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import AwareDatetime, Field, model_validator

from holdfast.entities.audit import ApprovalRiskLevel
from holdfast.entities.base import Entity, NotBlankStr, new_id

__all__ = ["ApprovalItem", "ApprovalStatus"]


class ApprovalStatus(StrEnum):
    """Whether an action was decided on; all but ``pending`` are final."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


class ApprovalItem(Entity):
    """An action that waits for the decision of a person, or waited for it."""

    id: NotBlankStr = Field(
        default_factory=new_id, description="Key; a random UUID as text if not given"
    )
    action_type: NotBlankStr = Field(
        description="The action asked for, by convention ``category:action``"
    )
    title: NotBlankStr = Field(description="Short name for the list of open approvals")
    description: str = Field(default="", description="What would happen and why; may be empty")
    requested_by: NotBlankStr = Field(description="Id of the agent that wants to act")
    risk_level: ApprovalRiskLevel = Field(description="How much harm the action could do")
    status: ApprovalStatus = Field(
        default=ApprovalStatus.PENDING, description="Whether and how it was decided"
    )
    created_at: AwareDatetime = Field(
        description="When the approval was asked for; lists return the newest first"
    )
    expires_at: AwareDatetime | None = Field(
        default=None, description="When waiting ends, after ``created_at``; None for never"
    )
    decided_at: AwareDatetime | None = Field(
        default=None, description="When it was decided or expired; None exactly while pending"
    )
    decided_by: NotBlankStr | None = Field(
        default=None, description="Id of the user that decided; set exactly if approved or rejected"
    )
    decision_reason: NotBlankStr | None = Field(
        default=None, description="Why it was decided so; required if rejected"
    )
    task_id: NotBlankStr | None = Field(
        default=None, description="Id of the task that the action belongs to; None if to none"
    )
    metadata: dict[str, str] = Field(default_factory=dict, description="Further text by key")

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.expires_at is not None and self.expires_at <= self.created_at:
            raise ValueError("expires_at must lie behind created_at")
        if (self.decided_at is None) is not (self.status is ApprovalStatus.PENDING):
            raise ValueError("decided_at is set exactly when the item is not pending")
        decided = self.status in (ApprovalStatus.APPROVED, ApprovalStatus.REJECTED)
        if (self.decided_by is not None) is not decided:
            raise ValueError("decided_by is set exactly when the item was approved or rejected")
        if self.status is ApprovalStatus.REJECTED and self.decision_reason is None:
            raise ValueError("a rejected item needs a decision_reason")
        return self
