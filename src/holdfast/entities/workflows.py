"""Workflow definitions and their executions."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from holdfast.entities.base import Count, Entity, Moment, NotBlankStr, frozen, unique, utc_now
from holdfast.entities.json import JsonHolder, JsonObject

__all__ = [
    "WorkflowDefinition",
    "WorkflowEdge",
    "WorkflowEdgeType",
    "WorkflowExecution",
    "WorkflowExecutionStatus",
    "WorkflowNode",
    "WorkflowNodeExecution",
    "WorkflowNodeExecutionStatus",
    "WorkflowNodeType",
    "WorkflowType",
]


class WorkflowType(StrEnum):
    """How the work in a workflow flows."""

    SEQUENTIAL_PIPELINE = "sequential_pipeline"
    PARALLEL_EXECUTION = "parallel_execution"
    KANBAN = "kanban"
    AGILE_KANBAN = "agile_kanban"


class WorkflowNodeType(StrEnum):
    """What a node of a workflow does."""

    START = "start"
    END = "end"
    TASK = "task"
    AGENT_ASSIGNMENT = "agent_assignment"
    CONDITIONAL = "conditional"
    PARALLEL_SPLIT = "parallel_split"
    PARALLEL_JOIN = "parallel_join"


class WorkflowEdgeType(StrEnum):
    """When an edge of a workflow is followed."""

    SEQUENTIAL = "sequential"
    CONDITIONAL_TRUE = "conditional_true"
    CONDITIONAL_FALSE = "conditional_false"
    PARALLEL_BRANCH = "parallel_branch"


class WorkflowExecutionStatus(StrEnum):
    """Where an execution stands; the last three are final."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class WorkflowNodeExecutionStatus(StrEnum):
    """Where a node of an execution stands."""

    PENDING = "pending"
    SKIPPED = "skipped"
    TASK_CREATED = "task_created"
    TASK_COMPLETED = "task_completed"
    TASK_FAILED = "task_failed"
    COMPLETED = "completed"


_Version = Annotated[Count, Field(ge=1)]


class WorkflowNode(JsonHolder):
    """A step of a workflow."""

    id: NotBlankStr = Field(description="Id within the definition; what edges refer to")
    type: WorkflowNodeType = Field(description="What the node does")
    label: NotBlankStr = Field(description="Name for people")
    position_x: float = Field(
        default=0.0, description="Horizontal place in the editor, in the editor's own unit"
    )
    position_y: float = Field(
        default=0.0, description="Vertical place in the editor, in the editor's own unit"
    )
    config: JsonObject = Field(
        default_factory=lambda: frozen({}),
        description="Settings of the node as a JSON object; read-only, also deep within",
    )


class WorkflowEdge(Entity):
    """A connection from one node of a workflow to another."""

    id: NotBlankStr = Field(description="Id within the definition")
    source_node_id: NotBlankStr = Field(description="Id of the node that the edge leaves")
    target_node_id: NotBlankStr = Field(
        description="Id of the node that the edge enters; never the source"
    )
    type: WorkflowEdgeType = Field(
        default=WorkflowEdgeType.SEQUENTIAL, description="When the edge is followed"
    )
    label: NotBlankStr | None = Field(default=None, description="Name for people; None for no name")


class WorkflowDefinition(Entity):
    """A graph with one start and one end."""

    id: NotBlankStr = Field(description="Key, chosen by the application")
    name: NotBlankStr = Field(description="Name for people; need not be unique")
    description: str = Field(default="", description="What the workflow is for; may be empty")
    workflow_type: WorkflowType = Field(
        default=WorkflowType.SEQUENTIAL_PIPELINE, description="How the work flows"
    )
    nodes: tuple[WorkflowNode, ...] = Field(
        default=(),
        validate_default=True,
        description="Steps with unique ids; exactly one start and one end among them",
    )
    edges: tuple[WorkflowEdge, ...] = Field(
        default=(), description="Connections with unique ids, each from one node to another"
    )
    created_by: NotBlankStr = Field(
        description="Id of the agent or user that made it; updates keep the first value"
    )
    created_at: Moment = Field(
        default_factory=utc_now,
        description="When it was made, now if not given; updates keep the first value",
    )
    updated_at: Moment = Field(
        default_factory=utc_now,
        description="When it last changed, now if not given; set by the application",
    )
    version: _Version = Field(
        default=1,
        description="1 when created, one more with each update; any other value is a conflict",
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        unique(tuple(node.id for node in self.nodes), "nodes (by id)")
        unique(tuple(edge.id for edge in self.edges), "edges (by id)")
        kinds = Counter(node.type for node in self.nodes)
        if kinds[WorkflowNodeType.START] != 1 or kinds[WorkflowNodeType.END] != 1:
            raise ValueError("nodes must hold exactly one start and one end")
        known = {node.id for node in self.nodes}
        for edge in self.edges:
            if edge.source_node_id == edge.target_node_id:
                raise ValueError("an edge must not lead from a node to itself")
            if not {edge.source_node_id, edge.target_node_id} <= known:
                raise ValueError("an edge must join nodes of the workflow")
        return self


_OF_TASKS = frozenset(
    {
        WorkflowNodeExecutionStatus.TASK_CREATED,
        WorkflowNodeExecutionStatus.TASK_COMPLETED,
        WorkflowNodeExecutionStatus.TASK_FAILED,
    }
)


class WorkflowNodeExecution(Entity):
    """What became of a node in an execution."""

    node_id: NotBlankStr = Field(description="Id of the node in the definition")
    node_type: WorkflowNodeType = Field(description="What the node does")
    status: WorkflowNodeExecutionStatus = Field(
        default=WorkflowNodeExecutionStatus.PENDING,
        description="Where the node stands; ``task_*`` only for a node of type ``task``",
    )
    task_id: NotBlankStr | None = Field(
        default=None,
        description="Id of the task made for the node; set exactly for a status ``task_*``",
    )
    skipped_reason: NotBlankStr | None = Field(
        default=None, description="Why the node was skipped; set exactly for the status ``skipped``"
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if (self.task_id is not None) is not (self.status in _OF_TASKS):
            raise ValueError("task_id is set exactly when the status is of a task")
        if self.task_id is not None and self.node_type is not WorkflowNodeType.TASK:
            raise ValueError("only a node of type task has a task")
        if (self.skipped_reason is not None) is not (
            self.status is WorkflowNodeExecutionStatus.SKIPPED
        ):
            raise ValueError("skipped_reason is set exactly when the node was skipped")
        return self


_OVER = frozenset(
    {
        WorkflowExecutionStatus.COMPLETED,
        WorkflowExecutionStatus.FAILED,
        WorkflowExecutionStatus.CANCELLED,
    }
)


class WorkflowExecution(Entity):
    """One run of a workflow."""

    id: NotBlankStr = Field(description="Key, chosen by the application")
    definition_id: NotBlankStr = Field(description="Id of the definition, which must be stored")
    definition_version: _Version = Field(
        description="Version of the definition that is run, from 1"
    )
    status: WorkflowExecutionStatus = Field(
        default=WorkflowExecutionStatus.PENDING, description="Where the execution stands"
    )
    node_executions: tuple[WorkflowNodeExecution, ...] = Field(
        default=(), description="What became of each node, in the order given; one entry a node"
    )
    activated_by: NotBlankStr = Field(description="Id of the agent or user that started it")
    project: NotBlankStr = Field(description="Id of the project that its tasks belong to")
    created_at: Moment = Field(
        default_factory=utc_now, description="When it was started; now if not given"
    )
    updated_at: Moment = Field(
        default_factory=utc_now,
        description="When it last changed, now if not given; set by the application",
    )
    completed_at: Moment | None = Field(
        default=None, description="When it ended; set exactly if completed, failed or cancelled"
    )
    error: NotBlankStr | None = Field(
        default=None, description="Why it failed; set exactly if it failed"
    )
    version: _Version = Field(
        default=1,
        description="1 when created, one more with each update; any other value is a conflict",
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        unique(tuple(node.node_id for node in self.node_executions), "node_executions (by node)")
        if (self.completed_at is not None) is not (self.status in _OVER):
            raise ValueError("completed_at is set exactly when the execution is over")
        if (self.error is not None) is not (self.status is WorkflowExecutionStatus.FAILED):
            raise ValueError("error is set exactly when the execution failed")
        return self
