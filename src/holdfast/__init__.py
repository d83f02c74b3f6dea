"""Holdfast: the persistence layer for organisations of AI agents."""

from importlib.metadata import version as _version

from holdfast._namespace import publish as _publish
from holdfast.backend import *
from holdfast.config import PersistenceConfig as PersistenceConfig
from holdfast.config import PostgresConfig as PostgresConfig
from holdfast.config import SQLiteConfig as SQLiteConfig
from holdfast.entities import *
from holdfast.errors import *
from holdfast.repositories import *

__version__ = _version("holdfast")

_publish(globals())
