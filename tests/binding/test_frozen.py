"""Classes that freeze, copy and compute, that lack what is optional, and that raise."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import pytest
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    computed_field,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

from holdfast import (
    Artifact,
    DecisionRecord,
    InvalidArgumentError,
    MalformedRowError,
    OrgFact,
    OrgFactAuthor,
    OrgFactWriteRequest,
    OrgMemoryConfig,
    OrgMemoryQuery,
    PersistenceError,
    Project,
    Role,
    Session,
    Task,
    User,
    VersioningService,
    VersionSnapshot,
    create_backend,
)
from holdfast.memory import create_org_memory
from holdfast.storage.binding import Models
from holdfast.storage.mapping import MAPPERS
from holdfast.testing import samples

from .test_own_classes import Item, opened

NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)
T = TypeVar("T", bound=BaseModel)


def frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return MappingProxyType({key: frozen(item) for key, item in value.items()})
    return tuple(map(frozen, value)) if isinstance(value, list) else value


class Decision(BaseModel):
    """A second validation raises a bare `TypeError`."""

    model_config = ConfigDict(frozen=True)
    id: str
    task_id: str
    approval_id: str | None = None
    executing_agent_id: str
    reviewer_agent_id: str
    decision: str
    reason: str | None = None
    recorded_at: datetime
    version: int
    metadata: dict[str, Any] = {}
    label: str = ""

    @field_validator("metadata", mode="before")
    @classmethod
    def _copied(cls, value: Any) -> Any:
        return copy.deepcopy(dict(value))

    @field_validator("metadata")
    @classmethod
    def _frozen(cls, value: Any) -> Any:
        return frozen(value)

    @model_validator(mode="after")
    def _labelled(self) -> Decision:
        object.__setattr__(self, "label", f"{self.task_id}/{self.version}")
        return self


def decision(key: str, **fields: Any) -> dict[str, Any]:
    return {
        "record_id": key, "task_id": "t", "approval_id": None, "executing_agent_id": "a",
        "reviewer_agent_id": "b", "decision": "approved", "reason": None, "criteria_snapshot": (),
        "recorded_at": NOW, **fields,
    }  # fmt: skip


@pytest.mark.parametrize(
    "metadata", [{}, {"k": "v"}, {"nested": {"x": 1}}, {"deep": {"a": [{"b": [1]}]}}], ids=str
)
async def test_records_that_a_repository_makes(url: str, metadata: dict[str, Any]) -> None:
    async with opened(url, {DecisionRecord: Decision}) as backend:
        await backend.tasks.save(samples.required(Task, id="t"))
        append = backend.decision_records.append_with_next_version
        for number in (1, 2, 3):
            made = await append(**decision(f"d-{number}", metadata=metadata))
            assert (type(made), made.version, made.label) == (Decision, number, f"t/{number}")
            assert made.metadata == frozen(metadata)
            assert await backend.decision_records.get(made.id) == made
        # What was returned can be handed back.
        again = await append(**decision("d-4", metadata=made.metadata))
        assert again.metadata == frozen(metadata)
        found = await backend.decision_records.list_by_task("t", after=made)
        assert found == (again,)
        with pytest.raises(InvalidArgumentError, match="no field criteria_snapshot, which was"):
            await append(**decision("d-5", criteria_snapshot=("kept",)))


class Busy(Item):
    """Nearly all that Pydantic lets a class do."""

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)

    notes: dict[str, Any] = Field(default={}, alias="theNotes")
    tags: list[str] = Field(default=[])
    words: int = 0
    hidden: str = Field(default="h", exclude=True)
    made: list[int] = Field(default_factory=lambda: [1, 2])
    _cache: dict[str, int] = PrivateAttr(default_factory=dict)

    @field_validator("notes", "tags")
    @classmethod
    def _frozen(cls, value: Any) -> Any:
        return frozen(value)

    @model_validator(mode="before")
    @classmethod
    def _before(cls, data: Any) -> Any:
        return {**data}

    @model_validator(mode="wrap")
    @classmethod
    def _wrapped(cls, data: Any, handler: Any) -> Any:
        made = handler(data)
        object.__setattr__(made, "words", len(made.title.split()))
        return made

    @computed_field  # type: ignore[prop-decorator]
    @property
    def loud(self) -> str:
        return self.title.upper()

    @field_serializer("title")
    def _title(self, value: str) -> str:
        return value[::-1]

    @model_serializer(mode="plain")
    def _dumped(self) -> dict[str, Any]:
        return {"nothing": "of all that"}


async def test_a_class_that_does_what_pydantic_allows(url: str) -> None:
    async with opened(url, {Task: Busy}) as backend:
        saved = Busy.model_validate(
            {
                "id": "b",
                "title": "two words",
                "tags": ["x"],
                "theNotes": {"a": {"b": [1, {"c": 2}]}},
            }
        )
        assert isinstance(saved.notes["a"], MappingProxyType)
        for _ in range(2):  # what was read is saved as well
            await backend.tasks.save(saved)
            stored = await backend.tasks.get("b")
            assert stored == saved
            assert (stored.words, stored.hidden, stored.made) == (2, "h", [1, 2])
            assert type(stored.notes) is type(stored.notes["a"]) is MappingProxyType
            saved = stored
        assert await backend.tasks.list_tasks(after="a") == (saved,)
        claimed = await backend.tasks.claim("ada")
        assert claimed.notes == saved.notes


# -- what is optional in the entity --------------------------------------------------------------


class Author(BaseModel):
    model_config = ConfigDict(extra="forbid")

    is_human: bool = False
    agent_id: str | None = None
    seniority: str | None = None


class Fact(BaseModel):
    id: str
    content: str
    category: str
    author: Author
    created_at: datetime


class Login(BaseModel):
    id: str
    user_id: str
    created_at: datetime
    expires_at: datetime


class Venture(BaseModel):
    id: str
    name: str


async def test_what_is_optional_may_be_absent(url: str) -> None:
    async with opened(url, {OrgFact: Fact, Session: Login, Project: Venture}) as backend:
        fact = Fact(id="f", content="c", category="adr", created_at=NOW,
                    author=Author(agent_id="ada", seniority="lead"))  # fmt: skip
        await backend.org_facts.save(fact)
        assert await backend.org_facts.get("f") == fact
        (entry,) = await backend.org_facts.get_operation_log("f")
        assert (entry.author_agent_id, entry.author_seniority, entry.tags) == ("ada", "lead", ())
        # What was returned is handed back.
        assert await backend.org_facts.delete("f", author=fact.author) is True
        await backend.org_facts.save(fact)
        stored = await backend.org_facts.get("f")
        assert await backend.org_facts.list_by_category("adr", after=stored) == ()
        assert await backend.org_facts.delete("f", author=stored.author) is True
        assert len(await backend.org_facts.get_operation_log("f")) == 4
        for wrong in (Venture(id="v", name="n"), "ada", None, object()):
            with pytest.raises(InvalidArgumentError, match="author"):
                await backend.org_facts.delete("f", author=wrong)

        await backend.users.save(samples.required(User, id="u", username="u"))
        login = Login(id="s", user_id="u", created_at=NOW, expires_at=NOW.replace(year=9000))
        await backend.sessions.create(login)
        assert await backend.sessions.revoke("s") is True
        await backend.sessions.load_revoked()
        assert backend.sessions.is_revoked("s")
        assert await backend.sessions.list_all() == (login,)

        with pytest.raises(PersistenceError, match="no project 'v'"):
            await backend.projects.update(Venture(id="v", name="n"))
        await backend.projects.create(Venture(id="v", name="n"))
        assert await backend.projects.list_projects(status="planning") == (
            Venture(id="v", name="n"),
        )


async def test_the_organisation_s_memory(url: str) -> None:
    async with opened(url, {OrgFact: Fact}) as backend:
        memory: Any = create_org_memory(backend, OrgMemoryConfig(core_policies=("be kind",)))
        request = OrgFactWriteRequest(content="c", category="convention")
        for author in (Author(is_human=True), OrgFactAuthor(is_human=True)):
            key = await memory.write(request, author=author)
            stored = await backend.org_facts.get(key)
            assert (type(stored), type(stored.author)) == (Fact, Author)
        assert {type(one) for one in await memory.query(OrgMemoryQuery())} == {Fact}
        assert [type(one) for one in await memory.list_policies()] == [Fact]
        for wrong in (None, "ada", Author(), Author(agent_id="a")):
            with pytest.raises(Exception, match="author") as refused:
                await memory.write(request, author=wrong)
            assert type(refused.value).__module__.startswith("holdfast.")
        tagged = OrgFactWriteRequest(content="c", category="convention", tags=("t",))
        with pytest.raises(Exception, match="no field tags, which was given"):
            await memory.write(tagged, author=Author(is_human=True))


# -- versions ------------------------------------------------------------------------------------


class Job(BaseModel):
    name: str
    department: str = "engineering"
    facts: dict[str, Any] = {}

    @field_validator("facts", mode="before")
    @classmethod
    def _copied(cls, value: Any) -> Any:
        return copy.deepcopy(dict(value))

    @field_validator("facts")
    @classmethod
    def _frozen(cls, value: Any) -> Any:
        return frozen(value)


class Snap(BaseModel):
    entity_id: str
    version: int
    content_hash: str
    snapshot: Job
    saved_by: str
    saved_at: datetime


class SnapOf(BaseModel, Generic[T]):
    entity_id: str
    version: int
    content_hash: str
    snapshot: T
    saved_by: str
    saved_at: datetime


@pytest.mark.parametrize(
    "entities",
    [
        {Role: Job},
        {VersionSnapshot[Role]: Snap},
        {Role: Job, VersionSnapshot[Role]: Snap},
        {Role: Job, VersionSnapshot: SnapOf},
    ],
    ids=["role", "snapshot", "both", "generic"],
)
async def test_versions_of_bound_classes(url: str, entities: Any) -> None:
    async with opened(url, entities) as backend:
        service: Any = VersioningService(backend.role_versions)
        job = Job(name="R", facts={"a": {"b": [1]}})
        first = await service.snapshot_if_changed("r", job, "ada")
        assert (first.version, first.snapshot) == (1, job)
        assert await service.snapshot_if_changed("r", job, "ada") is None
        second = await service.snapshot_if_changed("r", Job(name="S"), "ada")
        stored = await backend.role_versions.get_latest_version("r")
        assert stored == second
        assert type(stored) is type(second)
        assert type(stored.snapshot) is Job
        assert await service.snapshot_if_changed("r", stored.snapshot, "ada") is None
        listing = backend.role_versions.list_versions
        assert await listing("r", after=stored) == (
            await backend.role_versions.get_version("r", 1),
        )
        again = stored.model_copy(update={"version": 3})
        assert await backend.role_versions.save_version(again) is True
        for wrong in (None, "R", Venture(id="v", name="n")):
            with pytest.raises(InvalidArgumentError):
                await service.snapshot_if_changed("q", wrong, "ada")


def test_snapshots_are_bound_one_by_one_or_by_a_generic_class() -> None:
    for entities in ({VersionSnapshot: Snap}, {VersionSnapshot[Role]: SnapOf}):
        with pytest.raises(InvalidArgumentError, match=r"VersionSnapshot\[Role\], or a generic"):
            create_backend("sqlite:///:memory:", entities=entities)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="stores OrgFactAuthor by itself; bind OrgFact "):
        create_backend("sqlite:///:memory:", entities={OrgFactAuthor: Author})


def test_a_class_that_is_not_fully_defined() -> None:
    class Vague(Venture):
        other: NotThere  # type: ignore[name-defined]  # noqa: F821

    mapper = next(mapper for mapper in MAPPERS if mapper.entity is Project)
    with pytest.raises(InvalidArgumentError, match="Vague is not fully defined"):
        Models({Project: Vague}).bind(mapper)


# -- lists of values -----------------------------------------------------------------------------


class Kind(StrEnum):
    EMAIL = "email"
    CALL = "call"


class Expected(BaseModel):
    type: str
    path: str


class Errand(BaseModel):
    id: str
    title: str = "t"
    description: str = "d"
    type: Kind
    estimated_complexity: str = "tiny"
    project: str = "p"
    created_by: str = "me"
    status: str = "created"
    priority: str = "medium"
    assigned_to: str | None = None
    artifacts_expected: list[Expected] = []


class File(BaseModel):
    id: str
    type: Kind
    path: str = "p"
    task_id: str = "t"
    created_by: str = "me"


async def test_a_class_has_its_own_lists_of_values(url: str) -> None:
    async with opened(url, {Task: Errand, Artifact: File}) as backend:
        errand = Errand(
            id="e", type=Kind.EMAIL, artifacts_expected=[Expected(type="pdf", path="p")]
        )
        await backend.tasks.save(errand)
        assert await backend.tasks.get("e") == errand
        assert (await backend.tasks.claim("ada")).type is Kind.EMAIL
        for field in ("status", "priority"):  # the store itself goes by these
            with pytest.raises(InvalidArgumentError, match=f"tasks: {field}: Input should be"):
                await backend.tasks.save(errand.model_copy(update={field: "odd"}))
        with pytest.raises(InvalidArgumentError, match="tasks: type: "):
            await backend.tasks.save(errand.model_copy(update={"type": "post"}))
        for kind in Kind:
            await backend.artifacts.save(File(id=kind, type=kind))
        listing = backend.artifacts.list_artifacts
        for kind in Kind:
            for given in (kind, kind.value):
                assert [one.id for one in await listing(artifact_type=given)] == [kind]
        for wrong in ("post", 7, None.__class__, ["email"]):
            with pytest.raises(InvalidArgumentError, match="artifact_type must be a value of File"):
                await listing(artifact_type=wrong)


# -- whatever a class raises ---------------------------------------------------------------------


class SoreError(Exception):
    """No `ValueError`."""


def _raise(where: str, kind: type[Exception]) -> Any:
    raise kind(f"{where}: the secret is canary")


@pytest.mark.parametrize("kind", [SoreError, TypeError, ValueError, KeyError, AssertionError])
async def test_what_a_validator_raises(url: str, kind: type[Exception]) -> None:
    armed = False

    class Touchy(Item):
        mood: str = ""

        @field_validator("mood", mode="before")
        @classmethod
        def _sore(cls, value: Any) -> Any:
            return _raise("validator", kind) if armed else value

    async with opened(url, {Task: Touchy}) as backend:
        item = Touchy(id="i", mood="calm")
        await backend.tasks.save(item)
        armed = True
        calls: list[tuple[Any, type[PersistenceError]]] = [
            (lambda: backend.tasks.save(item), InvalidArgumentError),
            (lambda: backend.tasks.get("i"), MalformedRowError),
            (lambda: backend.tasks.list_tasks(), MalformedRowError),
        ]
        for call, expected in calls:
            with pytest.raises(expected) as refused:
                await call()
            assert "canary" not in str(refused.value)
            assert isinstance(refused.value.__cause__, kind)
        armed = False
        assert await backend.tasks.get("i") == item


class Unequal:
    """Compares with nothing."""

    def __eq__(self, other: object) -> bool:
        raise SoreError("canary")

    __hash__ = None  # type: ignore[assignment]


class Prickly(Item):
    anything: Any = None

    def __eq__(self, other: object) -> bool:
        raise SoreError("canary")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def sharp(self) -> str:
        raise SoreError("canary")

    @model_serializer
    def _dump(self) -> dict[str, Any]:
        raise SoreError("canary")


async def test_what_equality_properties_and_serializers_raise(url: str) -> None:
    async with opened(url, {Task: Prickly, Role: Prickly2}) as backend:
        await backend.tasks.save(Prickly(id="p", anything={"a": [1]}))
        stored = await backend.tasks.get("p")
        assert (stored.id, stored.anything) == ("p", {"a": [1]})
        assert await backend.tasks.list_tasks(after=stored) == ()
        with pytest.raises(InvalidArgumentError, match="anything"):
            await backend.tasks.save(Prickly(id="q", anything=Unequal()))
        with pytest.raises(InvalidArgumentError, match="status"):
            await backend.tasks.list_tasks(status=Unequal())
        with pytest.raises(InvalidArgumentError):
            await backend.tasks.list_tasks(after=Unequal())
        service: Any = VersioningService(backend.role_versions)
        made = await service.snapshot_if_changed("r", Prickly2(name="n"), "ada")
        assert made.snapshot.name == "n"
        with pytest.raises(InvalidArgumentError):
            await service.snapshot_if_changed("r", Prickly2(name="n", held=Unequal()), "ada")


class Prickly2(BaseModel):
    name: str
    department: str = "engineering"
    held: Any = None

    @model_serializer
    def _dump(self) -> dict[str, Any]:
        raise SoreError("canary")
