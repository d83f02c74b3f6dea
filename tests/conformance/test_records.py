"""Messages, costs, audit, runs, people and settings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from holdfast import (
    AgentRuntimeState,
    ApiKey,
    AuditEntry,
    Checkpoint,
    ConstraintViolationError,
    CostRecord,
    DuplicateRecordError,
    Heartbeat,
    InvalidArgumentError,
    Message,
    ParkedContext,
    PersistenceBackend,
    User,
)

NOW = datetime(2026, 1, 31, 9, 0, 0, 1, tzinfo=UTC)


def at(seconds: float, hours: int = 0) -> datetime:
    """An instant some seconds on, said in another time zone."""
    return (NOW + timedelta(seconds=seconds)).astimezone(timezone(timedelta(hours=hours)))


def message(number: int, when: datetime, channel: str = "c") -> Message:
    return Message.model_validate(
        {
            "id": f"00000000-0000-0000-0000-{number:012}", "timestamp": when,
            "from": "a", "to": "b", "type": "question", "channel": channel,
            "parts": [{"type": "text", "text": "x"}],
        }
    )  # fmt: skip


async def test_history_is_newest_first_whatever_the_time_zone(
    backend: PersistenceBackend,
) -> None:
    saved = [message(1, at(0, 5)), message(2, at(2, -7)), message(3, at(1, 1)), message(4, at(2))]
    for one in (*saved, message(9, at(9), "other")):
        await backend.messages.save(one)
    found = await backend.messages.get_history("c")
    assert found == (saved[3], saved[1], saved[2], saved[0])  # equal times: greatest id first
    assert await backend.messages.get_history("c", limit=2) == found[:2]
    assert await backend.messages.get_history("c", limit=2, after=found[1]) == found[2:]
    assert await backend.messages.get_history("c", after=str(found[2].id)) == found[3:]
    assert await backend.messages.get_history("empty") == ()


async def test_a_message_is_written_once(backend: PersistenceBackend) -> None:
    await backend.messages.save(message(1, at(0)))
    with pytest.raises(DuplicateRecordError):
        await backend.messages.save(message(1, at(5)))
    assert await backend.messages.get_history("c") == (message(1, at(0)),)


def cost(agent: str, task: str, dollars: float) -> CostRecord:
    return CostRecord(
        agent_id=agent, task_id=task, provider="p", model="m", input_tokens=1, output_tokens=0,
        cost_usd=dollars, timestamp=NOW,
    )  # fmt: skip


async def test_costs_add_up_in_the_order_of_saving(backend: PersistenceBackend) -> None:
    records = [cost("a", "t", 0.5), cost("b", "t", 0.25), cost("a", "u", 2.0), cost("a", "t", 0.5)]
    for record in records:
        await backend.cost_records.save(record)
    costs = backend.cost_records
    assert await costs.query() == tuple(records)
    assert await costs.query(agent_id="a", task_id="t") == (records[0], records[3])
    assert await costs.aggregate() == 3.25
    assert await costs.aggregate(agent_id="a") == 3.0
    assert await costs.aggregate(agent_id="a", task_id="t") == 1.0
    assert await costs.aggregate(task_id="none") == 0.0
    seen: list[CostRecord] = []
    page = await costs.query(limit=3)
    while page:
        seen += page
        page = await costs.query(limit=3, after=page[-1])
    assert seen == records
    with pytest.raises(InvalidArgumentError):
        await costs.query(after=records[0])


def entry(key: str, when: datetime, **fields: Any) -> AuditEntry:
    return AuditEntry.model_validate(
        {
            "id": key, "timestamp": when, "tool_name": "t", "tool_category": "web",
            "action_type": "web:read", "arguments_hash": "0" * 64, "verdict": "allow",
            "risk_level": "low", "reason": "r", "evaluation_duration_ms": 0.0, **fields,
        }
    )  # fmt: skip


async def test_audit(backend: PersistenceBackend) -> None:
    entries = [
        entry("a", at(0), agent_id="x"), entry("b", at(1, 3), verdict="deny", agent_id="x"),
        entry("c", at(1, -3), risk_level="high"), entry("d", at(2), action_type="code:run"),
    ]  # fmt: skip
    for one in entries:
        await backend.audit_entries.save(one)
    a, b, c, d = entries
    query = backend.audit_entries.query
    assert await query() == (d, c, b, a)
    assert await query(agent_id="x") == (b, a)
    assert await query(agent_id="x", verdict="deny") == (b,)
    assert await query(risk_level="high") == (c,)  # type: ignore[arg-type]
    assert await query(action_type="code:run") == (d,)
    assert await query(since=at(1, 8), until=at(1, -8)) == (c, b)  # both bounds inclusive
    assert await query(limit=1, after=d) == (c,)
    assert await query(after="b") == (a,)
    with pytest.raises(DuplicateRecordError):
        await backend.audit_entries.save(a)
    with pytest.raises(InvalidArgumentError):
        await query(since=at(1), until=at(0))
    assert await backend.audit_entries.purge_before(at(1)) == 1  # strictly before
    assert await query() == (d, c, b)


async def test_audit_answers_a_hundred_unless_told_otherwise(backend: PersistenceBackend) -> None:
    async with backend.transaction() as tx:
        for number in range(120):
            await tx.audit_entries.save(entry(f"{number:03}", at(number)))
    assert len(await backend.audit_entries.query()) == 100
    assert len(await backend.audit_entries.query(limit=None)) == 120


async def test_checkpoints(backend: PersistenceBackend) -> None:
    def point(key: str, turn: int, when: float = 0, execution: str = "e") -> Checkpoint:
        return Checkpoint(
            id=key, execution_id=execution, agent_id="a", task_id="t", turn_number=turn,
            context_json="{}", created_at=at(when),
        )  # fmt: skip

    points = backend.checkpoints
    for one in (
        point("a", 1),
        point("z", 2),
        point("b", 2, 5),
        point("c", 2, 5),
        point("o", 9, 0, "f"),
    ):
        await points.save(one)
    assert await points.get_latest(execution_id="e") == point("c", 2, 5)
    assert await points.get_latest(task_id="t") == point("o", 9, 0, "f")
    assert await points.get_latest(execution_id="e", task_id="t") == point("c", 2, 5)
    assert await points.get_latest(execution_id="e", task_id="none") is None
    await points.save(point("a", 7))
    assert await points.get_latest(execution_id="e") == point("a", 7)
    with pytest.raises(ValueError, match="execution_id"):
        await points.get_latest()
    assert await points.delete_by_execution("e") == 4
    assert await points.delete_by_execution("e") == 0


async def test_heartbeats(backend: PersistenceBackend) -> None:
    def beat(key: str, when: float) -> Heartbeat:
        return Heartbeat(execution_id=key, agent_id="a", task_id="t", last_heartbeat_at=at(when, 4))

    for one in (beat("b", 2), beat("a", 2), beat("c", 1), beat("d", 5)):
        await backend.heartbeats.save(one)
    stale = backend.heartbeats.get_stale
    assert await stale(at(5)) == (beat("c", 1), beat("a", 2), beat("b", 2))
    assert await stale(at(5), limit=1, after=beat("c", 1)) == (beat("a", 2),)
    assert await stale(at(1)) == ()
    await backend.heartbeats.save(beat("c", 9))
    assert await backend.heartbeats.get("c") == beat("c", 9)
    assert await backend.heartbeats.delete("c") is True
    assert await backend.heartbeats.delete("c") is False


async def test_parked_contexts(backend: PersistenceBackend) -> None:
    def parked(key: str, when: float, approval: str = "ap") -> ParkedContext:
        return ParkedContext(
            id=key, execution_id="e", agent_id="a", approval_id=approval, parked_at=at(when),
            context_json="[1]",
        )  # fmt: skip

    contexts = backend.parked_contexts
    for one in (parked("x", 1), parked("y", 2), parked("z", 2), parked("w", 3, "other")):
        await contexts.save(one)
    assert await contexts.get_by_approval("ap") == parked("z", 2)
    assert await contexts.get_by_approval("none") is None
    found = await contexts.get_by_agent("a")
    assert [one.id for one in found] == ["w", "z", "y", "x"]
    assert await contexts.get_by_agent("a", limit=2, after=found[0]) == found[1:3]
    assert await contexts.delete("w") is True
    assert await contexts.get("w") is None


async def test_agent_states(backend: PersistenceBackend) -> None:
    def busy(agent: str, when: float) -> AgentRuntimeState:
        return AgentRuntimeState(
            agent_id=agent, execution_id="e", status="executing", last_activity_at=at(when),
            started_at=NOW,
        )  # fmt: skip

    idle = AgentRuntimeState(agent_id="i", status="idle", last_activity_at=at(9))
    for one in (busy("a", 1), busy("b", 2), busy("c", 2), idle):
        await backend.agent_states.save(one)
    active = await backend.agent_states.get_active()
    assert [one.agent_id for one in active] == ["c", "b", "a"]
    assert await backend.agent_states.get_active(limit=1, after=active[1]) == active[2:]
    await backend.agent_states.save(idle.model_copy(update={"agent_id": "c"}))
    assert [one.agent_id for one in await backend.agent_states.get_active()] == ["b", "a"]
    assert await backend.agent_states.delete("c") is True


def user(key: str, **fields: Any) -> User:
    return User.model_validate(
        {
            "id": key, "username": key, "password_hash": "h", "role": "manager",
            "created_at": NOW, "updated_at": NOW, **fields,
        }
    )  # fmt: skip


async def refused(call: Any) -> str:
    with pytest.raises(ConstraintViolationError) as caught:
        await call
    return caught.value.constraint


async def test_users(backend: PersistenceBackend) -> None:
    users = backend.users
    saved = [user("c", created_at=at(0)), user("a", created_at=at(1)), user("b", created_at=at(1))]
    for one in (*saved, user("system", role="system", created_at=at(0))):
        await users.save(one)
    assert await users.list_users() == tuple(saved)
    assert await users.list_users(limit=1, after=saved[0]) == (saved[1],)
    assert [u.id for u in await users.list_users_paginated(after_id=None, limit=2)] == ["a", "b"]
    assert [u.id for u in await users.list_users_paginated(after_id="b", limit=9)] == ["c"]
    assert [u.id for u in await users.list_users_paginated(after_id="aa", limit=1)] == ["b"]
    assert await users.count() == 3
    assert await users.count_by_role("manager") == 3  # type: ignore[arg-type]
    assert await users.count_by_role("system") == 1  # type: ignore[arg-type]
    assert await users.get_by_username("a") == saved[1]
    assert await users.get_by_username("A") is None
    await users.save(user("a", username="renamed", created_at=at(99)))
    assert await users.get("a") == user("a", username="renamed", created_at=at(1))
    assert await users.delete("a") is True
    assert await users.delete("a") is False
    with pytest.raises(InvalidArgumentError, match=r"^System user cannot be deleted$"):
        await users.delete("system")


@pytest.mark.alone
async def test_rules_over_users_are_the_databases(backend: PersistenceBackend) -> None:
    users = backend.users
    await users.save(user("boss", role="ceo", org_roles=("owner",)))
    assert await refused(users.save(user("x", username="boss"))) == "users.username"
    assert await refused(users.save(user("x", role="ceo"))) == "users.single_ceo"
    assert await refused(users.save(user("boss", org_roles=("owner",)))) == "users.ceo_minimum"
    assert await refused(users.save(user("boss", role="ceo"))) == "users.owner_minimum"
    assert await refused(users.delete("boss")) in {"users.ceo_minimum", "users.owner_minimum"}
    await users.save(user("second", org_roles=("owner", "editor")))
    await users.save(user("boss", role="ceo"))  # not the last owner any more
    assert await refused(users.delete("second")) == "users.owner_minimum"
    assert (await backend.for_tenant("other").users.count()) == 0


async def test_api_keys(backend: PersistenceBackend) -> None:
    def key(name: str, **fields: Any) -> ApiKey:
        return ApiKey.model_validate(
            {
                "id": name, "key_hash": name * 2, "name": "n", "role": "observer", "user_id": "u",
                "created_at": NOW, **fields,
            }
        )  # fmt: skip

    keys = backend.api_keys
    assert await refused(keys.save(key("a"))) == "api_keys.user_id"
    await backend.users.save(user("u"))
    for one in (key("b"), key("a"), key("c", created_at=at(-1), revoked=True)):
        await keys.save(one)
    assert await refused(keys.save(key("d", key_hash="aa"))) == "api_keys.key_hash"
    listed = await keys.list_by_user("u")
    assert [one.id for one in listed] == ["c", "a", "b"]
    assert await keys.list_by_user("u", limit=1, after=listed[0]) == listed[1:2]
    assert await keys.get_by_hash("cc") == listed[0]
    await keys.save(key("a", created_at=at(50), revoked=True))
    assert await keys.get("a") == key("a", revoked=True)
    assert await keys.delete("b") is True
    assert await backend.users.delete("u") is True
    assert await keys.get("a") is None


async def test_settings(backend: PersistenceBackend) -> None:
    settings = backend.settings
    assert await settings.get("n", "k") is None
    assert await settings.set("n", "k", "", "1", expected_updated_at="x") is False
    assert await settings.set("n", "k", "", "1", expected_updated_at="") is True
    assert await settings.set("n", "k", "v", "2", expected_updated_at="") is False
    assert await settings.set("n", "k", "v", "2", expected_updated_at="0") is False
    assert await settings.get("n", "k") == ("", "1")
    assert await settings.set("n", "k", "v", "2", expected_updated_at="1") is True
    assert await settings.set("n", "b", "w", "9") is True
    assert await settings.set("m", "z", "q", "9") is True
    assert await settings.get_namespace("n") == (("b", "w", "9"), ("k", "v", "2"))
    assert await settings.get_namespace("n", limit=1, after=("b", "w", "9")) == (("k", "v", "2"),)
    every = await settings.get_all()
    assert every == (("m", "z", "q", "9"), ("n", "b", "w", "9"), ("n", "k", "v", "2"))
    assert await settings.get_all(limit=1, after=every[0]) == every[1:2]
    assert await settings.delete("m", "z") is True
    assert await settings.delete("m", "z") is False
    assert await settings.delete_namespace_returning_keys("n") == ("b", "k")
    assert await settings.delete_namespace("n") == 0


async def test_set_many_is_all_or_nothing(backend: PersistenceBackend) -> None:
    settings = backend.settings
    items = [("n", "a", "1", "x"), ("n", "b", "2", "x")]
    assert await settings.set_many(items, expected_updated_at_map={("n", "b"): "no"}) is False
    assert await settings.get_all() == ()
    assert await settings.set_many(items, expected_updated_at_map={("n", "b"): ""}) is True
    assert await settings.set_many([]) is True
    assert len(await settings.get_namespace("n")) == 2
    with pytest.raises(InvalidArgumentError):
        await settings.set_many(items, expected_updated_at_map={("n", "other"): ""})
    async with backend.transaction() as tx:
        assert await tx.settings.set_many(items, expected_updated_at_map={("n", "a"): "?"}) is False
        await tx.settings.set("n", "c", "3", "x")
    assert await settings.get("n", "c") == ("3", "x")
