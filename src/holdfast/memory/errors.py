"""The errors of the organisation's memory: a family of its own, whose causes are Holdfast errors.

::

    OrgMemoryError
    ├── OrgMemoryConnectionError     not connected, or the database cannot be reached
    ├── OrgMemoryWriteError          a fact could not be written
    ├── OrgMemoryQueryError          facts could not be read
    ├── OrgMemoryAccessDeniedError   the rules do not let this author write that category
    └── OrgMemoryConfigError
"""

from __future__ import annotations

__all__ = [
    "OrgMemoryAccessDeniedError",
    "OrgMemoryConfigError",
    "OrgMemoryConnectionError",
    "OrgMemoryError",
    "OrgMemoryQueryError",
    "OrgMemoryWriteError",
]


class OrgMemoryError(Exception):
    """Base of the errors of the organisation's memory."""


class OrgMemoryConnectionError(OrgMemoryError):
    """Not connected, or the database cannot be reached."""


class OrgMemoryWriteError(OrgMemoryError):
    """A fact could not be written."""


class OrgMemoryQueryError(OrgMemoryError):
    """Facts could not be read."""


class OrgMemoryAccessDeniedError(OrgMemoryError):
    """The rules do not let this author write facts of that category."""


class OrgMemoryConfigError(OrgMemoryError):
    """The configuration cannot be used."""
