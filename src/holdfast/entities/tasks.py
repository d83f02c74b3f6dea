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
    """Where a task stands; `Task.with_transition` knows which moves are allowed.

    ``completed``, ``cancelled`` and ``rejected`` are final.
    """

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
    """The activity that a task asks for."""

    DEVELOPMENT = "development"
    DESIGN = "design"
    RESEARCH = "research"
    REVIEW = "review"
    MEETING = "meeting"
    ADMIN = "admin"


class Priority(StrEnum):
    """Urgency of a task, from the highest to the lowest."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Complexity(StrEnum):
    """Size of a task, from the smallest to the largest."""

    SIMPLE = "simple"
    MEDIUM = "medium"
    COMPLEX = "complex"
    EPIC = "epic"


class TaskStructure(StrEnum):
    """How the subtasks of a task follow each other."""

    SEQUENTIAL = "sequential"
    PARALLEL = "parallel"
    MIXED = "mixed"


class CoordinationTopology(StrEnum):
    """How the agents on one task are coordinated.

    ``sas`` is a single agent; ``auto`` leaves the choice to the application.
    """

    SAS = "sas"
    CENTRALIZED = "centralized"
    DECENTRALIZED = "decentralized"
    CONTEXT_DEPENDENT = "context_dependent"
    AUTO = "auto"


class TaskSource(StrEnum):
    """Where a task came from: the organisation, a client or a simulation."""

    INTERNAL = "internal"
    CLIENT = "client"
    SIMULATION = "simulation"


class ProjectStatus(StrEnum):
    """Where a project stands."""

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
    """An artifact that a task is to produce."""

    type: ArtifactType = Field(description="Whether code, tests or documentation is expected")
    path: NotBlankStr = Field(
        description="Where the artifact is to be found, in the application's own notation"
    )


class AcceptanceCriterion(Entity):
    """A condition that the result of a task must meet."""

    description: NotBlankStr = Field(
        description="The condition, in words that a reviewer can check"
    )
    met: bool = Field(
        default=False, description="True once a reviewer found the condition fulfilled"
    )


class Task(Entity):
    """A piece of work.

    A ``created`` task has no agent; an ``assigned``, ``in_progress``, ``in_review``,
    ``completed`` or ``auth_required`` task has one; any other may have one.
    """

    id: NotBlankStr = Field(description="Key, chosen by the application; unique within the tenant")
    title: NotBlankStr = Field(description="Short name for lists and boards")
    description: NotBlankStr = Field(description="What is to be done, in full")
    type: TaskType = Field(description="The activity asked for, such as development or review")
    priority: Priority = Field(
        default=Priority.MEDIUM, description="Urgency; `claim` hands out the most urgent task first"
    )
    project: NotBlankStr = Field(
        description="Id of the project; need not be stored in ``projects``"
    )
    created_by: NotBlankStr = Field(description="Name of the agent or user that created the task")
    assigned_to: NotBlankStr | None = Field(
        default=None, description="Id of the agent that works on it; None while no agent does"
    )
    reviewers: tuple[NotBlankStr, ...] = Field(
        default=(), description="Ids of the agents that review the result; no duplicates"
    )
    dependencies: tuple[NotBlankStr, ...] = Field(
        default=(),
        description="Ids of the tasks that must be completed first; no duplicates, not its own id",
    )
    artifacts_expected: tuple[ExpectedArtifact, ...] = Field(
        default=(), description="The artifacts that the task is to produce, in the order given"
    )
    acceptance_criteria: tuple[AcceptanceCriterion, ...] = Field(
        default=(), description="Conditions that the result must meet, in the order given"
    )
    estimated_complexity: Complexity = Field(
        default=Complexity.MEDIUM, description="Size of the task as estimated beforehand"
    )
    budget_limit: float = Field(
        default=0.0,
        ge=0,
        description="Most that the task may cost, in the unit of its costs; not enforced",
    )
    deadline: Deadline | None = Field(
        default=None,
        description="ISO 8601 date or time, kept as the text given; None for no deadline",
    )
    max_retries: Count = Field(
        default=1, description="How often a failed task may be tried again; 0 for never"
    )
    status: TaskStatus = Field(
        default=TaskStatus.CREATED,
        description="Where the task stands; checked against the moves only by `with_transition`",
    )
    parent_task_id: NotBlankStr | None = Field(
        default=None,
        description="Id of the task that this one is part of; None for a task on its own",
    )
    delegation_chain: tuple[NotBlankStr, ...] = Field(
        default=(),
        description="Ids of the delegating agents, root first; never holds ``assigned_to``",
    )
    task_structure: TaskStructure | None = Field(
        default=None, description="How its subtasks follow each other; None if not yet determined"
    )
    coordination_topology: CoordinationTopology = Field(
        default=CoordinationTopology.AUTO, description="How the agents on the task are coordinated"
    )
    source: TaskSource | None = Field(
        default=None, description="Where the task came from; None if unknown"
    )

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
        """Return the task in the status ``target``, other fields replaced by ``overrides``.

        ``ValueError`` for a move that is not allowed, naming those that are; for ``status`` among
        the overrides; and for a result that breaks a rule. Nothing is saved.
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
    """A goal that tasks belong to."""

    id: NotBlankStr = Field(
        description="Key, chosen by the application; what `Task.project` refers to"
    )
    name: NotBlankStr = Field(description="Name for people; need not be unique")
    description: str = Field(default="", description="What the project is to achieve; may be empty")
    team: tuple[NotBlankStr, ...] = Field(
        default=(), description="Ids of the agents that work on the project; no duplicates"
    )
    lead: NotBlankStr | None = Field(
        default=None, description="Id of the agent that leads the project; None if there is none"
    )
    task_ids: tuple[NotBlankStr, ...] = Field(
        default=(), description="Ids of its tasks; no duplicates, not derived from `Task.project`"
    )
    deadline: Deadline | None = Field(
        default=None,
        description="ISO 8601 date or time, kept as the text given; None for no deadline",
    )
    budget: float = Field(
        default=0.0,
        ge=0,
        description="Planned spend, in the unit of its costs; not enforced",
    )
    status: ProjectStatus = Field(
        default=ProjectStatus.PLANNING, description="Where the project stands"
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.team:
            unique(self.team, "team")
        if self.task_ids:
            unique(self.task_ids, "task_ids")
        return self
