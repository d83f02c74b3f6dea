"""Whether the server itself keeps tenants apart for the role that we connect as.

A role that owns the tables, or could become one that does, is exempt from row-level security; so
statements name their tenant to the server only for a role that is not. `problems` looks for every
way round the policies that the catalog shows.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, func, literal_column, true

from holdfast.engines.postgres.namespace import OURS
from holdfast.schema.policies import CONDITION, NAME, SETTING

__all__ = ["CONFINED", "PROBLEMS", "name_tenant", "refusal"]


def name_tenant(tenant: ColumnElement[str]) -> ColumnElement[str]:
    """SQL that names the tenant to the policies until the transaction ends."""
    return func.set_config(literal_column(f"'{SETTING}'"), tenant, true(), type_=tenant.type)


# The argument is the name of the schema.
# Tables with tenants in our schema, and the roles that are exempt from their policies.
_OURS = f"""
WITH RECURSIVE ours AS (
  SELECT c.oid, c.relname, c.relowner, c.relrowsecurity, c.relacl FROM pg_class c
  WHERE c.relkind IN ('r', 'p') AND c.relnamespace = {OURS}
  AND EXISTS (SELECT FROM pg_attribute a
              WHERE a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped)
), exempt AS (
  SELECT r.oid FROM pg_roles r WHERE r.rolsuper OR r.rolbypassrls
  UNION SELECT relowner FROM ours
)
"""  # noqa: S608

#: Whether the role sees one tenant at a time. Before the first migration that is a role which may
#: not make the tables: somebody else will own them.
CONFINED = f"""
{_OURS}
SELECT NOT (r.rolsuper OR r.rolbypassrls) AND CASE WHEN EXISTS (SELECT FROM ours)
THEN EXISTS (SELECT FROM ours WHERE NOT pg_has_role(relowner, 'USAGE'))
ELSE NOT coalesce(has_schema_privilege($1::text, 'CREATE'), true) END
FROM pg_roles r WHERE r.rolname = current_user
"""  # noqa: S608

# Views run with the rights of their owners, and what they show is found through their rules.
#: One row for each kind of way round the policies, as a text that names them.
PROBLEMS = f"""
{_OURS}
, reads AS (
  SELECT DISTINCT d.refobjid AS source, v.oid, v.relkind,
    v.relkind = 'm' OR NOT coalesce(v.reloptions && ARRAY['security_invoker=true',
      'security_invoker=on', 'security_invoker=1', 'security_invoker=yes'], false) AS as_owner,
    v.relowner IN (SELECT member.oid FROM pg_roles member, exempt
                   WHERE pg_has_role(member.oid, exempt.oid, 'USAGE')) AS is_exempt
  FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid JOIN pg_class v ON v.oid = w.ev_class
  WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
  AND v.relkind IN ('v', 'm') AND v.oid <> d.refobjid
), views AS (
  SELECT oid, relkind, relkind = 'm' OR as_owner AND is_exempt AS leaks
  FROM reads WHERE source IN (SELECT oid FROM ours)
  UNION
  -- Of views on views, however deep: who reads the outer one reads the inner one as its owner.
  SELECT r.oid, r.relkind, r.relkind = 'm' OR r.as_owner AND (r.is_exempt OR views.leaks)
  FROM views JOIN reads r ON r.source = views.oid
)
SELECT 'no table with tenants is there yet' WHERE NOT EXISTS (SELECT FROM ours)
UNION ALL
SELECT 'the role ' || CASE WHEN r.rolsuper THEN 'is, or can become, the superuser '
  WHEN r.rolbypassrls THEN 'has, or can take on, BYPASSRLS of '
  ELSE 'is, or can become, the tables'' owner ' END || quote_ident(r.rolname)
FROM exempt JOIN pg_roles r USING (oid) WHERE pg_has_role(r.oid, 'MEMBER')
UNION ALL
SELECT 'the role may ' || string_agg(may, ', ') FROM (
  SELECT 'replicate the server' AS may FROM pg_roles r
  WHERE rolname = current_user AND rolreplication
  UNION ALL
  SELECT 'make roles' FROM pg_roles WHERE rolname = current_user AND rolcreaterole
  UNION ALL
  SELECT 'act as ' || rolname FROM pg_roles
  WHERE rolname IN ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program')
  AND pg_has_role(oid, 'MEMBER')
) AS powers HAVING count(*) > 0
UNION ALL
SELECT 'the role may make temporary tables: run `holdfast roles` again'
WHERE has_database_privilege(current_database(), 'TEMPORARY')
UNION ALL
SELECT 'the role may create in the schema' WHERE has_schema_privilege($1::text, 'CREATE')
UNION ALL
SELECT CASE WHEN setrole = 0 THEN 'the database' ELSE 'the role' END
  || ' carries a tenant of its own: ALTER ' || CASE WHEN setrole = 0 THEN 'DATABASE' ELSE 'ROLE' END
  || ' ... RESET {SETTING}'
FROM pg_db_role_setting CROSS JOIN unnest(setconfig) AS carried
WHERE lower(carried) LIKE '{SETTING}=_%'
AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
AND setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = session_user))
UNION ALL
SELECT 'sessions begin with a tenant of their own: {SETTING} is set, look into pg_settings'
WHERE coalesce(current_setting('{SETTING}', true), '') <> ''
UNION ALL
SELECT 'there is no row-level security on ' || string_agg(relname, ', ' ORDER BY relname)
FROM ours WHERE NOT relrowsecurity HAVING count(*) > 0
UNION ALL
SELECT 'the policy {NAME} is missing or changed on ' || string_agg(relname, ', ' ORDER BY relname)
FROM ours WHERE relrowsecurity AND NOT EXISTS (
  SELECT FROM pg_policy WHERE polrelid = ours.oid AND polname = '{NAME}'
  AND polpermissive AND polcmd = '*' AND polroles = '{{0}}'
  AND pg_get_expr(polqual, polrelid) = $condition${CONDITION}$condition$
  AND pg_get_expr(polwithcheck, polrelid) = $condition${CONDITION}$condition$)
HAVING count(*) > 0
UNION ALL
SELECT 'the table ' || relname || ' has a further policy that lets rows through, ' || polname
FROM ours JOIN pg_policy ON polrelid = ours.oid
WHERE polpermissive AND polname <> '{NAME}'
AND (polroles = '{{0}}' OR EXISTS (
  SELECT FROM unnest(polroles) AS role WHERE pg_has_role(role, 'MEMBER')))
UNION ALL
SELECT 'the role may use ' || may || ', which no policy looks at, on '
  || string_agg(relname, ', ' ORDER BY relname)
FROM (
  SELECT relname, string_agg(privilege, ', ' ORDER BY privilege) AS may
  FROM ours CROSS JOIN unnest(ARRAY['TRUNCATE', 'REFERENCES', 'TRIGGER']) AS privilege
  WHERE has_table_privilege(ours.oid, privilege) GROUP BY relname
) AS rights GROUP BY may
UNION ALL
SELECT DISTINCT 'the view ' || oid::regclass || ' reads with the rights of its owner'
FROM views WHERE relkind = 'v' AND leaks
AND (has_any_column_privilege(oid, 'SELECT, INSERT, UPDATE') OR has_table_privilege(oid, 'DELETE'))
UNION ALL
SELECT DISTINCT 'the materialized view ' || oid::regclass || ' holds rows of all tenants'
FROM views WHERE relkind = 'm' AND has_any_column_privilege(oid, 'SELECT')
UNION ALL
SELECT 'the function ' || p.oid::regprocedure || ' runs with the rights of its owner'
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')
AND has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE')
AND p.proowner IN (SELECT member.oid FROM pg_roles member, exempt
                   WHERE pg_has_role(member.oid, exempt.oid, 'USAGE'))
ORDER BY 1
"""  # noqa: S608


def refusal(found: Sequence[str]) -> str:
    """The text of the error for what `PROBLEMS` found."""
    return (
        'row_security is "required", but the database would not keep tenants apart: '
        f"{'; '.join(found)}. Connect as a runtime role that `holdfast roles` makes, "
        "and repair the policies with `holdfast migrate`"
    )
