"""The base class of repositories, and how a backend or transaction offers them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, TypeVar, cast

from pydantic import BaseModel
from sqlalchemy import Table

from holdfast import validation
from holdfast.errors import MalformedRowError
from holdfast.storage.binding import Models
from holdfast.storage.mapping import Choices, Mapper
from holdfast.storage.reading import MalformedRow, Report, entities, readable
from holdfast.storage.session import Row, Session

__all__ = ["Repository", "provide"]

R = TypeVar("R")
E = TypeVar("E", bound=BaseModel)
T = TypeVar("T")


class Repository:
    """One kind of record of one tenant, on a backend or inside a transaction.

    A class may name a Protocol after this one: it then has its docstrings, and is a ``TypeError``
    while a public method of the Protocol is not written.
    """

    #: Where the records are: each in one row, under its key.
    table: ClassVar[Table]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for protocol in (base for base in cls.__mro__ if Protocol in base.__bases__):
            for name, promised in vars(protocol).items():
                if not name.startswith("_") and getattr(cls, name) is promised:
                    raise TypeError(f"{cls.__name__} must write {protocol.__name__}.{name}")
            cls.__doc__ = cls.__doc__ or protocol.__doc__

    def __init__(
        self,
        session: Session,
        tenant: str,
        models: Models | None = None,
        report: Report | None = None,
    ) -> None:
        self._session = session
        self._tenant = tenant
        self._models = models
        #: Is told of the rows that a list leaves out; without it such a row is an error.
        self._report = report

    def _bound(self, mapper: Mapper[E]) -> Mapper[E]:
        """The mapper for the class that the application uses for this kind of entity."""
        return mapper if self._models is None else self._models.bind(mapper)

    def _choice(
        self, mapper: Mapper[Any], field: str, value: Any, choices: Choices, place: str
    ) -> str | None:
        """A filter's value, of Holdfast's list or that of the application's class; or ``None``."""
        chosen: str | None = validation.optional(
            self._bound(mapper).choice, value, field, choices, place
        )
        return chosen

    async def _all_of(
        self,
        rows: Sequence[Row],
        decode: Callable[..., T],
    ) -> tuple[T, ...]:
        """The entities of all rows; or of all that can be read, and the others are reported."""
        if self._report is None:
            return tuple(await entities(rows, decode))
        found: list[T] = []
        for each in await readable(rows, decode):
            if isinstance(each, MalformedRowError):
                self._report(MalformedRow.of(each, self._tenant))
            else:
                found.append(each)
        return tuple(found)


def provide(owner: object, kind: type[R]) -> R:
    """The owner's repository of ``kind``: the same object for as long as it is connected."""
    return cast("Any", owner).repository(kind)  # type: ignore[no-any-return]
