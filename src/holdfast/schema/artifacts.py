"""What agents produce."""

from __future__ import annotations

from holdfast.storage.tables import check, column, extra, index, nullable, store_table
from holdfast.storage.types import INTEGER, STRING, Timestamp

__all__ = ["artifacts"]

artifacts = store_table(
    "artifacts",
    column("id", STRING),
    column("type", STRING),
    column("path", STRING),
    column("task_id", STRING),
    column("created_by", STRING),
    column("description", STRING),
    nullable("project_id", STRING),
    column("content_type", STRING),
    column("size_bytes", INTEGER),
    nullable("created_at", Timestamp()),
    # How often the row was saved: what tells an insert from an update in one statement.
    column("save_count", INTEGER),
    extra(),
    check("size_bytes", "size_bytes >= 0"),
    index("ix_artifacts_task_id", "task_id", "id"),
    index("ix_artifacts_created_by", "created_by", "id"),
    index("ix_artifacts_type", "type", "id"),
    key=("id",),
)
