"""`backend.operations`: every operation under one name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Table

from holdfast.engines.base import Engine

__all__ = ["Operations"]


class Operations:
    """Work on the whole database, whichever tenant the backend speaks for.

    The database's role must see every tenant: the owner's does, the runtime role's does not.
    """

    def __init__(self, engine: Callable[[], Engine], tables: Sequence[Table]) -> None:
        self._engine = engine
        #: Of Holdfast and of the extensions; who is referred to comes before who refers.
        self._tables = tables
