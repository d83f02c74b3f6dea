"""What use leaves behind on a server: logs that grow, dead rows, indexes nobody needs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import asyncpg

from holdfast.config import PostgresConfig
from holdfast.engines.postgres.namespace import OURS
from holdfast.engines.upkeep import Finding

__all__ = ["GIB", "LOOKS", "Connection", "Look", "contents", "row_of"]

Connection: TypeAlias = "asyncpg.Connection[Any]"
Look = Callable[[Connection, PostgresConfig], AsyncIterator[Finding]]

GIB = 1024**3
_HEAP = "SELECT msg FROM verify_heapam($1::oid::regclass) LIMIT 1"


async def row_of(connection: Connection, sql: str, *values: object) -> asyncpg.Record:
    """The one row of a query that always has one."""
    row: asyncpg.Record = (await connection.fetch(sql, *values))[0]
    return row


async def _log(connection: Connection, _: PostgresConfig) -> AsyncIterator[Finding]:
    failed = await row_of(
        connection,
        "SELECT failed_count, last_failed_time > coalesce(last_archived_time, '-infinity') AS now"
        " FROM pg_stat_archiver",
    )
    if failed["now"]:
        yield Finding(
            "problem", "archiving", f"it fails ({failed['failed_count']} times): the log piles up "
            "and a point-in-time restore has a gap", "read the server's log for archive_command",
        )  # fmt: skip
    size, limit = await row_of(
        connection,
        "SELECT (SELECT sum(size) FROM pg_ls_waldir())::bigint,"
        " pg_size_bytes(current_setting('max_wal_size'))",
    )
    if size > 4 * limit:
        yield Finding(
            "warning", "write-ahead log",
            f"{size / GIB:.1f} GiB, where max_wal_size is {limit / GIB:.1f} GiB",
            "look at replication slots, archiving and wal_keep_size",
        )  # fmt: skip
    else:
        yield Finding("ok", "write-ahead log", f"{size / GIB:.2f} GiB")


async def _transactions(connection: Connection, _: PostgresConfig) -> AsyncIterator[Finding]:
    rows = await connection.fetch(
        "SELECT state, application_name, extract(epoch FROM now() - xact_start)::int AS seconds"
        " FROM pg_stat_activity WHERE xact_start < now() - interval '5 minutes'"
        " AND backend_type = 'client backend' AND datname = current_database()"
    )
    for row in rows:
        yield Finding(
            "warning", "transactions",
            f"one of {row['application_name'] or 'an unnamed client'} is open for {row['seconds']} "
            f"s ({row['state']}): rows that were deleted since then cannot be cleaned up",
            "find who holds it; set idle_in_transaction_session_timeout",
        )  # fmt: skip
    prepared = await connection.fetchval(
        "SELECT count(*) FROM pg_prepared_xacts WHERE prepared < now() - interval '5 minutes'"
    )
    if prepared:
        yield Finding(
            "warning", "transactions", f"{prepared} prepared transactions wait for their end",
            "COMMIT PREPARED or ROLLBACK PREPARED, see pg_prepared_xacts",
        )  # fmt: skip
    age = await connection.fetchval(
        "SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()"
    )
    if age > 1_000_000_000:
        yield Finding(
            "problem", "transaction ids", f"{age:,} of 2,147,483,648 are used up",
            "VACUUM FREEZE the oldest tables before the server refuses to write",
        )  # fmt: skip
    elif not await connection.fetchval(
        "SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')"
    ):
        yield Finding(
            "notice", "transactions", "this role may not see those of other roles",
            "run the doctor with a role that is a member of pg_monitor",
        )  # fmt: skip
    elif not rows and not prepared:
        yield Finding("ok", "transactions", "none is open for longer than five minutes")


async def _tables(connection: Connection, config: PostgresConfig) -> AsyncIterator[Finding]:
    if await connection.fetchval("SELECT pg_is_in_recovery()"):
        yield Finding("notice", "bloat", "a standby does not count dead rows: ask the primary")
        return
    rows = await connection.fetch(
        "SELECT relname::text, n_dead_tup, n_live_tup, last_autovacuum, last_vacuum, seq_scan,"
        " idx_scan FROM pg_stat_user_tables WHERE schemaname = $1",
        config.schema_name,
    )
    bloated = [r for r in rows if r["n_dead_tup"] > max(100_000, r["n_live_tup"] // 2)]
    for row in bloated:
        yield Finding(
            "warning", "bloat", f"{row['relname']} has {row['n_dead_tup']:,} dead rows beside "
            f"{row['n_live_tup']:,} live ones", "VACUUM it; look for old transactions that keep "
            "them, and lower autovacuum_vacuum_scale_factor for it",
        )  # fmt: skip
    for row in rows:
        if row["n_live_tup"] > 100_000 and row["seq_scan"] > max(1_000, row["idx_scan"] or 0):
            yield Finding(
                "warning", "missing index", f"{row['relname']} ({row['n_live_tup']:,} rows) was "
                f"read from end to end {row['seq_scan']:,} times",
                "see which statements do that in pg_stat_statements; ANALYZE it",
            )  # fmt: skip
    if not bloated:
        yield Finding("ok", "bloat", f"none in {len(rows)} tables")


async def _indexes(connection: Connection, config: PostgresConfig) -> AsyncIterator[Finding]:
    invalid = await connection.fetch(
        "SELECT c.relname::text AS name FROM pg_index i JOIN pg_class c"  # noqa: S608
        f" ON c.oid = i.indexrelid WHERE NOT i.indisvalid AND c.relnamespace = {OURS}",
        config.schema_name,
    )
    for row in invalid:
        yield Finding(
            "problem", "indexes", f"{row['name']} is invalid: a build of it was cut short",
            "REINDEX INDEX CONCURRENTLY it, or run holdfast migrate again",
        )  # fmt: skip
    unused = await connection.fetch(
        "SELECT s.indexrelname::text AS name, pg_relation_size(s.indexrelid) AS bytes"
        " FROM pg_stat_user_indexes s JOIN pg_index i USING (indexrelid) WHERE s.idx_scan = 0"
        " AND NOT i.indisunique AND pg_relation_size(s.indexrelid) > 100 * 1024 * 1024"
        " AND schemaname = $1",
        config.schema_name,
    )
    for row in unused:
        yield Finding(
            "notice", "indexes", f"{row['name']} ({row['bytes'] // 1024**2:,} MiB) was never used "
            "since statistics were reset", "keep it unless the figures cover months, and replicas",
        )  # fmt: skip
    if not invalid:
        yield Finding("ok", "indexes", "all are valid")


async def contents(connection: Connection, config: PostgresConfig) -> AsyncIterator[Finding]:
    """Every heap and B-tree through amcheck, where it is installed."""
    if not await connection.fetchval("SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'"):
        yield Finding(
            "notice", "contents", "not read through: amcheck is not installed",
            "CREATE EXTENSION amcheck, or run the program pg_amcheck",
        )  # fmt: skip
        return
    parts = await connection.fetch(
        "SELECT c.oid, c.relname::text AS name, c.relkind = 'r' AS is_table FROM pg_class c"  # noqa: S608
        " LEFT JOIN pg_am a ON a.oid = c.relam LEFT JOIN pg_index i ON i.indexrelid = c.oid"
        f" WHERE c.relnamespace = {OURS} AND (c.relkind = 'r'"
        " OR c.relkind = 'i' AND a.amname = 'btree' AND i.indisvalid) ORDER BY c.relname",
        config.schema_name,
    )
    damaged = False
    for part in parts:
        check = _HEAP if part["is_table"] else "SELECT bt_index_check($1::oid)::text"
        try:
            said = await connection.fetchval(check, part["oid"])
        except (asyncpg.DataCorruptedError, asyncpg.IndexCorruptedError):
            said = "its check failed"
        if said:
            damaged = True
            yield Finding(
                "problem", "contents", f"{part['name']} is damaged: {said}",
                "stop writing, keep a copy of the data directory, and restore the latest backup",
            )  # fmt: skip
    if not damaged:
        yield Finding("ok", "contents", "the pages of every table and B-tree hold together")


LOOKS: list[Look] = [_log, _transactions, _tables, _indexes]
