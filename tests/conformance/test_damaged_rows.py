"""Values that only one engine lets into a row."""

from __future__ import annotations

from datetime import timedelta

import pytest

from holdfast import Heartbeat, PersistenceBackend, QueryError
from holdfast.testing.samples import required

from .test_bad_input import run_sql

UNREADABLE = {
    "sqlite": [
        "last_heartbeat_at = 'yesterday'",
        "last_heartbeat_at = '2026-01-31'",
        "agent_id = x'ff'",
        "agent_id = CAST(x'ff' AS TEXT)",
    ],
    "postgres": [
        "last_heartbeat_at = 'infinity'",
        "last_heartbeat_at = '-infinity'",
        "last_heartbeat_at = '20000-01-01'",
        "last_heartbeat_at = '0044-03-15 BC'",
    ],
}


@pytest.mark.parametrize("number", range(4))
async def test_what_the_driver_cannot_read_is_an_error_of_its_row_alone(
    backend: PersistenceBackend, number: int
) -> None:
    damage = UNREADABLE[backend.backend_name][number]
    beat = required(Heartbeat, execution_id="e")
    await backend.heartbeats.save(beat)
    await backend.heartbeats.save(beat.model_copy(update={"execution_id": "fine"}))
    await run_sql(backend, f"UPDATE heartbeats SET {damage} WHERE execution_id = 'e'")
    with pytest.raises(QueryError):
        await backend.heartbeats.get("e")
    assert await backend.heartbeats.get("fine") is not None
    assert await backend.heartbeats.delete("e") is True
    assert len(await backend.heartbeats.get_stale(beat.last_heartbeat_at + timedelta(days=1))) == 1
