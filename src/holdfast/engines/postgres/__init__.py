"""PostgreSQL through asyncpg, on a pool of our own."""

# Needed throughout, greenlet by SQLAlchemy, which says only later that it is not there.
import asyncpg as _asyncpg
import greenlet as _greenlet  # type: ignore[import-untyped]
