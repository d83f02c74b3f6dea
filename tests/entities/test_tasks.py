"""Tasks, their transitions, and projects."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

import pytest
from pydantic import ValidationError

from holdfast import ArtifactType, Task, TaskStatus

from .samples import make

#: As the contract prints it.
TRANSITIONS = {
    "created": "assigned rejected",
    "assigned": "in_progress auth_required blocked cancelled failed interrupted suspended",
    "in_progress": "in_review auth_required blocked cancelled failed interrupted suspended",
    "in_review": "completed in_progress blocked cancelled",
    "auth_required": "assigned cancelled",
    "blocked": "assigned",
    "failed": "assigned",
    "interrupted": "assigned",
    "suspended": "assigned",
    "completed": "",
    "cancelled": "",
    "rejected": "",
}
NEEDS_AGENT = {"assigned", "in_progress", "in_review", "completed", "auth_required"}


def in_status(status: str) -> Task:
    made: Task = make("Task", status=status, assigned_to=None if status == "created" else "bob")
    return made


@pytest.mark.parametrize("status", TRANSITIONS)
def test_who_has_an_agent(status: str) -> None:
    if status != "created":
        assert make("Task", status=status, assigned_to="bob").assigned_to == "bob"
    else:
        with pytest.raises(ValidationError, match="must not have assigned_to"):
            make("Task", status=status, assigned_to="bob")
    if status not in NEEDS_AGENT:
        assert make("Task", status=status).assigned_to is None
    else:
        with pytest.raises(ValidationError, match="needs assigned_to"):
            make("Task", status=status)


@pytest.mark.parametrize("target", TaskStatus)
@pytest.mark.parametrize("source", TRANSITIONS)
def test_transitions(source: str, target: TaskStatus) -> None:
    task = in_status(source)
    if target in TRANSITIONS[source].split():
        moved = task.with_transition(target, assigned_to="bob")
        assert moved == task.model_copy(update={"status": target, "assigned_to": "bob"})
        assert task == in_status(source)
    else:
        with pytest.raises(ValueError, match=f"cannot go from {source} to {target}") as caught:
            task.with_transition(target, assigned_to="bob")
        allowed = ", ".join(sorted(TRANSITIONS[source].split()))
        ways = f"it can go to {allowed}" if allowed else "that is its end"
        assert str(caught.value).endswith(f": {ways}")


def test_the_page_shows_every_transition() -> None:
    page = Path(__file__).parents[2] / "docs" / "repositories.md"
    shown = {
        source: sorted(re.findall(r"`(\w+)`", targets))
        for source, targets in re.findall(
            r"^\| `(\w+)` \|((?: `\w+`,?)*) \|$", page.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    assert shown == {source: sorted(text.split()) for source, text in TRANSITIONS.items()}


def test_a_transition_keeps_the_rules() -> None:
    with pytest.raises(ValueError, match="needs assigned_to"):
        in_status("created").with_transition(TaskStatus.ASSIGNED)
    with pytest.raises(ValueError, match="max_retries"):
        in_status("assigned").with_transition(TaskStatus.IN_PROGRESS, max_retries=-1)
    with pytest.raises(ValueError, match="not an override"):
        in_status("assigned").with_transition(TaskStatus.IN_PROGRESS, status=TaskStatus.IN_PROGRESS)


def test_a_transition_takes_an_applications_own_enum_and_class() -> None:
    class Theirs(StrEnum):
        IN_PROGRESS = "in_progress"

    class Tagged(Task):
        tag: str = ""

    task = Tagged(**in_status("assigned").model_dump(), tag="x")
    moved = task.with_transition(Theirs.IN_PROGRESS, title="New")  # type: ignore[arg-type]
    assert type(moved) is Tagged
    assert (moved.status, moved.title, moved.tag) == (TaskStatus.IN_PROGRESS, "New", "x")
    assert moved.status is TaskStatus.IN_PROGRESS


@pytest.mark.parametrize("field", ["reviewers", "dependencies", "delegation_chain"])
def test_lists_hold_nothing_twice(field: str) -> None:
    assert getattr(make("Task", **{field: ["b", "a"]}), field) == ("b", "a")
    with pytest.raises(ValidationError, match=f"{field} must not hold duplicates"):
        make("Task", **{field: ["a", "b", "a"]})
    with pytest.raises(ValidationError):
        make("Task", **{field: ["a", " "]})


def test_a_task_does_not_depend_on_itself_nor_on_its_agent_above_it() -> None:
    with pytest.raises(ValidationError, match="own id"):
        make("Task", dependencies=("a", "t"))
    with pytest.raises(ValidationError, match="own id"):
        make("Task", parent_task_id="t")
    with pytest.raises(ValidationError, match="delegation_chain"):
        make("Task", status="assigned", assigned_to="bob", delegation_chain=("ada", "bob"))
    made = make("Task", status="assigned", assigned_to="cleo", delegation_chain=("bob", "ada"))
    assert made.delegation_chain == ("bob", "ada")
    assert make("Task", parent_task_id="other", dependencies=("other",)).parent_task_id == "other"


def test_what_a_task_is_to_bring() -> None:
    made = make(
        "Task",
        artifacts_expected=[{"type": "code", "path": "a.py"}],
        acceptance_criteria=[{"description": "it runs"}],
    )
    assert made.artifacts_expected[0].type is ArtifactType.CODE
    assert made.acceptance_criteria[0].met is False
    assert hash(made) == hash(make("Task", **made.model_dump()))
    for field in ("artifacts_expected", "acceptance_criteria"):
        with pytest.raises(ValidationError):
            make("Task", **{field: [{"type": "code", "description": "", "path": ""}]})


@pytest.mark.parametrize("field", ["team", "task_ids"])
def test_a_project_names_nothing_twice(field: str) -> None:
    assert getattr(make("Project", **{field: ["b", "a"]}), field) == ("b", "a")
    with pytest.raises(ValidationError, match=f"{field} must not hold duplicates"):
        make("Project", **{field: ["a", "a"]})


def test_an_artifact_need_not_be_described() -> None:
    made = make("Artifact")
    assert (made.description, made.content_type, made.created_at) == ("", "", None)
