"""Roles with least privilege: who owns the tables, who migrates, and who the application is.

Row-level security holds for a role that does not own the tables. So the owner cannot log in, who
migrates acts as the owner, and the application's role may read and write rows and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Connection, bindparam, text
from sqlalchemy.exc import DBAPIError

from holdfast.engines.protocol import Engine
from holdfast.errors import InvalidArgumentError, QueryError
from holdfast.migrations import Chain
from holdfast.schema.policies import NAME as POLICY
from holdfast.storage.functions import HERE

__all__ = ["LOGINS", "RoleNames", "create", "passwordless", "verifier"]

#: Who can log in, as `create` is given their passwords.
LOGINS = ("migrator", "app", "readonly")

#: PostgreSQL's own number; who guesses pays it for each guess.
_ITERATIONS = 4096

# Bounds that hold whoever connects, also through a pooler that passes no settings on.
_SETTINGS = {
    "migrator": {"lock_timeout": "5s", "jit": "off"},
    "app": {
        "statement_timeout": "30s",
        "lock_timeout": "10s",
        "idle_in_transaction_session_timeout": "60s",
        "jit": "off",
    },
    "readonly": {
        "statement_timeout": "60s",
        "idle_in_transaction_session_timeout": "60s",
        "default_transaction_read_only": "on",
        "jit": "off",
    },
}
#: The SQLSTATE of a privilege that the database role does not have.
_NO_PRIVILEGE = "42501"
_ROWS = "SELECT, INSERT, UPDATE, DELETE"
_FACTS = text("""
SELECT current_database(), current_schema(), current_user,
  (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
""")
_TABLES = text(f"""
SELECT relname::text FROM pg_class
WHERE relnamespace = {HERE} AND relkind IN ('r', 'p')
AND relname IN :names ORDER BY relname
""").bindparams(bindparam("names", expanding=True))  # noqa: S608
_ROLES = text("""
SELECT rolname::text, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls
FROM pg_roles WHERE rolname IN :names
""").bindparams(bindparam("names", expanding=True))
_STORED = text("""
SELECT rolname::text FROM pg_authid WHERE rolname IN :names AND rolpassword IS NOT NULL
""").bindparams(bindparam("names", expanding=True))
# A trigger's function belongs to whom the table belongs to, and so does what policies ask.
_FUNCTIONS = text(f"""
SELECT DISTINCT p.proname::text FROM pg_proc p LEFT JOIN pg_trigger t ON t.tgfoid = p.oid
LEFT JOIN pg_class c ON c.oid = t.tgrelid
WHERE p.pronamespace = {HERE} AND p.pronargs = 0
AND (p.proname = '{POLICY}' OR c.relname IN :names AND c.relnamespace = {HERE}) ORDER BY 1
""").bindparams(bindparam("names", expanding=True))  # noqa: S608
# Owners that were made with another prefix, by the migrator beside them.
_OTHERS = text(f"""
SELECT DISTINCT o.rolname::text FROM pg_class c JOIN pg_roles o ON o.oid = c.relowner
JOIN pg_auth_members a ON a.roleid = o.oid JOIN pg_roles m ON m.oid = a.member
WHERE relnamespace = {HERE} AND relname IN :names AND o.rolname <> :owner
AND right(o.rolname, 6) = '_owner' AND m.rolname = left(o.rolname, -5) || 'migrator' ORDER BY 1
""").bindparams(bindparam("names", expanding=True))  # noqa: S608
_MEMBERS = text("""
SELECT m.rolname::text FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member
JOIN pg_roles r ON r.oid = a.roleid WHERE r.rolname = :owner
""")


@dataclass(frozen=True, slots=True)
class RoleNames:
    """``<prefix>_owner``, ``_migrator``, ``_app`` and, if asked for, ``_readonly``."""

    owner: str
    migrator: str
    app: str
    readonly: str | None

    @classmethod
    def of(cls, prefix: str, *, readonly: bool) -> RoleNames:
        if not re.fullmatch(r"(?!pg_|pg$)[a-z][a-z0-9_]{0,39}", str(prefix)):
            raise InvalidArgumentError(
                f"the prefix {prefix!r} must be 1 to 40 of a-z, 0-9 and _, begin with a letter, "
                "and not be the server's own pg"
            )
        return cls(
            f"{prefix}_owner",
            f"{prefix}_migrator",
            f"{prefix}_app",
            f"{prefix}_readonly" if readonly else None,
        )

    def logins(self) -> dict[str, str]:
        """The names of those that can log in, by what they are for."""
        found = {"migrator": self.migrator, "app": self.app}
        return found | ({"readonly": self.readonly} if self.readonly else {})


async def create(
    engine: Engine,
    chains: Sequence[Chain],
    names: RoleNames,
    passwords: Mapping[str, SecretStr],
    *,
    take_over: bool,
    dry_run: bool,
) -> Sequence[str]:
    """See `holdfast.operations.Operations.create_roles`."""
    unknown = sorted(set(passwords) - set(names.logins()))
    if unknown:
        raise InvalidArgumentError(f"create_roles: there is no role for a password of {unknown[0]}")
    verifiers = {role: verifier(password) for role, password in passwords.items()}

    def work(connection: Connection) -> Sequence[str]:
        if connection.dialect.name != "postgresql":
            raise InvalidArgumentError(
                "create_roles: a SQLite file has no roles; who may read the file reads everything"
            )
        if not take_over:
            _refuse_others(connection, chains, names)
        statements = list(_statements(connection, chains, names, verifiers))
        if not dry_run:
            for statement in statements:
                _send(connection, statement)
        return [_shown(statement) for statement in statements]

    return await engine.run_sync(work, exclusive=not dry_run)


async def passwordless(engine: Engine, names: RoleNames) -> Sequence[str]:
    """See `holdfast.operations.Operations.roles_without_password`."""
    logins = names.logins()

    def work(connection: Connection) -> Sequence[str]:
        if connection.dialect.name != "postgresql":
            return ()
        asked = {"names": list(logins.values())}
        may_see = "SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')"
        if connection.exec_driver_sql(may_see).scalar():
            having = set(connection.execute(_STORED, asked).scalars())
        else:  # of a role that exists it cannot be told
            having = {row[0] for row in connection.execute(_ROLES, asked)}
        return [role for role, name in logins.items() if name not in having]

    return await engine.run_sync(work)


def _shown(statement: str) -> str:
    """A verifier is no password, but whoever has it can guess at leisure."""
    return re.sub(r"PASSWORD '.*'", "PASSWORD '***'", statement)


def _send(connection: Connection, statement: str) -> None:
    """Not by SQLAlchemy, which would log the statement and quote it in its errors."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement)
    except connection.dialect.loaded_dbapi.Error as error:
        if getattr(error, "sqlstate", None) == _NO_PRIVILEGE:
            raise QueryError(
                f"create_roles: the database role lacks the privilege for {_shown(statement)}: "
                "run it as a superuser, or as the database's owner with CREATEROLE",
                is_retryable=False,
            ) from error
        raise DBAPIError(_shown(statement), None, error) from error
    finally:
        cursor.close()


def _refuse_others(connection: Connection, chains: Sequence[Chain], names: RoleNames) -> None:
    asked = {"names": _declared(chains), "owner": names.owner}
    owners = connection.execute(_OTHERS, asked).scalars().all()
    if owners:
        prefixes = " or ".join(repr(owner.removesuffix("_owner")) for owner in owners)
        raise InvalidArgumentError(
            f"create_roles: the tables belong to {', '.join(owners)}, and would be taken over by "
            f"{names.owner}: use the prefix {prefixes}, or confirm it with take_over=True "
            "(`holdfast roles --take-over`)"
        )


def _declared(chains: Sequence[Chain]) -> list[str]:
    """Every table, also those of the revisions."""
    tables = {name for chain in chains for name in chain.metadata.tables}
    return sorted(tables | {chain.version_table for chain in chains})


def verifier(password: SecretStr) -> str:
    """What PostgreSQL stores of a password (SCRAM-SHA-256): the password itself is never sent."""
    secret = password.get_secret_value()
    if not secret or not secret.isascii() or not secret.isprintable():
        # Others would have to be normalised exactly as every driver does it.
        raise InvalidArgumentError("a role's password must be of printable ASCII characters")
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", secret.encode(), salt, _ITERATIONS)
    client = hmac.digest(salted, b"Client Key", "sha256")
    server = hmac.digest(salted, b"Server Key", "sha256")
    stored = hashlib.sha256(client).digest()
    salt_, stored_, server_ = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${_ITERATIONS}:{salt_}${stored_}:{server_}"


def _statements(
    connection: Connection, chains: Sequence[Chain], names: RoleNames, verifiers: Mapping[str, str]
) -> Iterator[str]:
    quote = connection.dialect.identifier_preparer.quote_identifier
    database, schema, me, superuser = connection.execute(_FACTS).one()
    here = f"SCHEMA {quote(schema)}"
    yield from _roles(connection, names, verifiers)
    members = set(connection.execute(_MEMBERS, {"owner": names.owner}).scalars())
    if not superuser and me not in members:
        yield f"GRANT {names.owner} TO {quote(me)}"  # else it could give the owner no table
    for role in names.logins().values():
        if role != names.migrator and role in members:
            yield f"REVOKE {names.owner} FROM {role}"
    yield f"GRANT {names.owner} TO {names.migrator}"
    # What the migrator makes belongs to the owner from the first moment.
    yield f"ALTER ROLE {names.migrator} IN DATABASE {quote(database)} SET role = '{names.owner}'"
    for role, name in names.logins().items():
        yield f"GRANT CONNECT ON DATABASE {quote(database)} TO {name}"
        for setting, value in {**_SETTINGS[role], "search_path": quote(schema)}.items():
            place = f"{name} IN DATABASE {quote(database)}"
            yield f"ALTER ROLE {place} SET {setting} = {_literal(setting, value)}"
    yield f"REVOKE CREATE ON {here} FROM PUBLIC"
    # Everybody has it, until it is revoked: one session's temporary table stands before ours.
    yield f"REVOKE TEMPORARY ON DATABASE {quote(database)} FROM PUBLIC"
    for role, name in names.logins().items():
        if role != "migrator":
            yield f"REVOKE CREATE, TEMPORARY ON DATABASE {quote(database)} FROM {name}"
    yield f"GRANT USAGE, CREATE ON {here} TO {names.owner}"
    yield from _privileges(connection, chains, names, here)


def _roles(connection: Connection, names: RoleNames, verifiers: Mapping[str, str]) -> Iterator[str]:
    logins = {name: role for role, name in names.logins().items()}
    attributes = ("SUPERUSER", "CREATEDB", "CREATEROLE", "REPLICATION", "BYPASSRLS")
    found = connection.execute(_ROLES, {"names": [names.owner, *logins]}).all()
    existing: dict[str, Sequence[Any]] = {row[0]: row[1:] for row in found}
    for name in (names.owner, *logins):
        words = ["LOGIN" if name in logins else "NOLOGIN"]
        # Only what is wrong: naming an attribute takes a superuser.
        words += [
            f"NO{attribute}"
            for attribute, held in zip(attributes, existing.get(name, ()), strict=False)
            if held
        ]
        if (stored := verifiers.get(logins.get(name, ""))) is not None:
            words.append(f"PASSWORD '{stored}'")
        yield f"{'ALTER' if name in existing else 'CREATE'} ROLE {name} {' '.join(words)}"


def _privileges(
    connection: Connection, chains: Sequence[Chain], names: RoleNames, here: str
) -> Iterator[str]:
    quote = connection.dialect.identifier_preparer.quote_identifier
    counts = {chain.version_table for chain in chains}
    declared = {"names": _declared(chains)}
    tables = list(connection.execute(_TABLES, declared).scalars())
    functions = connection.execute(_FUNCTIONS, declared).scalars().all()
    for table in tables:
        yield f"ALTER TABLE {quote(table)} OWNER TO {names.owner}"
    for function in functions:
        yield f"ALTER FUNCTION {quote(function)}() OWNER TO {names.owner}"
    readers = [(names.app, _ROWS), *([(names.readonly, "SELECT")] if names.readonly else [])]
    for role, rows in readers:
        yield f"REVOKE CREATE ON {here} FROM {role}"
        yield f"GRANT USAGE ON {here} TO {role}"
        for table in tables:
            yield f"REVOKE ALL ON {quote(table)} FROM {role}"
            yield f"GRANT {'SELECT' if table in counts else rows} ON {quote(table)} TO {role}"
        # Of the tables that later migrations make.
        later = f"ALTER DEFAULT PRIVILEGES FOR ROLE {names.owner} IN {here}"
        yield f"{later} GRANT {rows} ON TABLES TO {role}"
        if role == names.app:
            yield f"{later} GRANT USAGE ON SEQUENCES TO {role}"


def _literal(setting: str, value: str) -> str:
    # A list of names; as one literal it would be one strange name.
    return value if setting == "search_path" else f"'{value}'"
