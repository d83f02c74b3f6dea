"""Checkpoints, parked contexts and the state of agents."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from .samples import NOW, make

OBJECTS = ["{}", ' {"b": 1, "a": [1.0, -0.0],\n"b": 2} ', '{"a": 1e400, "\\ud800": null}']
OTHERS = ["null", "[]", '"a"', "1", "true"]
NO_JSON = ["", " ", "{", "{'a': 1}", "NaN", "[Infinity]", '{"a": -Infinity}', "[1,]", "\ufeff{}",
           "[" * 100_000]  # fmt: skip


@pytest.mark.parametrize("text", OBJECTS)
def test_a_context_is_kept_as_given(text: str) -> None:
    assert make("Checkpoint", context_json=text).context_json == text
    assert make("ParkedContext", context_json=text).context_json == text


@pytest.mark.parametrize("text", OTHERS)
def test_only_a_parked_context_may_be_anything(text: str) -> None:
    assert make("ParkedContext", context_json=text).context_json == text
    with pytest.raises(ValidationError, match="must be a JSON object"):
        make("Checkpoint", context_json=text)


@pytest.mark.parametrize("text", NO_JSON, ids=lambda text: text[:12])
def test_a_context_is_json(text: str) -> None:
    for name in ("Checkpoint", "ParkedContext"):
        with pytest.raises(ValidationError):
            make(name, context_json=text)


def test_ids_are_made() -> None:
    for name in ("Checkpoint", "ParkedContext"):
        first, second = make(name), make(name)
        assert first.id != second.id
        assert str(UUID(first.id)) == first.id
    assert make("Checkpoint").created_at.utcoffset().total_seconds() == 0


def test_the_callers_metadata_stay_the_callers() -> None:
    given = {"a": "1"}
    parked = make("ParkedContext", metadata=given)
    given["a"] = "2"
    assert parked.metadata == parked.metadata_view == {"a": "1"}
    with pytest.raises(TypeError):
        parked.metadata_view["a"] = "3"
    for bad in ({"a": 1}, {1: "a"}, ["a"]):
        with pytest.raises(ValidationError):
            make("ParkedContext", metadata=bad)


@pytest.mark.parametrize("field", ["persist_every_n_turns", "heartbeat_interval_seconds"])
def test_intervals_are_above_zero(field: str) -> None:
    with pytest.raises(ValidationError):
        make("CheckpointConfig", **{field: 0})
    assert make("CheckpointConfig", max_resume_attempts=0).max_resume_attempts == 0


@pytest.mark.parametrize(
    "fields",
    [{"execution_id": "e"}, {"task_id": "t"}, {"started_at": NOW}, {"turn_count": 1},
     {"accumulated_cost_usd": 0.01}],
)  # fmt: skip
def test_an_idle_agent_has_nothing(fields: dict[str, Any]) -> None:
    assert make("AgentRuntimeState").status == "idle"
    with pytest.raises(ValidationError, match="an idle agent has no"):
        make("AgentRuntimeState", **fields)


@pytest.mark.parametrize("status", ["executing", "paused"])
def test_a_busy_agent_has_an_execution(status: str) -> None:
    busy = {"status": status, "execution_id": "e", "started_at": NOW}
    assert make("AgentRuntimeState", **busy).task_id is None
    assert make("AgentRuntimeState", **busy, task_id="t", turn_count=3).turn_count == 3
    for missing in ("execution_id", "started_at"):
        with pytest.raises(ValidationError, match="needs execution_id and started_at"):
            make("AgentRuntimeState", **{**busy, missing: None})
