"""Nothing that Holdfast promises is left out of the conformance tests."""

from __future__ import annotations

import ast
import inspect
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast import Repositories
from holdfast.schema import metadata
from holdfast.testing.catalogue import SUBJECTS
from holdfast.testing.subjects import Subject

#: Tables that are no repository's own: the suite reaches them through another's.
OF_OTHERS = {"changes", "workflow_execution_tasks", "org_facts_operation_log"}
BY_NAME = {subject.name: subject for subject in SUBJECTS}


def promised() -> dict[str, type[Any]]:
    """By property of a backend, the protocol of its repository."""
    found = {}
    for base in Repositories.__mro__:
        for name, member in vars(base).items():
            if isinstance(member, property):
                hint = typing.get_type_hints(member.fget)["return"]
                found[name] = typing.get_origin(hint) or hint
    return found


def methods(protocol: type[Any]) -> list[str]:
    return [
        name
        for name, member in vars(protocol).items()
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property))
    ]


def in_the_suite(subject: Subject[Any]) -> set[str]:
    """The methods whose answers the suite compares with what it saved."""
    single = {one for one in (subject.save, subject.get, subject.delete) if isinstance(one, str)}
    lists = {one.method for one in subject.lists}
    return single | {*subject.find} | lists | {one.count for one in subject.lists if one.count}


def called(source: str) -> set[tuple[str, str]]:
    """Which method is called in a source that mentions the repository: ``(repository, method)``.

    ``tx.tasks.claim(...)`` and, where a name stands for ``backend.tasks``, ``tasks.claim(...)``.
    """
    tree = ast.parse(source)
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    repositories = {node.attr for node in attributes} | texts
    return {(str(r), node.attr) for r in repositories for node in attributes}


def sources() -> Iterator[str]:
    here = Path(__file__)
    for path in sorted(here.parent.glob("*.py")):
        if path != here:
            yield path.read_text(encoding="utf-8")
    # The catalogue's functions call what the names of methods do not say.
    for module in sorted((here.parents[2] / "src/holdfast/testing/catalogue").glob("*.py")):
        yield module.read_text(encoding="utf-8")


CALLED = {pair for source in sources() for pair in called(source)}


def test_every_repository_is_in_the_catalogue() -> None:
    assert BY_NAME.keys() == promised().keys()
    assert len(BY_NAME) == len(SUBJECTS)


def test_every_table_belongs_to_a_repository() -> None:
    from holdfast.storage.repository import Repository

    # Other tests make some of their own.
    kinds = [k for k in _subclasses(Repository) if k.__module__.startswith("holdfast.")]
    tables = {kind.table.name for kind in kinds if hasattr(kind, "table")}
    assert metadata.tables.keys() - tables == OF_OTHERS


def _subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    for sub in kind.__subclasses__():
        yield sub
        yield from _subclasses(sub)


@pytest.mark.parametrize("name", promised())
def test_every_method_has_a_conformance_test(name: str) -> None:
    missing = [
        method
        for method in methods(promised()[name])
        if method not in in_the_suite(BY_NAME[name]) and (name, method) not in CALLED
    ]
    assert missing == []


@pytest.mark.parametrize("name", BY_NAME)
def test_the_samples_leave_no_field_out(name: str) -> None:
    """Each field has another value than its default in some record that the suite compares."""
    subject = BY_NAME[name]
    if subject.save is None:
        return
    records = [subject.full(), *subject.records()]
    left_out = [
        field
        for field, info in subject.entity.model_fields.items()
        if not info.is_required()
        and field != subject.version  # a second save changes it
        and all(
            getattr(record, field) == info.get_default(call_default_factory=True)
            for record in records
        )
    ]
    assert left_out == []


def test_what_is_missing_is_seen() -> None:
    assert called("async def f(b):\n    await b.tasks.claim('a')\n") >= {("tasks", "claim")}
    assert ("tasks", "claim") not in called("async def f(b):\n    await b.tasks.get('a')\n")
    assert ("users", "count") not in called("async def f(b):\n    await b.tasks.count()\n")
