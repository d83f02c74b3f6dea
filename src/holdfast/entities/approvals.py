"""Actions that wait for a person."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import AwareDatetime, Field, model_validator

from holdfast.entities.audit import ApprovalRiskLevel
from holdfast.entities.base import Entity, NotBlankStr, new_id

__all__ = ["ApprovalItem", "ApprovalStatus"]


class ApprovalStatus(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


class ApprovalItem(Entity):
    """An action that waits for a person, or waited.

    ``decided_by`` is set when it was approved or rejected, ``decided_at`` when it is not pending
    any more; what is rejected has a ``decision_reason``.
    """

    id: NotBlankStr = Field(default_factory=new_id)
    action_type: NotBlankStr
    title: NotBlankStr
    description: str = ""
    requested_by: NotBlankStr
    risk_level: ApprovalRiskLevel
    status: ApprovalStatus = ApprovalStatus.PENDING
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    decided_at: AwareDatetime | None = None
    decided_by: NotBlankStr | None = None
    decision_reason: NotBlankStr | None = None
    task_id: NotBlankStr | None = None
    metadata: dict[str, str] = Field(default_factory=dict)

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
