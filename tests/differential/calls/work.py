"""Tasks, projects, artifacts, workflows."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from holdfast import (
    Artifact,
    Project,
    Task,
    WorkflowDefinition,
    WorkflowExecution,
    WorkflowNodeExecution,
    WorkflowNodeType,
)
from holdfast.testing.samples import required

from ..steps import Call, Offer, call
from ..strategies import KEYS, a, agents, bad, each, key_arguments, keys, moments, offsets
from ..strategies import page as page_of

__all__ = ["OFFERS"]

priorities = st.sampled_from(("critical", "high", "medium", "low"))
dependencies = st.sampled_from(((), (), ("é",), ("é", "🦑"), ("missing",), ('"\\', "'")))
chains = st.sampled_from(((), (), ("ada",), ("ada", "🦑")))


def _open(values: dict[str, Any]) -> Task:
    others = tuple(key for key in values["dependencies"] if key != values["id"])
    return required(Task, **values | {"dependencies": others})


tasks = st.one_of(
    st.fixed_dictionaries(
        {
            "id": keys, "title": agents, "project": agents, "dependencies": dependencies,
            "priority": priorities, "delegation_chain": chains,
        }
    ).map(_open),
    a(
        Task, id=keys, project=agents, assigned_to=agents,
        status=st.sampled_from(("assigned", "completed", "blocked")),
    ),
)  # fmt: skip
statuses = bad(st.sampled_from(("created", "assigned", "completed", "blocked")), ("done", "", 3))
task_filters: dict[str, Any] = {"status": statuses, "assigned_to": agents, "project": agents}
projects = a(
    Project, id=keys, name=agents, lead=agents, status=st.sampled_from(("active", "planning"))
)
artifacts = a(
    Artifact, id=keys, task_id=agents, created_by=agents, type=st.sampled_from(("code", "tests"))
)

versions = st.sampled_from((1, 1, 2, 2, 3))
types = st.sampled_from(("kanban", "agile_kanban"))
definitions = a(
    WorkflowDefinition, id=keys, name=agents, workflow_type=types, version=versions,
    created_by=agents, created_at=moments, updated_at=moments,
)  # fmt: skip


def _node(values: dict[str, Any]) -> WorkflowNodeExecution:
    kind = WorkflowNodeType.TASK
    return required(WorkflowNodeExecution, node_type=kind, status="task_created", **values)


nodes = st.lists(
    st.fixed_dictionaries({"node_id": keys, "task_id": agents}).map(_node),
    max_size=2, unique_by=lambda node: node.node_id,
).map(tuple)  # fmt: skip
running = bad(st.just("running"), ("pending", "completed", "failed", "cancelled"), once_in=2)
executions = a(
    WorkflowExecution, id=keys, definition_id=keys, status=running, node_executions=nodes,
    version=versions, created_at=moments, updated_at=moments,
)  # fmt: skip
execution_statuses = bad(running, ("done", "", None))

FIRST_TASKS = tuple(Call("tasks", "save", (required(Task, id=key),)) for key in KEYS[:3])
FIRST_DEFINITIONS = tuple(
    Call("workflow_definitions", "save", (required(WorkflowDefinition, id=key, version=1),))
    for key in KEYS[:3]
)

OFFERS = (
    Offer(
        "tasks",
        saves=[call("save", tasks)],
        others=[
            call("list_tasks", **task_filters, **page_of(tasks), offset=offsets),
            call("count_tasks", **task_filters),
            call("claim", agents, project=agents),
            call("get", key_arguments),
            call("delete", key_arguments),
        ],
        lists=(Call("", "list_tasks"),),
        ordered=True,
    ),
    Offer(
        "projects",
        saves=[call(verb, projects) for verb in ("save", "create", "update")],
        others=[
            call(
                "list_projects", status=bad(st.just("active"), ("?",)), lead=agents,
                **page_of(projects),
            ),
            call("get", key_arguments),
            call("delete", key_arguments),
        ],
        lists=(Call("", "list_projects"),),
        ordered=True,
    ),
    Offer(
        "artifacts",
        saves=[call("save", artifacts)],
        others=[
            call(
                "list_artifacts", task_id=agents, created_by=agents,
                artifact_type=st.sampled_from(("code", "tests", "film")), **page_of(artifacts),
            ),
            call("get", key_arguments),
            call("delete", key_arguments),
        ],
        lists=(Call("", "list_artifacts"),),
    ),
    Offer(
        "workflow_definitions",
        saves=[
            call("save", bad(definitions, (required(Task), None))),
            call("create_if_absent", definitions),
            call("update_if_exists", definitions),
        ],
        others=[
            call("list_definitions", workflow_type=bad(types, ("", 1)), **page_of(definitions)),
            call("get", key_arguments),
            call("delete", key_arguments),
        ],
        lists=(Call("", "list_definitions"),),
    ),
    Offer(
        "workflow_executions",
        saves=[call("save", bad(executions, (required(Task), None)))],
        others=[
            call("list_by_definition", key_arguments, **page_of(executions)),
            call("list_by_status", execution_statuses, **page_of(executions)),
            call("find_by_task_id", bad(agents, ("", "\0", 4))),
            call("get", key_arguments),
            call("delete", key_arguments),
        ],
        lists=(
            *each("", "list_by_definition", KEYS[:3]),
            *each("", "list_by_status", ("running", "pending")),
        ),
        before=FIRST_DEFINITIONS,
    ),
)  # fmt: skip
