"""Which schema the tables are in, and whether their database can hold every text.

The schema is found out once, when the engine connects, and named by every statement after that:
neither a session's ``search_path`` nor a temporary table leads a statement anywhere else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from holdfast.config import PostgresConfig
from holdfast.config.models import is_servers_own
from holdfast.errors import UnusableDatabaseError
from holdfast.storage.session import Row

__all__ = ["LOOK", "OURS", "path_to", "quoted", "schema_in"]

#: As a condition on ``relnamespace``: the schema whose name is the statement's first argument.
OURS = "(SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1::text)"

#: Its argument is the schema that is configured, or nothing.
LOOK = """
SELECT current_database(), pg_encoding_to_char(d.encoding), current_user, session_user,
  current_setting('search_path'), current_schema(), n.oid IS NOT NULL,
  coalesce(has_schema_privilege(n.oid, 'USAGE'), false)
FROM pg_catalog.pg_database d
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = coalesce($1::text, current_schema())
WHERE d.datname = current_database()
"""

_NAME = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",]*))\s*(?:,|$)')


def schema_in(config: PostgresConfig, row: Row) -> str:
    """The schema, by what `LOOK` answered; `UnusableDatabaseError` if there is none to use."""
    database, encoding, role, user, path, current, exists, may_use = row
    if encoding != "UTF8":
        raise UnusableDatabaseError(
            f"the database {database!r} is encoded in {encoding}, which cannot hold every text: "
            "make one with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0, and move there"
        )
    named = config.schema_name
    if named is None:
        return _first(path, current, (role, user))
    if not exists:
        raise UnusableDatabaseError(
            f"the schema {named!r} does not exist in the database {database!r}: "
            f"CREATE SCHEMA {quoted(named)}, or correct schema_name"
        )
    if not may_use:
        raise UnusableDatabaseError(
            f"the role {role!r} may not use the schema {named!r}: "
            f"GRANT USAGE ON SCHEMA {quoted(named)} TO {quoted(role)}"
        )
    return named


def _first(path: str, current: str | None, roles: Sequence[str]) -> str:
    """What ``search_path`` begins with. The server passes over a name that is of no use to the
    role, and what comes next may be another organisation's."""
    names = _names(path)
    wanted = [name for name in names if name != "$user" or current in roles]
    first = wanted[0] if wanted else None
    shown, is_system = f"search_path is {path!r}", first is not None and is_servers_own(first)
    if current is not None and first in (current, "$user") and not is_system:
        return current
    if first is None:
        problem = f"{shown} and names no schema that this role may use"
    elif is_system:
        problem = f"{shown}, and {first} is no place for tables"
    else:
        problem = (
            f"{shown}, and there is no schema {first!r} that this role may use: "
            f"CREATE SCHEMA {quoted(first)} or GRANT USAGE on it"
        )
    raise UnusableDatabaseError(f"{problem}; or name the schema to use with schema_name")


def _names(path: str) -> list[str]:
    names: list[str] = []
    for found in _NAME.finditer(path):
        name = found[2].strip().lower() if found[1] is None else found[1].replace('""', '"')
        if name:
            names.append(name)
    return names


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def path_to(schema: str) -> str:
    """The ``search_path`` by which unqualified names mean this schema, and nothing else.

    Named last, the temporary schema is searched last; unnamed, it would be the first.
    """
    return f"{quoted(schema)}, pg_temp"
