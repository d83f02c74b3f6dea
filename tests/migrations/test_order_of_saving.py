"""Databases from before the order of saving: carried over with their rows, also when cut short."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from holdfast import Message, PersistenceBackend, create_backend
from holdfast.testing.databases import connected

from .conftest import everything, run_sql

BEFORE = "0003"
NOW = datetime(2026, 5, 1, tzinfo=UTC)
KEYS = [f"00000000-0000-0000-0000-{number:012}" for number in (3, 1, 2, 9, 7)]
_MESSAGE = """
INSERT INTO messages (tenant, id, timestamp, sender, "to", type, priority, channel, parts, metadata)
VALUES ('default', '{key}', '2026-05-01T00:00:00.000000+00:00', 'a', 'b', 'announcement', 'normal',
        'c', '[{{"type": "text", "text": "x"}}]', '{{}}')
"""
_SPENT = """
INSERT INTO project_cost_aggregates (tenant, project_id, total_cost, total_input_tokens,
                                     total_output_tokens, record_count, last_updated)
VALUES ('default', 'p', 0.30000000000000004, 1, 1, 2, '2026-05-01T00:00:00.000000+00:00')
"""


def message(key: str) -> Message:
    return Message.model_validate(
        {
            "id": key, "timestamp": NOW, "from": "a", "to": "b", "channel": "c",
            "type": "announcement", "parts": [{"type": "text", "text": "x"}],
        }
    )  # fmt: skip


async def _go_back(backend: PersistenceBackend) -> None:
    """To the schema of before, with rows of the release that had it."""
    await backend.downgrade(BEFORE)
    await run_sql(backend, *(_MESSAGE.format(key=key) for key in KEYS[:3]), _SPENT)


async def test_rows_are_carried_over(migrated: PersistenceBackend) -> None:
    await _go_back(migrated)
    await migrated.migrate()
    assert await migrated.schema_drift() == []
    await migrated.messages.save(message(KEYS[3]))
    # While the new release is rolled out, the one before goes on writing, and knows no order.
    await run_sql(migrated, _MESSAGE.format(key=KEYS[4]))
    found = [str(one.id) for one in await migrated.messages.get_history("c")]
    assert found == [KEYS[3], *sorted([*KEYS[:3], KEYS[4]], reverse=True)]
    assert (await migrated.project_cost_aggregates.increment("p", 0.7, 1, 1)).total_cost == 1.0
    carried = await everything(migrated)
    await migrated.downgrade("base")
    await migrated.migrate()
    assert await everything(migrated) == carried


@pytest.mark.parametrize("committed", [True, False])
async def test_a_replacement_that_was_cut_short(postgres_url: str, committed: bool) -> None:
    """Killed while it built an index, and killed between dropping one and naming the next."""
    async with connected(create_backend(postgres_url)) as backend:
        complete = await everything(backend)
        await _go_back(backend)
        if committed:  # what came before the indexes was
            await backend.migrate()
            await backend.downgrade("0005")
            await run_sql(
                backend,
                "DROP INDEX ix_messages_timestamp",
                "CREATE INDEX ix_messages_timestamp_next"
                " ON messages (tenant, timestamp, saved_order, id)",
            )
        await run_sql(
            backend,
            "CREATE INDEX ix_messages_channel_next ON messages (tenant, id)",
            "UPDATE pg_index SET indisvalid = false"
            " WHERE indexrelid = 'ix_messages_channel_next'::regclass",
        )
        await backend.migrate()
        assert await everything(backend) == complete
        assert len(await backend.messages.get_history("c")) == 3
