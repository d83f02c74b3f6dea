"""The public names of the package, each looked up when it is first used (PEP 562)."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

__all__ = ["HEADS", "attribute"]

#: Packages whose public names are the whole package's, the cheapest to load first.
_ROOMS = ("errors", "entities", "backend", "repositories", "memory")
#: Single names of others.
_STRAY = {
    "MalformedRow": "storage.reading",
    "PersistenceConfig": "config",
    "PostgresConfig": "config",
    "SQLiteConfig": "config",
    "Change": "changes",
    "ChangeKind": "changes",
    "Watch": "changes",
}
#: What `dir` shows: where to begin.
HEADS = (
    "AcceptanceCriterion", "AgentRuntimeState", "ApprovalItem", "Artifact", "AuditEntry",
    "BackupError", "Change", "ChangeKind", "ChangesLostError", "Checkpoint",
    "ConstraintViolationError", "CostRecord", "DatabaseCorruptError", "DatabaseGoneError",
    "DecisionRecord", "DiskFullError", "DuplicateRecordError", "Entity", "Health", "Heartbeat",
    "InvalidArgumentError", "MalformedRow", "MalformedRowError", "Message", "MessageType",
    "MigrationError", "OrgFact", "OrgMemoryBackend", "OutcomeUnknownError", "ParkedContext",
    "PersistenceBackend", "PersistenceConfig", "PersistenceConnectionError", "PersistenceError",
    "PoolTimeoutError", "PostgresConfig", "PostgresPersistenceBackend", "Priority", "Project",
    "QueryError", "QueryTimeoutError", "ReadOnlyError", "RecordNotFoundError", "SQLiteConfig",
    "SQLitePersistenceBackend", "SchemaTooNewError", "SerializationFailureError", "Status",
    "Task", "TaskMetricRecord", "TaskStatus", "TaskType", "TenantIsolationError", "TextPart",
    "Transaction", "User", "VersionConflictError", "VersionSnapshot", "VersioningService", "Watch",
    "WorkflowDefinition", "WorkflowExecution", "__version__", "create_backend",
    "create_org_memory",
)  # fmt: skip


def attribute(name: str) -> Any:
    """Return what ``holdfast.<name>`` is; `AttributeError` if there is no such name."""
    if name == "__all__":
        return sorted({*_STRAY, *(n for room in _ROOMS for n in _room(room).__all__)})
    if name == "__version__":
        from importlib.metadata import version

        return version("holdfast")
    if name in _STRAY:
        return getattr(_room(_STRAY[name]), name)
    if not name.startswith("_"):
        # A module that is imported by its name, as in `from holdfast import errors`.
        if name.islower() and find_spec(f"holdfast.{name}") is not None:
            return _room(name)
        for room in map(_room, _ROOMS):
            if name in room.__all__:
                return getattr(room, name)
    raise AttributeError(f"module 'holdfast' has no attribute {name!r}", name=name, obj=None)


def _room(name: str) -> Any:
    return import_module(f"holdfast.{name}")
