"""Workflows: their definitions, and what became of each start of one."""

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
    SEQUENTIAL_PIPELINE = "sequential_pipeline"
    PARALLEL_EXECUTION = "parallel_execution"
    KANBAN = "kanban"
    AGILE_KANBAN = "agile_kanban"


class WorkflowNodeType(StrEnum):
    START = "start"
    END = "end"
    TASK = "task"
    AGENT_ASSIGNMENT = "agent_assignment"
    CONDITIONAL = "conditional"
    PARALLEL_SPLIT = "parallel_split"
    PARALLEL_JOIN = "parallel_join"


class WorkflowEdgeType(StrEnum):
    SEQUENTIAL = "sequential"
    CONDITIONAL_TRUE = "conditional_true"
    CONDITIONAL_FALSE = "conditional_false"
    PARALLEL_BRANCH = "parallel_branch"


class WorkflowExecutionStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class WorkflowNodeExecutionStatus(StrEnum):
    PENDING = "pending"
    SKIPPED = "skipped"
    TASK_CREATED = "task_created"
    TASK_COMPLETED = "task_completed"
    TASK_FAILED = "task_failed"
    COMPLETED = "completed"


_Version = Annotated[Count, Field(ge=1)]


class WorkflowNode(JsonHolder):
    id: NotBlankStr
    type: WorkflowNodeType
    label: NotBlankStr
    position_x: float = 0.0
    position_y: float = 0.0
    config: JsonObject = Field(default_factory=lambda: frozen({}))


class WorkflowEdge(Entity):
    id: NotBlankStr
    source_node_id: NotBlankStr
    target_node_id: NotBlankStr
    type: WorkflowEdgeType = WorkflowEdgeType.SEQUENTIAL
    label: NotBlankStr | None = None


class WorkflowDefinition(Entity):
    """A graph with one start and one end; every edge joins two different nodes of it.

    ``version`` is what optimistic concurrency counts: 1 when made, one more with each update.
    """

    id: NotBlankStr
    name: NotBlankStr
    description: str = ""
    workflow_type: WorkflowType = WorkflowType.SEQUENTIAL_PIPELINE
    nodes: tuple[WorkflowNode, ...] = Field(default=(), validate_default=True)
    edges: tuple[WorkflowEdge, ...] = ()
    created_by: NotBlankStr
    created_at: Moment = Field(default_factory=utc_now)
    updated_at: Moment = Field(default_factory=utc_now)
    version: _Version = 1

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
    """What became of a node. A node of type ``task`` has a ``task_id`` from ``task_created`` on; a
    skipped one has a reason."""

    node_id: NotBlankStr
    node_type: WorkflowNodeType
    status: WorkflowNodeExecutionStatus = WorkflowNodeExecutionStatus.PENDING
    task_id: NotBlankStr | None = None
    skipped_reason: NotBlankStr | None = None

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
    """One start of a workflow. It has ``completed_at`` once it is over, ``error`` if it failed.

    ``version`` is what optimistic concurrency counts: 1 when made, one more with each update.
    """

    id: NotBlankStr
    definition_id: NotBlankStr
    definition_version: _Version
    status: WorkflowExecutionStatus = WorkflowExecutionStatus.PENDING
    node_executions: tuple[WorkflowNodeExecution, ...] = ()
    activated_by: NotBlankStr
    project: NotBlankStr
    created_at: Moment = Field(default_factory=utc_now)
    updated_at: Moment = Field(default_factory=utc_now)
    completed_at: Moment | None = None
    error: NotBlankStr | None = None
    version: _Version = 1

    @model_validator(mode="after")
    def _rules(self) -> Self:
        unique(tuple(node.node_id for node in self.node_executions), "node_executions (by node)")
        if (self.completed_at is not None) is not (self.status in _OVER):
            raise ValueError("completed_at is set exactly when the execution is over")
        if (self.error is not None) is not (self.status is WorkflowExecutionStatus.FAILED):
            raise ValueError("error is set exactly when the execution failed")
        return self
