"""One chain of revisions for both engines, and what runs it."""

from __future__ import annotations

from holdfast.migrations.runner import (
    Revision,
    check,
    current,
    downgrade,
    generate,
    head,
    history,
    migrate,
    migration_sql,
)

__all__ = [
    "Revision",
    "check",
    "current",
    "downgrade",
    "generate",
    "head",
    "history",
    "migrate",
    "migration_sql",
]
