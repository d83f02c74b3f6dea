"""A subclass with fields of its own is bound, or refused: nothing of it is lost without a word."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from holdfast import (
    AcceptanceCriterion,
    AgentLifecycleEvent,
    ApprovalItem,
    InvalidArgumentError,
    LockoutConfig,
    Message,
    OrgFact,
    OrgFactAuthor,
    OrgFactWriteRequest,
    PersistenceBackend,
    Project,
    Role,
    Session,
    Task,
    TextPart,
    VersioningService,
    VersionSnapshot,
    WorkflowDefinition,
    WorkflowExecution,
    create_backend,
)
from holdfast.extending import (
    STRING,
    Entity,
    JsonText,
    Keyed,
    column,
    new_metadata,
    store_table,
)
from holdfast.memory import OrgMemoryWriteError, create_org_memory
from holdfast.schema import metadata
from holdfast.storage.mapping import MAPPERS, Mapper
from holdfast.testing import samples
from holdfast.testing.catalogue import SUBJECTS
from holdfast.testing.databases import connected
from holdfast.testing.subjects import Subject
from holdfast.testing.suite.base import fresh

NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)
OURS = [mapper for mapper in MAPPERS if mapper.table.metadata is metadata]
SAVED = [subject for subject in SUBJECTS if isinstance(subject.save, str)]


def wider(kind: Any, **fields: Any) -> Any:
    """A subclass with further fields, by default one."""
    return create_model(f"My{kind.__name__.split('[')[0]}", __base__=kind,
                        **(fields or {"weight": (int, 3)}))  # fmt: skip


def made(kind: Any, **fields: Any) -> Any:
    """A sample of an entity as an instance of its subclass."""
    sample = samples.full(kind, **fields)
    return wider(kind).model_validate(dict(sample), by_name=True)


def refused(*words: str) -> Any:
    """The fields at stake, and the way out."""
    said = "".join(f"(?=.*{word})" for word in ("lost", "entities", *words))
    return pytest.raises(InvalidArgumentError, match=f"(?s){said}")


@pytest.mark.parametrize("mapper", OURS, ids=lambda mapper: mapper.table.name)
def test_every_entity_refuses_it(mapper: Mapper[Any]) -> None:
    sample = samples.full(mapper.entity)
    with refused("My", mapper.entity.__name__.split("[")[0], "weight"):
        mapper.encode("t", made(mapper.entity))
    same: Any = type("Same", (mapper.entity,), {"__doc__": "Without further fields."})
    alike = same.model_validate(dict(sample), by_name=True)
    stable = [n for n, name in enumerate(mapper.parameters) if name in mapper.fields]
    ours, theirs = mapper.encode("t", sample), mapper.encode("t", alike)
    assert [theirs[n] for n in stable] == [ours[n] for n in stable]


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("subject", SAVED, ids=str)
async def test_every_save_refuses_it(
    holdfast_shared: PersistenceBackend, subject: Subject[Any]
) -> None:
    backend = fresh(holdfast_shared)
    record = subject.full()
    await subject.ready(backend, record)
    own = wider(subject.entity).model_validate(dict(record), by_name=True)
    with refused("weight"):
        await subject.put_alone(backend, own)
    async with backend.transaction() as tx:
        with refused("weight"):
            await subject.put_alone(tx, own)
    assert await subject.read(backend, record) is None


async def test_every_other_way_in(backend: PersistenceBackend) -> None:
    async def decide(**fields: Any) -> None:
        await backend.decision_records.append_with_next_version(
            record_id="d", task_id="t", approval_id=None, executing_agent_id="a",
            reviewer_agent_id="b", decision="approved", reason=None,  # type: ignore[arg-type]
            criteria_snapshot=(), recorded_at=NOW, **fields,
        )  # fmt: skip

    project, item = made(Project), made(ApprovalItem)
    author = wider(OrgFactAuthor)(is_human=True)
    definition, execution = made(WorkflowDefinition), made(WorkflowExecution)
    ways: list[Callable[[], Awaitable[Any]]] = [
        lambda: backend.projects.create(project),
        lambda: backend.projects.update(project),
        lambda: backend.approvals.save_many([samples.required(ApprovalItem), item]),
        lambda: backend.sessions.create(made(Session)),
        lambda: backend.workflow_definitions.create_if_absent(definition),
        lambda: backend.workflow_definitions.update_if_exists(definition),
        lambda: backend.workflow_executions.save(execution),
        lambda: backend.lifecycle_events.save(made(AgentLifecycleEvent)),
        lambda: backend.messages.save(made(Message)),
        lambda: backend.role_versions.save_version(made(VersionSnapshot[Role])),
        lambda: backend.org_facts.delete("f", author=author),
        lambda: VersioningService(backend.role_versions).snapshot_if_changed("r", made(Role), "a"),
    ]
    for way in ways:
        with refused("weight"):
            await way()
    memory = create_org_memory(backend)
    request = OrgFactWriteRequest(content="c", category="convention")
    for given, by in ((request, author), (made(OrgFactWriteRequest), OrgFactAuthor(is_human=True))):
        with pytest.raises(OrgMemoryWriteError, match="weight"):
            await memory.write(given, author=by)
    with refused("weight"):
        await backend.build_lockouts(wider(LockoutConfig)()).record_failure("ada")
    assert not any(table.rows for table in (await backend.status()).tables.values())


NESTED: list[tuple[type[BaseModel], str, Any]] = [
    (Task, "acceptance_criteria", (wider(AcceptanceCriterion)(description="d"),)),
    (Message, "parts", (TextPart(text="t"), wider(TextPart)(text="t"))),
    (OrgFact, "author", wider(OrgFactAuthor)(is_human=True)),
    (VersionSnapshot[Role], "snapshot", made(Role)),
]


@pytest.mark.parametrize(("kind", "field", "value"), NESTED, ids=lambda value: str(value)[:20])
async def test_within_an_entity(
    backend: PersistenceBackend, kind: Any, field: str, value: Any
) -> None:
    """Pydantic would have made the entity's own class of it when the entity is made."""
    record = samples.full(kind)
    with pytest.raises(ValidationError, match=r"(?s)weight.*entities"):
        kind.model_validate({**dict(record), field: value}, by_name=True)
    unchecked = record.model_copy(update={field: value})
    names = {Task: "tasks", Message: "messages", OrgFact: "org_facts"}
    repository: Any = getattr(backend, names.get(kind, "role_versions"))
    save = repository.save_version if kind not in names else repository.save
    with refused(field, "weight"):
        await save(unchecked)


def test_what_is_lost_by_no_field() -> None:
    class Open(Task):
        model_config = ConfigDict(extra="allow")

    mapper = next(mapper for mapper in OURS if mapper.entity is Task)
    task = samples.full(Task)
    mapper.encode("t", Open.model_validate(dict(task)))
    with refused("Open", "novel"):
        mapper.encode("t", Open.model_validate({**dict(task), "novel": 1}))
    # An instance of the class itself, and a dictionary, are what they always were.
    assert Task.model_validate(task) == Task.model_validate(dict(task)) == task
    assert Task.model_validate({**dict(task), "novel": 1}) == task
    same: Any = type("Same", (AcceptanceCriterion,), {})
    criterion = same(description="d")
    assert task.model_copy(update={"acceptance_criteria": (criterion,)}).acceptance_criteria
    whole = Task.model_validate({**dict(task), "acceptance_criteria": [criterion]})
    assert type(whole.acceptance_criteria[0]) is AcceptanceCriterion


# -- and in place of an entity ---------------------------------------------------------------------


class Criterion(BaseModel):
    description: str
    met: bool = False


class Item(BaseModel):
    id: str
    title: str = "t"
    description: str = "d"
    type: str = "research"
    project: str = "p"
    created_by: str = "me"
    acceptance_criteria: list[Criterion] = []
    lead: Criterion | None = None
    anything: Any = None


async def test_a_subclass_of_a_bound_class(url: str) -> None:
    async with connected(create_backend(url, entities={Task: Item})) as found:
        await found.migrate()
        backend: Any = found
        with refused("Item: MyItem", "weight"):
            await backend.tasks.save(wider(Item)(id="i"))
        same: Any = type("Same", (Item,), {})
        await backend.tasks.save(same(id="s"))
        assert await backend.tasks.get("s") == Item(id="s")
        heavy = wider(Criterion)(description="d")
        for field, value in {"acceptance_criteria": [heavy], "lead": heavy}.items():
            with refused(rf"tasks\.(extra\.)?{field}", "MyCriterion", "weight"):
                await backend.tasks.save(Item.model_validate({"id": "i", field: value}))
        light: Any = type("Light", (Criterion,), {})(description="d")
        saved = Item(id="i", acceptance_criteria=[light], lead=light)
        await backend.tasks.save(saved)
        stored = await backend.tasks.get("i")
        assert stored.lead == stored.acceptance_criteria[0] == Criterion(description="d")
        with pytest.raises(InvalidArgumentError, match=r"tasks\.anything holds a MyCriterion"):
            await backend.tasks.save(Item(id="j", anything=heavy))
        assert await backend.tasks.count_tasks() == 2


async def test_a_class_that_declares_the_subclass(url: str) -> None:
    """The way out that the errors name."""
    heavy: Any = wider(AcceptanceCriterion)
    criteria: Any = (tuple[heavy, ...], ())
    mine: Any = create_model("Mine", __base__=Task, weight=(int, 1),
                             acceptance_criteria=criteria)  # fmt: skip
    async with connected(create_backend(url, entities={Task: mine})) as backend:
        await backend.migrate()
        sample = samples.required(Task, id="m")
        saved = mine(**{**dict(sample), "acceptance_criteria": [heavy(description="d", weight=9)]})
        await backend.tasks.save(saved)
        stored: Any = await backend.tasks.get("m")
        assert stored == saved
        assert stored.acceptance_criteria[0].weight == 9


def test_models_within_an_application_s_own_entity() -> None:
    class Place(BaseModel):
        room: str

    class Desk(Entity):
        id: str
        places: tuple[Place, ...]
        by_name: dict[str, Place | Criterion]

    table = store_table(
        "desks", column("id", STRING), column("places", JsonText()), column("by_name", JsonText()),
        key=("id",), metadata=new_metadata(),
    )  # fmt: skip
    mapper = Keyed(table, Desk).mapper
    far = wider(Place)(room="r")
    with refused("desks.places", "MyPlace", "weight"):
        mapper.encode("t", Desk(id="d", places=(far,), by_name={}))
    with refused("desks.by_name", "MyPlace", "weight"):
        mapper.encode("t", Desk(id="d", places=(), by_name={"a": far}))
    near = Desk(id="d", places=(Place(room="r"),), by_name={"c": Criterion(description="d")})
    assert mapper.decode(mapper.encode("t", near)[1:]) == near
