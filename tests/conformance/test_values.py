"""Values at the edges of what engines hold, and texts that are promised back to the letter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast import Heartbeat, InvalidArgumentError, PersistenceBackend
from holdfast.testing.samples import required
from holdfast.testing.suite.base import fresh

from .samples import JSON, TEXT, full

EDGES = [
    datetime.min.replace(tzinfo=UTC),
    datetime.min.replace(tzinfo=UTC, microsecond=1),
    datetime.max.replace(tzinfo=UTC),
    datetime.max.replace(tzinfo=UTC, microsecond=999998),
    datetime(1, 1, 2, tzinfo=timezone(timedelta(hours=23))),
    datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2000, 1, 1, tzinfo=UTC),
    datetime(2026, 3, 29, 2, 30, tzinfo=timezone(timedelta(seconds=-4521))),
]
#: Which PostgreSQL's driver takes for infinity.
REFUSED = {EDGES[0], EDGES[2]}


@pytest.mark.parametrize("moment", EDGES, ids=str)
async def test_the_first_and_the_last_moments(
    backend: PersistenceBackend, moment: datetime
) -> None:
    beat = required(Heartbeat, execution_id="e", last_heartbeat_at=moment)
    if moment in REFUSED:
        with pytest.raises(InvalidArgumentError, match="last_heartbeat_at"):
            await backend.heartbeats.save(beat)
        assert await backend.heartbeats.get("e") is None
        return
    await backend.heartbeats.save(beat)
    stored = await backend.heartbeats.get("e")
    assert stored == beat
    assert stored is not None
    assert stored.last_heartbeat_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize("name", ["checkpoints", "parked_contexts"])
async def test_json_text_is_kept_to_the_letter(backend: PersistenceBackend, name: str) -> None:
    record = full()[name]
    await getattr(backend, name).save(record)
    if name == "checkpoints":
        checkpoint = await backend.checkpoints.get_latest(execution_id="e")
        assert checkpoint is not None
        assert checkpoint.context_json == JSON
    else:
        context = await backend.parked_contexts.get("p")
        assert context is not None
        assert context.context_json == JSON


@pytest.mark.parametrize(
    "deadline",
    ["2026-01-31", "2026-01-31T10:00:00+02:00", "2026-W05-6", "20260131T100000Z"],
)
async def test_deadlines_are_kept_to_the_letter(backend: PersistenceBackend, deadline: str) -> None:
    task = full()["tasks"].model_copy(update={"deadline": deadline})
    await backend.tasks.save(task)  # type: ignore[arg-type]
    assert (await backend.tasks.list_tasks())[0].deadline == deadline
    project = full()["projects"].model_copy(update={"deadline": deadline})
    await backend.projects.save(project)  # type: ignore[arg-type]
    assert (await backend.projects.list_projects())[0].deadline == deadline


@pytest.mark.parametrize("moment", ["", "yesterday", "2026-01-31T10:00:00Z", TEXT])
async def test_times_that_are_text_are_kept_to_the_letter(
    backend: PersistenceBackend, moment: str
) -> None:
    await backend.settings.set("n", "k", "v", moment)
    assert await backend.settings.get("n", "k") == ("v", moment)
    await backend.custom_presets.save("n", '{"b":1,"a":1}', "", moment, moment)
    assert await backend.custom_presets.get("n") == ('{"b":1,"a":1}', "", moment, moment)


names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20
).filter(lambda text: text.strip() != "")


@pytest.mark.asyncio(loop_scope="session")
@settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(one=names, other=names)
async def test_every_tenant_name_is_a_tenant(
    holdfast_shared: PersistenceBackend, one: str, other: str
) -> None:
    unique = fresh(holdfast_shared).tenant
    first = holdfast_shared.for_tenant(f"{unique}{one}|")
    second = holdfast_shared.for_tenant(f"{unique}{one}|{other}")
    await first.set_setting("k", one)
    await second.set_setting("k", other)
    assert await first.get_setting("k") == one
    assert await second.get_setting("k") == other


SET_MANY: dict[str, Any] = {
    "no namespace": [("n", "a", "v", "1"), (" ", "k", "v", "1")],
    "NUL in a key": [("n", "a", "v", "1"), ("n", "k\0", "v", "1")],
    "surrogate in a value": [("n", "a", "v", "1"), ("n", "k", "\ud800", "1")],
    "NUL in a time": [("n", "a", "v", "1"), ("n", "k", "v", "\0")],
    "a value that is no text": [("n", "a", "v", "1"), ("n", "k", None, "1")],
    "a key that is no text": [("n", "a", "v", "1"), ("n", 5, "v", "1")],
    "too short": [("n", "a", "v", "1"), ("n", "k", "v")],
    "too long": [("n", "a", "v", "1"), ("n", "k", "v", "1", "2")],
}


@pytest.mark.parametrize("name", SET_MANY)
async def test_set_many_is_refused_as_a_whole(backend: PersistenceBackend, name: str) -> None:
    with pytest.raises(InvalidArgumentError):
        await backend.settings.set_many(SET_MANY[name])
    assert await backend.settings.get_all() == ()
    async with backend.transaction() as tx:
        with pytest.raises(InvalidArgumentError):
            await tx.settings.set_many(SET_MANY[name])
        await tx.settings.set("n", "k", "v", "1")  # nothing was sent, so nothing failed
    assert await backend.settings.get_all() == (("n", "k", "v", "1"),)
