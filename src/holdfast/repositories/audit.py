"""Verdicts on the use of tools."""

from __future__ import annotations

import operator
from datetime import datetime
from typing import Protocol, get_args, runtime_checkable

from holdfast import validation
from holdfast.entities import ApprovalRiskLevel, AuditEntry, AuditVerdictStr
from holdfast.errors import InvalidArgumentError
from holdfast.schema.audit import audit_entries
from holdfast.storage.listing import EntityListing
from holdfast.storage.records import AppendOnly
from holdfast.storage.repository import Repository, provide
from holdfast.storage.statements import delete_up_to

__all__ = ["AuditRepositories", "AuditRepository"]


@runtime_checkable
class AuditRepository(Protocol):
    """The audit trail, append-only."""

    async def save(self, entry: AuditEntry) -> None:
        """Append an entry; `DuplicateRecordError` if the id is taken."""

    async def query(
        self,
        *,
        agent_id: str | None = None,
        action_type: str | None = None,
        verdict: AuditVerdictStr | None = None,
        risk_level: ApprovalRiskLevel | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = 100,
        after: AuditEntry | str | None = None,
    ) -> tuple[AuditEntry, ...]:
        """Return the entries that match all filters, newest first.

        Of equal times the last saved comes first. Both bounds are inclusive; an ``until`` before
        ``since`` is an `InvalidArgumentError`. ``limit=None`` returns all. ``after`` is the last
        entry seen, or its id.
        """

    async def purge_before(self, cutoff: datetime) -> int:
        """Delete the entries from before ``cutoff`` (not at it), and return how many."""


class AuditRepositories(Protocol):
    """The repositories of this module, as a backend or a transaction offers them."""

    @property
    def audit_entries(self) -> AuditRepository:
        """The audit trail, append-only."""
        return provide(self, _AuditEntries)


_ENTRIES = AppendOnly(audit_entries, AuditEntry)
_QUERY = EntityListing(
    "audit_entries.query",
    _ENTRIES.mapper,
    order=("timestamp", "saved_order", "id"),
    descending=True,
    filters={
        "agent_id": ("agent_id", operator.eq),
        "action_type": ("action_type", operator.eq),
        "verdict": ("verdict", operator.eq),
        "risk_level": ("risk_level", operator.eq),
        "since": ("timestamp", operator.ge),
        "until": ("timestamp", operator.le),
    },
)
_PURGE = delete_up_to(
    "audit_entries.purge_before", audit_entries, "timestamp", operator.lt, "cutoff"
)


class _AuditEntries(Repository, AuditRepository):
    table = audit_entries

    async def save(self, entry: AuditEntry) -> None:
        await _ENTRIES.save(self, entry)

    async def query(
        self,
        *,
        agent_id: str | None = None,
        action_type: str | None = None,
        verdict: AuditVerdictStr | None = None,
        risk_level: ApprovalRiskLevel | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = 100,
        after: AuditEntry | str | None = None,
    ) -> tuple[AuditEntry, ...]:
        name = _QUERY.name
        filters = {
            "agent_id": validation.optional(validation.text, agent_id, f"{name}: agent_id"),
            "action_type": validation.optional(
                validation.text, action_type, f"{name}: action_type"
            ),
            "verdict": self._choice(
                _ENTRIES.mapper, "verdict", verdict, get_args(AuditVerdictStr), f"{name}: verdict"
            ),
            "risk_level": self._choice(
                _ENTRIES.mapper, "risk_level", risk_level, ApprovalRiskLevel, f"{name}: risk_level"
            ),
            "since": validation.optional(validation.instant, since, f"{name}: since"),
            "until": validation.optional(validation.instant, until, f"{name}: until"),
        }
        if since is not None and until is not None and until < since:
            raise InvalidArgumentError(f"{name}: until lies before since")
        return await _QUERY.fetch(self, filters, limit=limit, after=after)

    async def purge_before(self, cutoff: datetime) -> int:
        when = validation.instant(cutoff, f"{_PURGE.name}: cutoff")
        return await self._session.execute(_PURGE, (self._tenant, when))
