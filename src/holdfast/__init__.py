"""Holdfast: the persistence layer for organisations of AI agents.

`dir(holdfast)` has the names to begin with. Every other public name can be imported from here as
well, and is documented where it is made: `holdfast.entities`, `holdfast.repositories`,
`holdfast.errors`. A name is looked up when it is first used, so that importing the package alone
loads nothing else.
"""

import logging as _logging

# `typing` need not be loaded for this; type checkers know the name.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from holdfast.backend import *
    from holdfast.changes import Change as Change
    from holdfast.changes import ChangeKind as ChangeKind
    from holdfast.changes import Watch as Watch
    from holdfast.config import PersistenceConfig as PersistenceConfig
    from holdfast.config import PostgresConfig as PostgresConfig
    from holdfast.config import SQLiteConfig as SQLiteConfig
    from holdfast.entities import *
    from holdfast.errors import *
    from holdfast.memory import *
    from holdfast.repositories import *
    from holdfast.storage.reading import MalformedRow as MalformedRow

    __version__: str
else:
    from holdfast._lazy import attribute as _attribute

    def __getattr__(name):
        globals()[name] = value = _attribute(name)
        return value

    def __dir__():
        from holdfast._lazy import HEADS

        return list(HEADS)


del TYPE_CHECKING

# Where the application has set up no logging, what is logged goes nowhere, and to no terminal.
_logging.getLogger("holdfast").addHandler(_logging.NullHandler())
