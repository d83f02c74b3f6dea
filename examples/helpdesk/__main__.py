"""``python -m helpdesk [URL]`` stores some tickets and solves one."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta

from helpdesk import HELPDESK, Ticket, Tickets, TicketStatus
from holdfast import (
    ConstraintViolationError,
    HumanRole,
    PersistenceBackend,
    User,
    create_backend,
)

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


async def run(backend: PersistenceBackend) -> None:
    ada = User(
        id="ada",
        username="ada",
        password_hash="",
        role=HumanRole.MANAGER,
        created_at=NOON,
        updated_at=NOON,
    )
    await backend.users.save(ada)

    # Holdfast's repositories and the application's own, in one transaction.
    async with backend.transaction() as tx:
        for number in range(5):
            ticket = Ticket(
                id=f"t-{number}",
                reference=f"letter {number}",
                requester_id="ada",
                subject="The printer is on fire",
                opened_at=NOON + timedelta(minutes=number),
            )
            await tx.repository(Tickets).save(ticket)
        await tx.settings.set("helpdesk", "last_letter", "4", NOON.isoformat())

    tickets = backend.repository(Tickets)
    solved = [await tickets.solve("t-0", "Water"), await tickets.solve("t-0", "More water")]
    print(f"solved by the first of two callers: {solved}")

    page = await tickets.list_tickets(status=TicketStatus.OPEN, limit=3)
    while page:
        print(f"open: {', '.join(ticket.id for ticket in page)}")
        page = await tickets.list_tickets(status=TicketStatus.OPEN, limit=3, after=page[-1])

    try:
        await tickets.save(ticket.model_copy(update={"id": "t-9"}))
    except ConstraintViolationError as error:
        print(f"refused by {error.constraint}")
    print(f"acme has {len(await backend.for_tenant('acme').repository(Tickets).list_tickets())}")
    print(f"schema differs in {await backend.schema_drift()}")


async def main(url: str) -> None:
    backend = create_backend(url, extensions=[HELPDESK])
    await backend.connect()
    try:
        await backend.migrate()
        await run(backend)
    finally:
        await backend.disconnect()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "sqlite:///:memory:"))
