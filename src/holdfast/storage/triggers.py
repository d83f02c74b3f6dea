"""Rules over several rows that a constraint cannot say, kept by triggers on both engines."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from sqlalchemy import DDL, Connection, Table, event, text

from holdfast.storage.functions import HERE

__all__ = [
    "TRIGGERS",
    "Made",
    "add",
    "existing",
    "keep_one",
    "lifted",
    "may_change",
    "rules_of",
    "switched_off",
]

#: The statements that create, and those that drop.
Made: TypeAlias = tuple[list[str], list[str]]

#: Every rule by name, with what makes its triggers on each dialect.
TRIGGERS: dict[str, dict[str, Made]] = {}
#: By table: its rules by name.
_KEPT: dict[Table, dict[str, str]] = {}

_SQLITE = """
CREATE TRIGGER {name}_{event} BEFORE {event} ON {table}
WHEN {old} {unless} AND NOT EXISTS (
  SELECT 1 FROM {table} o WHERE o.tenant = OLD.tenant AND o.id <> OLD.id AND {other})
BEGIN SELECT RAISE(ABORT, 'holdfast:{name}'); END
"""

# The lock is per tenant and rule, and held to the end of the transaction: without it two
# transactions would each see the other's row still there.
# The role that fires it chooses the search path, and may have a temporary table of the same name:
# so the path is the function's own, by which a table is written with its schema.
_FUNCTION = """
CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  another boolean;
BEGIN
  IF {old} AND (TG_OP = 'DELETE' OR NOT ({new})) THEN
    PERFORM pg_advisory_xact_lock(hashtextextended('{name}:' || OLD.tenant, 0));
    EXECUTE 'SELECT EXISTS (SELECT 1 FROM ' || TG_RELID::regclass
      || $of$ o WHERE o.tenant = $1 AND o.id <> $2 AND {other})$of$
      INTO another USING OLD.tenant, OLD.id;
    IF NOT another THEN
      RAISE EXCEPTION 'holdfast:{name}' USING ERRCODE = 'check_violation',
        CONSTRAINT = '{name}', TABLE = '{table}';
    END IF;
  END IF;
  RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$
"""

_TRIGGER = """
CREATE TRIGGER {name} BEFORE UPDATE OR DELETE ON {table}
FOR EACH ROW EXECUTE FUNCTION {name}()
"""


def keep_one(table: Table, rule: str, *, holds: str) -> None:
    """Refuse the update or delete after which no row of the tenant ``holds`` any more.

    ``holds`` is an SQL condition on ``{row}``. A broken rule is a ``ConstraintViolationError``
    with the token ``<table>.<rule>``.
    """
    name = f"ck_{table.name}_{rule}"
    _KEPT.setdefault(table, {})[name] = holds
    words = {
        "name": name,
        "table": table.name,
        "old": holds.format(row="OLD"),
        "new": holds.format(row="NEW"),
        "other": holds.format(row="o"),
    }
    sqlite_up = [
        _SQLITE.format(**words, event="UPDATE", unless=f"AND NOT ({words['new']})"),
        _SQLITE.format(**words, event="DELETE", unless=""),
    ]
    made: dict[str, Made] = {
        "sqlite": (sqlite_up, [f"DROP TRIGGER {name}_{e}" for e in ("UPDATE", "DELETE")]),
        "postgresql": (
            [_FUNCTION.format(**words), _TRIGGER.format(**words)],
            [f"DROP TRIGGER {name} ON {table.name}", f"DROP FUNCTION {name}()"],
        ),
    }
    add(table, name, made)


def add(table: Table, name: str, made: dict[str, Made]) -> None:
    """Create a rule's triggers, by dialect, with the table."""
    TRIGGERS[name] = made
    for dialect, (up, _) in made.items():
        for statement in up:
            event.listen(
                table,
                "after_create",
                DDL(statement.replace("%", "%%")).execute_if(dialect=dialect),  # type: ignore[no-untyped-call]
            )


def rules_of(table: Table) -> dict[str, str]:
    """By its trigger's name the condition on ``{row}`` of each rule of `keep_one`."""
    return _KEPT.get(table, {})


def may_change(connection: Connection, table: Table) -> bool:
    """Whether the database role may change the triggers of a table, if there is that table.

    On PostgreSQL that takes the table's owner.
    """
    if connection.dialect.name == "sqlite":
        return True
    name = connection.dialect.identifier_preparer.format_table(table)
    owned = text(
        "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass(:name)"
    )
    return connection.execute(owned, {"name": name}).scalar() is not False


@contextmanager
def lifted(connection: Connection, table: Table, *, lock_timeout: str) -> Iterator[None]:
    """Inside, the rules of `keep_one` do not hold for this transaction, which must be exclusive.

    For everybody else they do: whoever writes to the table waits until it ends. It waits itself
    for those who are writing, for as long as PostgreSQL's ``lock_timeout`` says.
    """
    dialect = connection.dialect.name
    name = connection.dialect.identifier_preparer.format_table(table)
    if dialect == "sqlite":
        for rule in rules_of(table):
            for statement in TRIGGERS[rule][dialect][1]:
                connection.exec_driver_sql(statement)
        yield
        for rule in rules_of(table):
            for statement in TRIGGERS[rule][dialect][0]:
                connection.exec_driver_sql(statement)
    else:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{lock_timeout}'")
        for rule in rules_of(table):
            connection.exec_driver_sql(f"ALTER TABLE {name} DISABLE TRIGGER {rule}")
        yield
        for rule in rules_of(table):
            connection.exec_driver_sql(f"ALTER TABLE {name} ENABLE TRIGGER {rule}")


_EXISTING = {
    # Names are the same in any case there.
    "sqlite": "SELECT name, lower(tbl_name) FROM sqlite_schema WHERE type = 'trigger'",
    "postgresql": "SELECT tgname, relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"  # noqa: S608
    f" WHERE NOT tgisinternal AND c.relnamespace = {HERE}",
}

_CREATED = re.compile(r"CREATE TRIGGER (\w+)")


def existing(connection: Connection, tables: Collection[str]) -> set[str]:
    """The triggers of these tables: those of a complete rule by its name in `TRIGGERS`."""
    dialect = connection.dialect.name
    stored = connection.execute(text(_EXISTING[dialect]))
    fold = str.lower if dialect == "sqlite" else str
    wanted = {fold(name) for name in tables}
    names = {fold(name): name for name, table in stored if table in wanted}
    for rule, made in TRIGGERS.items():
        # It may be kept with several triggers: all of them or it is not kept.
        parts = {fold(name) for name in _CREATED.findall(" ".join(made[dialect][0]))}
        if parts <= names.keys():
            names = {key: name for key, name in names.items() if key not in parts}
            names[f"rule {rule}"] = rule
    return set(names.values())


# Those of foreign keys, which are the server's own, have names that say nothing.
_SWITCHED_OFF = f"""
SELECT DISTINCT relname::text, CASE WHEN tgisinternal THEN '' ELSE tgname::text END
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE tgenabled IN ('D', 'R') AND c.relnamespace = {HERE} ORDER BY 1, 2
"""  # noqa: S608


def switched_off(connection: Connection, tables: Collection[str]) -> list[str]:
    """What does not hold for these tables though it is there, with the way to have it back."""
    if connection.dialect.name == "sqlite":  # which cannot
        return []
    return [
        f"trigger {name} on {table} is switched off: ALTER TABLE {table} ENABLE TRIGGER {name}"
        if name
        else f"foreign keys of {table} are switched off: ALTER TABLE {table} ENABLE TRIGGER ALL"
        for table, name in connection.execute(text(_SWITCHED_OFF))
        if table in tables
    ]
