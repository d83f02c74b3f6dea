"""The rules between fields, as the contract words them."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from holdfast import (
    AgentRuntimeState,
    CostRecord,
    DataPart,
    Message,
    MessageMetadata,
    ParkedContext,
    Task,
    TaskStatus,
    User,
)

from ..conformance.samples import full

NOW = datetime(2026, 1, 31, tzinfo=UTC)
AGENT = {"assigned_to": "ada"}

#: From the contract: what each status may become.
MOVES = {
    "created": {"assigned", "rejected"},
    "assigned": {
        "in_progress", "auth_required", "blocked", "cancelled", "failed", "interrupted",
        "suspended",
    },
    "in_progress": {
        "in_review", "auth_required", "blocked", "cancelled", "failed", "interrupted", "suspended",
    },
    "in_review": {"completed", "in_progress", "blocked", "cancelled"},
    "auth_required": {"assigned", "cancelled"},
    "blocked": {"assigned"}, "failed": {"assigned"}, "interrupted": {"assigned"},
    "suspended": {"assigned"}, "completed": set(), "cancelled": set(), "rejected": set(),
}  # fmt: skip


def changed(name: str, **fields: Any) -> BaseModel:
    entity = full()[name]
    return type(entity).model_validate({**dict(entity), **fields})


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("tasks", {"id": " "}), ("tasks", {"title": "\x1c"}), ("tasks", {"budget_limit": float("nan")}),
    ("tasks", {"budget_limit": -1}), ("tasks", {"max_retries": True}),
    ("tasks", {"max_retries": -1}),
    ("tasks", {"status": "created"}), ("tasks", {"assigned_to": None}),
    ("tasks", {"parent_task_id": full()["tasks"].id}),  # type: ignore[attr-defined]
    ("tasks", {"dependencies": (full()["tasks"].id,)}),  # type: ignore[attr-defined]
    ("tasks", {"dependencies": ("a", "a")}), ("tasks", {"reviewers": ("a", "a")}),
    ("tasks", {"delegation_chain": ("ada",)}), ("tasks", {"delegation_chain": ("x", "x")}),
    ("tasks", {"deadline": "soon"}), ("tasks", {"deadline": " "}),
    ("projects", {"team": ("a", "a")}), ("projects", {"budget": float("inf")}),
    ("cost_records", {"input_tokens": 0, "output_tokens": 0}),
    ("cost_records", {"retry_count": 0}), ("cost_records", {"timestamp": datetime(2026, 1, 1)}),  # noqa: DTZ001
    ("messages", {"parts": ()}), ("messages", {"parts": ({"type": "odd"},)}),
    ("messages", {"metadata": {"extra": (("k", "1"), ("k", "2"))}}),
    ("messages", {"metadata": {"extra": ((" ", "1"),)}}),
    ("checkpoints", {"context_json": "[1]"}), ("checkpoints", {"context_json": "{"}),
    ("checkpoints", {"turn_number": -1}), ("parked_contexts", {"context_json": "x"}),
    ("agent_states", {"status": "idle"}), ("agent_states", {"started_at": None}),
    ("agent_states", {"execution_id": None}),
    ("audit_entries", {"arguments_hash": "A" * 64}), ("audit_entries", {"verdict": "maybe"}),
    ("users", {"scoped_departments": ()}), ("users", {"org_roles": ("owner",)}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fields"), REFUSED)
def test_is_refused(name: str, fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        changed(name, **fields)


@pytest.mark.parametrize("status", list(TaskStatus))
@pytest.mark.parametrize("target", list(TaskStatus))
def test_transitions(status: TaskStatus, target: TaskStatus) -> None:
    given = {} if status is TaskStatus.CREATED else AGENT
    task = Task.model_validate(
        {
            "id": "t", "title": "t", "description": "d", "type": "admin", "project": "p",
            "created_by": "m", "status": status, **given,
        }
    )  # fmt: skip
    if target in MOVES[status]:
        moved = task.with_transition(target, **AGENT, title="new")
        assert (moved.status, moved.title, task.title) == (target, "new", "t")
    else:
        with pytest.raises(ValueError, match="cannot go"):
            task.with_transition(target)


def test_the_status_is_no_override() -> None:
    task = full()["tasks"]
    assert isinstance(task, Task)
    with pytest.raises(ValueError, match="target"):
        task.with_transition(TaskStatus.BLOCKED, status="blocked")


def test_entities_cannot_be_changed() -> None:
    for entity in full().values():
        with pytest.raises(ValidationError):
            setattr(entity, next(iter(type(entity).model_fields)), "x")


def test_secrets_are_left_out_of_the_representation() -> None:
    user = changed("users", password_hash="canary")
    key = changed("api_keys", key_hash="canary")
    assert "canary" not in repr(user) + str(user) + repr(key) + str(key)
    assert isinstance(user, User)


def test_data_is_a_frozen_copy() -> None:
    source: dict[str, Any] = {"a": [1, {"b": 2}]}
    part = DataPart(data=source)
    source["a"].append(3)
    assert part.data["a"] == (1, {"b": 2})
    with pytest.raises(TypeError):
        part.data["x"] = 1  # type: ignore[index]
    assert part.model_dump()["data"] == {"a": [1, {"b": 2}]}
    assert copy.deepcopy(part) == pickle.loads(pickle.dumps(part)) == part  # noqa: S301


def test_a_sender_may_be_said_either_way() -> None:
    given = {"timestamp": NOW, "to": "b", "type": "question", "channel": "c",
             "parts": [{"type": "uri", "uri": "x"}, {"type": "text", "text": "hello"}]}  # fmt: skip
    assert Message.model_validate({**given, "from": "a"}).sender == "a"
    message = Message.model_validate({**given, "sender": "a"})
    assert (message.sender, message.text, message.metadata) == ("a", "hello", MessageMetadata())


def test_what_is_allowed() -> None:
    idle = AgentRuntimeState(agent_id="a", status="idle", last_activity_at=NOW)
    assert idle.turn_count == 0
    metadata = {"k": "v"}
    parked = ParkedContext(
        execution_id="e", agent_id="a", approval_id="p", parked_at=NOW, context_json="3",
        metadata=metadata,
    )  # fmt: skip
    metadata["k"] = "changed"
    assert parked.metadata_view == {"k": "v"}
    free = CostRecord(
        agent_id="a", task_id="t", provider="p", model="m", input_tokens=0, output_tokens=0,
        cost_usd=0.0, timestamp=NOW,
    )  # fmt: skip
    assert free.retry_reason is None


@pytest.mark.parametrize("blank", ["", " ", "\t\n", "\x1c", "\u3000", "\ud800", "t\udfff"])
def test_a_blank_id_is_told_in_words(blank: str) -> None:
    for name in ("tasks", "users", "projects"):
        entity = type(full()[name])
        fields = full()[name].model_dump() | {"id": blank}
        with pytest.raises(ValidationError) as caught:
            entity.model_validate(fields)
        assert [(e["loc"], e["msg"]) for e in caught.value.errors()] == [
            (("id",), "must not be blank or hold a lone surrogate")
        ]
    with pytest.raises(ValidationError, match="should be a valid string"):
        Task.model_validate(full()["tasks"].model_dump() | {"id": 7})
    assert Task.model_json_schema()["properties"]["id"]["pattern"]
