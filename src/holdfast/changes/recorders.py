"""Recorders: the triggers that write a table's changes to the log, made and dropped on demand.

They run inside the transaction that changes the table, so the log holds what was committed and
nothing else. On PostgreSQL a recorder runs once per statement, over all the rows it touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import (
    Connection,
    Table,
    TableValuedAlias,
    column,
    inspect,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import Text

from holdfast.changes.recording import CHANNEL, CURRENT, KINDS, NEXT, NOW, Form, quoted, statements
from holdfast.errors import InvalidArgumentError, MigrationError
from holdfast.schema.changes import changes
from holdfast.storage.functions import HERE

__all__ = [
    "CHANNEL",
    "SWITCHED",
    "is_recorder",
    "kept",
    "on",
    "recorded",
    "renew",
    "start",
    "stop",
    "trigger_names",
]

#: The kind of a row that says: of what happened to this table before, something is missing here.
SWITCHED = "switched"

_RECORDER = re.compile(rf"changes_(?:{'|'.join(KINDS)})_(.+)")
_LONGEST_NAME = 63  # PostgreSQL cuts what is longer

#: Of each tenant one look into the key: a table may have few of them and many rows.
_TENANTS = """
{name} (tenant) AS (
  SELECT min(tenant) FROM {table}
  UNION ALL
  SELECT (SELECT min(tenant) FROM {table} WHERE tenant > {name}.tenant) FROM {name}
  WHERE {name}.tenant IS NOT NULL
)
"""
_NOTES = """
WITH RECURSIVE {logged}, {stored}
INSERT INTO changes (tenant, {revision} table_name, key, kind, recorded_at)
SELECT tenant, {next} :name, '[]', :kind, {now}
FROM (SELECT tenant FROM logged UNION SELECT tenant FROM stored) AS known
WHERE tenant IS NOT NULL
"""
#: All triggers: their names, on SQLite also their tables and texts.
_STORED = {
    "sqlite": "SELECT name, tbl_name, sql FROM sqlite_schema WHERE type = 'trigger'",
    "postgresql": "SELECT tgname::text AS name FROM pg_trigger t JOIN pg_class c"  # noqa: S608
    f" ON c.oid = t.tgrelid WHERE NOT tgisinternal AND relnamespace = {HERE}",
}
_UNUSED = f"""
SELECT proname FROM pg_proc p WHERE proname LIKE 'changes\\_%'
AND prorettype = 'trigger'::regtype AND pronamespace = {HERE}
AND prosrc LIKE '%holdfast_changes%'
AND NOT EXISTS (SELECT 1 FROM pg_trigger t WHERE t.tgfoid = p.oid)
"""  # noqa: S608


class holdfast_triggers(GenericFunction[str]):  # noqa: N801 - SQL functions are lower case
    """The names of all triggers, as rows of one column, ``name``."""

    inherit_cache = True


@compiles(holdfast_triggers, "sqlite")
def _sqlite(element: object, compiler: SQLCompiler, **_: object) -> str:
    return f"({_STORED['sqlite']})"


@compiles(holdfast_triggers, "postgresql")
def _postgresql(element: object, compiler: SQLCompiler, **_: object) -> str:
    stored, schema = _STORED["postgresql"], compiler.dialect.default_schema_name
    if schema is not None:  # not that of the session, which may begin with another one
        stored = stored.replace("current_schema()", _literal(schema))
    return f"({stored})"


def trigger_names() -> TableValuedAlias:
    """The names of a database's triggers, as a table of one column, ``name``."""
    return holdfast_triggers().table_valued(column("name", Text)).alias("found")


def is_recorder(trigger: str) -> bool:
    return _RECORDER.fullmatch(trigger) is not None


def recorded(triggers: Iterator[str] | Sequence[str]) -> set[str]:
    """The tables that are recorded, by the names of a database's triggers."""
    names = set(triggers)
    tables = {found[1] for name in names if (found := _RECORDER.fullmatch(name))}
    return {table for table in tables if {f"changes_{k}_{table}" for k in KINDS} <= names}


def on(connection: Connection) -> set[str]:
    """The tables that are recorded."""
    return recorded(_triggers(connection))


def start(connection: Connection, table: Table) -> None:
    """Record the changes of ``table`` from the commit of this connection on."""
    _check_name(table.name)
    for each in (changes, table):
        if not inspect(connection).has_table(each.name):
            raise MigrationError(f"there is no table {each.name}: await backend.migrate()")
    if table.name in recorded(_triggers(connection)):
        return
    _drop(connection, table.name)  # what is left of an incomplete one
    for statement in statements(connection, table):
        connection.exec_driver_sql(statement)
    _break(connection, table)


def renew(connection: Connection, tables: Iterable[Table], form: Form = CURRENT) -> None:
    """Give the tables that are recorded the recorder of this release, or of another ``form``.

    Nothing escapes the log meanwhile, if the transaction keeps every writer of SQLite away.
    """
    on = recorded(_triggers(connection))
    for table in tables:
        if table.name in on:
            made = statements(connection, table, form)
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(next(made))  # no trigger: that would lock the table
                continue
            _drop(connection, table.name)
            for statement in made:
                connection.exec_driver_sql(statement)


def stop(connection: Connection, table: Table) -> None:
    """Record no more. Who watches the table is told, by an error."""
    if inspect(connection).has_table(changes.name):
        was_on = table.name in recorded(_triggers(connection))
        _drop(connection, table.name)  # waits for writers, who may be the first of their tenant
        if was_on:
            _break(connection, table)


@contextmanager
def kept(connection: Connection) -> Iterator[None]:
    """Recorders outlive what happens inside to their tables, but neither a table nor the log.

    SQLite rebuilds a table to change it, which drops its triggers, and refuses many changes while
    a trigger names a table that is gone: there recorders are lifted off meanwhile. The transaction
    keeps every writer away.
    """
    lifted: dict[str, tuple[str, str]] = {}
    if connection.dialect.name == "sqlite":
        for name, table, sql in connection.exec_driver_sql(_STORED["sqlite"]).all():
            if is_recorder(name):
                lifted[name] = table, sql
                connection.exec_driver_sql(f"DROP TRIGGER {quoted(connection, name)}")
    yield
    tables = set(inspect(connection).get_table_names())
    if changes.name in tables:
        for table, sql in lifted.values():
            if table in tables:
                connection.exec_driver_sql(sql)
    else:
        for table in recorded(_triggers(connection)):
            _drop(connection, table)
    if connection.dialect.name == "postgresql":
        for name in connection.exec_driver_sql(_UNUSED).scalars().all():
            connection.exec_driver_sql(f"DROP FUNCTION {quoted(connection, name)}()")


def _triggers(connection: Connection) -> list[str]:
    return [row[0] for row in connection.exec_driver_sql(_STORED[connection.dialect.name])]


def _check_name(name: str) -> None:
    longest = _LONGEST_NAME - len("changes_delete_")
    if not re.fullmatch(rf"[a-z0-9_]{{1,{longest}}}", name):
        raise InvalidArgumentError(
            f"record_changes: the name of the table {name} has other characters than a-z, 0-9 "
            f"and _, or more than {longest} of them; name the table so"
        )


def _drop(connection: Connection, table: str) -> None:
    postgres = connection.dialect.name == "postgresql"
    for kind in KINDS:
        trigger = quoted(connection, f"changes_{kind}_{table}")
        place = f" ON {quoted(connection, table)}" if postgres else ""
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {trigger}{place}")
    if postgres:
        function = quoted(connection, f"changes_{table}")
        connection.exec_driver_sql(f"DROP FUNCTION IF EXISTS {function}()")


def _break(connection: Connection, table: Table) -> None:
    """Note for every tenant that the log of this table has a gap up to here.

    A reader who comes across the note began before it, and must not go on as if nothing happened.
    A tenant of whom neither knows anything gets none: his watchers look, from time to time, whether
    the table is recorded.
    """
    dialect = connection.dialect.name
    numbered = dialect == "sqlite"
    stored = connection.dialect.identifier_preparer.format_table(table)
    notes = _NOTES.format(
        logged=_TENANTS.format(name="logged", table=changes.name),
        stored=_TENANTS.format(name="stored", table=stored),
        revision="revision," if numbered else "",
        next=f"{NEXT.format(tenant='known.tenant')}," if numbered else "",
        now=NOW[dialect],
    )
    connection.execute(text(notes), {"name": table.name, "kind": SWITCHED})
    if not numbered:
        connection.exec_driver_sql(f"SELECT pg_notify('{CHANNEL}', '')")


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
