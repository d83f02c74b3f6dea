"""A help desk beside an organisation: an entity, a table and a repository outside of Holdfast."""

from helpdesk.entities import Ticket, TicketStatus
from helpdesk.extension import HELPDESK
from helpdesk.repository import Tickets

__all__ = ["HELPDESK", "Ticket", "TicketStatus", "Tickets"]
