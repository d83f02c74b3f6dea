"""Samples of every entity, made from annotations, and of entities nobody here has heard of."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from functools import cache
from importlib import import_module
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, Self, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NaiveDatetime,
    PositiveInt,
    StringConstraints,
    field_validator,
    model_validator,
)

import holdfast.entities
from holdfast import (
    AgentRuntimeState,
    CostRecord,
    DataPart,
    Entity,
    FilePart,
    Message,
    NotBlankStr,
    Task,
    TaskStatus,
    TextPart,
    UriPart,
    User,
)
from holdfast.entities.versions import VersionSnapshot
from holdfast.testing import samples
from holdfast.testing.samples import SampleError

for _module in pkgutil.walk_packages(holdfast.entities.__path__, "holdfast.entities."):
    import_module(_module.name)


def _below(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)


#: A generic one with a parameter.
ENTITIES = [
    kind.__class_getitem__(User) if kind is VersionSnapshot else kind
    for kind in sorted(set(_below(Entity)), key=lambda kind: kind.__name__)
    if kind.__module__.startswith("holdfast.") and kind.model_fields
    # Nor those that the kit makes of them, if it was used already.
    if not kind.__module__.startswith("holdfast.testing")
    # Neither a generic with its parameter nor what several entities have in common.
    if "[" not in kind.__name__ and not kind.__name__.startswith("_")
]
each_entity = pytest.mark.parametrize("kind", ENTITIES, ids=lambda kind: kind.__name__)

#: What the rules of an entity leave unset when everything else is set.
EXCLUDED = {
    "IdempotencyRecord": {"response"},  # an error instead
    "OrgFactAuthor": {"is_human"},
    "WorkflowNodeExecution": {"skipped_reason"},  # a task instead
}
#: What the rules of an entity demand beside the fields without a default.
DEMANDED = {
    "OrgFactAuthor": {"agent_id", "seniority"},
    "WorkflowDefinition": {"nodes"},
}

many = settings(max_examples=50, database=None, deadline=None)


def fields_of(instance: BaseModel) -> dict[str, Any]:
    return {name: getattr(instance, name) for name in type(instance).model_fields}


def draw(strategy: st.SearchStrategy[Any]) -> Any:
    return find(strategy, lambda _: True, settings=many)


def texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, BaseModel):
        yield from texts_of(fields_of(value))
    elif isinstance(value, Mapping):
        yield from texts_of(tuple(value.items()))
    elif isinstance(value, tuple | list | frozenset | set):
        for item in value:
            yield from texts_of(item)


def check(kind: type[BaseModel], instance: BaseModel) -> None:
    assert type(instance) is kind
    assert kind.model_validate(instance.model_dump(), by_name=True) == instance
    assert kind.model_validate(fields_of(instance), by_name=True) == instance
    for text in texts_of(instance):
        text.encode()  # refuses surrogates
        assert "\0" not in text


def at_default(instance: BaseModel) -> set[str]:
    found = set()
    for name, info in type(instance).model_fields.items():
        if not info.is_required():
            default = info.get_default(call_default_factory=True, validated_data={})
            if getattr(instance, name) == default:
                found.add(name)
    return found


def test_there_are_entities() -> None:
    assert len(ENTITIES) > 25


@each_entity
def test_full_sets_every_field_and_is_the_same_each_time(kind: type[BaseModel]) -> None:
    instance = samples.full(kind)
    check(kind, instance)
    assert kind.model_validate_json(instance.model_dump_json(), by_name=True) == instance
    constants = {
        name
        for name, info in kind.model_fields.items()
        if getattr(info.annotation, "__origin__", None) is Literal
        and len(info.annotation.__args__) == 1  # type: ignore[union-attr]
    }
    assert at_default(instance) - constants == EXCLUDED.get(kind.__name__, set())
    assert samples.full(kind) == instance
    assert repr(samples.full(kind)) == repr(instance)
    for value in fields_of(instance).values():
        assert value != ()
        assert value != {}


def test_full_is_the_same_in_every_process() -> None:
    program = "from holdfast import *; from holdfast.testing import samples; import hashlib; "
    program += "print(hashlib.sha256(repr(samples.full(Message)).encode()).hexdigest())"
    runs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] != b""


@each_entity
def test_required_sets_what_has_no_default(kind: type[BaseModel]) -> None:
    instance = samples.required(kind)
    check(kind, instance)
    wanted = {name for name, info in kind.model_fields.items() if info.is_required()}
    assert instance.model_fields_set == wanted | DEMANDED.get(kind.__name__, set())
    again = samples.required(kind)
    assert all(getattr(again, name) == getattr(instance, name) for name in wanted)


@each_entity
def test_any_instance_is_valid(kind: type[BaseModel]) -> None:
    seen = []

    @many
    @given(samples.strategy_for(kind))
    def run(instance: BaseModel) -> None:
        check(kind, instance)
        assert kind.model_validate_json(instance.model_dump_json(), by_name=True) == instance
        seen.append(repr(instance))

    run()
    finite = all(samples._form(kind, name).is_choice for name in kind.model_fields)
    assert len(set(seen)) > (len(kind.model_fields) > 1 if finite else 5)


def test_full_has_text_that_is_hard_to_store() -> None:
    task = samples.full(Task)
    for hard in ("🦑", "'", '"', "\\", "\n"):
        assert hard in task.title
    assert task.title != task.description
    assert len(task.reviewers) == 2
    assert task.acceptance_criteria[0].description != task.acceptance_criteria[1].description


def test_full_has_every_arm_of_a_union_in_a_sequence() -> None:
    message = samples.full(Message)
    assert [type(part) for part in message.parts] == [TextPart, DataPart, FilePart, UriPart]
    assert len(message.metadata.extra) == 2


def test_instants_have_odd_offsets_and_microseconds() -> None:
    when = samples.full(CostRecord).timestamp
    assert when.utcoffset() == timedelta(hours=5, minutes=45)
    assert when.microsecond


def test_passed_fields_are_kept() -> None:
    task = samples.full(Task, id="t", status=TaskStatus.CREATED, assigned_to=None)
    assert (task.id, task.status, task.assigned_to) == ("t", TaskStatus.CREATED, None)
    task = samples.full(Task, assigned_to=None)
    assert task.assigned_to is None
    # As text, too.
    assert samples.full(AgentRuntimeState, status="idle").execution_id is None
    task = samples.required(Task, title="x")
    assert task.title == "x"
    assert samples.required(Task, status="assigned", assigned_to="me").assigned_to == "me"
    nodes = samples.required(VersionSnapshot[User], snapshot=samples.full(User))
    assert nodes.snapshot == samples.full(User)


@many
@given(samples.strategy_for(Task, id=st.sampled_from("ab"), assigned_to=st.just("me")))
def test_passed_strategies_are_kept(task: Task) -> None:
    assert task.id in "ab"
    assert task.assigned_to == "me"
    assert task.status is not TaskStatus.CREATED


def test_a_field_there_is_not() -> None:
    for make in (samples.full, samples.required, samples.strategy_for):
        with pytest.raises(TypeError, match="Task has no field nme"):
            make(Task, nme=st.just("x"))


def test_a_passed_value_that_is_not_valid() -> None:
    for make in (samples.full, samples.required):
        with pytest.raises(SampleError, match=r"passed is not valid: Task\.title"):
            make(Task, title=" ")
    with pytest.raises(SampleError, match=r"passed is not valid: Task\.title"):
        draw(samples.strategy_for(Task, title=st.just(" ")))


def test_passed_values_that_break_a_rule() -> None:
    with pytest.raises(SampleError, match="a created task must not have assigned_to"):
        samples.full(Task, status="created", assigned_to="me")


T = TypeVar("T", bound=BaseModel)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


class Leaf(BaseModel):
    kind: Literal["leaf"]
    name: str


class Tree(BaseModel):
    kind: Literal["tree"]
    children: tuple[Annotated[Leaf | Tree, Field(discriminator="kind")], ...] = ()
    parent: Tree | None = None
    named: dict[str, Tree] = {}


class Box(Entity, Generic[T]):
    content: T


def _even(value: int) -> int:
    if value % 2:
        raise ValueError("must be even")
    return value


class Anything(Entity):
    """Every form of annotation."""

    model_config = ConfigDict(allow_inf_nan=False, str_max_length=1000)

    text: str
    short: Annotated[str, Field(min_length=2, max_length=3)]
    code: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}-\d{2}$")]
    long: Annotated[str, Field(min_length=700)]
    shouted: Annotated[NotBlankStr, AfterValidator(str.upper)]
    email: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+\.[a-z]+$")]
    number: PositiveInt
    even: Annotated[int, AfterValidator(_even)]
    dozen: Annotated[int, Field(multiple_of=12, gt=12, lt=100)]
    port: int | None = Field(default=None, ge=1, le=65_535)
    share: Annotated[float, Field(gt=0, lt=1)]
    below: Annotated[float, Field(le=-5)]
    price: Annotated[Decimal, Field(ge=0, decimal_places=2, max_digits=12)]
    flag: bool
    only_true: Literal[True]
    nothing: None = None
    colour: Colour
    size: Size | None = None
    word: Literal["a", "b", 3]
    key: UUID
    data: bytes
    naive: NaiveDatetime
    past: datetime = datetime(2020, 1, 1, tzinfo=UTC)
    day: date
    clock: time
    delay: timedelta
    address: IPv4Address
    path: Path
    pair: tuple[int, str]
    listed: list[int]
    sized: Annotated[tuple[str, ...], Field(min_length=3, max_length=4)]
    single: Annotated[list[Colour], Field(max_length=1)]
    chosen: frozenset[Colour]
    distinct: set[str]
    table: dict[Colour, tuple[int, ...]]
    json_like: Mapping[str, Any]
    whatever: Any
    either: int | str
    trimmed: Annotated[NotBlankStr | None, BeforeValidator(lambda v: v or None)] = None
    tree: Tree
    box: Box[Tree]
    aliased: str = Field(alias="theAlias")


def test_every_form_of_annotation() -> None:
    instance = samples.full(Anything)
    assert at_default(instance) == {"nothing"}
    assert instance.shouted.isupper()
    assert instance.tree.children[0].kind == "leaf"
    assert instance.tree.parent is None  # it would hold itself
    assert len(instance.sized) == 3
    assert len(instance.single) == 1
    assert len(instance.chosen) == 2
    assert samples.full(Anything) == instance
    assert samples.required(Anything).port is None
    assert samples.full(Anything, aliased="x").aliased == "x"


@settings(many, suppress_health_check=list(HealthCheck))
@given(samples.strategy_for(Anything))
def test_every_form_of_annotation_as_a_strategy(instance: Anything) -> None:
    check(Anything, instance)


@settings(max_examples=3, database=None, deadline=None)
@given(st.booleans())
def test_full_within_a_test_of_hypothesis(whatever: bool) -> None:
    code = _code()
    samples._form.cache_clear()
    assert samples.full(Anything).code == code


@cache
def _code() -> str:
    return samples.full(Anything).code


def test_a_type_that_nothing_fits() -> None:
    class Odd(Entity):
        model_config = ConfigDict(arbitrary_types_allowed=True)

        thing: Enter

    class Enter:
        pass

    Odd.model_rebuild(_types_namespace={"Enter": Enter})
    for make in (samples.full, samples.required, samples.strategy_for):
        with pytest.raises(SampleError, match=r"Odd\.thing: no known value .*Enter.*; pass the f"):
            make(Odd)
    thing = Enter()
    assert samples.full(Odd, thing=thing).thing is thing
    assert draw(samples.strategy_for(Odd, thing=st.just(thing))).thing is thing


def test_a_generic_without_its_parameters() -> None:
    with pytest.raises(SampleError, match=r"Box\.content: ~T .* its parameters; pass the field"):
        samples.full(Box)


class Refused(Entity):
    code: str

    @field_validator("code")
    @classmethod
    def _never(cls, value: str) -> str:
        raise ValueError("never")


class Picky(Entity):
    code: str
    number: int = 3

    @field_validator("*")
    @classmethod
    def _no_quotes(cls, value: Any) -> Any:
        if isinstance(value, str) and ("'" in value or '"' in value):
            raise ValueError("must not have quotes")
        return value


def test_validators_of_the_class() -> None:
    assert "'" not in samples.full(Picky).code
    assert samples.full(Picky).number != 3
    with pytest.raises(SampleError, match=r"Refused\.code: its validators refuse"):
        samples.full(Refused)


@many
@given(samples.strategy_for(Picky))
def test_validators_of_the_class_in_a_strategy(picky: Picky) -> None:
    check(Picky, picky)


class Shipment(Entity):
    parcels: tuple[NotBlankStr, ...] = ()
    weights: tuple[float, ...] = ()
    total: float

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.total != sum(self.weights):
            raise ValueError("the total must be the sum of the weights")
        return self


class Express(Shipment):
    hours: int

    @model_validator(mode="after")
    def _fast(self) -> Self:
        if self.hours != 24:
            raise ValueError("express takes 24 hours")
        return self


def test_a_rule_nobody_registered() -> None:
    for make, mode in ((samples.full, "full"), (samples.required, "required")):
        with pytest.raises(SampleError) as caught:
            make(Shipment)
        message = str(caught.value)
        assert f"no {mode} sample of Shipment" in message
        assert "_adds_up" in message
        assert "the total must be the sum of the weights" in message
        assert "register(Shipment, fit), or pass fields" in message
    assert samples.full(Shipment, weights=(1.0, 2.0), total=3.0).total == 3.0


class Door(Entity):
    """A rule that a choice decides, and that needs no fit."""

    state: Literal["open", "shut", "locked"]
    key: NotBlankStr | None = None

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if (self.key is not None) is not (self.state == "locked"):
            raise ValueError("key is set exactly when it is locked")
        return self


def test_a_rule_that_a_choice_keeps() -> None:
    assert samples.full(Door).state == "locked"
    assert samples.required(Door).state != "locked"


@many
@given(samples.strategy_for(Door))
def test_what_breaks_a_rule_is_rejected(door: Door) -> None:
    check(Door, door)


@pytest.fixture
def shipment_fits() -> Iterator[None]:
    before = dict(samples._fits)

    def fit(values: dict[str, Any]) -> dict[str, Any]:
        weights = [weight / 8 for weight in values.get("weights", ())]
        return values | {"weights": tuple(weights), "total": float(sum(weights))}

    samples.register(Shipment, fit)
    samples.register(Express, lambda values: values | {"hours": 24})
    yield
    samples._fits.clear()
    samples._fits.update(before)


@pytest.mark.usefixtures("shipment_fits")
def test_a_registered_fit() -> None:
    shipment = samples.full(Shipment)
    assert len(shipment.parcels) == len(shipment.weights) == 2
    assert samples.required(Express).hours == 24
    assert samples.full(Express).weights  # of the base class's fit
    with pytest.raises(SampleError, match="express takes 24 hours"):
        samples.full(Express, hours=25)

    @many
    @given(samples.strategy_for(Express, parcels=st.just(("p",))))
    def run(express: Express) -> None:
        check(Express, express)
        assert express.parcels == ("p",)

    run()
