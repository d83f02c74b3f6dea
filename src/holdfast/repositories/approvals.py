"""Actions that wait for the decision of a person."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from sqlalchemy import literal_column

from holdfast import validation
from holdfast.entities import ApprovalItem, ApprovalRiskLevel, ApprovalStatus
from holdfast.errors import InvalidArgumentError
from holdfast.schema.approvals import approvals
from holdfast.storage.listing import EntityListing
from holdfast.storage.records import Keyed
from holdfast.storage.repository import Repository, provide
from holdfast.storage.statements import transition

__all__ = ["ApprovalRepositories", "ApprovalRepository"]


@runtime_checkable
class ApprovalRepository(Protocol):
    """Actions that wait for a person, by ``id``."""

    async def save(self, item: ApprovalItem) -> None:
        """Save an item: insert it, or replace the one with its id."""

    async def save_many(self, items: Sequence[ApprovalItem]) -> None:
        """Save all items or, on an error, none; of equal ids the last."""

    async def get(self, approval_id: str) -> ApprovalItem | None:
        """Return the item with this id; ``None`` if there is none."""

    async def list_items(
        self,
        *,
        status: ApprovalStatus | None = None,
        risk_level: ApprovalRiskLevel | None = None,
        action_type: str | None = None,
        limit: int | None = 100,
        offset: int = 0,
        after: ApprovalItem | str | None = None,
    ) -> tuple[ApprovalItem, ...]:
        """Return the items that match all filters, newest first.

        Equal times by id, the greatest first. ``limit=None`` returns all. Prefer ``after`` to
        ``offset``. ``after`` is the last item seen, or its id.
        """

    async def decide(
        self,
        approval_id: str,
        *,
        status: ApprovalStatus,
        decided_by: str,
        decided_at: datetime,
        reason: str | None = None,
    ) -> bool:
        """Approve or reject a pending item; False if there is none or it is not pending.

        One statement: of several callers at once one decides. A rejection without a ``reason`` is
        an `InvalidArgumentError`.
        """

    async def expire_if_pending(self, approval_id: str, *, expired_at: datetime) -> bool:
        """Mark a pending item as expired; False if there is none or it is not pending.

        ``expires_at`` is not looked at.
        """

    async def delete(self, approval_id: str) -> bool:
        """Delete the item; False if there is none."""


class ApprovalRepositories(Protocol):
    """The repositories of this module, as a backend or a transaction offers them."""

    @property
    def approvals(self) -> ApprovalRepository:
        """Actions that wait for the decision of a person, by ``id``."""
        return provide(self, _Approvals)


_APPROVALS = Keyed(approvals, ApprovalItem)
_PENDING = approvals.c.status == literal_column("'pending'")
_LIST_ITEMS = EntityListing(
    "approvals.list_items",
    _APPROVALS.mapper,
    order=("created_at", "id"),
    descending=True,
    filters={
        "status": ("status", operator.eq),
        "risk_level": ("risk_level", operator.eq),
        "action_type": ("action_type", operator.eq),
    },
)
_DECIDE = transition(
    "approvals.decide",
    approvals,
    ("status", "decided_by", "decided_at", "decision_reason"),
    when=_PENDING,
)
_EXPIRE = transition(
    "approvals.expire_if_pending", approvals, ("status", "decided_at"), when=_PENDING
)


class _Approvals(Repository, ApprovalRepository):
    table = approvals

    async def save(self, item: ApprovalItem) -> None:
        await _APPROVALS.save(self, item)

    async def save_many(self, items: Sequence[ApprovalItem]) -> None:
        await _APPROVALS.save_many(self, items)

    async def get(self, approval_id: str) -> ApprovalItem | None:
        return await _APPROVALS.get(self, approval_id)

    async def list_items(
        self,
        *,
        status: ApprovalStatus | None = None,
        risk_level: ApprovalRiskLevel | None = None,
        action_type: str | None = None,
        limit: int | None = 100,
        offset: int = 0,
        after: ApprovalItem | str | None = None,
    ) -> tuple[ApprovalItem, ...]:
        name = _LIST_ITEMS.name
        filters = {
            "status": validation.optional(
                validation.choice, status, ApprovalStatus, f"{name}: status"
            ),
            "risk_level": self._choice(
                _APPROVALS.mapper,
                "risk_level",
                risk_level,
                ApprovalRiskLevel,
                f"{name}: risk_level",
            ),
            "action_type": validation.optional(
                validation.text, action_type, f"{name}: action_type"
            ),
        }
        return await _LIST_ITEMS.fetch(self, filters, limit=limit, after=after, offset=offset)

    async def decide(
        self,
        approval_id: str,
        *,
        status: ApprovalStatus,
        decided_by: str,
        decided_at: datetime,
        reason: str | None = None,
    ) -> bool:
        name = _DECIDE.name
        decisions = (ApprovalStatus.APPROVED.value, ApprovalStatus.REJECTED.value)
        chosen = validation.choice(status, decisions, f"{name}: status")
        if chosen == ApprovalStatus.REJECTED and reason is None:
            raise InvalidArgumentError(f"{name}: a rejection needs a reason")
        arguments = (
            self._tenant,
            validation.not_blank(approval_id, f"{name}: approval_id"),
            chosen,
            validation.not_blank(decided_by, f"{name}: decided_by"),
            validation.instant(decided_at, f"{name}: decided_at"),
            validation.optional(validation.not_blank, reason, f"{name}: reason"),
        )
        return await self._session.execute(_DECIDE, arguments) > 0

    async def expire_if_pending(self, approval_id: str, *, expired_at: datetime) -> bool:
        name = _EXPIRE.name
        arguments = (
            self._tenant,
            validation.not_blank(approval_id, f"{name}: approval_id"),
            ApprovalStatus.EXPIRED.value,
            validation.instant(expired_at, f"{name}: expired_at"),
        )
        return await self._session.execute(_EXPIRE, arguments) > 0

    async def delete(self, approval_id: str) -> bool:
        return await _APPROVALS.delete(self, approval_id)
