"""How tickets are reached."""

from __future__ import annotations

import operator

from sqlalchemy import literal_column

from helpdesk.entities import Ticket, TicketStatus
from helpdesk.schema import tickets
from holdfast.extending import EntityListing, Keyed, Repository, transition, validation

__all__ = ["Tickets"]

_TICKETS = Keyed(tickets, Ticket)
_LIST = EntityListing(
    "helpdesk_tickets.list_tickets",
    _TICKETS.mapper,
    order=("opened_at", "id"),
    filters={
        "status": ("status", operator.eq),
        "requester_id": ("requester_id", operator.eq),
    },
)
_SOLVE = transition(
    "helpdesk_tickets.solve",
    tickets,
    ("status", "solution"),
    when=tickets.c.status == literal_column("'open'"),
)


class Tickets(Repository):
    """Tickets by ``id``."""

    table = tickets

    async def save(self, ticket: Ticket) -> None:
        """Insert, or replace the stored ticket."""
        await _TICKETS.save(self, ticket)

    async def get(self, ticket_id: str) -> Ticket | None:
        return await _TICKETS.get(self, ticket_id)

    async def delete(self, ticket_id: str) -> bool:
        return await _TICKETS.delete(self, ticket_id)

    async def list_tickets(
        self,
        *,
        status: TicketStatus | None = None,
        requester_id: str | None = None,
        limit: int | None = None,
        after: Ticket | str | None = None,
    ) -> tuple[Ticket, ...]:
        """The oldest first."""
        name = _LIST.name
        filters = {
            "status": validation.optional(
                validation.choice, status, TicketStatus, f"{name}: status"
            ),
            "requester_id": validation.optional(
                validation.text, requester_id, f"{name}: requester_id"
            ),
        }
        return await _LIST.fetch(self, filters, limit=limit, after=after)

    async def solve(self, ticket_id: str, solution: str) -> bool:
        """Solve an open ticket: of several callers at once, one (True)."""
        arguments = (
            self._tenant,
            validation.not_blank(ticket_id, f"{_SOLVE.name}: ticket_id"),
            TicketStatus.SOLVED.value,
            validation.not_blank(solution, f"{_SOLVE.name}: solution"),
        )
        return await self._session.execute(_SOLVE, arguments) > 0
