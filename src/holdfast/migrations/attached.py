"""What is attached to tables and acts on their rows: triggers, rules, policies, expressions."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, bindparam, text

from holdfast.storage.functions import HERE

__all__ = ["EVENT_TRIGGER", "FUNCTION", "POLICY", "ROW_SECURITY", "attached", "schemas_of"]

#: What the names of functions begin with: of all in the schema, whatever calls them.
FUNCTION = "function "
POLICY = "policy "
ROW_SECURITY = "row security "
#: Of event triggers, which are attached to the database.
EVENT_TRIGGER = "event trigger "

# SQLite keeps a table's name as each statement spelled it.
_ON_SQLITE = """
SELECT 'trigger ' || name || ' on ' || lower(tbl_name), sql FROM sqlite_schema
WHERE lower(type) = 'trigger' AND lower(tbl_name) IN :tables
UNION ALL
SELECT 'view ' || name, sql FROM sqlite_schema
WHERE lower(type) = 'view' AND lower(name) IN :tables
"""
# Beside what is attached to a table, all that may call a function: expressions, types of columns (a
# domain has checks) and what indexes compare with. A trigger may be there and switched off.
_ON_POSTGRES = f"""
WITH ours AS (
  SELECT oid, relname FROM pg_class
  WHERE relnamespace = {HERE} AND relkind IN ('r', 'p') AND relname IN :tables
)
SELECT format('trigger %s on %s', tgname, relname),
  concat_ws(' ', pg_get_triggerdef(t.oid), nullif(tgenabled::text, 'O'))
FROM pg_trigger t JOIN ours ON ours.oid = tgrelid WHERE NOT tgisinternal
UNION ALL
SELECT format('rule %s on %s', rulename, relname), pg_get_ruledef(r.oid)
FROM pg_rewrite r JOIN ours ON ours.oid = ev_class
UNION ALL
SELECT format('policy %s on %s', polname, relname), concat_ws(
  ' ', polpermissive, polcmd, polroles::text, pg_get_expr(polqual, polrelid),
  pg_get_expr(polwithcheck, polrelid))
FROM pg_policy JOIN ours ON ours.oid = polrelid
UNION ALL
SELECT format('row security of %s', ours.relname), ''
FROM ours JOIN pg_class c ON c.oid = ours.oid WHERE relrowsecurity
UNION ALL
SELECT format('default of %s.%s', relname, attname), pg_get_expr(adbin, adrelid)
FROM pg_attrdef JOIN ours ON ours.oid = adrelid
JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
UNION ALL
SELECT format('check %s on %s', conname, relname), pg_get_constraintdef(k.oid)
FROM pg_constraint k JOIN ours ON ours.oid = conrelid WHERE contype = 'c'
UNION ALL
SELECT format('index %s on %s', c.relname, ours.relname), pg_get_indexdef(indexrelid)
FROM pg_index JOIN ours ON ours.oid = indrelid JOIN pg_class c ON c.oid = indexrelid
WHERE indexprs IS NOT NULL OR indpred IS NOT NULL OR EXISTS (
  SELECT FROM unnest(indclass) class JOIN pg_opclass o ON o.oid = class
  WHERE opcnamespace <> 'pg_catalog'::regnamespace)
UNION ALL
SELECT format('type of %s.%s', relname, attname), format_type(atttypid, atttypmod)
FROM pg_attribute JOIN ours ON ours.oid = attrelid JOIN pg_type y ON y.oid = atttypid
WHERE attnum > 0 AND typnamespace <> 'pg_catalog'::regnamespace
UNION ALL
SELECT format('statistics %s on %s', stxname, relname), pg_get_statisticsobjdef(x.oid)
FROM pg_statistic_ext x JOIN ours ON ours.oid = stxrelid WHERE stxexprs IS NOT NULL
UNION ALL
SELECT format('table %s inheriting from %s', inhrelid::regclass, relname), ''
FROM pg_inherits JOIN ours ON ours.oid = inhparent
UNION ALL
SELECT format('function %s', p.oid::regprocedure), pg_get_functiondef(p.oid)
FROM pg_proc p WHERE pronamespace = {HERE} AND prokind = 'f'
UNION ALL
SELECT format('view %s', relname), '' FROM pg_class
WHERE relnamespace = {HERE} AND relkind NOT IN ('r', 'p') AND relname IN :tables
UNION ALL
SELECT format('event trigger %s', evtname), '' FROM pg_event_trigger e
WHERE NOT EXISTS (SELECT FROM pg_depend WHERE objid = e.oid AND deptype = 'e')
"""  # noqa: S608
_LOOKS = {
    dialect: text(sql).bindparams(bindparam("tables", expanding=True))
    for dialect, sql in (("sqlite", _ON_SQLITE), ("postgresql", _ON_POSTGRES))
}


_SCHEMAS = {"sqlite": "SELECT NULL", "postgresql": "SELECT current_schema()"}


def schemas_of(connection: Connection) -> set[str]:
    """The one that a connection works in; none on SQLite."""
    found = connection.scalar(text(_SCHEMAS[connection.dialect.name]))
    return set() if found is None else {str(found)}


def attached(
    connection: Connection, tables: Sequence[str], schemas: Collection[str]
) -> Mapping[str, str]:
    """Definitions by kind and name, as ``trigger t on users``, with ``?`` for these schemas."""
    rows = connection.execute(_LOOKS[connection.dialect.name], {"tables": tables}).all()
    quote = connection.dialect.identifier_preparer.quote_identifier
    # Where they qualify a name, with and without quotes: a table may have the name of a schema.
    names = [re.escape(name) for each in schemas for name in (quote(each), each)]
    qualifying = re.compile(rf"(?<![\w$\"])(?:{'|'.join(names)})\." if names else "(?!)")

    def normal(definition: str) -> str:
        return qualifying.sub("?.", definition)

    return {normal(name): normal(definition) for name, definition in rows}
