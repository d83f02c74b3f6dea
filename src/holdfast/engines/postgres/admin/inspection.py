"""What `holdfast doctor` looks at on a PostgreSQL server."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence

import asyncpg

from holdfast.config import PostgresConfig
from holdfast.engines.postgres.admin import bloat
from holdfast.engines.postgres.admin import standbys as replication
from holdfast.engines.postgres.admin.bloat import Connection, Look, row_of
from holdfast.engines.postgres.namespace import OURS
from holdfast.engines.upkeep import Finding
from holdfast.schema.policies import SETTING

__all__ = ["inspect"]

#: The first minor release of each major that does not leak statistics past row-level security
#: (CVE-2025-8713).
_PATCHED = {14: 19, 15: 14, 16: 10, 17: 6}


_CARRIED = f"""
SELECT CASE WHEN setrole = 0 THEN 'the database' ELSE 'the role ' || setrole::regrole END AS carrier
FROM pg_db_role_setting CROSS JOIN unnest(setconfig) AS carried
WHERE lower(carried) LIKE '{SETTING}=_%'
AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
ORDER BY 1
"""  # noqa: S608
# Roles under row-level security that write rows.
_MAKERS = f"""
SELECT rolname::text AS name FROM pg_roles r
WHERE rolcanlogin AND NOT rolsuper AND NOT rolbypassrls
AND has_database_privilege(r.oid, current_database(), 'TEMPORARY')
AND EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = {OURS} AND relrowsecurity
            AND has_table_privilege(r.oid, c.oid, 'INSERT')
            AND NOT pg_has_role(r.oid, relowner, 'MEMBER'))
ORDER BY 1
"""  # noqa: S608


async def inspect(
    connection: Connection, config: PostgresConfig, *, thorough: bool
) -> Sequence[Finding]:
    found: list[Finding] = []
    for look in [
        *_LOOKS,
        *replication.LOOKS,
        *bloat.LOOKS,
        *([bloat.contents] if thorough else []),
    ]:
        subject = look.__name__.strip("_")
        try:
            async for finding in look(connection, config):
                found.append(finding)  # one by one: what was seen stays if the next is refused
        except asyncpg.InsufficientPrivilegeError:
            found.append(
                Finding(
                    "notice", subject, "this role may not see it",
                    "run the doctor with a role that is a member of pg_monitor",
                )
            )  # fmt: skip
    return found


async def _version(connection: Connection, _: PostgresConfig) -> AsyncIterator[Finding]:
    version = connection.get_server_version()
    release = version.micro  # asyncpg reads 18.4 as 18.0.4
    shown = f"PostgreSQL {version.major}.{release}"
    if version.major < min(_PATCHED):
        yield Finding("warning", "version", f"{shown} gets no repairs any more", "upgrade")
    elif release < _PATCHED.get(version.major, 0):
        yield Finding(
            "warning", "version", f"{shown} lacks repairs of known holes in row-level security",
            f"update to {version.major}.{_PATCHED[version.major]} or newer",
        )  # fmt: skip
    else:
        yield Finding("ok", "version", shown)


async def _durability(connection: Connection, config: PostgresConfig) -> AsyncIterator[Finding]:
    rows = await connection.fetch(
        "SELECT name, setting FROM pg_settings WHERE name IN"
        " ('fsync', 'full_page_writes', 'synchronous_commit', 'data_checksums', 'autovacuum')"
    )
    settings = {row["name"]: row["setting"] for row in rows}
    for name in ("fsync", "full_page_writes"):
        if settings[name] == "off":
            yield Finding(
                "problem", "durability", f"{name} is off: a crash of the machine can destroy data",
                f"set {name} = on",
            )  # fmt: skip
    if settings["synchronous_commit"] == "off" or config.synchronous_commit == "off":
        yield Finding(
            "warning", "durability", "synchronous_commit is off: a crash of the server takes back "
            "acknowledged writes", "set it to on, here and in the configuration",
        )  # fmt: skip
    if settings["data_checksums"] == "off":
        yield Finding(
            "notice", "checksums", "pages carry none: damage by the disk goes unnoticed",
            "run pg_checksums --enable while the server is stopped",
        )  # fmt: skip
    if settings["autovacuum"] == "off":
        yield Finding(
            "problem", "autovacuum", "it is off: tables bloat and transaction ids run out",
            "set autovacuum = on",
        )  # fmt: skip
    if all(settings[name] != "off" for name in ("fsync", "full_page_writes", "synchronous_commit")):
        in_recovery = await connection.fetchval("SELECT pg_is_in_recovery()")
        said = "what arrives is kept" if in_recovery else "what was acknowledged is on disk"
        yield Finding("ok", "durability", said)


async def _connections(connection: Connection, config: PostgresConfig) -> AsyncIterator[Finding]:
    allowed, used = await row_of(
        connection,
        "SELECT current_setting('max_connections')::int"
        " - current_setting('superuser_reserved_connections')::int,"
        # Without pg_monitor the kind of other roles' sessions is not shown, that they are is.
        " (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL"
        " AND coalesce(backend_type, 'client backend') = 'client backend')",
    )
    processes = allowed // config.pool_max_size
    shown = (
        f"{used} of {allowed} in use; pool_max_size={config.pool_max_size} is enough for "
        f"{processes} processes"
    )
    if processes < 1:
        yield Finding(
            "problem", "connections", f"{shown}: one process wants more than there are",
            "lower pool_max_size: about twice the server's cores, shared by all processes",
        )  # fmt: skip
    elif used > allowed * 0.8:
        yield Finding(
            "warning", "connections", f"{shown}: nearly all are taken",
            "lower pool_max_size, or put PgBouncer in front",
        )  # fmt: skip
    else:
        yield Finding("ok", "connections", shown)


async def _clock(connection: Connection, _: PostgresConfig) -> AsyncIterator[Finding]:
    before = time.time()
    server = float(await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())"))
    after = time.time()
    # The server looked at its clock somewhere in between.
    skew = max(before - server, server - after, 0.0)
    if skew > 1.0:
        yield Finding(
            "warning", "clock", f"the server's differs from this machine's by {skew:.1f} s",
            "let both follow the same NTP source: leases and expiries compare the two",
        )  # fmt: skip
    else:
        yield Finding("ok", "clock", f"within {max(skew, after - before):.3f} s of this machine's")


async def _collation(connection: Connection, _: PostgresConfig) -> AsyncIterator[Finding]:
    stored, actual = await row_of(
        connection,
        "SELECT datcollversion, pg_database_collation_actual_version(oid) FROM pg_database"
        " WHERE datname = current_database()",
    )
    if stored != actual:
        yield Finding(
            "warning", "collation", f"the database was built with version {stored}, the system has "
            f"{actual}. Holdfast's keys sort by code point and are safe; other indexes may not be",
            "REINDEX DATABASE, then ALTER DATABASE ... REFRESH COLLATION VERSION",
        )  # fmt: skip
    else:
        yield Finding("ok", "collation", f"version {stored or 'none'}, as the system's")


async def _encryption(connection: Connection, config: PostgresConfig) -> AsyncIterator[Finding]:
    encrypted = await connection.fetchval(
        "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    )
    if encrypted:
        yield Finding(
            "ok", "encryption", f"the connection is, ssl_mode={config.effective_ssl_mode}"
        )
    elif config.effective_ssl_mode == "prefer":
        yield Finding("ok", "encryption", "none, on this machine")
    else:
        yield Finding(
            "warning", "encryption", "the connection is not encrypted", "set ssl_mode=verify-full"
        )


async def _extensions(connection: Connection, _: PostgresConfig) -> AsyncIterator[Finding]:
    rows = await connection.fetch(
        "SELECT name, installed_version FROM pg_available_extensions"
        " WHERE name IN ('vector', 'pg_stat_statements')"
    )
    installed = {row["name"]: row["installed_version"] for row in rows}
    if not installed.get("pg_stat_statements"):
        yield Finding(
            "notice", "extensions", "pg_stat_statements is not installed: slow statements of other "
            "programs cannot be told", "add it to shared_preload_libraries and CREATE EXTENSION",
        )  # fmt: skip
    if "vector" not in installed:
        yield Finding(
            "notice", "extensions", "pgvector is not available on this server",
            "install it if memories are to be searched by similarity",
        )  # fmt: skip


async def _roles(connection: Connection, config: PostgresConfig) -> AsyncIterator[Finding]:
    for row in await connection.fetch(_CARRIED):
        yield Finding(
            "problem", "roles", f"{row['carrier']} carries a tenant of its own: a statement that "
            "names none answers with that one's rows", f"ALTER ... RESET {SETTING}",
        )  # fmt: skip
    makers = [row["name"] for row in await connection.fetch(_MAKERS, config.schema_name)]
    if makers:
        yield Finding(
            "warning", "roles", f"{', '.join(makers)} may make temporary tables, which come before "
            "all others in SQL that names no schema", "run holdfast roles again",
        )  # fmt: skip


_LOOKS: list[Look] = [
    _version, _durability, _connections, _clock, _collation, _encryption, _extensions, _roles,
]  # fmt: skip
