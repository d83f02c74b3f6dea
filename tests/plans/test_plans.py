"""Every statement is served by an index: at 100,000 rows a table (`make faults`; 20,000 in `make
test`) none reads or sorts one."""

from __future__ import annotations

import inspect
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import PrimaryKeyConstraint, UniqueConstraint, bindparam, select, update

from holdfast.schema import metadata
from holdfast.schema.tasks import tasks
from holdfast.storage.listing import Listing
from holdfast.storage.repository import Repository
from holdfast.storage.session import Statement
from holdfast.storage.statements import delete_by, parameter, select_by, where_equal

from ..shape import things
from .plans import PostgresPlans, SqlitePlans
from .population import SMALL

#: List methods that refuse to be called without any of their filters.
ONE_FILTER_AT_LEAST = {"checkpoints.get_latest"}
#: Of every fact the entry that counted at a moment, in the facts' order: no index tells which.
OF_EVERYTHING = {"org_facts_operation_log.snapshot_at"}


def methods() -> dict[str, Callable[..., Any]]:
    """Every method by ``table.method``, and by its name alone if no other has it."""
    found: dict[str, Callable[..., Any]] = {}
    owners: dict[str, int] = {}
    kinds = list(Repository.__subclasses__())
    for kind in kinds:
        kinds += kind.__subclasses__()  # theirs are looked at in their turn
        for name, method in inspect.getmembers(kind, inspect.iscoroutinefunction):
            if hasattr(kind, "table"):
                found[name] = found[f"{kind.table.name}.{name}"] = method
                owners[name] = owners.get(name, 0) + 1
    return {name: method for name, method in found.items() if owners.get(name, 1) == 1}


def possible(
    listing: Listing[Any], method: Callable[..., Any], used: tuple[str, ...], paging: list[bool]
) -> bool:
    """Whether a call of a list method can come to this statement."""
    parameters = inspect.signature(method).parameters
    optional = {name for name, p in parameters.items() if p.default is not p.empty}
    behind, limited, offset = paging
    return (
        # Filters that a call must give, or cannot choose to give, are always there.
        set(listing._filters) - optional <= set(used)
        and (bool(used) or listing.name not in ONE_FILTER_AT_LEAST)
        and (not behind or bool({"after", "after_id"} & set(parameters)))
        # Some take no limit and set one.
        and (not limited or "limit=" in inspect.getsource(method))
        and (not offset or "offset" in parameters)
    )


def kept(value: object, depth: int = 4) -> Iterator[Statement]:
    """The statements that something holds, in its containers and in its objects of ours."""
    if isinstance(value, Statement):
        yield value
    elif depth and not isinstance(value, type):
        inside: Iterable[object] = ()
        if isinstance(value, dict):
            inside = value.values()
        elif isinstance(value, list | tuple):
            inside = value
        elif type(value).__module__.startswith("holdfast."):
            inside = getattr(value, "__dict__", {}).values()
        for part in inside:
            yield from kept(part, depth - 1)


def statements() -> Iterator[tuple[str, Statement]]:
    """Every statement there can be, also those that share a name."""
    listed = {listing.name for listing in things.LISTINGS}
    modules = [m for n, m in sorted(sys.modules.items()) if n.startswith("holdfast.")]
    found = [*things.STATEMENTS.values(), *(s for m in modules for s in kept(vars(m)))]
    for statement in {id(s): s for s in found if s.name not in listed}.values():
        yield statement.name, statement
    known = methods()
    for listing in things.LISTINGS:
        method = known.get(listing.name) or known.get(listing.name.split(".")[1])
        for used, *paging in things.shapes(listing):
            if method is None or possible(listing, method, used, paging):
                marks = [*used, *itertools.compress(("after", "limit", "offset"), paging)]
                name = f"{listing.name} by {', '.join(marks) or 'nothing'}"
                yield name, listing._build(used, *paging)


def bad_statements() -> Iterator[Statement]:
    """Nothing serves them."""
    c, other = tasks.c, tasks.alias("other")
    of_tenant, by_title = where_equal(tasks, ()), where_equal(tasks, ("title",))
    limit = bindparam("limit", type_=c.max_retries.type)
    by = ("tenant", "title")

    def read(expression: object, *parameters: str) -> Statement:
        return Statement("tasks.broken", expression, parameters, tasks)

    of_status = where_equal(tasks, ("status",))
    yield read(select(c.id).where(*of_status).order_by(c.title), "tenant", "status")
    yield select_by("tasks.broken", tasks, (c.id,), ("title",))
    yield delete_by("tasks.broken", tasks, ("title",))
    yield read(update(tasks).values(status="created").where(*by_title), *by)
    # A walk through the tenant in the right order, which throws nearly all rows away.
    yield read(select(c.id).where(*by_title).order_by(c.id).limit(limit), *by, "limit")
    yield read(select(c.id).where(*by_title).order_by(c.id), *by)
    yield read(select(c.id).where(*of_tenant, c.budget_limit < parameter(c.budget_limit)),
               "tenant", "budget_limit")  # fmt: skip
    # A sort of the tenant.
    yield read(select(c.id).where(*of_tenant).order_by(c.title).limit(limit), "tenant", "limit")
    yield read(select(c.id).where(*of_tenant).order_by(c.title), "tenant")
    # Other tenants' rows.
    yield read(select(c.title).where(c.id == parameter(c.id)), "id")
    # One table is served, the other is read once for each row, or as a whole.
    joined = tasks.join(other, (other.c.tenant == c.tenant) & (other.c.title == c.title))
    one = select(other.c.id).select_from(joined).where(*where_equal(tasks, ("id",)))
    yield read(one, "tenant", "id")


def _ranks(statement: Statement) -> bool:
    """It looks for a text anywhere in the tenant's facts, and answers them by where it stands."""
    return statement.name == "org_facts_snapshot.query" and "text" in statement.parameters


def unserved(plans: SqlitePlans | PostgresPlans) -> list[str]:
    """The statements that are refused, with their plans, in each state of the database."""
    bad, everything, found = list(bad_statements()), list(statements()), []
    for state in plans.states:
        plans.enter(state)
        # A judge that lets these pass judges nothing. (Of a small tenant few rows have one status.)
        refused = [bool(plans.offences(statement)) for statement in bad]
        assert all(refused[state == SMALL :]), state
        for name, statement in everything:
            try:
                everything_counts = statement.name in OF_EVERYTHING
                offences = plans.offences(statement, of_everything=everything_counts)
            except Exception as error:
                error.add_note(name)
                raise
            if offences and not _ranks(statement):
                found.append("\n  ".join([f"{name} ({state})", *offences]))
    return found


# Classes, because each runs on a worker of its own; a database takes half a minute to fill.


@pytest.mark.timeout(900)
class TestSqlite:
    @pytest.fixture
    def plans(self, sqlite_url: str) -> Iterator[SqlitePlans]:
        path = Path(sqlite_url.removeprefix("sqlite:///"))
        plans = SqlitePlans(path)
        yield plans
        plans.close()
        path.unlink()  # a gigabyte

    def test_every_statement_is_served_by_an_index(self, plans: SqlitePlans) -> None:
        found = unserved(plans)
        assert not found, "\n".join(found)


@pytest.mark.timeout(900)
class TestPostgres:
    @pytest.fixture
    def plans(self, postgres_url: str) -> Iterator[PostgresPlans]:
        plans = PostgresPlans(postgres_url)
        yield plans
        plans.close()

    def test_every_statement_is_served_by_an_index(self, plans: PostgresPlans) -> None:
        found = unserved(plans)
        assert not found, "\n".join(found)


def test_an_index_leads_from_every_row_to_those_that_refer_to_it() -> None:
    """Both engines look for them when the row is deleted."""
    bare = []
    for table in metadata.tables.values():
        unique = (
            c for c in table.constraints if isinstance(c, PrimaryKeyConstraint | UniqueConstraint)
        )
        keys = [list(item.columns.keys()) for item in (*table.indexes, *unique)]
        for reference in table.foreign_key_constraints:
            columns = list(reference.columns.keys())
            if not any(key[: len(columns)] == columns for key in keys):
                bare.append(f"{table.name}: {columns}")
    assert bare == []
