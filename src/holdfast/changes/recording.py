"""What recorders are made of, on both engines, now and as older releases made them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Column, Connection, Table, func, select

from holdfast.schema.changes import changes
from holdfast.storage.tables import is_internal
from holdfast.storage.types import Timestamp

__all__ = ["CHANNEL", "CURRENT", "FORMER", "KINDS", "NEXT", "NOW", "Form", "quoted", "statements"]

#: Where PostgreSQL says that something was recorded.
CHANNEL = "holdfast_changes"
KINDS = ("insert", "update", "delete")


class Form(NamedTuple):
    """How a recorder differs from those of other releases."""

    #: Of PostgreSQL's function: what is set while it runs.
    settings: str
    #: Whether changes of internal columns are passed over.
    silent: bool


CURRENT = Form("\nSET search_path = pg_catalog, pg_temp", True)
#: Those that databases and backups may have still.
FORMER = (Form("", False),)

NOW = {
    "sqlite": "strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'",
    "postgresql": "clock_timestamp()",
}
NEXT = "(SELECT coalesce(max(revision), 0) + 1 FROM changes WHERE tenant = {tenant})"

_ON_SQLITE = """
CREATE TRIGGER changes_{kind}_{name} AFTER {kind}{of} ON {table} BEGIN
  INSERT INTO changes (tenant, revision, table_name, key, kind, recorded_at)
  VALUES ({row}.tenant, {next}, '{name}', '[' || {key} || ']', '{kind}', {now});
END
"""
_FUNCTION = """
CREATE OR REPLACE FUNCTION changes_{name}() RETURNS trigger LANGUAGE plpgsql{set} AS $recorder$
BEGIN
  -- Before the insert, which would lock the log to the end of the transaction, also with no row.
  IF NOT EXISTS (SELECT FROM changed){internal} THEN
    RETURN NULL;
  END IF;
  INSERT INTO {log} (tenant, table_name, key, kind, recorded_at)
  SELECT changed.tenant, '{name}', json_build_array({key}), lower(TG_OP), {now} FROM changed;
  PERFORM pg_notify('{channel}', '');
  RETURN NULL;
END $recorder$
"""
#: A trigger with a transition table cannot have a list of columns: see `holdfast.schema.waits`.
_INTERNAL = " OR current_setting('holdfast.unrecorded', true) > '0'"
_ON_POSTGRES = """
CREATE TRIGGER changes_{kind}_{name} AFTER {kind} ON {table}
REFERENCING {row} TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION changes_{name}()
"""


def statements(connection: Connection, table: Table, form: Form = CURRENT) -> Iterator[str]:
    """What makes the recorder of a table; on PostgreSQL its function first."""
    name, dialect = table.name, connection.dialect.name
    words = {
        "name": name,
        "table": connection.dialect.identifier_preparer.format_table(table),
        "now": NOW[dialect],
        "channel": CHANNEL,
    }
    if dialect == "postgresql":
        # Another program may write with another search path.
        schema = quoted(connection, str(connection.scalar(select(func.current_schema()))))
        key = _key(connection, table, "changed")
        internal = _INTERNAL if form.silent and any(map(is_internal, table.c)) else ""
        yield _FUNCTION.format(
            **words, key=key, log=f"{schema}.{changes.name}", internal=internal, set=form.settings
        )
    for kind in KINDS:
        row = "OLD" if kind == "delete" else "NEW"
        if dialect == "postgresql":
            yield _ON_POSTGRES.format(**words, kind=kind, row=row)
        else:
            yield _ON_SQLITE.format(
                **words, kind=kind, row=row, key=_key(connection, table, row),
                of=_recorded_columns(connection, table) if form.silent and kind == "update" else "",
                next=NEXT.format(tenant=f"{row}.tenant"),
            )  # fmt: skip


def _recorded_columns(connection: Connection, table: Table) -> str:
    """Those of which a change is recorded, as a trigger names them; nothing for all."""
    names = [quoted(connection, c.name) for c in table.c if not is_internal(c)]
    return f" OF {', '.join(names)}" if len(names) < len(table.c) else ""


def _key(connection: Connection, table: Table, row: str) -> str:
    """The key's columns as texts, equal on both engines; on SQLite as the inside of an array.

    SQLite's JSON functions may not run in triggers of a database that is not trusted, so control
    characters stay as they are.
    """
    dialect = connection.dialect.name

    def as_text(part: Column[object]) -> str:
        value = f"{row}.{quoted(connection, part.name)}"
        if dialect == "sqlite":
            return f"""'"' || replace(replace({value}, '\\', '\\\\'), '"', '\\"') || '"'"""
        if isinstance(part.type, Timestamp):
            return f"""to_char({value} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')"""
        return f"{value}::text"

    parts = [as_text(table.c[name]) for name in table.info["key"]]
    return ", ".join(parts) if dialect == "postgresql" else " || ',' || ".join(parts)


def quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote(name)
