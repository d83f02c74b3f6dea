"""What an application's own class may be like, and what becomes of its values."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    PostgresDsn,
    RootModel,
    SecretBytes,
    SecretStr,
    computed_field,
    create_model,
)

from holdfast import (
    ApiKey,
    Checkpoint,
    CostRecord,
    DecisionRecord,
    InvalidArgumentError,
    MalformedRowError,
    Message,
    PersistenceBackend,
    Project,
    Task,
    TaskStatus,
    User,
    create_backend,
)
from holdfast.testing import samples

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@asynccontextmanager
async def opened(url: str, entities: Any = None) -> AsyncIterator[Any]:
    """A backend; its repositories are annotated with Holdfast's classes, so they are ``Any``."""
    backend = create_backend(url, entities=entities)
    await backend.connect()
    try:
        await backend.migrate()
        yield backend
    finally:
        await backend.disconnect()


class State(Enum):
    NEW = "created"
    GIVEN = "assigned"
    DONE = "completed"


class Kind(Enum):
    READ = "research"


class Criterion(BaseModel):
    description: str
    met: bool = False
    weight: int = 1


class Item(BaseModel):
    """Stands for `Task`: fewer fields, other types, and some more."""

    id: str
    title: str = "untitled"
    description: str = "none"
    type: Kind = Kind.READ
    project: str = "p"
    created_by: str = "me"
    status: State = State.NEW
    assigned_to: str | None = None
    dependencies: list[str] = []
    acceptance_criteria: list[Criterion] = []
    effort: timedelta = timedelta(0)


def item(number: int | str = 0, **fields: Any) -> Item:
    return Item.model_validate({"id": f"i-{number}", **fields})


# -- what is refused when the backend is made ----------------------------------------------------


@pytest.mark.parametrize(
    ("entity", "kind", "says"),
    [
        (Item, Item, "no repository stores Item"),
        (State, Item, "no repository stores State"),
        ("Task", Item, "no repository stores Task"),
        (Task, "Item", "Task needs a Pydantic model class"),
        (Task, item(), "Task needs a Pydantic model class"),
        (Task, State, "Task needs a Pydantic model class"),
        (Task, BaseModel, "BaseModel lacks id, title, description, type, project, created_by, "),
    ],
)
def test_what_cannot_be_bound(entity: Any, kind: Any, says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"entities: .*{says}"):
        create_backend("sqlite:///:memory:", entities={entity: kind})


@pytest.mark.parametrize(
    ("entity", "lost"), [(Message, "id"), (Checkpoint, "id"), (Checkpoint, "created_at")]
)
def test_what_is_made_anew_for_each_record_must_be_kept(entity: Any, lost: str) -> None:
    """It has a default, but another one at each reading: a record would change its name or age."""
    assert not entity.model_fields[lost].is_required()
    fields: Any = {n: (f.annotation, f) for n, f in entity.model_fields.items() if n != lost}
    lacking: Any = create_model("Lacking", **fields)
    with pytest.raises(InvalidArgumentError, match=f"Lacking lacks {lost}, which"):
        create_backend("sqlite:///:memory:", entities={entity: lacking})


# -- one record ----------------------------------------------------------------------------------


async def test_own_enums_types_and_nested_fields(url: str) -> None:
    async with opened(url, {Task: Item}) as backend:
        saved = item(
            effort=timedelta(minutes=90),
            acceptance_criteria=[Criterion(description="fast", weight=7), {"description": "good"}],
        )
        await backend.tasks.save(saved)
        stored = await backend.tasks.get("i-0")
        assert stored == saved
        assert stored.status is State.NEW
        assert stored.acceptance_criteria[0].weight == 7
        with pytest.raises(InvalidArgumentError, match="tasks takes Item, not Task"):
            await backend.tasks.save(samples.required(Task))


async def test_the_rules_of_the_entity_hold_and_errors_name_the_field(url: str) -> None:
    async with opened(url, {Task: Item}) as backend:
        wrong: dict[str, dict[str, Any]] = {
            "title": {"title": " "},
            "dependencies": {"dependencies": ["a", " "]},
            "acceptance_criteria.0.description": {"acceptance_criteria": [{"description": ""}]},
            "assigned_to": {"status": State.GIVEN},
        }
        for field, values in wrong.items():
            with pytest.raises(InvalidArgumentError, match=rf"tasks: .*{field}"):
                await backend.tasks.save(item(**values))
        unchecked = item().model_copy(update={"effort": "long"})
        with pytest.raises(InvalidArgumentError, match="tasks: effort"):
            await backend.tasks.save(unchecked)
        with pytest.raises(InvalidArgumentError, match="tasks: id"):
            await backend.tasks.save(Item.model_construct(title="t"))  # type: ignore[call-arg]
        assert await backend.tasks.count_tasks() == 0


async def test_what_both_know_is_read_by_both(shared_url: str) -> None:
    """And an application that knows no extra fields leaves them where they are."""
    async with opened(shared_url, {Task: Item}) as mine, opened(shared_url) as theirs:
        saved = item(effort=timedelta(hours=2), acceptance_criteria=[Criterion(description="a")])
        await mine.tasks.save(saved)
        task = await theirs.tasks.get("i-0")
        assert type(task) is Task
        assert task.title == "untitled"
        assert task.reviewers == ()
        await theirs.tasks.save(task.model_copy(update={"title": "renamed"}))
        assert await mine.tasks.get("i-0") == saved.model_copy(update={"title": "renamed"})
        # What the class lacks is not kept: it is stored with the entity's default.
        await theirs.tasks.save(task.model_copy(update={"reviewers": ("ada",)}))
        await mine.tasks.save(saved)
        assert (await theirs.tasks.get("i-0")).reviewers == ()


async def test_insert_update_and_counted_saves_keep_extra_fields(shared_url: str) -> None:
    class Venture(BaseModel):
        id: str
        name: str
        colour: str = "grey"

    async with opened(shared_url, {Project: Venture}) as mine, opened(shared_url) as theirs:
        await mine.projects.create(Venture(id="v", name="n", colour="red"))
        await theirs.projects.update(Project(id="v", name="m"))
        assert await mine.projects.get("v") == Venture(id="v", name="m", colour="red")
        await theirs.projects.save(Project(id="v", name="o"))
        assert (await mine.projects.get("v")).colour == "red"
        await mine.projects.update(Venture(id="v", name="o", colour="blue"))
        assert (await mine.projects.get("v")).colour == "blue"
        await theirs.projects.create(Project(id="w", name="w"))
        assert await mine.projects.get("w") == Venture(id="w", name="w")


class Pair(RootModel[tuple[int, str]]):
    pass


class Level(IntEnum):
    LOW = 1


@dataclass
class Spot:
    x: int
    password: SecretStr


class Everything(Item):
    url: HttpUrl
    dsn: PostgresDsn
    token: SecretStr
    key: SecretBytes
    price: Decimal
    day: date
    moment: datetime
    path: PurePosixPath
    pair: Pair
    level: Level
    spots: list[Spot]
    sets: frozenset[UUID]
    counts: dict[Level, dict[str, float | None]]
    hidden: str = Field(exclude=True)
    late: str | None = Field(default=None, repr=False)


async def test_values_of_many_types_come_back(url: str) -> None:
    saved = Everything.model_validate({
        "id": "e", "url": "https://example.org/a?b=c", "dsn": "postgresql://h/d",
        "token": "canary", "key": b"canary", "price": "1.10", "day": "2026-01-31", "moment": NOON,
        "path": "/a/b", "pair": (1, "x"), "level": 1, "spots": [Spot(1, SecretStr("canary"))],
        "sets": {uuid4(), uuid4()}, "counts": {1: {"a": 1.5, "b": None}}, "hidden": "kept",
    })  # fmt: skip
    async with opened(url, {Task: Everything}) as backend:
        await backend.tasks.save(saved)
        stored = await backend.tasks.get("e")
        assert stored == saved
        assert stored.token.get_secret_value() == "canary"
        assert stored.spots[0].password.get_secret_value() == "canary"
        assert stored.hidden == "kept"
        assert str(stored.price) == "1.10"


async def test_a_strict_class_is_read_from_what_a_database_knows(url: str) -> None:
    class Inner(BaseModel):
        model_config = ConfigDict(strict=True)

        state: State
        when: datetime

    class Strict(Item):
        model_config = ConfigDict(strict=True)

        number: int = Field(default=1, strict=True)
        one: State = Field(default=State.DONE, strict=True)
        inner: Inner | None = None

    async with opened(url, {Task: Strict}) as backend:
        saved = Strict(id="s", inner=Inner(state=State.DONE, when=NOON))
        await backend.tasks.save(saved)
        assert await backend.tasks.get("s") == saved
        with pytest.raises(InvalidArgumentError, match="tasks: number"):
            await backend.tasks.save(saved.model_copy(update={"number": "2"}))


async def test_aliases_are_for_the_outside(url: str) -> None:
    class Inner(BaseModel):
        a_b: int = Field(alias="aB")

    class Aliased(BaseModel):
        model_config = ConfigDict(extra="forbid", serialize_by_alias=True)

        id: str = Field(alias="_id")
        title: str = Field(validation_alias="Title", serialization_alias="T")
        description: str = "d"
        type: Kind = Kind.READ
        project: str = "p"
        created_by: str = Field(default="me", alias="by")
        inner: Inner

    async with opened(url, {Task: Aliased}) as backend:
        saved = Aliased.model_validate({"_id": "a", "Title": "t", "by": "ada", "inner": {"aB": 1}})
        await backend.tasks.save(saved)
        assert await backend.tasks.get("a") == saved


async def test_an_open_class_keeps_whatever_it_was_given(url: str) -> None:
    class Open(Item):
        model_config = ConfigDict(extra="allow")

    async with opened(url, {Task: Open}) as backend:
        saved = Open.model_validate({"id": "o", "novel": {"a": [1]}, "reviewers": ["ada"]})
        await backend.tasks.save(saved)
        stored = await backend.tasks.get("o")
        assert stored == saved
        assert stored.model_extra == {"novel": {"a": [1]}, "reviewers": ["ada"]}
        plain = Open(id="p")
        await backend.tasks.save(plain)
        assert (await backend.tasks.get("p")).model_extra == {}


async def test_what_is_computed_or_private_is_not_stored(url: str) -> None:
    class Busy(Item):
        model_config = ConfigDict(extra="forbid")
        _cache: int = 0

        @computed_field  # type: ignore[prop-decorator]
        @property
        def loud(self) -> str:
            return self.title.upper()

    async with opened(url, {Task: Busy}) as backend:
        saved = Busy(id="b")
        saved.__dict__["noted"] = 5  # as `functools.cached_property` does
        await backend.tasks.save(saved)
        assert await backend.tasks.get("b") == Busy(id="b")


class Loose(Item):
    anything: Any = None


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    "value",
    [object(), float("nan"), [float("inf")], {"a": b"\xff"}, "a\0", ["\ud800"], {"\0": 1}, LOOP],
    ids=lambda value: type(value).__name__,
)
async def test_what_cannot_be_stored_is_refused_by_name(value: Any) -> None:
    async with opened("sqlite:///:memory:", {Task: Loose}) as backend:
        with pytest.raises(InvalidArgumentError, match=r"tasks\.(extra\.)?anything"):
            await backend.tasks.save(Loose(id="l", anything=value))
        assert await backend.tasks.count_tasks() == 0


async def test_a_row_that_no_longer_fits_is_named(url: str) -> None:
    async with opened(url, {Task: Item}) as backend:
        await backend.tasks.save(item(1))
        await backend.tasks.save(item(2))
        engine = backend._core.engine
        for change, field in {
            "status = 'cancelled'": "status",
            """extra = '{"effort": "secret words"}'""": "effort",
            "extra = '[]'": "JSON",
        }.items():
            sql = f"UPDATE tasks SET {change} WHERE id = 'i-1'"
            await engine.run_sync(lambda connection, sql=sql: connection.exec_driver_sql(sql))
            for call in (lambda: backend.tasks.get("i-1"), backend.tasks.list_tasks):
                with pytest.raises(MalformedRowError, match=rf"i-1.*Item: .*{field}") as damaged:
                    await call()
                assert damaged.value.key == ("i-1",)
                assert "secret" not in str(damaged.value)
        assert await backend.tasks.get("i-2") == item(2)


# -- many records --------------------------------------------------------------------------------


async def test_lists_pages_and_claims_answer_it(url: str) -> None:
    async with opened(url, {Task: Item}) as backend:
        items = [item(number, effort=timedelta(minutes=number)) for number in range(7)]
        for one in items:
            await backend.tasks.save(one)
        assert list(await backend.tasks.list_tasks()) == items
        page = await backend.tasks.list_tasks(limit=3)
        seen = []
        while page:
            seen += page
            page = await backend.tasks.list_tasks(limit=3, after=page[-1])
        assert seen == items
        assert list(await backend.tasks.list_tasks(after="i-4")) == items[5:]
        assert list(await backend.tasks.list_tasks(status=TaskStatus.CREATED)) == items
        assert list(await backend.tasks.list_tasks(status=State.NEW, limit=1)) == items[:1]
        with pytest.raises(InvalidArgumentError, match="after"):
            await backend.tasks.list_tasks(after=samples.required(Task))
        claimed = await backend.tasks.claim("grace")
        assert claimed == items[0].model_copy(
            update={"status": State.GIVEN, "assigned_to": "grace"}
        )


async def test_pages_by_another_order_than_the_key(url: str) -> None:
    class Note(BaseModel):
        id: UUID = Field(default_factory=uuid4)
        timestamp: datetime
        sender: str = "a"
        to: str = "b"
        type: str = "question"
        channel: str = "c"
        parts: list[dict[str, Any]] = [{"type": "text", "text": "t", "own": 1}]
        mood: int = 0

    class Bill(BaseModel):
        agent_id: str
        task_id: str = "t"
        provider: str = "p"
        model: str = "m"
        input_tokens: int = 1
        output_tokens: int = 1
        cost_usd: float = 1.0
        timestamp: datetime = NOON
        cents: Decimal = Decimal("1.10")

    async with opened(url, {Message: Note, CostRecord: Bill}) as backend:
        notes = [Note(timestamp=NOON + timedelta(seconds=n // 2), mood=n) for n in range(6)]
        for note in notes:
            await backend.messages.save(note)
        expected = notes[::-1]
        assert list(await backend.messages.get_history("c")) == expected
        page, seen = await backend.messages.get_history("c", limit=2), []
        while page:
            seen += page
            page = await backend.messages.get_history("c", limit=2, after=page[-1])
        assert seen == expected

        bills = [Bill(agent_id=f"a-{number}") for number in range(4)]
        for bill in bills:
            await backend.cost_records.save(bill)
        first = await backend.cost_records.query(limit=2)
        assert list(first) == bills[:2]
        assert list(await backend.cost_records.query(after=first[-1])) == bills[2:]
        await backend.cost_records.save(first[0])  # what was read can be saved again
        assert len(await backend.cost_records.query(agent_id="a-0")) == 2


async def test_transactions_savepoints_and_tenants(url: str) -> None:
    async with opened(url, {Task: Item}) as backend:
        acme = backend.for_tenant("acme")
        async with backend.transaction() as tx:
            await tx.tasks.save(item(effort=timedelta(1)))
            with pytest.raises(RuntimeError):
                async with tx.transaction() as inner:
                    await inner.tasks.save(item(effort=timedelta(2)))
                    assert (await inner.tasks.get("i-0")).effort == timedelta(2)
                    raise RuntimeError
            await tx.for_tenant("acme").tasks.save(item(effort=timedelta(3)))
        assert await backend.tasks.get("i-0") == item(effort=timedelta(1))
        assert await acme.tasks.get("i-0") == item(effort=timedelta(3))


async def test_what_is_not_bound_stays_what_it_is(url: str) -> None:
    async with opened(url, {Task: Item}) as backend:
        project = samples.full(Project)
        await backend.projects.save(project)
        assert await backend.projects.get(project.id) == project


async def test_secrets_are_stored_and_not_shown(url: str) -> None:
    class Account(BaseModel):
        id: str
        username: str
        password_hash: SecretStr
        role: str
        created_at: datetime
        updated_at: datetime
        recovery: SecretStr = SecretStr("")

    async with opened(url, {User: Account}) as backend:
        saved = Account(
            id="u", username="ada", password_hash=SecretStr("canary"), role="manager",
            created_at=NOON, updated_at=NOON, recovery=SecretStr("canary too"),
        )  # fmt: skip
        await backend.users.save(saved)
        stored = await backend.users.get("u")
        assert stored == saved
        assert stored.password_hash.get_secret_value() == "canary"
        assert "canary" not in repr(stored)
        broken = saved.model_copy(update={"role": "canary"})
        with pytest.raises(InvalidArgumentError, match="users: role") as refused:
            await backend.users.save(broken)
        assert "canary" not in str(refused.value)


async def test_a_record_that_a_repository_makes(url: str) -> None:
    class Verdict(DecisionRecord):
        mood: str = "calm"

    async with opened(url, {DecisionRecord: Verdict}) as backend:
        sample = samples.full(DecisionRecord)
        fields = {n: getattr(sample, n) for n in DecisionRecord.model_fields if n != "version"}
        await backend.tasks.save(samples.required(Task, id=sample.task_id))
        made = await backend.decision_records.append_with_next_version(
            record_id=fields.pop("id"), **fields, extra={"mood": "wry"}
        )
        assert type(made) is Verdict
        assert made.mood == "wry"
        assert await backend.decision_records.get(made.id) == made
        for wrong in ({"version": 7}, {"moode": "wry"}):
            with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
                await backend.decision_records.append_with_next_version(
                    record_id="r", **fields, extra=wrong
                )


def test_two_backends_use_classes_of_their_own() -> None:
    one = create_backend("sqlite:///:memory:", entities={Task: Item})
    two = create_backend("sqlite:///:memory:", entities={ApiKey: ApiKey})
    assert isinstance(one, PersistenceBackend)
    assert one._core.models is not two._core.models  # type: ignore[attr-defined]
