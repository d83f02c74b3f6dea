"""What the package offers: every entity, and every enumeration's, literal's and row's parts."""

from __future__ import annotations

import re
import typing
from enum import StrEnum
from typing import get_args

import pytest

import holdfast
from holdfast import Entity, entities

from .contract import FIELDS

MODELS = set(re.findall(r"^\w+$", FIELDS, re.MULTILINE))

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
    "LifecycleEventType": "hired onboarded fired offboarded status_changed promoted demoted",
    "ToolCategory": "file_system code_execution version_control web database terminal design "
    "communication analytics deployment memory ontology mcp other",
    "ApprovalRiskLevel": "low medium high critical",
    "EvaluationConfidence": "high low",
    "DecisionOutcome": "approved rejected auto_approved auto_rejected escalated",
    "Reversibility": "easily_reversible moderate locked_in",
    "BlastRadius": "individual team department company_wide",
    "TimeHorizon": "immediate short_term medium_term long_term",
    "HumanRole": "ceo manager board_member pair_programmer observer system",
    "OrgRole": "owner department_admin editor viewer",
    "ExecutionStatus": "idle executing paused",
    "WorkflowType": "sequential_pipeline parallel_execution kanban agile_kanban",
    "WorkflowNodeType": "start end task agent_assignment conditional parallel_split parallel_join",
    "WorkflowEdgeType": "sequential conditional_true conditional_false parallel_branch",
    "WorkflowExecutionStatus": "pending running completed failed cancelled",
    "WorkflowNodeExecutionStatus": "pending skipped task_created task_completed task_failed "
    "completed",
    "SsrfViolationStatus": "pending allowed denied",
    "SeniorityLevel": "junior mid senior lead principal director vp c_suite",
    "AutonomyLevel": "full semi supervised locked",
    "StrategicOutputMode": "option_expander advisor decision_maker context_dependent",
    "AgentStatus": "active onboarding on_leave terminated",
    "RiskTolerance": "low medium high",
    "CreativityLevel": "low medium high",
    "DecisionMakingStyle": "analytical intuitive consultative directive",
    "CollaborationPreference": "independent pair team",
    "CommunicationVerbosity": "terse balanced verbose",
    "ConflictApproach": "avoid accommodate compete compromise collaborate",
    "ToolAccessLevel": "sandboxed restricted standard elevated custom",
    "FileSystemScope": "workspace_only project_directory full",
    "NetworkMode": "none allowlist_only open",
    "GitAccess": "local_only read_and_branch full",
    "CodeExecutionIsolation": "containerized process",
    "TerminalAccess": "none restricted_commands full",
    "DepartmentName": "executive product design engineering quality_assurance data_analytics "
    "operations creative_marketing security",
    "CompanyType": "solo_founder startup dev_shop product_team agency full_company research_lab "
    "consultancy data_team custom",
    "TimeoutActionType": "wait approve deny escalate",
    "MemoryCategory": "working episodic semantic procedural social",
    "MemoryLevel": "persistent project session none",
    "ConsolidationInterval": "hourly daily weekly never",
    "OrgFactCategory": "core_policy adr procedure convention entity_definition",
    "ApprovalStatus": "pending approved rejected expired",
    "IdempotencyStatus": "in_flight completed failed",
    "IdempotencyOutcome": "fresh in_flight completed failed",
}
LITERALS = {
    "AuditVerdictStr": "allow deny escalate output_scan",
    "DecisionRole": "executor reviewer",
    "ModelTier": "large medium small",
}
ROWS = {
    "PresetRow": "config_json description created_at updated_at",
    "PresetListRow": "name config_json description created_at updated_at",
    "IdempotencyClaim": "outcome claim_token record",
}
#: What the modules offer beside entities, enumerations, literals and rows.
OTHERS = {
    "ApprovalTimeoutConfig", "Entity", "JsonHolder", "JsonObject", "NotBlankStr", "Part",
    "compute_content_hash", "hash_token",
}  # fmt: skip


def test_nothing_is_left_out() -> None:
    public = {name: getattr(entities, name) for name in entities.__all__}  # type: ignore[attr-defined]
    classes = {n: v for n, v in public.items() if isinstance(v, type) and v.__module__ != "typing"}
    models = {n for n, v in classes.items() if issubclass(v, Entity) and v.model_fields}
    assert models == MODELS
    assert {n for n, v in classes.items() if issubclass(v, StrEnum)} == set(VALUES)
    assert set(public) == {*MODELS, *VALUES, *LITERALS, *ROWS, *OTHERS}
    assert set(public) <= set(holdfast.__all__)  # type: ignore[attr-defined]
    assert all(getattr(holdfast, name) is value for name, value in public.items())


@pytest.mark.parametrize("name", VALUES)
def test_values(name: str) -> None:
    enum = getattr(entities, name)
    assert [member.value for member in enum] == VALUES[name].split()
    assert [member.name.lower() for member in enum] == VALUES[name].split()


@pytest.mark.parametrize("name", LITERALS)
def test_literals(name: str) -> None:
    assert list(get_args(getattr(entities, name))) == LITERALS[name].split()


@pytest.mark.parametrize("name", ROWS)
def test_rows(name: str) -> None:
    row = getattr(entities, name)
    assert list(row._fields) == ROWS[name].split()
    assert row._field_defaults == {}
    if name != "IdempotencyClaim":
        assert set(typing.get_type_hints(row).values()) == {str}
