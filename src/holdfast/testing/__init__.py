"""For the tests of applications built on Holdfast: a real PostgreSQL server to throw away."""

from __future__ import annotations

from holdfast.testing.cluster import PostgresCluster

__all__ = ["PostgresCluster"]
