"""Values that only one engine lets into a row."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from holdfast import Heartbeat, MalformedRow, MalformedRowError, Message, PersistenceBackend
from holdfast.storage.session import CHUNK
from holdfast.testing.samples import required

from ..binding.test_own_classes import opened
from .test_bad_input import run_sql

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)

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


async def beats(backend: PersistenceBackend, *names: str) -> None:
    calls = (backend.heartbeats.save(required(Heartbeat, execution_id=name)) for name in names)
    await asyncio.gather(*calls)


@pytest.mark.alone
@pytest.mark.parametrize("number", range(4))
async def test_what_the_driver_cannot_read_is_an_error_of_its_row_alone(
    backend: PersistenceBackend, number: int
) -> None:
    damage = UNREADABLE[backend.backend_name][number]
    names = [f"e-{number}" for number in range(6)]
    await beats(backend, *names)
    await run_sql(backend, f"UPDATE heartbeats SET {damage} WHERE execution_id = 'e-3'")
    others = [name for name in names if name != "e-3"]
    calls = (backend.heartbeats.get(name) for name in names)
    found = dict(zip(names, await asyncio.gather(*calls, return_exceptions=True), strict=True))
    assert all(isinstance(found[name], Heartbeat) for name in others)
    errors = [found["e-3"]]
    late = datetime(9999, 1, 1, tzinfo=UTC)
    with pytest.raises(MalformedRowError) as caught:
        await backend.heartbeats.get("e-3")
    errors.append(caught.value)
    async with backend.transaction() as tx:
        with pytest.raises(MalformedRowError) as caught:
            await tx.heartbeats.get("e-3")
        errors.append(caught.value)
        assert await tx.heartbeats.get("e-1") == found["e-1"]  # it goes on
        await tx.settings.set("n", "k", "v", "1")
    assert await backend.settings.get("n", "k") == ("v", "1")
    for error in errors:
        assert isinstance(error, MalformedRowError)
        assert error.table == "heartbeats"
        assert error.key == ("e-3",)
        assert error.is_retryable is False
    report: list[MalformedRow] = []
    lenient = backend.skipping_malformed(report.append)
    listed = {beat.execution_id for beat in await lenient.heartbeats.get_stale(late)}
    assert listed | {row.key[0] for row in report} >= set(others)
    assert {row.key for row in report} <= {("e-3",)}
    assert await backend.heartbeats.delete("e-3") is True
    assert len(await backend.heartbeats.get_stale(late)) == 5


@pytest.mark.alone
@pytest.mark.parametrize("number", range(2))
async def test_a_long_list_is_read_around_what_the_driver_cannot_read(
    backend: PersistenceBackend, number: int
) -> None:
    """Also when the row comes in a later piece of the stream than the first."""
    messages = [
        required(Message, id=UUID(int=n), channel="c", timestamp=NOON - timedelta(seconds=n))
        for n in range(2 * CHUNK + 5)
    ]
    await asyncio.gather(*(backend.messages.save(message) for message in messages))
    place = (2 * CHUNK + 2, CHUNK - 1)[number]
    damage = {
        "sqlite": ("sender = CAST(x'ff' AS TEXT)", "sender = x'ff'"),
        "postgres": ("timestamp = '0044-03-15 BC'", "timestamp = '20000-01-01'"),
    }[backend.backend_name][number]
    await run_sql(backend, f"UPDATE messages SET {damage} WHERE id = '{UUID(int=place)}'")
    with pytest.raises(MalformedRowError) as caught:
        await backend.messages.get_history("c")
    assert caught.value.key == (str(UUID(int=place)),)
    report: list[MalformedRow] = []
    lenient = backend.skipping_malformed(report.append)
    found = await lenient.messages.get_history("c")
    assert found == tuple(message for n, message in enumerate(messages) if n != place)
    assert [row.key for row in report] == [(str(UUID(int=place)),)]


PLAIN: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "settings.value": lambda b: b.settings.get("n", "k"),
    "settings.updated_at": lambda b: b.settings.get_namespace("n"),
    "settings.value ": lambda b: b.settings.get_all(),
    "custom_presets.description": lambda b: b.custom_presets.get("n"),
    "custom_presets.config_json": lambda b: b.custom_presets.list_all(),
}


@pytest.mark.parametrize("place", PLAIN)
async def test_rows_that_are_no_entity_are_named_as_well(sqlite_url: str, place: str) -> None:
    """PostgreSQL lets no such text in."""
    async with opened(sqlite_url) as backend:
        await backend.settings.set("n", "k", "v", "1")
        await backend.custom_presets.save("n", "{}", "", "1", "1")
        table, column = place.strip().split(".")
        await run_sql(backend, f"UPDATE {table} SET {column} = CAST(x'ff' AS TEXT)")
        with pytest.raises(MalformedRowError, match=column) as caught:
            await PLAIN[place](backend)
        assert caught.value.table == table
        assert caught.value.key == (("n", "k") if table == "settings" else ("n",))
