"""What a ticket is."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import AwareDatetime, model_validator

from holdfast.extending import Entity, NotBlankStr

__all__ = ["Ticket", "TicketStatus"]


class TicketStatus(StrEnum):
    OPEN = "open"
    SOLVED = "solved"


class Ticket(Entity):
    """A question of a user, told from others by the ``reference`` of the letter that brought it.

    A ``solved`` ticket has a solution, an ``open`` one has none.
    """

    id: NotBlankStr
    reference: NotBlankStr
    requester_id: NotBlankStr
    subject: NotBlankStr
    tags: tuple[NotBlankStr, ...] = ()
    status: TicketStatus = TicketStatus.OPEN
    solution: NotBlankStr | None = None
    opened_at: AwareDatetime

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if (self.status is TicketStatus.SOLVED) != (self.solution is not None):
            raise ValueError("a solved ticket has a solution, and only a solved one")
        return self
