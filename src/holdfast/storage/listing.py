"""Lists: filters, a total order, key-set pages."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from functools import cached_property, partial
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    FromClause,
    Table,
    bindparam,
    select,
    tuple_,
)

from holdfast import validation
from holdfast.errors import InvalidArgumentError, MalformedRowError
from holdfast.storage.mapping import Mapper
from holdfast.storage.reading import MalformedRow, entities, readable
from holdfast.storage.repository import Repository
from holdfast.storage.session import CHUNK, Row, Statement
from holdfast.storage.statements import Comparison, parameter, select_by, where_equal
from holdfast.storage.tables import TENANT

__all__ = ["EntityListing", "Listing"]

#: Of 64 bits, what a page begins behind that is to hold all: descending and ascending.
_BEFORE_ALL = (2**63 - 1, -(2**63))

T = TypeVar("T")
E = TypeVar("E", bound=BaseModel)


class Listing(Generic[T]):
    """A list method: which rows, in which order, as what.

    ``order`` names columns that end in the key, so that the order is total; ``descending`` turns
    all of them round, which lets one index serve both ways. ``filters`` gives, by parameter, the
    column and how it is compared. A statement is built for each set of filters in use. ``source``
    is the table joined to others; ``key`` are the columns that tell its rows apart, if not those of
    the table's own key. ``replica`` is the statements' flag: off where a write, or who may do what,
    depends on the answer.
    """

    def __init__(
        self,
        name: str,
        table: Table,
        columns: Sequence[ColumnElement[Any]],
        decode: Callable[[Row], T],
        *,
        order: tuple[str, ...],
        descending: bool = False,
        filters: Mapping[str, tuple[str | Column[Any], Comparison]] | None = None,
        where: ColumnElement[bool] | None = None,
        source: FromClause | None = None,
        key: tuple[str, ...] | None = None,
        replica: bool = True,
    ) -> None:
        self.name = name
        self.key: tuple[str, ...] = table.info["key"] if key is None else key
        self._table = table
        self._source = table if source is None else source
        self._columns = columns
        self._decode = decode
        self._order = order
        self._descending = descending
        self._filters = dict(filters or {})
        self._where = where
        self._replica = replica
        self._statements: dict[tuple[Any, ...], Statement] = {}

    async def fetch(
        self,
        owner: Repository,
        filters: Mapping[str, Any],
        *,
        limit: int | None = None,
        after: Any = None,
        offset: int = 0,
        replica: bool = True,
    ) -> tuple[T, ...]:
        """Entities in order: at most ``limit``, from behind ``after``, past ``offset`` more."""
        validation.limit(limit, place=f"{self.name}: limit")
        validation.limit(
            validation.integer(offset, f"{self.name}: offset"),
            place=f"{self.name}: offset",
            least=0,
        )
        used = {name: value for name, value in filters.items() if value is not None}
        behind = None if after is None else await self._behind(owner, after)
        if behind is not None:
            behind = self._behind_within(used, behind)
        select = partial(self._select, used, behind, replica and self._replica)
        if owner._report is not None:
            return await self._around(owner, select, limit, offset)
        decode = self._decoder(owner)
        statement, arguments = select(owner._tenant, limit, offset)
        if limit is not None and limit <= CHUNK:
            rows = await owner._session.fetch(statement, arguments, at_most=limit)
            return tuple(await entities(rows, decode))
        found: list[T] = []
        async with aclosing(owner._session.stream(statement, arguments)) as pieces:  # type: ignore[type-var]
            async for rows in pieces:
                found += await entities(rows, decode)
        return tuple(found)

    def _select(
        self,
        used: Mapping[str, Any],
        behind: tuple[Any, ...] | None,
        replica: bool,
        tenant: str,
        limit: int | None,
        offset: int,
    ) -> tuple[Statement, tuple[Any, ...]]:
        shape = (tuple(used), behind is not None, limit is not None, offset > 0, replica)
        statement = self._statements.get(shape)
        if statement is None:
            statement = self._statements[shape] = self._build(*shape)
        arguments: list[Any] = [tenant, *used.values(), *(behind or ())]
        if limit is not None:
            arguments.append(limit)
        if offset:
            arguments.append(offset)
        return statement, tuple(arguments)

    async def _around(
        self,
        owner: Repository,
        select: Callable[[str, int | None, int], tuple[Statement, tuple[Any, ...]]],
        limit: int | None,
        offset: int,
    ) -> tuple[T, ...]:
        """The entities that can be read; ``limit`` and ``offset`` count these alone.

        Each attempt reads from the same place on, and more than the one before, so that what is
        written meanwhile moves nothing. Rows behind the last entity are left to the next page.
        """
        decode = self._decoder(owner)
        wanted = None if limit is None else offset + limit
        asked = wanted
        while True:
            statement, arguments = select(owner._tenant, asked, 0)
            found: list[T | MalformedRowError] = []
            async with aclosing(owner._session.stream(statement, arguments)) as pieces:  # type: ignore[type-var]
                async for rows in pieces:
                    found += await readable(rows, decode)
            bad = sum(isinstance(each, MalformedRowError) for each in found)
            if asked is None or len(found) < asked or len(found) - bad >= (wanted or 0):
                break
            asked += 2 * bad
        good: list[T] = []
        for each in found:
            if wanted is not None and len(good) == wanted:
                break
            if not isinstance(each, MalformedRowError):
                good.append(each)
            elif len(good) >= offset and owner._report is not None:
                owner._report(MalformedRow.of(each, owner._tenant))
        return tuple(good[offset:])

    def _decoder(self, owner: Repository) -> Callable[[Row], T]:
        return self._decode

    async def _behind(self, owner: Repository, after: Any) -> tuple[Any, ...]:
        """The values of the order's columns at the place where a page begins: here, of a key."""
        key = self.key
        values = after if isinstance(after, tuple) else (after,)
        kinds = [int if isinstance(self._table.c[n].type, BigInteger) else str for n in key]
        if len(values) != len(key) or not all(map(isinstance, values, kinds)):
            raise InvalidArgumentError(
                f"{self.name}: after must be the last entry seen, or its {'/'.join(key)}"
            )
        for name, value, kind in zip(key, values, kinds, strict=True):
            check: Callable[..., Any] = validation.text if kind is str else validation.integer
            check(value, f"{self.name}: after ({name})")
        if set(self._order) == set(key):  # the key is the position
            given = dict(zip(key, values, strict=True))
            return tuple(given[name] for name in self._order)
        row = await owner._session.get(self.place, (owner._tenant, *values))
        if row is None:
            raise InvalidArgumentError(
                f"{self.name}: after names a record that does not exist (any more); "
                "pass the last entry itself instead of its key"
            )
        return tuple(row)[: len(self._order)]

    @cached_property
    def place(self) -> Statement:
        """Reads where in the order the row with a key stands."""
        columns = tuple(self._table.c[name] for name in self._order)
        return select_by(f"{self.name} (after)", self._table, columns, self.key)

    def _behind_within(self, used: Mapping[str, Any], place: tuple[Any, ...]) -> tuple[Any, ...]:
        """What is left to compare of a place; the rest must be what the filters ask for."""
        left, given = self._left(used), dict(zip(self._order, place, strict=True))
        for name, value in used.items():
            column, compare = self._filters[name]
            if compare is operator.eq and given.get(str(column), value) != value:
                raise InvalidArgumentError(f"{self.name}: after is of another {name}")
        return tuple(given[name] for name in left)

    def _left(self, used: Iterable[str]) -> tuple[str, ...]:
        """What is left of the order when equality filters have fixed some of its columns.

        SQLite enters an index by ``a = ? AND b > ?``, but by ``(a, b) > (?, ?)`` it reads on to the
        end of the tenant.
        """
        fixed = {
            place
            for place, compare in (self._filters[name] for name in used)
            if compare is operator.eq
        }
        return tuple(name for name in self._order if name not in fixed) or self._order

    async def first(self, owner: Repository, filters: Mapping[str, Any]) -> T | None:
        """The first entity in order, ``None`` if there is none; like a point read never a
        replica's answer."""
        found = await self.fetch(owner, filters, limit=1, replica=False)
        return found[0] if found else None

    def _build(
        self, used: tuple[str, ...], behind: bool, limited: bool, offset: bool, replica: bool = True
    ) -> Statement:
        table = self._table
        expression = select(*self._columns).select_from(self._source)
        expression = expression.where(*where_equal(table, ()))
        parameters: list[str] = [TENANT]
        for name in used:
            named, compare = self._filters[name]
            column = table.c[named] if isinstance(named, str) else named
            expression = expression.where(compare(column, parameter(column, name)))
            parameters.append(name)
        if self._where is not None:
            expression = expression.where(self._where)
        order = [table.c[name] for name in self._left(used)]
        if behind:
            place = tuple_(*(parameter(column, f"after_{column.name}") for column in order))
            here = tuple_(*order)
            expression = expression.where(here < place if self._descending else here > place)
            parameters.extend(f"after_{column.name}" for column in order)
        expression = expression.order_by(*(c.desc() if self._descending else c for c in order))
        if limited:
            expression = expression.limit(bindparam("limit", type_=BigInteger))
            parameters.append("limit")
        if offset:
            expression = expression.offset(bindparam("offset", type_=BigInteger))
            parameters.append("offset")
        return Statement(self.name, expression, tuple(parameters), table, replica=replica)


class EntityListing(Listing[E]):
    """A list of entities, where an entity says its own place."""

    def __init__(self, name: str, mapper: Mapper[E], **options: Any) -> None:
        super().__init__(name, mapper.table, mapper.columns, mapper.decode, **options)
        self._mapper = mapper

    def _decoder(self, owner: Repository) -> Callable[[Row], E]:
        return partial(owner._bound(self._mapper).decode, patient=False)

    async def _behind(self, owner: Repository, after: Any) -> tuple[Any, ...]:
        mapper = owner._bound(self._mapper)
        if not mapper.accepts(after):
            return await super()._behind(owner, after)
        said = tuple(filter(mapper.knows, self._order))
        given = dict(zip(said, mapper.encode_fields(after, said), strict=True))
        if said == self._order:
            return tuple(given.values())
        row = await owner._session.get(
            self.place, (owner._tenant, *mapper.encode_fields(after, self.key))
        )
        if row is None:
            # Where it stood among those of its time is not known: these come again, since the other
            # way some of them could be passed over.
            row = [_BEFORE_ALL[not self._descending]] * len(self._order)
        stood = dict(zip(self._order, row, strict=False))
        return tuple(given.get(name, stood[name]) for name in self._order)
