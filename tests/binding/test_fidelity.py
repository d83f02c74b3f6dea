"""What an application's class holds comes back equal or is refused, whatever it is."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections import OrderedDict, UserDict, defaultdict, deque, namedtuple
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    PlainValidator,
    field_validator,
    model_validator,
)

from holdfast import DataPart, DecisionRecord, InvalidArgumentError, Message, Task
from holdfast.storage.binding import Models
from holdfast.storage.mapping import MAPPERS, Mapper
from holdfast.testing import samples
from holdfast.validation.allowance import Allowance, TooMuchError

from .test_own_classes import Item, opened

T = TypeVar("T")
TASKS = next(mapper for mapper in MAPPERS if mapper.entity is Task)
MESSAGES = next(mapper for mapper in MAPPERS if mapper.entity is Message)


def mapper_of(kind: type[BaseModel]) -> Mapper[Any]:
    return Models({Task: kind}).bind(TASKS)


def stored(mapper: Mapper[Any], entity: Any) -> Any:
    """What an entity is read back as; no engine changes what it is given."""
    arguments = mapper.encode("t", entity)
    extra = arguments[-1:] if "extra" in mapper.table.c else ()
    return mapper.decode((*arguments[1 : 1 + len(mapper.fields)], *extra))


class Word(str):
    __slots__ = ()


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Plain(Enum):
    ONE = (1, 2)


@dataclass
class Spot:
    x: Any


class Inner(BaseModel):
    value: Any = None


Pair = namedtuple("Pair", "a b")


class Loose(Item):
    anything: Any = None
    pairs: dict[str, Any] = Field(default={})
    bare: dict = Field(default={})  # type: ignore[type-arg]
    either: int | str | list[int | float] | None = None
    keyed: dict[int | str, float] = Field(default={})
    numbered: dict[int, float] = Field(default={})
    inner: Inner | None = None


ATOMS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.text(st.characters(min_codepoint=0xD7F0, max_codepoint=0xE010), max_size=3),
    st.just(5000).map(lambda digits: 10**digits),
    st.sampled_from([
        -0.0, 1e400, 10**400, -(2**64), "\0", "\\u0000", "\ufffd", Word("w"), Colour.RED,
        Level.LOW, Plain.ONE, b"a", b"\xff", Decimal("1.10"), dt.date(2026, 1, 31), UUID(int=1),
        dt.datetime(2026, 1, 31, tzinfo=dt.UTC), dt.timedelta(1), PurePosixPath("/a"), Spot(1),
        Inner(value=1), {1, 2}, frozenset(), (1, 2), Pair(1, 2), deque([1]), object(), 1 + 2j,
    ]),
)  # fmt: skip
KEYS = st.one_of(
    st.text(max_size=3), st.sampled_from(["1", "\ud83e", "\0", Word("k"), Colour.RED]),
    st.sampled_from([1, True, None, 1.5, (1, 2), b"k", dt.date(2026, 1, 31), UUID(int=1), "None"]),
)  # fmt: skip
TREES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3),
        st.dictionaries(KEYS, inner, max_size=2).map(OrderedDict),
        st.dictionaries(st.text(max_size=2), inner, max_size=2).map(MappingProxyType),
        st.lists(inner, max_size=2).map(tuple), inner.map(lambda value: Inner(value=value)),
    ),
    max_leaves=8,
)  # fmt: skip
PROPERTY = settings(
    max_examples=300, derandomize=True, database=None, deadline=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


def shape(value: Any) -> Any:
    """What equality does not see: 1 and True, the sign of zero."""
    if isinstance(value, Mapping):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [shape(item) for item in value]
    if isinstance(value, float):
        return ("float", value.hex())
    return ("bool", value) if isinstance(value, bool) else value


@PROPERTY
@given(value=TREES)
def test_a_field_without_a_type_is_read_back_equal_or_refused(value: Any) -> None:
    mapper = mapper_of(Loose)
    for fields in ({"anything": value}, {"pairs": {"k": value}}, {"inner": Inner(value=value)}):
        entity = Loose(id="l").model_copy(update=fields)
        (name,) = fields
        try:
            read = stored(mapper, entity)
        except InvalidArgumentError as error:
            refused = str(error)
        else:
            refused = ""
            assert read == entity
            assert shape(getattr(read, name)) == shape(getattr(entity, name)) or name == "inner"
        assert not refused or re.match(rf"tasks(\.|: ){name}\b", refused)


@PROPERTY
@given(value=st.dictionaries(st.text(max_size=3), TREES, max_size=3))
def test_a_json_object_is_read_back_equal_or_refused(value: Any) -> None:
    try:
        part = DataPart(data=value)
    except ValueError:
        return
    message = samples.required(Message, parts=(part,))
    try:
        read = stored(MESSAGES, message)
    except InvalidArgumentError as error:
        refused = str(error)
    else:
        refused = "messages.parts.0.data"
        assert read == message
        assert shape(read.parts[0].data) == shape(part.data)
    assert "messages.parts.0.data" in refused


PLAIN_JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4),
            inner, max_size=4,
        ),
    ),
    max_leaves=12,
)  # fmt: skip


@PROPERTY
@given(value=PLAIN_JSON)
def test_what_json_knows_is_never_refused(value: Any) -> None:
    entity = Loose(id="l", anything=value, pairs={"k": value})
    assert stored(mapper_of(Loose), entity) == entity
    message = samples.required(Message, parts=(DataPart(data={"k": value}),))
    assert stored(MESSAGES, message) == message


COMES_BACK: dict[str, dict[str, Any]] = {
    "keys of a declared type": {"numbered": {1: 1.0, -2: 2.0}, "keyed": {"a": 1.0}},
    "one of several types": {"either": [1, 1.0, -0.0]},
    "a default dict": {"pairs": defaultdict(list, {"a": [1]})},
    "an ordered dict": {"anything": OrderedDict(b=1, a=2)},
    "a mapping proxy": {"anything": MappingProxyType({"a": 1})},
    "a mapping of one's own": {"anything": UserDict({"a": 1})},
    "text of a class": {"anything": Word("w"), "pairs": {Word("k"): Colour.RED}},
    "a number of a class": {"anything": [Level.LOW]},
    "empty": {"anything": {}, "pairs": {}},
    "empty list": {"anything": []},
    "empty text": {"anything": ""},
}


@pytest.mark.parametrize("name", COMES_BACK)
def test_what_comes_back_equal_is_stored(name: str) -> None:
    entity = Loose(id="l").model_copy(update=COMES_BACK[name])
    assert stored(mapper_of(Loose), entity) == entity


LOOP: dict[str, Any] = {}
LOOP["loop"] = LOOP
DOUBLE: list[Any] = []
DOUBLE.extend((DOUBLE, DOUBLE))

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a tuple": ({"anything": (1,)}, r"tasks\.anything holds a tuple"),
    "an inner tuple": ({"anything": {"a": [(1,)]}}, r"tasks\.anything\.<key 1>\.0 holds a tuple"),
    "a set": ({"pairs": {"a": 1, "b": {1}}}, r"tasks\.pairs\.<key 2> holds a set"),
    "a moment": ({"anything": dt.datetime.now(dt.UTC)}, r"tasks\.anything holds a datetime"),
    "a model": ({"anything": Inner()}, r"tasks\.anything holds an Inner"),
    "a dataclass": ({"anything": Spot(1)}, r"tasks\.anything holds a Spot"),
    "an enum": ({"anything": Plain.ONE}, r"tasks\.anything holds a Plain"),
    "a decimal": ({"anything": Decimal(1)}, r"tasks\.anything holds a Decimal"),
    "a generator": ({"anything": (n for n in "ab")}, r"tasks\.anything holds a generator"),
    "a number as key": ({"bare": {1: 1}}, r"tasks\.bare\.<key 1> is an int"),
    "keys that become one": ({"bare": {1: 1, "1": 2}}, r"tasks\.bare\.<key 1> is an int"),
    "declared keys that become one": ({"keyed": {1: 1.0, "1": 2.0}}, r"tasks\.keyed"),
    "infinity": ({"keyed": {1: math.inf}}, r"tasks\.keyed\.<key 1> holds inf"),
    "a long integer": ({"either": 10**5000}, r"tasks\.either holds an integer"),
    "what holds itself": ({"anything": LOOP}, r"tasks\.anything.* holds itself"),
    "what holds itself twice": ({"anything": DOUBLE}, r"tasks\.anything.* holds itself"),
    "a surrogate as key": ({"pairs": {"\ud83e": 1}}, r"tasks\.pairs\.<key 1> holds a lone"),
    "NUL": ({"inner": Inner(value=["\0"])}, r"tasks\.inner\.value\.0 holds a NUL"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_not_come_back_is_refused_with_its_place(name: str) -> None:
    fields, says = REFUSED[name]
    with pytest.raises(InvalidArgumentError, match=says):
        mapper_of(Loose).encode("t", Loose(id="l").model_copy(update=fields))


def test_one_limit_of_depth() -> None:
    """The column holds an object of the further fields: one level is its own."""
    mapper = mapper_of(Loose)

    def deep(levels: int) -> Any:
        value: Any = 1
        for _ in range(levels):
            value = [value]
        return value

    entity = Loose(id="l", anything=deep(199))
    assert stored(mapper, entity) == entity
    for levels in (200, 220, 255, 300, 5000):
        with pytest.raises(InvalidArgumentError, match=r"tasks\.anything .*(deep|holds itself)"):
            mapper.encode("t", Loose(id="l").model_copy(update={"anything": deep(levels)}))


# -- classes with ways of their own --------------------------------------------------------------


class Money:
    """Neither known to Pydantic nor comparable."""

    def __init__(self, cents: int) -> None:
        self.cents = cents


def _boom(_: Any) -> Any:
    raise KeyError("secret words")


class Priced(Item):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    price: Annotated[
        Any,
        PlainValidator(lambda v: v if isinstance(v, Money) else Money(int(v))),
        PlainSerializer(lambda v: v.cents),
    ]


class Boundless(Item):
    ratio: float = 0.0


class Growing(Item):
    number: Annotated[int, AfterValidator(lambda n: n + 1)] = 1


class OneWay(Item):
    word: Annotated[str, BeforeValidator(lambda word: word.removeprefix("in:"))] = ""

    @field_validator("word")
    @classmethod
    def _only_new(cls, word: str) -> str:
        return f"in:{word}"


class Unreadable(Item):
    odd: Annotated[dict[str, Any], AfterValidator(lambda d: None if "boom" not in d else _boom(d))]


class Counting(Item):
    times: int = 0

    @model_validator(mode="after")
    def _count(self) -> Counting:
        object.__setattr__(self, "times", self.times + 1)
        return self


class Lowered(Item):
    """Pydantic does not look at defaults."""

    model_config = ConfigDict(str_to_lower=True)

    word: str = "As Given"


class Retitled(Item):
    @field_validator("title")
    @classmethod
    def _marked(cls, title: str) -> str:
        return f"{title}!"


class Timed(Item):
    when: dt.datetime


class Computing(Item):
    model_config = ConfigDict(frozen=True)

    words: tuple[str, ...] = ()
    total: int = 0

    @model_validator(mode="after")
    def _count(self) -> Computing:
        object.__setattr__(self, "total", len(self.words))
        return self


class Freezing(Item):
    facts: Annotated[Mapping[str, Any], AfterValidator(lambda d: MappingProxyType(dict(d)))] = {}


class Box(BaseModel, Generic[T]):
    content: T


class Boxed(Item):
    box: Box[dict[str, Any]] | None = None
    json_: JsonValue = Field(default=None, alias="json")


OFF_BY_SECONDS = dt.timezone(dt.timedelta(hours=-1, seconds=-15))


def test_classes_that_change_their_values() -> None:
    for kind, fields in (
        (Computing, {"words": ("a", "b")}),
        (Freezing, {"facts": {"a": 1}}),
        (Boundless, {"ratio": -0.0}),
        (OneWay, {"word": "a"}),
        (Boxed, {"box": {"content": {"a": [1]}}, "json": {"b": [None]}}),
    ):
        entity: Any = kind.model_validate({"id": "i", **fields})
        read = stored(mapper_of(kind), entity)
        assert read == entity
        assert stored(mapper_of(kind), read) == entity


@pytest.mark.parametrize(
    ("kind", "fields", "says"),
    [
        (Priced, {"price": 5}, r"tasks\.price holds a Money"),
        (Boundless, {"ratio": math.inf}, r"tasks\.ratio holds inf"),
        (Growing, {"number": 1}, r"tasks\.number "),
        (Counting, {}, r"tasks\.times would come back as another value: its class"),
        (Lowered, {}, r"tasks\.word would come back as another value"),
        (Retitled, {"title": "T"}, r"tasks\.title would come back as another value"),
        (Timed, {"when": dt.datetime(2026, 1, 31, tzinfo=OFF_BY_SECONDS)}, "tasks.*when"),
        (Boxed, {"box": {"content": {"a": (1,)}}}, r"tasks\.box\.content\.<key 1> holds a tuple"),
    ],
)
def test_classes_that_would_not_come_back(kind: Any, fields: Any, says: str) -> None:
    entity = kind.model_validate({"id": "i", **fields})
    with pytest.raises(InvalidArgumentError, match=says):
        mapper_of(kind).encode("t", entity)


@pytest.mark.parametrize(
    "fields", [{"number": "5"}, {"number": 5.0, "title": Word("t"), "flag": "no"}]
)
def test_what_was_copied_into_a_class_is_compared_too(fields: Any) -> None:
    class Sure(Item):
        number: int = 1
        flag: bool = True

    mapper = mapper_of(Sure)
    entity = Sure(id="i")
    assert stored(mapper, entity.model_copy(update={"number": 7, "title": Word("t")})).number == 7
    with pytest.raises(InvalidArgumentError, match=r"tasks\.(number|flag) would come back as"):
        mapper.encode("t", entity.model_copy(update=fields))


def test_what_the_rules_rewrite_is_not_refused() -> None:
    class Verdict(DecisionRecord):
        reason: str | None = None  # Holdfast makes None of a blank one

        @model_validator(mode="after")
        def _as_it_is(self) -> Verdict:
            return self

    ours = next(mapper for mapper in MAPPERS if mapper.entity is DecisionRecord)
    entity = samples.required(Verdict, reason=" ", reviewer_agent_id="b")
    assert entity.reason == " "
    assert stored(Models({DecisionRecord: Verdict}).bind(ours), entity).reason is None


def test_large_json_is_left_to_a_thread_though_validation_has_seen_it() -> None:
    data = {str(n): n for n in range(50)}
    message = samples.required(Message, parts=(DataPart(data=data),))
    assert stored(MESSAGES, message) == message
    MESSAGES.encode("t", message, Allowance(100))
    for entity in (message, message.model_copy()):
        with pytest.raises(TooMuchError):
            MESSAGES.encode("t", entity, Allowance(49))


def test_an_error_of_the_class_is_ours_and_shows_nothing() -> None:
    entity = Unreadable.model_construct(id="i", odd={"boom": 1})
    with pytest.raises(InvalidArgumentError, match="KeyError") as refused:
        mapper_of(Unreadable).encode("t", entity)
    assert "secret" not in str(refused.value)


async def test_through_an_engine(url: str) -> None:
    """Alone, in company and in a transaction; what was refused left nothing."""
    async with opened(url, {Task: Loose}) as backend:
        good = Loose(id="g", anything={"a": [1, {"b": None}]}, pairs={"é": 1e16})
        bad = Loose(id="b", anything={1: 2})
        await backend.tasks.save(good)
        with pytest.raises(InvalidArgumentError):
            await backend.tasks.save(bad)
        async with backend.transaction() as tx:
            with pytest.raises(InvalidArgumentError):
                await tx.tasks.save(bad)
            await tx.tasks.save(good.model_copy(update={"id": "h"}))
        assert [one.id for one in await backend.tasks.list_tasks()] == ["g", "h"]
        assert await backend.tasks.claim("ada") is not None
        assert await backend.tasks.get("g") == good.model_copy(
            update={"status": good.status.GIVEN, "assigned_to": "ada"}
        )


class Once(Item):
    numbers: Iterable[int] = ()
    anything: Any = None


@pytest.mark.parametrize("field", ["numbers", "anything"])
def test_what_can_be_read_once_stays_its_owners(field: str) -> None:
    """A refused save has not taken what a generator has."""
    given = Once(id="i", **{field: (n for n in [1, 2, 3])})
    for _ in range(2):
        with pytest.raises(InvalidArgumentError, match=rf"{field} holds .* read once only"):
            stored(mapper_of(Once), given)
    assert list(getattr(given, field)) == [1, 2, 3]
