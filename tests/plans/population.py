"""Every table, filled with `ROWS` by the server itself.

Row ``g`` (from 0) of every table is a function of ``g`` alone, written once for both engines. The
tenants' rows lie among each other, as they come in time: of every 23 rows 20 belong to `LARGE`,
which so has 100,000 of each table at full size, nearly all of it, as where one organisation has a
database to itself; three belong to tenants with 5,000 each, one of which is `SMALL`. Keys come in
no order. What rows are filtered by, such as an agent, has about 100 rows of the large tenant;
choices are spread evenly; times grow with ``g``. A row refers to rows of its own tenant, and each
row that is referred to is referred to by 100.

Values come from a column's type, its part in keys, and the few rules below. A new table that needs
another one is refused by its own constraints when it is filled.
"""

from __future__ import annotations

import re
import sqlite3
import zlib
from collections.abc import Iterable
from typing import Any, get_args

import asyncpg
from sqlalchemy import (
    Boolean,
    Column,
    Double,
    Integer,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)

from holdfast import entities
from holdfast.schema import metadata
from holdfast.storage.types import JsonText, Timestamp

from ..faults.scorecard import sized

__all__ = ["CHOICES", "LARGE", "OF_LARGE", "ROWS", "SMALL", "fill_postgres", "fill_sqlite"]

LARGE, SMALL = "large", "small-1"
ROWS, OF_LARGE = sized(23_000, 115_000), sized(20_000, 100_000)

_TENANT = "CASE WHEN g % 23 < 3 THEN 'small-' || (g % 23) ELSE 'large' END"
#: Rows of a table that others refer to: 50 of every 1,000, so that each is referred to 100 times.
_REFERRED = 1150
_PRIME = 1_000_003

#: Columns with few values.
CHOICES: dict[str, Iterable[str]] = {
    "agent_states.status": (entities.ExecutionStatus.IDLE, *entities.ExecutionStatus),
    "api_keys.role": entities.HumanRole,
    "approvals.risk_level": entities.ApprovalRiskLevel,
    "approvals.status": entities.ApprovalStatus,
    "artifacts.type": entities.ArtifactType,
    "audit_entries.risk_level": entities.ApprovalRiskLevel,
    "audit_entries.tool_category": entities.ToolCategory,
    "audit_entries.verdict": get_args(entities.AuditVerdictStr),
    "cost_records.call_category": entities.LLMCallCategory,
    "decision_records.decision": entities.DecisionOutcome,
    "idempotency_keys.status": entities.IdempotencyStatus,
    "lifecycle_events.event_type": entities.LifecycleEventType,
    "messages.priority": entities.MessagePriority,
    "messages.type": entities.MessageType,
    "org_facts_operation_log.operation_type": ("PUBLISH", "RETRACT"),
    "org_facts_snapshot.category": entities.OrgFactCategory,
    "projects.status": entities.ProjectStatus,
    "ssrf_violations.status": entities.SsrfViolationStatus,
    "tasks.priority": entities.Priority,
    "tasks.status": entities.TaskStatus,
    "tasks.type": entities.TaskType,
    "workflow_definitions.workflow_type": entities.WorkflowType,
    "workflow_executions.status": entities.WorkflowExecutionStatus,
}

#: Expressions of their own; ``{name}`` is the value of another column of the row.
_RULES = {
    "agent_states.accumulated_cost_usd": "CASE WHEN {status} = 'idle' THEN 0.0 ELSE 1.5 END",
    "agent_states.turn_count": "CASE WHEN {status} = 'idle' THEN 0 ELSE 3 END",
    "sessions.revoked": "(g % 20 = 0)",
    "tasks.priority_rank": "CASE {priority} WHEN 'critical' THEN 0 WHEN 'high' THEN 1"
    " WHEN 'medium' THEN 2 ELSE 3 END",
    "tasks.first_saved": "g",
    # One of each tenant is its only chief, one the system itself.
    "users.role": "CASE WHEN g < 4 THEN 'ceo' WHEN g BETWEEN 23 AND 26 THEN 'system'"
    " WHEN g % 3 = 0 THEN 'manager' WHEN g % 3 = 1 THEN 'observer' ELSE 'pair_programmer' END",
}

#: When a column that may be empty is not; by default in nine of ten rows.
_PRESENT = {
    "agent_states.execution_id": "{status} <> 'idle'",
    "agent_states.started_at": "{status} <> 'idle'",
    "agent_states.task_id": "{status} <> 'idle'",
    "approvals.decided_at": "{status} <> 'pending'",
    "approvals.decided_by": "{status} IN ('approved', 'rejected')",
    "idempotency_keys.error": "{status} = 'failed'",
    "idempotency_keys.finished_at": "{status} <> 'in_flight'",
    "lockouts.locked_until": "g % 20 = 0",
    "org_facts_operation_log.content": "{operation_type} = 'PUBLISH'",
    "org_facts_snapshot.retracted_at": "g % 4 = 0",
    "risk_overrides.revoked_at": "g % 20 <> 0",
    "risk_overrides.revoked_by": "g % 20 <> 0",
    "ssrf_violations.resolved_at": "{status} <> 'pending'",
    "ssrf_violations.resolved_by": "{status} <> 'pending'",
    "workflow_executions.completed_at": "{status} NOT IN ('pending', 'running')",
    "workflow_executions.error": "{status} = 'failed'",
}


def fill_sqlite(connection: sqlite3.Connection) -> None:
    """Fill every table and check every reference; indexes are built when the rows are there."""
    numbers = (
        "WITH RECURSIVE numbers(g) AS "
        f"(SELECT 0 UNION ALL SELECT g + 1 FROM numbers WHERE g < {ROWS - 1}) "
    )
    connection.executescript(
        "PRAGMA foreign_keys=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-200000; BEGIN"
    )
    indexes = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
    ).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    for table in metadata.sorted_tables:
        names, values = _row(table, "sqlite")
        connection.execute(f"INSERT INTO {names} {numbers} SELECT {values} FROM numbers")
    for _, sql in indexes:
        connection.execute(sql)
    connection.execute("COMMIT")
    broken = connection.execute("PRAGMA foreign_key_check").fetchmany(5)
    assert not broken, f"rows that refer to none: {broken}"


async def fill_postgres(connection: asyncpg.Connection[Any]) -> None:
    """The same; the server gathers its statistics and learns which pages are visible to all."""
    indexes = await connection.fetch(
        "SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS sql"
        " FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
        " WHERE c.relnamespace = current_schema()::regnamespace"
        " AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = indexrelid)"
    )
    async with connection.transaction():
        # The references hold by the same expressions as on the other engine, where they are looked
        # at; a look-up for each row would take most of the time.
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("SET LOCAL maintenance_work_mem = '256MB'")
        for index in indexes:
            await connection.execute(f"DROP INDEX {index['name']}")
        for table in metadata.sorted_tables:
            names, values = _row(table, "postgresql")
            numbers = f"generate_series(0::bigint, {ROWS - 1}) AS numbers(g)"
            await connection.execute(f"INSERT INTO {names} SELECT {values} FROM {numbers}")
        for index in indexes:
            await connection.execute(index["sql"])
    await connection.execute("VACUUM (ANALYZE)")


def _row(table: Table, dialect: str) -> tuple[str, str]:
    """``table (columns)`` and the expressions that fill them."""
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    values = ", ".join(_value(column, dialect) for column in table.columns)
    return f"{table.name} ({names})", values


class _Values(dict[str, str]):
    """The expressions of a row's other columns."""

    def __init__(self, table: Table, dialect: str) -> None:
        self._table = table
        self._dialect = dialect

    def __missing__(self, name: str) -> str:
        return f"({_value(self._table.c[name], self._dialect)})"


def _value(column: Column[Any], dialect: str) -> str:
    table = column.table
    name = f"{table.name}.{column.name}"
    others = _Values(table, dialect)
    if column.name == "tenant":
        return _TENANT
    if column.name == "extra":
        return "NULL"
    if name in _RULES:
        return _RULES[name].format_map(others)
    value = _present(column, dialect)
    if not column.nullable:
        return value
    condition = _PRESENT.get(name, "g % 10 <> 7").format_map(others)
    return f"CASE WHEN {condition} THEN {value} END"


def _present(column: Column[Any], dialect: str) -> str:
    table = column.table
    name = f"{table.name}.{column.name}"
    target = _target(column)
    if target is not None:
        key = _value(target, dialect)
        return key if _ends_a_key(column) else re.sub(r"\bg\b", f"(g % {_REFERRED})", key)
    if isinstance(column.type, Timestamp):
        if dialect == "sqlite":
            return (
                "strftime('%Y-%m-%dT%H:%M:%S.000000+00:00', 1767225600 + g * 60"
                f" + {_mixed(name)} % 3600, 'unixepoch')"
            )
        return f"to_timestamp(1767225600 + g * 60 + {_mixed(name)} % 3600)"
    if isinstance(column.type, JsonText):
        return "'[]'" if dialect == "sqlite" else "'[]'::json"
    if isinstance(column.type, Boolean):
        return f"({_mixed(name)} % 10 = 0)"
    if isinstance(column.type, Double):
        return f"({_mixed(name)} % 1000 / 1000.0)"
    if isinstance(column.type, Integer):
        if _ends_a_key(column):
            return f"(g / {_REFERRED} + 1)" if _keys(column, 2) else "(g + 1)"
        return f"({_mixed(name)} % 1000 + 1)"
    if name in CHOICES:
        choices = list(CHOICES[name])
        whens = " ".join(f"WHEN {n} THEN '{c}'" for n, c in enumerate(choices))
        return f"CASE {_mixed(name)} % {len(choices)} {whens} END"
    if _ends_a_key(column):
        return f"'{column.name}-' || ({_PRIME} + {_mixed(name)})"
    if _keys(column, 2):
        return f"'{column.name}-' || (g % {_REFERRED})"
    return f"'{column.name}-' || ({_mixed(name)} % 1000)"


def _mixed(name: str) -> str:
    """A permutation of the rows, another one for each column: no two rows get the same number."""
    return f"(g * {1 + zlib.crc32(name.encode()) % (_PRIME - 1)} % {_PRIME})"


def _keys(column: Column[Any], size: int) -> list[list[str]]:
    """The keys and unique rules a column is part of that have at least ``size`` columns."""
    constraints = column.table.constraints
    unique = [c for c in constraints if isinstance(c, PrimaryKeyConstraint | UniqueConstraint)]
    keys = [[c.name for c in key.columns if c.name != "tenant"] for key in unique]
    return [key for key in keys if column.name in key and len(key) >= size]


def _ends_a_key(column: Column[Any]) -> bool:
    """Whether it tells the rows of a key apart that its other columns leave together."""
    return any(key[-1] == column.name for key in _keys(column, 1))


def _target(column: Column[Any]) -> Column[Any] | None:
    """The column it refers to."""
    for constraint in column.table.foreign_key_constraints:
        for element in constraint.elements:
            if element.parent is column and column.name != "tenant":
                return element.column
    return None
