"""Row-level security: the policies by which PostgreSQL itself keeps tenants apart.

A role that is subject to them (not the tables' owner, no superuser) sees and writes the rows of
one tenant, whom a setting names that ends with the transaction. Naming none is an error, where an
empty answer would hide that somebody forgot. SQLite has no roles, and no policies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlalchemy import Connection, Table, text
from sqlalchemy.dialects import postgresql

from holdfast.storage.functions import HERE
from holdfast.storage.tables import TENANT

__all__ = [
    "CONDITION",
    "NAME",
    "NO_TENANT",
    "SAME_TENANT",
    "SETTING",
    "creation",
    "enforce",
    "lacking",
    "protect",
    "strange",
]

#: Where the tenant stands for whom the transaction's current statement runs.
SETTING = "holdfast.tenant"
#: Of each table's policy, and of the function it asks where the setting is empty.
NAME = "holdfast_tenant"
#: The SQLSTATE of a statement that names no tenant.
NO_TENANT = "HF001"
#: Of the policies. Not the function alone: built-in functions are several times quicker.
SAME_TENANT = (
    f"{TENANT} = (SELECT COALESCE(NULLIF(current_setting('{SETTING}', true), ''), {NAME}()))"
)
#: The same, as the server prints it.
CONDITION = (
    f"({TENANT} = ( SELECT COALESCE(NULLIF(current_setting('{SETTING}'::text, true), ''::text), "
    f'{NAME}()) AS "coalesce"))'
)

# A setting that was made for a transaction is empty afterwards, not absent.
_FUNCTION = f"""
CREATE OR REPLACE FUNCTION {NAME}() RETURNS text LANGUAGE plpgsql STABLE PARALLEL SAFE AS $holdfast$
DECLARE
  named text := pg_catalog.current_setting('{SETTING}', true);
BEGIN
  IF named IS NULL OR named OPERATOR(pg_catalog.=) '' THEN
    RAISE EXCEPTION 'the statement names no tenant' USING ERRCODE = '{NO_TENANT}';
  END IF;
  RETURN named;
END $holdfast$
"""
# The sub-select is run once per statement; without it, the setting could be read once per row.
_POLICY = f"""
CREATE POLICY {NAME} ON {{table}} USING ({SAME_TENANT}) WITH CHECK ({SAME_TENANT})
"""
_STATE = text(f"""
SELECT relname::text, relrowsecurity, EXISTS (
  SELECT FROM pg_policy WHERE polrelid = c.oid AND polname = '{NAME}'
  AND polpermissive AND polcmd = '*' AND polroles = '{{0}}'
  AND pg_get_expr(polqual, polrelid) = $condition${CONDITION}$condition$
  AND pg_get_expr(polwithcheck, polrelid) = $condition${CONDITION}$condition$
), ARRAY(
  SELECT polname::text FROM pg_policy WHERE polrelid = c.oid AND polname <> '{NAME}'
  AND polpermissive ORDER BY polname
)
FROM pg_class c WHERE relkind IN ('r', 'p') AND relnamespace = {HERE}
""")  # noqa: S608

_WRITERS = text(f"""
SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
FROM pg_class c, aclexplode(c.relacl)
WHERE relname = :name AND relnamespace = {HERE}
AND grantee <> relowner AND privilege_type <> 'SELECT'
""")  # noqa: S608


def lacking(connection: Connection, tables: Iterable[Table]) -> list[str]:
    """The names of those tables that exist and do not keep tenants apart."""
    kept = {name: is_on and is_right for name, is_on, is_right, _ in _states(connection)}
    return sorted(table.name for table in _of_tenants(tables) if not kept.get(table.name, True))


def missing(connection: Connection, tables: Iterable[Table]) -> list[str]:
    """What of it is not there, in words."""
    names = {table.name for table in _of_tenants(tables)}
    found = []
    for name, is_on, is_right, _ in sorted(_states(connection)):
        if name in names and not is_right:
            found.append(f"missing policy of {name}")
        if name in names and not is_on:
            found.append(f"row security of {name} is switched off: holdfast migrate turns it on")
    return found


def strange(connection: Connection, tables: Iterable[Table]) -> list[str]:
    """Further policies that let rows through, as ``table.policy``."""
    names = {table.name for table in _of_tenants(tables)}
    return [
        f"{table}.{policy}"
        for table, _, _, policies in sorted(_states(connection))
        if table in names
        for policy in policies
    ]


def enforce(connection: Connection, tables: Iterable[Table]) -> None:
    """Make what is `lacking`; the transaction's end makes it all or none."""
    tables = list(tables)
    missing = lacking(connection, tables)
    if missing:
        dialect = connection.dialect.name
        for statement in creation(dialect, [t for t in tables if t.name in missing]):
            connection.exec_driver_sql(statement)


def protect(connection: Connection, table: str) -> None:
    """Let nobody but its owner write to a table of revisions.

    Default privileges for the tables of an application give rights on this one too.
    """
    if connection.dialect.name == "postgresql":
        name = connection.dialect.identifier_preparer.quote_identifier(table)
        for role in connection.execute(_WRITERS, {"name": table}).scalars().all():
            connection.exec_driver_sql(
                "REVOKE INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER"
                f" ON {name} FROM {role}"
            )


def creation(dialect: str, tables: Iterable[Table]) -> Iterator[str]:
    """The statements that make the policies of these tables, or make them anew."""
    if dialect != "postgresql":
        return
    yield _FUNCTION.strip()
    preparer = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]
    for table in _of_tenants(tables):
        name = preparer.format_table(table)
        yield f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY"
        yield f"DROP POLICY IF EXISTS {NAME} ON {name}"
        yield _POLICY.format(table=name).strip()


def _of_tenants(tables: Iterable[Table]) -> list[Table]:
    return [table for table in tables if TENANT in table.columns]


def _states(connection: Connection) -> list[tuple[str, bool, bool, list[str]]]:
    if connection.dialect.name != "postgresql":
        return []
    found = connection.execute(_STATE)
    return [(name, is_on, is_right, more) for name, is_on, is_right, more in found]
