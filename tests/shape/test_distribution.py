"""What Citus asks of tables that are distributed by tenant, and of the statements on them.

The rules are of its documentation (distributing data, SQL support); that every key begins with the
tenant and every statement says one is looked at in `test_tables` and `test_statements`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Delete, Insert, Table, Update, func, update
from sqlalchemy.sql import visitors
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import BigInteger

from holdfast.schema import metadata
from holdfast.schema.tasks import tasks
from holdfast.storage.session import Statement
from holdfast.storage.statements import parameter, upsert, where_equal
from holdfast.storage.tables import column, store_table
from holdfast.storage.types import STRING

from . import things

TABLES = sorted(metadata.tables.values(), key=lambda table: table.name)
WRITES = {
    name: statement
    for name, statement in things.STATEMENTS.items()
    if isinstance(statement.expression, Insert | Update | Delete)
}
#: Of PostgreSQL, and said to answer the same for the same arguments.
#: Of which those of our own are `trunc`, and the elements of a JSON array.
IMMUTABLE = {"coalesce", "holdfast_whole", "holdfast_json_texts"}


def undistributable(table: Table) -> Iterator[str]:
    """What keeps a table from being distributed by tenant, in one group with the others."""
    if not table.primary_key.columns:
        yield "no primary key: a shard could not be moved while it is written to"
    if type(table.c.tenant.type) is not type(STRING):
        yield "the tenant's type is not that of the other tables"
    if table.c.tenant.server_default is not None or table.c.tenant.default is not None:
        yield "the tenant has a default: a row could be written without naming its shard"
    for constraint in table.foreign_key_constraints:
        pairs = [(e.parent.name, e.target_fullname.split(".")[1]) for e in constraint.elements]
        if ("tenant", "tenant") not in pairs:
            yield f"{constraint.name} does not hold the tenant on both sides"
        if constraint.ondelete == "SET NULL" or constraint.onupdate is not None:
            yield f"{constraint.name} would set the tenant"
    for each in table.columns:
        if each.identity is not None and not isinstance(each.type, BigInteger):
            yield f"{each.name} is numbered by the database and not a bigint"


def written(statement: Statement) -> dict[str, object]:
    """What an update, or the update half of an upsert, sets."""
    expression = statement.expression
    if isinstance(expression, Update):
        return {str(getattr(c, "name", c)): v for c, v in expression._values.items()}  # type: ignore[union-attr]
    clause = getattr(expression, "_post_values_clause", None)
    sets = getattr(clause, "update_values_to_set", {})
    return {str(getattr(name, "name", name)): value for name, value in sets.items()}


def functions(expression: Any) -> set[str]:
    found = visitors.iterate(expression) if hasattr(expression, "get_children") else ()
    return {part.name.lower() for part in found if isinstance(part, FunctionElement)}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_table_can_be_distributed_by_tenant(table: Table) -> None:
    assert list(undistributable(table)) == []


def test_no_statement_moves_a_row_to_another_tenant() -> None:
    moving = [name for name, statement in WRITES.items() if "tenant" in written(statement)]
    assert moving == []
    updates = [name for name, each in WRITES.items() if isinstance(each.expression, Update)]
    assert all(written(WRITES[name]) for name in updates)
    assert len(updates) > 10


def test_an_upsert_sets_what_every_server_works_out_alike() -> None:
    called = {
        name: functions(value)
        for name, statement in WRITES.items()
        for value in written(statement).values()
    }
    assert {name: found - IMMUTABLE for name, found in called.items() if found - IMMUTABLE} == {}
    assert any(called.values())


def test_what_breaks_a_rule_is_seen() -> None:
    broken = store_table(
        "shape_of_a_shard", column("id", STRING), column("other", STRING), key=("id",)
    )
    metadata.remove(broken)
    assert list(undistributable(broken)) == []
    broken.c.tenant.type = BigInteger()
    assert any("type" in problem for problem in undistributable(broken))
    moving = update(tasks).values(tenant=parameter(tasks.c.tenant, "new")).where(
        *where_equal(tasks, ("id",))
    )  # fmt: skip
    assert "tenant" in written(Statement("tasks.moved", moving, ("tenant", "id", "new"), tasks))
    saved = upsert("tasks.saved", tasks, ("tenant", "id", "title"))
    assert "title" in written(saved)
    assert functions(func.coalesce(tasks.c.title, func.random())) == {"coalesce", "random"}
