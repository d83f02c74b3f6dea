"""What the suite must know of a repository, said as data.

::

    TICKETS = Subject(
        "tickets", Ticket, repository=Tickets,
        lists=(Listed("list_open", order=("opened_at", "id"), filters={"queue": "queue"}),),
    )

What is not said is taken from signatures and annotations. The records to work with are made by
`holdfast.testing.samples`.
"""

from __future__ import annotations

import holdfast.testing.extra  # noqa: F401 - before what it looks for

# isort: split

import enum
import operator
import types
import typing
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from functools import cache, cached_property
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin
from uuid import UUID

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel

from holdfast.errors import InvalidArgumentError, PersistenceError
from holdfast.storage.repository import Repository
from holdfast.testing import samples
from holdfast.testing.extended import extended

__all__ = ["NAMES", "NOW", "Between", "Listed", "Make", "Subject", "moment", "plain"]

E = TypeVar("E", bound=BaseModel)
#: Makes an entity of a class with these fields.
Make = Callable[..., Any]
Act = Callable[[Any, Any], Awaitable[Any]]

#: Keys in the order of code points, which is neither that of UTF-16 nor that of a dictionary.
NAMES = ("10", "9", "B", "Z", "_", "a", "b", "z", "ß", "é", "\uffee", "🦑")
NOW = datetime(2026, 1, 31, 9, 0, 0, 1, tzinfo=UTC)


def moment(number: int) -> datetime:
    """One of few moments, so that there are ties, each said in a time zone of its own."""
    zone = timezone(timedelta(hours=number % 11 - 5))
    return (NOW + timedelta(seconds=number * 7 % 4)).astimezone(zone)


@dataclass(frozen=True)
class Between:
    """A parameter that bounds a field: ``Between("timestamp", operator.ge)``."""

    field: str
    passes: Callable[[Any, Any], bool]


@dataclass(frozen=True, eq=False)
class Listed(Generic[E]):
    """A method that answers several records.

    ``order`` names the fields it goes by, ending in the key. ``saved`` is for a history: records
    that are equal in the fields before the key stand in the order of saving. ``filters`` gives for
    each parameter that selects the field it must equal, or how it bounds one; those without a
    default are always passed, and ``always`` are other arguments. ``where`` is what the method
    looks at in any case. ``count`` names a method that takes the same filters and answers how many
    there are. ``answers`` is what a record looks like in the list, if it is not the record itself,
    and ``place`` what ``after`` takes instead of an entry.
    """

    method: str
    order: tuple[str, ...]
    descending: bool = False
    saved: bool = False
    filters: Mapping[str, str | Between] = field(default_factory=dict)
    always: Mapping[str, Any] = field(default_factory=dict)
    where: Callable[[E], bool] = lambda record: True
    count: str | None = None
    answers: Callable[[E], Any] = lambda record: record
    place: Callable[[E], Any] | None = None

    def passes(self, record: E, given: Mapping[str, Any]) -> bool:
        return self.where(record) and all(
            self.bound(name).passes(getattr(record, self.bound(name).field), value)
            for name, value in given.items()
        )

    def expected(self, records: list[E], given: Mapping[str, Any]) -> list[E]:
        """Those of the records, which are in the order of saving, that the list holds, in its
        order."""
        found = [record for record in records if self.passes(record, given)]
        if self.descending:  # of equal ones, sorting keeps the order
            found.reverse()
        return sorted(found, key=self._position, reverse=self.descending)

    def bound(self, parameter: str) -> Between:
        said = self.filters[parameter]
        return Between(said, operator.eq) if isinstance(said, str) else said

    def _position(self, record: E) -> tuple[Any, ...]:
        values = (getattr(record, name) for name in (self.order[:-1] if self.saved else self.order))
        return tuple(str(value) if isinstance(value, UUID) else value for value in values)


@dataclass(frozen=True, eq=False)
class Subject(Generic[E]):
    """A repository, and the entity it stores.

    ``name`` is the backend's property, or with ``repository``, a class of your own, how the suite
    calls it. ``taken`` is the error of saving under a taken key; ``False``: nothing happens, and
    the save answers that; ``None``: the record is replaced, but for the fields it ``keeps``.
    ``version`` names the field that a save compares and swaps; the first has version 1.
    ``belongs`` are fields that lead to other records, or by which ``get`` finds this one: what
    replaces it has them too.

    ``save``, ``get`` and ``delete`` are the names of methods, or functions of the repository and a
    record; ``find`` gives for each other method that answers one record the fields it takes.
    ``prepare`` saves what must be there before a record is, made by what it is passed:
    ``make(User, id="u")`` makes the class that stands for `User`.

    Records are made with the ``fixed`` fields; those that are not drawn at random with the ``tame``
    ones as well. The records of a list deal out ``fields``, functions of their number; key fields,
    and those lists go by, are dealt out by themselves.

    ``arguments`` gives the values of parameters, made from a record, where a name does not say
    which field is meant, and ``bad`` those that must be refused, where an annotation does not; for
    ``"parameter"`` or ``"method.parameter"``. ``blank`` names the parameters whose text may be
    blank, ``refusals`` the errors. ``damage`` is an SQL assignment that makes a row unreadable,
    where the suite finds none.
    """

    name: str
    entity: type[E]
    _: KW_ONLY
    repository: type[Repository] | None = None
    key: tuple[str, ...] = ("id",)
    taken: type[PersistenceError] | Literal[False] | None = None
    version: str | None = None
    keeps: tuple[str, ...] = ()
    belongs: tuple[str, ...] = ()
    save: str | Act | None = "save"
    get: str | Act = "get"
    delete: str | Act | None = "delete"
    find: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lists: tuple[Listed[E], ...] = ()
    prepare: Callable[[Any, Any, Make], Awaitable[Any]] | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)
    tame: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, Callable[[int], Any]] = field(default_factory=dict)
    arguments: Mapping[str, Callable[[E], Any]] = field(default_factory=dict)
    bad: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    blank: tuple[str, ...] = ()
    damage: str | None = None
    refusals: tuple[type[Exception], ...] = (InvalidArgumentError,)
    make: Make = samples.required

    def __str__(self) -> str:
        return self.name

    def of(self, owner: Any) -> Any:
        """The repository of a backend or a transaction."""
        if self.repository is not None:
            return owner.repository(self.repository)
        return getattr(owner, self.name)

    async def ready(self, owner: Any, record: E) -> None:
        """Save what a record needs."""
        if self.prepare is not None:
            await self.prepare(owner, record, self.make)

    async def put(self, owner: Any, *records: E) -> None:
        """Save records, and before each what it needs."""
        for record in records:
            await self.ready(owner, record)
            await self.put_alone(owner, record)

    async def put_alone(self, owner: Any, record: E) -> Any:
        assert self.save is not None  # noqa: S101 - the suite asks first
        return await self._act(self.save, owner, record, record)

    async def read(self, owner: Any, record: E) -> E | None:
        """The record as it is stored."""
        found: E | None = await self._act(self.get, owner, record, *self.key_of(record))
        return found

    async def remove(self, owner: Any, record: E) -> bool:
        assert self.delete is not None  # noqa: S101 - the suite asks first
        gone: bool = await self._act(self.delete, owner, record, *self.key_of(record))
        return gone

    async def found(self, owner: Any, finder: str, record: E) -> E | None:
        """What one of `find` answers for the values of a record."""
        values = (getattr(record, name) for name in self.find[finder])
        found: E | None = await getattr(self.of(owner), finder)(*values)
        return found

    async def _act(self, how: str | Act, owner: Any, record: E, *arguments: Any) -> Any:
        if isinstance(how, str):
            return await getattr(self.of(owner), how)(*arguments)
        return await how(self.of(owner), record)

    def key_of(self, record: E) -> tuple[Any, ...]:
        values = (getattr(record, name) for name in self.key)
        return tuple(str(value) if isinstance(value, UUID) else value for value in values)

    def passing(self, listed: Listed[E], parameter: str, record: E) -> Any:
        """A value of a filter that lets the record pass."""
        said = self.argument(listed.method, parameter)
        return said(record) if said else getattr(record, listed.bound(parameter).field)

    def argument(self, method: str, parameter: str) -> Callable[[E], Any] | None:
        """What `arguments` say of a parameter."""
        return self.arguments.get(f"{method}.{parameter}", self.arguments.get(parameter))

    def full(self, **fields: Any) -> E:
        if not fields:  # the same each time
            record: E = _full(self)
            return record
        return samples.full(self.entity, **{**self.fixed, **self.tame, **fields})

    def required(self, **fields: Any) -> E:
        return samples.required(self.entity, **{**self.fixed, **self.tame, **fields})

    @cached_property
    def extended(self) -> Subject[Any]:
        """The same for a class of an application's own that stands for the entity."""

        def make(kind: type[BaseModel], **fields: Any) -> Any:
            return samples.required(extended(kind), **fields)

        return replace(self, entity=extended(self.entity), make=make)

    def rival(self, record: E, **fields: Any) -> E:
        """Another record under the key of one."""
        names = (*self.key, *self.belongs)
        return self.full(**{**{name: getattr(record, name) for name in names}, **fields})

    def drawn(self) -> tuple[E, ...]:
        """Records as wide as the entity allows: the same each time, and made once, as that costs
        more than what they are for."""
        return _drawn(self)

    def record(self, number: int) -> E:
        """One of as many records as there are `NAMES`, different in their keys."""
        record: E = _record(self, number)
        return record

    def records(self) -> list[E]:
        return [self.record(number) for number in range(len(NAMES))]


@cache
def _full(subject: Subject[Any]) -> Any:
    return samples.full(subject.entity, **{**subject.fixed, **subject.tame})


@cache
def _drawn(subject: Subject[Any]) -> tuple[Any, ...]:
    found = []
    fixed = {name: st.just(value) for name, value in subject.fixed.items()}

    @settings(
        max_examples=15,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(samples.strategy_for(subject.entity, **fixed))
    def draw(record: Any) -> None:
        found.append(record)

    draw()
    return tuple(found)


@cache
def _record(subject: Subject[Any], number: int) -> Any:
    looked_at = [name for one in subject.lists for name in one.order]
    looked_at += [one.bound(name).field for one in subject.lists for name in one.filters]
    given: dict[str, Any] = {}
    for name in dict.fromkeys((*subject.key, *looked_at, *subject.fields)):
        if name in subject.fields:
            given[name] = subject.fields[name](number)
        elif name not in subject.fixed:
            given[name] = _dealt(subject, name, number)
    return subject.required(**given)


def _dealt(subject: Subject[Any], name: str, number: int) -> Any:
    """A value for a field: keys in turn, others as a cut of cards would have it."""
    kind = plain(subject.entity.model_fields[name].annotation)
    if name in subject.key:
        return UUID(int=number + 1) if kind is UUID else NAMES[number]
    if kind in (datetime, AwareDatetime):
        return moment(number)
    choices: tuple[Any, ...] = ("ada", "bob", "A") if kind is str else ()
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        choices = tuple(kind)[:3]
    elif get_origin(kind) is Literal:
        choices = get_args(kind)[:3]
    elif kind is bool:
        choices = (False, True)
    elif kind in (int, float):
        choices = (1, 2, 3)
    if not choices:
        raise TypeError(f"{subject}: say in fields= what {name} of the records is")
    return choices[zlib.crc32(f"{name} {number}".encode()) % len(choices)]


def plain(annotation: Any) -> Any:
    """The type of an annotation without ``None`` and what `Annotated` adds."""
    if get_origin(annotation) is typing.Annotated:
        return plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [item for item in get_args(annotation) if item is not type(None)]
        return plain(rest[0]) if len(rest) == 1 else annotation
    return annotation
