"""How the databases would run a statement.

SQLite plans by the schema alone as long as nobody ran ``ANALYZE``, and by statistics from then on:
it is asked in both states. PostgreSQL plans by the arguments at first, and from a statement's sixth
run on a connection keeps one plan for all arguments where that looks as cheap. So a statement is
prepared, as the engine does, and the plans of its first and its sixth run are looked at; of what
the engine coalesces the plan over arrays as well; and what it streams is planned as a cursor. All
of that for a tenant with nearly all the rows, where the tenant says nothing, and for one with few.
"""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import BigInteger, BindParameter, Boolean, Column, Double, Select
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import asyncpg as postgres
from sqlalchemy.sql import operators, visitors
from sqlalchemy.types import TypeEngine

from holdfast.engines.compiler import Compiler
from holdfast.schema import metadata
from holdfast.storage.session import Statement
from holdfast.storage.types import JsonText, Timestamp

from .judge import ABOVE, BELOW, INDEXED, MANY, PARTIAL, Condition, Judge, conditions
from .population import LARGE, OF_LARGE, SMALL, fill_postgres, fill_sqlite

__all__ = ["PostgresPlans", "SqlitePlans"]


class SqlitePlans:
    """Of a file that is filled here, in turn without and with statistics."""

    states = ("without statistics", "with statistics")

    def __init__(self, path: Path) -> None:
        self._compile = Compiler(sqlite.dialect(paramstyle="qmark"))
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._counts: dict[tuple[str, str], int] = {}
        fill_sqlite(self._connection)
        self._parts = {index: self._ask(sql) / OF_LARGE for index, sql in PARTIAL.items()}

    def close(self) -> None:
        self._connection.close()

    def enter(self, state: str) -> None:
        if state == self.states[1]:
            self._connection.execute("ANALYZE")

    def offences(self, statement: Statement, *, of_everything: bool = False) -> list[str]:
        """What is wrong with the plan, and the plan; nothing if it is right.

        ``of_everything``: what the statement says about rows does not leave few of a tenant's.
        """
        judge = Judge(statement, self._parts, of_everything=of_everything)
        sql = self._compile(statement).sql
        plan = self._connection.execute(
            f"EXPLAIN QUERY PLAN {sql}", [None] * sql.count("?")
        ).fetchall()
        found: list[str] = []
        rows: dict[int, float] = {}  # that the loops of a query read so far, by the query
        inner = {d.split()[1] for *_, d in plan if d.startswith(("CO-ROUTINE", "MATERIALIZE"))}
        for _, query, _, step in plan:
            way = re.match(r"SEARCH (\w+) USING (?:COVERING )?INDEX (\w+) \((.*)\)", step)
            if way:
                alias, index, entry = way.groups()
                equal = set(re.findall(r"(\w+)=\?", entry))
                found += judge.way(alias, index, equal, set(re.findall(r"\w+", entry)) - equal)
                rows[query] = max(rows.get(query, 0), self._rows(index, equal))
            elif step.startswith("USE TEMP B-TREE"):
                if rows.get(query, 0) >= MANY:
                    found.append(f"sorts {rows[query]:.0f} rows")
            elif step.startswith(("SCAN", "SEARCH")):
                harmless = ("VIRTUAL TABLE", "CONSTANT ROW", "sqlite_schema", "rowid=?")
                if step.split()[1] not in inner and not any(part in step for part in harmless):
                    found.append("reads all of a table")
        return [*found, *(f"    {step}" for *_, step in plan)] if found else []

    def _rows(self, index: str, equal: set[str]) -> float:
        """About how many rows of the large tenant have one value of each of these columns."""
        table = INDEXED.get(index) or re.sub(r"^sqlite_autoindex_|_\d+$", "", index)
        rows = OF_LARGE * self._parts.get(index, 1)
        for column in equal - {"tenant"}:
            if (table, column) not in self._counts:
                one = f'SELECT "{column}" FROM {table} WHERE "{column}" IS NOT NULL LIMIT 1'
                same = f"WHERE tenant = '{LARGE}' AND \"{column}\" = ({one})"
                self._counts[table, column] = self._ask(f"SELECT count(*) FROM {table} {same}")
            rows *= self._counts[table, column] / OF_LARGE
        return rows

    def _ask(self, sql: str) -> int:
        return int(self._connection.execute(sql).fetchone()[0])


class PostgresPlans:
    """Of a database that is filled here, in turn for a large and for a small tenant."""

    states = (LARGE, SMALL)

    def __init__(self, url: str) -> None:
        self._compile = Compiler(postgres.dialect())  # type: ignore[no-untyped-call]
        self._values: dict[tuple[str, Column[Any], float], Any] = {}
        self._executor = asyncio.Runner()
        self._executor.run(self._open(url))

    async def _open(self, url: str) -> None:
        self._connection = await asyncpg.connect(url, statement_cache_size=0)
        await fill_postgres(self._connection)
        await self._connection.execute("SET jit = off")  # as the engine does
        self._parts = {
            index: await self._connection.fetchval(sql) / OF_LARGE for index, sql in PARTIAL.items()
        }

    def close(self) -> None:
        self._executor.run(self._connection.close())
        self._executor.close()

    def enter(self, state: str) -> None:
        self._tenant = state

    def offences(self, statement: Statement, *, of_everything: bool = False) -> list[str]:
        """What is wrong with one of the plans, and that plan; nothing if all are right."""
        return self._executor.run(self._offences(statement, of_everything))

    async def _offences(self, statement: Statement, of_everything: bool) -> list[str]:
        judge = Judge(statement, self._parts, of_everything=of_everything)
        arguments = await self._arguments(statement)
        for run, plan in await self._plans(statement, arguments):
            found = list(_wrong(judge, plan, all_of_table=judge.of_all and self._tenant == LARGE))
            if found:
                return [*(f"{run}: {offence}" for offence in found), *_outline(plan, "    ")]
        return []

    async def _plans(
        self, statement: Statement, arguments: tuple[Any, ...]
    ) -> list[tuple[str, dict[str, Any]]]:
        compiled = self._compile(statement)
        expression, values = statement.expression, compiled.bind(arguments)
        if isinstance(expression, Select) and _streamed(expression):
            cursor = f"DECLARE plan NO SCROLL CURSOR FOR {compiled.sql}"
            return [("as a cursor", await self._explain(cursor, *values))]
        call = f"EXECUTE plan({', '.join(map(_literal, values))})" if values else "EXECUTE plan"
        await self._connection.execute(f"PREPARE plan AS {compiled.sql}")
        plans = [("first run", await self._explain(call))]
        await self._connection.execute(f"EXPLAIN {call};" * 4)
        plans.append(("sixth run", await self._explain(call)))
        await self._connection.execute("DEALLOCATE plan")
        if isinstance(expression, Select) and _coalesced(statement):
            arrays = ([argument] * 8 for argument in arguments)
            many = self._compile.many(statement)
            plans.append(("over arrays", await self._explain(many, *arrays)))
        return plans

    async def _explain(self, sql: str, *values: Any) -> dict[str, Any]:
        text = await self._connection.fetchval(f"EXPLAIN (FORMAT JSON) {sql}", *values)
        plan: dict[str, Any] = json.loads(text)[0]["Plan"]
        return plan

    async def _arguments(self, statement: Statement) -> tuple[Any, ...]:
        """Those of a call that asks for a few of the tenant's rows."""
        said = {c.parameter: c for c in conditions(statement) if c.parameter is not None}
        types = {column.name: column.type for column in statement.table.columns} | {
            element.key: element.type
            for element in visitors.iterate(statement.expression)
            if isinstance(element, BindParameter)
        }
        arguments: list[Any] = []
        for name in statement.parameters:
            after = statement.table.c.get(name.removeprefix("after_"))
            if name in ("tenant", "new_tenant"):
                arguments.append(self._tenant)
            elif name in ("limit", "offset"):
                arguments.append(20)
            elif name in said:
                place = _place(said[name], said.values())
                arguments.append(await self._value(said[name].column, place))
            elif name.startswith("after_") and after is not None:
                arguments.append(await self._value(after, 0.5))
            else:
                arguments.append(_any_value(types[name]))
        return tuple(arguments)

    async def _value(self, column: Column[Any], place: float) -> Any:
        """The value that this part of the tenant's rows does not reach."""
        key = (self._tenant, column, place)
        if key not in self._values:
            self._values[key] = await self._connection.fetchval(
                f'SELECT percentile_disc({place}) WITHIN GROUP (ORDER BY "{column.name}")'
                f" FROM {column.table.name} WHERE tenant = $1",
                self._tenant,
            )
        return self._values[key]


def _place(condition: Condition, conditions: Iterable[Condition]) -> float:
    """Where among the tenant's values an argument lies, so that about 2 % of the rows match."""
    if condition.operator is operators.in_op:  # a place for each value
        return (0.1 + 0.2 * int(re.sub(r"\D", "", f"0{condition.parameter}"))) % 1
    others = {c.operator for c in conditions if c.column is condition.column}
    between = others.intersection(BELOW) and others.intersection(ABOVE)
    if condition.operator in BELOW:
        return 0.51 if between else 0.02
    if condition.operator in ABOVE:
        return 0.49 if between else 0.98
    return 0.5


def _any_value(type_: TypeEngine[Any]) -> Any:
    """Not NULL: what compares with that is left out of a plan."""
    known: dict[type[Any], Any] = {
        Boolean: True, BigInteger: 1, Double: 1.0, JsonText: "[]",
        Timestamp: datetime(2026, 2, 1, tzinfo=UTC),
    }  # fmt: skip
    return next((value for kind, value in known.items() if isinstance(type_, kind)), "any")


def _streamed(expression: Select[Any]) -> bool:
    """Whether it is a list without a limit, which is read through a cursor."""
    return expression._limit_clause is None and bool(expression._order_by_clauses)


def _coalesced(statement: Statement) -> bool:
    """Whether calls that wait together share one statement: short reads outside transactions."""
    used = {e.key for e in visitors.iterate(statement.expression) if isinstance(e, BindParameter)}
    given = set(statement.parameters)
    return bool(given) and used >= given and statement.expression._for_update_arg is None


def _literal(value: Any) -> str:
    return "NULL" if value is None else "'" + str(value).replace("'", "''") + "'"


def _wrong(
    judge: Judge, node: Mapping[str, Any], alias: str = "", *, all_of_table: bool
) -> Iterator[str]:
    """What is wrong with a node of PostgreSQL's plan and those below it."""
    kind, alias = node["Node Type"], node.get("Alias", alias)
    if node.get("One-Time Filter") == "false":
        yield "leaves out what its arguments make impossible"
    if kind == "Seq Scan":
        if node["Relation Name"] in metadata.tables and not all_of_table:
            yield f"reads all of {node['Relation Name']}"
    elif "Index Name" in node and not node["Index Name"].startswith("pg_"):
        entry = node.get("Index Cond", "")
        equal = set(re.findall(r'(\w+)"? = ', entry))
        yield from judge.way(alias, node["Index Name"], equal, set(re.findall(r"\w+", entry)))
    elif kind in ("Sort", "Incremental Sort") and node["Plans"][0]["Plan Rows"] >= MANY:
        yield f"sorts {node['Plans'][0]['Plan Rows']} rows"
    for below in node.get("Plans", ()):
        yield from _wrong(judge, below, alias, all_of_table=all_of_table)


def _outline(node: Mapping[str, Any], indent: str) -> Iterator[str]:
    shown = ("Relation Name", "Index Name", "Index Cond", "Filter", "Sort Key", "Plan Rows")
    yield indent + ", ".join(str(node[name]) for name in ("Node Type", *shown) if name in node)
    for below in node.get("Plans", ()):
        yield from _outline(below, indent + "  ")
