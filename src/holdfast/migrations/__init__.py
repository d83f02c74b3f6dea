"""Chains of revisions for both engines, and what runs them."""

from __future__ import annotations

from holdfast.migrations.chain import HOLDFAST, Chain, Revision
from holdfast.migrations.reference import Differences, differences
from holdfast.migrations.runner import (
    beside,
    check,
    current,
    downgrade,
    head,
    history,
    migrate,
    migration_sql,
    why_not_current,
)
from holdfast.migrations.writing import generate, write_revision

__all__ = [
    "HOLDFAST",
    "Chain",
    "Differences",
    "Revision",
    "beside",
    "check",
    "current",
    "differences",
    "downgrade",
    "generate",
    "head",
    "history",
    "migrate",
    "migration_sql",
    "why_not_current",
    "write_revision",
]
