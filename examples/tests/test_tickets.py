"""The repository of an extension keeps what Holdfast's own keep, and its own promises."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from helpdesk import Ticket, Tickets, TicketStatus
from holdfast import ConstraintViolationError, HumanRole, PersistenceBackend, User
from holdfast.testing import samples
from holdfast.testing.subjects import NAMES, Listed, Make, Subject
from holdfast.testing.suite import RepositorySuite


def _solved_with_a_solution(values: dict[str, Any]) -> dict[str, Any]:
    if values.get("status", TicketStatus.OPEN) != TicketStatus.SOLVED:
        return values | {"solution": None}
    return values if values.get("solution") else values | {"solution": "Water"}


samples.register(Ticket, _solved_with_a_solution)


async def _requester(backend: Any, ticket: Any, make: Make) -> None:
    user = make(User, id=ticket.requester_id, username=ticket.requester_id, role=HumanRole.MANAGER)
    await backend.users.save(user)


TICKETS = Subject(
    "tickets",
    Ticket,
    repository=Tickets,
    prepare=_requester,
    belongs=("requester_id",),
    lists=(
        Listed(
            "list_tickets",
            order=("opened_at", "id"),
            filters={"status": "status", "requester_id": "requester_id"},
        ),
    ),
    fields={"reference": NAMES.__getitem__},
)


class TestTickets(RepositorySuite):
    """What the conformance kit asks of every repository."""

    subject = TICKETS


async def _save(backend: PersistenceBackend, **fields: Any) -> Ticket:
    ticket = TICKETS.required(**fields)
    await TICKETS.put(backend, ticket)
    return ticket


async def test_one_of_many_solves(holdfast_backend: PersistenceBackend) -> None:
    ticket = await _save(holdfast_backend)
    tickets = holdfast_backend.repository(Tickets)
    answers = await asyncio.gather(*(tickets.solve(ticket.id, f"by {n}") for n in range(8)))
    assert sorted(answers) == [False] * 7 + [True]
    stored = await tickets.get(ticket.id)
    assert stored is not None
    assert stored.status is TicketStatus.SOLVED
    assert stored.solution == f"by {answers.index(True)}"


async def test_a_letter_opens_one_ticket(holdfast_backend: PersistenceBackend) -> None:
    ticket = await _save(holdfast_backend)
    tickets = holdfast_backend.repository(Tickets)
    with pytest.raises(ConstraintViolationError) as refused:
        await tickets.save(ticket.model_copy(update={"id": "another"}))
    assert refused.value.constraint == "helpdesk_tickets.reference"


async def test_a_requester_is_a_user(holdfast_backend: PersistenceBackend) -> None:
    with pytest.raises(ConstraintViolationError) as refused:
        await holdfast_backend.repository(Tickets).save(TICKETS.required())
    assert refused.value.constraint == "helpdesk_tickets.requester_id"


async def test_tickets_go_with_their_requester(holdfast_backend: PersistenceBackend) -> None:
    ticket = await _save(holdfast_backend)
    await holdfast_backend.users.delete(ticket.requester_id)
    assert await holdfast_backend.repository(Tickets).get(ticket.id) is None


async def test_the_migrations_make_the_tables(holdfast_backend: PersistenceBackend) -> None:
    differences = await holdfast_backend.schema_drift()
    assert [line for line in differences if "helpdesk" in line] == []
