"""A connection of the driver's, as SQLAlchemy wants it."""

from __future__ import annotations

import sqlite3

import sqlalchemy
from sqlalchemy.pool import StaticPool

__all__ = ["for_sqlalchemy"]


def for_sqlalchemy(connection: sqlite3.Connection) -> sqlalchemy.Engine:
    """An engine of this one connection, which it does not close."""
    return sqlalchemy.create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
