"""Every entity can have an application's class in its place, and nothing of it is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from pydantic import BaseModel, create_model

from holdfast import InvalidArgumentError, PersistenceBackend, create_backend
from holdfast.schema import metadata
from holdfast.storage.binding import Models
from holdfast.storage.mapping import MAPPERS, STORED
from holdfast.testing import samples
from holdfast.testing.catalogue import SUBJECTS
from holdfast.testing.databases import connected
from holdfast.testing.fixtures import MakeBackend
from holdfast.testing.subjects import Subject
from holdfast.testing.suite.base import fresh

from .things import ENTITIES, FREE, OWN, freed, is_open, make

BINDABLE = [s for s in SUBJECTS if s.entity in STORED and s.save is not None]
#: What can be saved again, and has a place for other fields.
REPLACED = [
    s for s in BINDABLE
    if s.key and is_open(s.entity) and (s.taken is None or s.version is not None)
    and s.entity in ENTITIES
]  # fmt: skip
OURS = [mapper for mapper in MAPPERS if mapper.table.metadata is metadata]
LOOP = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def bound(holdfast_make_backend: MakeBackend) -> AsyncIterator[PersistenceBackend]:
    """A backend on which every entity has another class."""
    async with connected(await holdfast_make_backend(entities=FREE)) as backend:
        yield backend


def _free(subject: Subject[Any]) -> Subject[Any]:
    return replace(subject, make=make)


def test_there_is_something_to_look_at() -> None:
    assert len(BINDABLE) > 25
    assert len(ENTITIES) > 25
    assert len(REPLACED) > 10
    assert {"artifacts", "org_facts", "workflow_executions"} <= {s.name for s in REPLACED}
    assert sum(is_open(kind) for kind in ENTITIES) > 20


@LOOP
@pytest.mark.parametrize("subject", BINDABLE, ids=str)
@pytest.mark.parametrize("sample", ["full", "required"])
async def test_it_comes_back_whole(
    bound: PersistenceBackend, subject: Subject[Any], sample: str
) -> None:
    owner, subject = fresh(bound), _free(subject)
    record = freed(subject.full() if sample == "full" else subject.required())
    await subject.put(owner, record)
    stored = await subject.read(owner, record)
    assert stored == record
    assert type(stored) is type(record)
    async with owner.transaction() as tx:
        assert await subject.read(tx, record) == record


@LOOP
@pytest.mark.parametrize("subject", [s for s in BINDABLE if s.lists], ids=str)
async def test_lists_answer_it(bound: PersistenceBackend, subject: Subject[Any]) -> None:
    owner, subject = fresh(bound), _free(subject)
    records = [freed(record) for record in subject.records()]
    await subject.put(owner, *records)
    repository = subject.of(owner)
    for listed in subject.lists:
        given = {name: subject.passing(listed, name, records[0]) for name in listed.filters}
        given |= listed.always
        found = await getattr(repository, listed.method)(**given)
        assert found
        expected = {type(records[0])} if listed.place is None else {type(found[0])}
        assert {type(entry) for entry in found} == expected


async def test_who_does_not_know_its_fields_leaves_them(shared_url: str) -> None:
    async with (
        connected(create_backend(shared_url, entities=FREE)) as mine,
        connected(create_backend(shared_url)) as theirs,
    ):
        for subject in REPLACED:
            tenant, record = subject.name, freed(subject.full())
            await _free(subject).put(mine.for_tenant(tenant), record)
            plain: Any = await subject.read(theirs.for_tenant(tenant), record)
            assert type(plain) is subject.entity
            if subject.version is not None:
                plain = plain.model_copy(update={subject.version: 2})
            await subject.put_alone(theirs.for_tenant(tenant), plain)
            stored: Any = await subject.read(mine.for_tenant(tenant), record)
            for name in OWN:
                assert getattr(stored, name) == getattr(record, name), (tenant, name)
            if subject.version is not None:
                assert getattr(stored, subject.version) == 2  # that save was written


@pytest.mark.parametrize("kind", ENTITIES, ids=lambda kind: kind.__name__)
def test_a_class_that_lacks_a_required_field_is_refused(kind: type[BaseModel]) -> None:
    fields = {name: (field.annotation, field) for name, field in kind.model_fields.items()}
    needed = [name for name, field in kind.model_fields.items() if field.is_required()]
    for lost in needed:
        rest: Any = {name: field for name, field in fields.items() if name != lost}
        lacking = create_model("Lacking", **rest)
        with pytest.raises(
            InvalidArgumentError, match=rf"entities: Lacking lacks {lost}, which {kind.__name__} "
        ):
            create_backend("sqlite:///:memory:", entities={kind: lacking})


@pytest.mark.parametrize("mapper", OURS, ids=lambda mapper: mapper.entity.__name__)
def test_a_class_without_what_has_a_default(mapper: Any) -> None:
    """What it lacks is stored with the entity's defaults."""
    kind = mapper.entity
    if kind.__pydantic_generic_metadata__["args"]:
        return  # a snapshot's own fields are all required
    needed: Any = {
        name: (field.annotation, ...)
        for name, field in kind.model_fields.items()
        if field.is_required() or isinstance(field.get_default(call_default_factory=True), str)
        or "id" in name or "_at" in name
    }  # fmt: skip
    lean: Any = create_model("Lean", **needed)
    sample = samples.required(kind)
    try:
        standard = kind.model_validate({n: getattr(sample, n) for n in needed}, by_name=True)
    except ValueError:
        return  # its rules want more than its required fields
    bound = Models({kind: lean}).bind(mapper)
    record = lean.model_validate({name: getattr(sample, name) for name in needed}, by_name=True)
    arguments = bound.encode("t", record)
    row = [arguments[mapper.parameters.index(column.name)] for column in mapper.columns]
    assert bound.decode(row) == record
    assert mapper.decode(row) == standard


@pytest.mark.parametrize(
    "kind", [kind for kind in ENTITIES if not is_open(kind)], ids=lambda kind: kind.__name__
)
def test_fields_that_have_no_place_are_refused(kind: type[BaseModel]) -> None:
    fields: Any = {name: (field.annotation, field) for name, field in kind.model_fields.items()}
    wide = create_model("Wide", novel=(int, 0), **fields)
    with pytest.raises(InvalidArgumentError, match=r"Wide has novel, for which .* no column"):
        create_backend("sqlite:///:memory:", entities={kind: wide})
    open_ = create_model("Open", __config__={"extra": "allow"}, **fields)
    mapper = next(mapper for mapper in OURS if mapper.entity is kind)
    values = dict(samples.required(kind)) | {"novel": 5}
    with pytest.raises(InvalidArgumentError, match="has no column for novel"):
        Models({kind: open_}).bind(mapper).encode("t", open_.model_validate(values))
