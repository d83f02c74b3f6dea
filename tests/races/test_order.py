"""Order: what processes save one after the other stands so in a history."""

from __future__ import annotations

from datetime import UTC, datetime

from holdfast import Message, PersistenceBackend, TextPart

from .racers import PROCESSES, Race, Racer

NOW = datetime(2026, 5, 1, tzinfo=UTC)
ROUNDS = 5


async def _say_in_turn(racer: Racer) -> None:
    for turn in range(PROCESSES * ROUNDS):
        await racer.meet()
        # Each round another process begins.
        if (turn + turn // PROCESSES) % PROCESSES == racer.number:
            said = Message(
                timestamp=NOW, sender=racer.name, to="all", channel="c", type="announcement",
                parts=[TextPart(text=f"{turn}")],
            )  # fmt: skip
            await racer.backend.messages.save(said)


async def test_processes_that_take_turns(race: Race, backend: PersistenceBackend) -> None:
    await race(_say_in_turn)
    said = [int(one.text) for one in await backend.messages.get_history("c")]
    assert said == list(range(PROCESSES * ROUNDS))[::-1]
