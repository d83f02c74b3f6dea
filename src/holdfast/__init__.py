"""Holdfast: the persistence layer for organisations of AI agents."""

import logging as _logging
from importlib.metadata import version as _version

from holdfast._namespace import publish as _publish
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

__version__ = _version("holdfast")

# Where the application has set up no logging, what is logged goes nowhere, and to no terminal.
_logging.getLogger("holdfast").addHandler(_logging.NullHandler())

_publish(globals())
