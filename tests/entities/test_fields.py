"""Every entity's fields, their order and defaults, and every enumeration's values."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, get_args, get_type_hints

import pytest
from pydantic import AwareDatetime, TypeAdapter, ValidationError

import holdfast
from holdfast import entities
from holdfast.entities.base import Entity

from .samples import REQUIRED, make

#: In the contract's order; a trailing ``!`` marks a field without a default.
FIELDS = {
    "ExpectedArtifact": "type! path!",
    "AcceptanceCriterion": "description! met",
    "Task": "id! title! description! type! priority project! created_by! assigned_to reviewers "
    "dependencies artifacts_expected acceptance_criteria estimated_complexity budget_limit "
    "deadline max_retries status parent_task_id delegation_chain task_structure "
    "coordination_topology source",
    "Project": "id! name! description team lead task_ids deadline budget status",
    "Artifact": "id! path! task_id! created_by! type! description project_id content_type "
    "size_bytes created_at",
    "CostRecord": "agent_id! task_id! provider! model! project_id input_tokens! output_tokens! "
    "cost_usd! timestamp! call_category accuracy_effort_ratio latency_ms cache_hit retry_count "
    "retry_reason finish_reason success",
    "TextPart": "type text!",
    "DataPart": "type data!",
    "FilePart": "type uri! mime_type",
    "UriPart": "type uri!",
    "MessageMetadata": "task_id project_id tokens_used cost_usd extra",
    "Message": "id timestamp! sender! to! type! priority channel! parts! metadata",
    "Checkpoint": "id execution_id! agent_id! task_id! turn_number! context_json! created_at",
    "CheckpointConfig": "persist_every_n_turns heartbeat_interval_seconds max_resume_attempts",
    "Heartbeat": "execution_id! agent_id! task_id! last_heartbeat_at!",
    "ParkedContext": "id execution_id! agent_id! approval_id! task_id parked_at! context_json! "
    "metadata",
    "AgentRuntimeState": "agent_id! execution_id task_id status! turn_count accumulated_cost_usd "
    "last_activity_at! started_at",
    "AuditEntry": "id! timestamp! agent_id task_id approval_id tool_name! tool_category! "
    "action_type! arguments_hash! verdict! risk_level! reason! matched_rules "
    "evaluation_duration_ms! confidence",
    "User": "id! username! password_hash! role! must_change_password org_roles "
    "scoped_departments created_at! updated_at!",
    "ApiKey": "id! name! user_id! key_hash! role! created_at! expires_at revoked",
}

#: Of what is neither ``None``, ``()``, ``""`` nor ``False``.
DEFAULTS: dict[str, dict[str, Any]] = {
    "Task": {
        "priority": "medium", "estimated_complexity": "medium", "budget_limit": 0.0,
        "max_retries": 1, "status": "created", "coordination_topology": "auto",
    },
    "Project": {"budget": 0.0, "status": "planning"},
    "Artifact": {"size_bytes": 0},
    "TextPart": {"type": "text"},
    "DataPart": {"type": "data"},
    "FilePart": {"type": "file"},
    "UriPart": {"type": "uri"},
    "Message": {"priority": "normal", "metadata": entities.MessageMetadata()},
    "CheckpointConfig": {
        "persist_every_n_turns": 1, "heartbeat_interval_seconds": 30.0, "max_resume_attempts": 2,
    },
    "ParkedContext": {"metadata": {}},
    "AgentRuntimeState": {"turn_count": 0, "accumulated_cost_usd": 0.0},
    "AuditEntry": {"confidence": "high"},
    "User": {"must_change_password": True},
}  # fmt: skip
MADE_ANEW = {("Message", "id"), ("Checkpoint", "id"), ("Checkpoint", "created_at"),
             ("ParkedContext", "id")}  # fmt: skip
TUPLES = {
    "reviewers", "dependencies", "artifacts_expected", "acceptance_criteria", "delegation_chain",
    "team", "task_ids", "extra", "matched_rules", "org_roles", "scoped_departments",
}  # fmt: skip
TEXTS = {("Project", "description"), ("Artifact", "description"), ("Artifact", "content_type")}
SWITCHES = {("AcceptanceCriterion", "met"), ("ApiKey", "revoked")}

VALUES = {
    "TaskStatus": "created assigned in_progress in_review completed blocked failed interrupted "
    "suspended cancelled rejected auth_required",
    "TaskType": "development design research review meeting admin",
    "Priority": "critical high medium low",
    "Complexity": "simple medium complex epic",
    "TaskStructure": "sequential parallel mixed",
    "CoordinationTopology": "sas centralized decentralized context_dependent auto",
    "TaskSource": "internal client simulation",
    "ArtifactType": "code tests documentation",
    "ProjectStatus": "planning active on_hold completed cancelled",
    "LLMCallCategory": "productive coordination system embedding",
    "FinishReason": "stop max_tokens tool_use content_filter error",
    "MessageType": "task_update question announcement review_request approval delegation "
    "status_report escalation meeting_contribution hr_notification",
    "MessagePriority": "low normal high urgent",
    "ToolCategory": "file_system code_execution version_control web database terminal design "
    "communication analytics deployment memory ontology mcp other",
    "ApprovalRiskLevel": "low medium high critical",
    "EvaluationConfidence": "high low",
    "HumanRole": "ceo manager board_member pair_programmer observer system",
    "OrgRole": "owner department_admin editor viewer",
    "ExecutionStatus": "idle executing paused",
}

INTEGERS = [
    ("Task", "max_retries"), ("Artifact", "size_bytes"), ("CostRecord", "input_tokens"),
    ("CostRecord", "output_tokens"), ("CostRecord", "retry_count"),
    ("MessageMetadata", "tokens_used"), ("Checkpoint", "turn_number"),
    ("CheckpointConfig", "persist_every_n_turns"), ("CheckpointConfig", "max_resume_attempts"),
    ("AgentRuntimeState", "turn_count"),
]  # fmt: skip
AMOUNTS = [
    ("Task", "budget_limit"), ("Project", "budget"), ("CostRecord", "cost_usd"),
    ("CostRecord", "accuracy_effort_ratio"), ("CostRecord", "latency_ms"),
    ("MessageMetadata", "cost_usd"), ("CheckpointConfig", "heartbeat_interval_seconds"),
    ("AgentRuntimeState", "accumulated_cost_usd"), ("AuditEntry", "evaluation_duration_ms"),
]  # fmt: skip
#: An agent that works, because an idle one has no counters.
WORKING = {
    "status": "executing",
    "execution_id": "e",
    "started_at": datetime(2026, 1, 1, tzinfo=UTC),
}


def context(name: str) -> dict[str, Any]:
    return WORKING if name == "AgentRuntimeState" else {}


def _of_type(wanted: Any) -> list[tuple[str, str]]:
    """The fields with this annotation, alone or beside ``None``."""
    return [
        (name, field)
        for name in FIELDS
        for field, hint in get_type_hints(getattr(entities, name), include_extras=True).items()
        if hint == wanted or hint == wanted | None
    ]


NAMES = _of_type(entities.NotBlankStr)
MOMENTS = _of_type(AwareDatetime)


def test_nothing_is_left_out() -> None:
    public = {name: getattr(entities, name) for name in entities.__all__}  # type: ignore[attr-defined]
    classes = {name: value for name, value in public.items() if isinstance(value, type)}
    models = {n for n, value in classes.items() if issubclass(value, Entity)} - {"Entity"}
    assert models == set(FIELDS) == set(REQUIRED)
    assert {n for n, value in classes.items() if issubclass(value, StrEnum)} == set(VALUES)
    assert set(public) == {*FIELDS, *VALUES, "AuditVerdictStr", "Entity", "NotBlankStr", "Part"}
    assert set(public) <= set(holdfast.__all__)  # type: ignore[attr-defined]
    assert len(NAMES) > 50
    assert len(MOMENTS) == 13


@pytest.mark.parametrize("name", FIELDS)
def test_fields_come_in_order_and_are_required_or_not(name: str) -> None:
    fields = getattr(entities, name).model_fields
    assert [f"{f}!" if info.is_required() else f for f, info in fields.items()] == FIELDS[
        name
    ].split()


@pytest.mark.parametrize("name", FIELDS)
def test_defaults(name: str) -> None:
    made = make(name)
    for field, info in type(made).model_fields.items():
        if info.is_required() or (name, field) in MADE_ANEW:
            continue
        expected: Any = None
        if field in DEFAULTS.get(name, {}):
            expected = DEFAULTS[name][field]
        elif field in TUPLES:
            expected = ()
        elif (name, field) in TEXTS:
            expected = ""
        elif (name, field) in SWITCHES:
            expected = False
        assert getattr(made, field) == expected, field
        assert type(getattr(made, field)) is not str or type(expected) is str


@pytest.mark.parametrize("name", VALUES)
def test_values(name: str) -> None:
    enum = getattr(entities, name)
    assert [member.value for member in enum] == VALUES[name].split()
    assert [member.name.lower() for member in enum] == VALUES[name].split()


def test_verdicts() -> None:
    assert get_args(entities.AuditVerdictStr) == ("allow", "deny", "escalate", "output_scan")


@pytest.mark.parametrize("name", FIELDS)
def test_entities_are_frozen_and_ignore_what_they_do_not_know(name: str) -> None:
    made = make(name, novel=1)
    assert not hasattr(made, "novel")
    field = next(iter(type(made).model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(made, field, getattr(made, field))


@pytest.mark.parametrize("name", FIELDS)
def test_what_is_dumped_can_be_read_again(name: str) -> None:
    made = make(name)
    kind = type(made)
    assert kind.model_validate(made.model_dump()) == made
    assert kind.model_validate_json(made.model_dump_json()) == made
    assert set(kind.model_json_schema()["properties"])


@pytest.mark.parametrize(("name", "field"), NAMES)
def test_no_name_is_blank(name: str, field: str) -> None:
    for blank in ("", " \t\n", "\u2003"):
        with pytest.raises(ValidationError) as refused:
            make(name, **{field: blank})
        assert refused.value.errors()[0]["loc"][-1] in (field, "from")


@pytest.mark.parametrize(("name", "field"), MOMENTS)
def test_every_moment_has_an_offset(name: str, field: str) -> None:
    with pytest.raises(ValidationError, match="timezone"):
        make(name, **context(name) | {field: datetime(2026, 1, 1)})  # noqa: DTZ001
    moment = datetime(2026, 1, 1, 1, 2, 3, 456789, tzinfo=UTC)
    assert getattr(make(name, **context(name) | {field: moment}), field) == moment


@pytest.mark.parametrize(("name", "field"), INTEGERS)
def test_counts_are_integers_of_64_bits(name: str, field: str) -> None:
    for good in (1, 2**63 - 1):
        assert getattr(make(name, **context(name) | {field: good}), field) == good
    for bad in (True, False, -1, 2**63, 10**30, 1.5, "many"):
        with pytest.raises(ValidationError) as refused:
            make(name, **context(name) | {field: bad})
        assert refused.value.errors()[0]["loc"] == (field,)


def test_every_integer_and_amount_is_looked_at() -> None:
    plain = {
        (name, field): hint
        for name in FIELDS
        for field, hint in get_type_hints(getattr(entities, name)).items()
    }
    for kind, listed in ((int, INTEGERS), (float, AMOUNTS)):
        assert {place for place, hint in plain.items() if hint in (kind, kind | None)} == set(
            listed
        )


def test_moments_may_be_given_as_text() -> None:
    moment = TypeAdapter(AwareDatetime).validate_python("2026-01-01T00:00:00+02:00")
    assert make("Heartbeat", last_heartbeat_at="2025-12-31T22:00:00Z").last_heartbeat_at == moment
