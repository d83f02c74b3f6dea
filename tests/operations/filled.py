"""A tenant with rows in every table, and what all of them hold."""

from __future__ import annotations

from contextlib import aclosing
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from holdfast import LockoutConfig, PersistenceBackend, Session
from holdfast.schema import metadata
from holdfast.storage.session import Statement
from holdfast.storage.statements import where_equal
from holdfast.testing.catalogue import SUBJECTS

from ..conformance.samples import LATER, WHEN
from ..conformance.test_records import user
from ..conformance.test_workflows import definition, execution

__all__ = ["contents", "fill"]

_ALL = {
    table: Statement(
        f"{table.name}.contents",
        select(*table.c).where(*where_equal(table, ())).order_by(*table.primary_key),
        ("tenant",),
        table,
    )
    for table in metadata.tables.values()
}


async def fill(backend: PersistenceBackend, tenant: str) -> None:
    """Save two records of every kind, one of them with every field, and texts hard to store."""
    view = backend.for_tenant(tenant)
    await view.record_changes(view.settings)
    for subject in SUBJECTS:
        if subject.save is not None:
            await subject.put(view, subject.full())
            await subject.put(view, subject.record(1))
    await view.idempotency_keys.claim("s", "k", 3600)
    await view.build_lockouts(LockoutConfig()).record_failure("ada")
    await view.project_cost_aggregates.increment("p", 0.1, 2, 3)
    await view.workflow_definitions.save(definition("wd"))
    await view.workflow_executions.save(execution("we", "t", definition_id="wd"))
    await view.users.save(user("chief", role="ceo"))
    await view.users.save(user("one", org_roles=("owner",)))
    await view.users.save(user("two", org_roles=("owner",)))
    session = Session(
        id="s9", user_id="one", created_at=WHEN, expires_at=LATER, ip_address="", user_agent=""
    )
    await view.sessions.create(session)
    await view.refresh_tokens.create("h", "s9", "one", LATER + timedelta(days=36_500))


async def contents(backend: PersistenceBackend, tenant: str) -> dict[str, list[Any]]:
    """By table the rows of a tenant, without him; tables without rows are left out."""
    found: dict[str, list[Any]] = {}
    engine: Any = backend._engine()  # type: ignore[attr-defined]
    for table, statement in _ALL.items():
        async with aclosing(engine.stream(statement, (tenant,))) as pieces:
            async for rows in pieces:
                found.setdefault(table.name, []).extend(tuple(row)[1:] for row in rows)
    return found
