"""``python -m own_models [URL]`` keeps the application's models in Holdfast's tables."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol, cast

from pydantic import BaseModel, HttpUrl

from holdfast import CostRecord, Message, PersistenceBackend, Task, create_backend
from own_models.models import Bill, Criterion, Link, Note, State, Text, WorkItem

ENTITIES: dict[type[BaseModel], type[BaseModel]] = {Task: WorkItem, Message: Note, CostRecord: Bill}


class WorkItems(Protocol):
    """What this application calls of ``backend.tasks``, which is annotated with `Task`."""

    async def save(self, item: WorkItem) -> None: ...

    async def get(self, item_id: str) -> WorkItem | None: ...

    async def claim(self, agent_id: str) -> WorkItem | None: ...


async def run(backend: PersistenceBackend) -> None:
    items = cast("WorkItems", backend.tasks)
    item = WorkItem(
        id="w-1",
        title="Compare prices",
        acceptance_criteria=[Criterion(description="three shops", weight=3)],
        estimate=timedelta(minutes=90),
        links=[Link(target=HttpUrl("https://example.org/shops"), title="shops")],
    )
    await items.save(item)
    claimed = await items.claim("grace")
    assert claimed == item.model_copy(update={"status": State.GIVEN, "assigned_to": "grace"})
    print(f"claimed: {claimed.title}, {claimed.estimate}, {claimed.links[0].target}")

    notes: Any = backend.messages
    await notes.save(Note(sender="ada", to="grace", channel="c", parts=[Text(text="Bonjour")]))
    await notes.save(
        Note(sender="grace", to="ada", channel="c", parts=[Text(text="Ja", language="de")])
    )
    newest = await notes.get_history("c", limit=1)
    older = await notes.get_history("c", after=newest[-1])
    print(f"said: {newest[0].parts[0].language}, then {older[0].parts[0].text}")

    bills: Any = backend.cost_records
    await bills.save(
        Bill(
            agent_id="grace",
            task_id="w-1",
            provider="example",
            model="small",
            input_tokens=900,
            output_tokens=120,
            cost_usd=0.25,
            timestamp=datetime.now(UTC),
            cents=Decimal("25.00"),
        )
    )
    (bill,) = await bills.query(agent_id="grace")
    print(f"spent: {await bills.aggregate()} of which {bill.cents} cents")


async def main(url: str) -> None:
    backend = create_backend(url, entities=ENTITIES)
    await backend.connect()
    try:
        await backend.migrate()
        await run(backend)
    finally:
        await backend.disconnect()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "sqlite:///:memory:"))
