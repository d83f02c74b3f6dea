"""Tasks and projects."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self

from pydantic import Field, model_validator

from holdfast.entities.artifacts import ArtifactType
from holdfast.entities.base import Count, Deadline, Entity, NotBlankStr, unique

__all__ = [
    "AcceptanceCriterion",
    "Complexity",
    "CoordinationTopology",
    "ExpectedArtifact",
    "Priority",
    "Project",
    "ProjectStatus",
    "Task",
    "TaskSource",
    "TaskStatus",
    "TaskStructure",
    "TaskType",
]


class TaskStatus(StrEnum):
    CREATED = "created"
    ASSIGNED = "assigned"
    IN_PROGRESS = "in_progress"
    IN_REVIEW = "in_review"
    COMPLETED = "completed"
    BLOCKED = "blocked"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    SUSPENDED = "suspended"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    AUTH_REQUIRED = "auth_required"


class TaskType(StrEnum):
    DEVELOPMENT = "development"
    DESIGN = "design"
    RESEARCH = "research"
    REVIEW = "review"
    MEETING = "meeting"
    ADMIN = "admin"


class Priority(StrEnum):
    """From the highest to the lowest."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Complexity(StrEnum):
    SIMPLE = "simple"
    MEDIUM = "medium"
    COMPLEX = "complex"
    EPIC = "epic"


class TaskStructure(StrEnum):
    SEQUENTIAL = "sequential"
    PARALLEL = "parallel"
    MIXED = "mixed"


class CoordinationTopology(StrEnum):
    SAS = "sas"
    CENTRALIZED = "centralized"
    DECENTRALIZED = "decentralized"
    CONTEXT_DEPENDENT = "context_dependent"
    AUTO = "auto"


class TaskSource(StrEnum):
    INTERNAL = "internal"
    CLIENT = "client"
    SIMULATION = "simulation"


class ProjectStatus(StrEnum):
    PLANNING = "planning"
    ACTIVE = "active"
    ON_HOLD = "on_hold"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


_S = TaskStatus
_NEEDS_AGENT = frozenset(
    {_S.ASSIGNED, _S.IN_PROGRESS, _S.IN_REVIEW, _S.COMPLETED, _S.AUTH_REQUIRED}
)
_STOPS = frozenset(
    {_S.AUTH_REQUIRED, _S.BLOCKED, _S.CANCELLED, _S.FAILED, _S.INTERRUPTED, _S.SUSPENDED}
)
_TRANSITIONS: dict[TaskStatus, frozenset[TaskStatus]] = {
    _S.CREATED: frozenset({_S.ASSIGNED, _S.REJECTED}),
    _S.ASSIGNED: _STOPS | {_S.IN_PROGRESS},
    _S.IN_PROGRESS: _STOPS | {_S.IN_REVIEW},
    _S.IN_REVIEW: frozenset({_S.COMPLETED, _S.IN_PROGRESS, _S.BLOCKED, _S.CANCELLED}),
    _S.AUTH_REQUIRED: frozenset({_S.ASSIGNED, _S.CANCELLED}),
    _S.BLOCKED: frozenset({_S.ASSIGNED}),
    _S.FAILED: frozenset({_S.ASSIGNED}),
    _S.INTERRUPTED: frozenset({_S.ASSIGNED}),
    _S.SUSPENDED: frozenset({_S.ASSIGNED}),
    _S.COMPLETED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.REJECTED: frozenset(),
}


class ExpectedArtifact(Entity):
    type: ArtifactType
    path: NotBlankStr


class AcceptanceCriterion(Entity):
    description: NotBlankStr
    met: bool = False


class Task(Entity):
    """A piece of work.

    A ``created`` task has no agent; an ``assigned``, ``in_progress``, ``in_review``,
    ``completed`` or ``auth_required`` one has; the others may. The agent is not in the
    ``delegation_chain``, which leads from the root to the last delegate.
    """

    id: NotBlankStr
    title: NotBlankStr
    description: NotBlankStr
    type: TaskType
    priority: Priority = Priority.MEDIUM
    project: NotBlankStr
    created_by: NotBlankStr
    assigned_to: NotBlankStr | None = None
    reviewers: tuple[NotBlankStr, ...] = ()
    dependencies: tuple[NotBlankStr, ...] = ()
    artifacts_expected: tuple[ExpectedArtifact, ...] = ()
    acceptance_criteria: tuple[AcceptanceCriterion, ...] = ()
    estimated_complexity: Complexity = Complexity.MEDIUM
    budget_limit: float = Field(default=0.0, ge=0)
    deadline: Deadline | None = None
    max_retries: Count = 1
    status: TaskStatus = TaskStatus.CREATED
    parent_task_id: NotBlankStr | None = None
    delegation_chain: tuple[NotBlankStr, ...] = ()
    task_structure: TaskStructure | None = None
    coordination_topology: CoordinationTopology = CoordinationTopology.AUTO
    source: TaskSource | None = None

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.status is _S.CREATED:
            if self.assigned_to is not None:
                raise ValueError("a created task must not have assigned_to")
        elif self.assigned_to is None and self.status in _NEEDS_AGENT:
            raise ValueError(f"a task with status {self.status} needs assigned_to")
        if self.parent_task_id == self.id:
            raise ValueError("parent_task_id must not be the task's own id")
        if self.reviewers:
            unique(self.reviewers, "reviewers")
        if self.dependencies:
            unique(self.dependencies, "dependencies")
            if self.id in self.dependencies:
                raise ValueError("dependencies must not hold the task's own id")
        if self.delegation_chain:
            unique(self.delegation_chain, "delegation_chain")
            if self.assigned_to in self.delegation_chain:
                raise ValueError("assigned_to must not be in delegation_chain")
        return self

    def with_transition(self, target: TaskStatus, **overrides: Any) -> Task:
        """The task in the status ``target``, other fields replaced by ``overrides``.

        ``ValueError`` for a move that is not allowed, naming those that are, for ``status`` among
        the overrides, and where the result breaks a rule.
        """
        if "status" in overrides:
            raise ValueError("the status is the transition's target, not an override")
        allowed = _TRANSITIONS[self.status]
        if target not in allowed:
            ways = f"it can go to {', '.join(sorted(allowed))}" if allowed else "that is its end"
            raise ValueError(f"a task cannot go from {self.status} to {target}: {ways}")
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate({**fields, **overrides, "status": target})


class Project(Entity):
    """What tasks belong to. ``team`` and ``task_ids`` name nobody and nothing twice."""

    id: NotBlankStr
    name: NotBlankStr
    description: str = ""
    team: tuple[NotBlankStr, ...] = ()
    lead: NotBlankStr | None = None
    task_ids: tuple[NotBlankStr, ...] = ()
    deadline: Deadline | None = None
    budget: float = Field(default=0.0, ge=0)
    status: ProjectStatus = ProjectStatus.PLANNING

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.team:
            unique(self.team, "team")
        if self.task_ids:
            unique(self.task_ids, "task_ids")
        return self
