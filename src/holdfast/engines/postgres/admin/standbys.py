"""What `holdfast doctor` sees of standbys: whom commits wait for, and which slots keep the log.

The server shows who follows it, and in which state, to members of pg_monitor alone; to others it
shows how many there are.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from holdfast.config import PostgresConfig
from holdfast.engines.postgres.admin.bloat import GIB, Connection, Look, row_of
from holdfast.engines.upkeep import Finding

__all__ = ["LOOKS"]

_GROUP = re.compile(r"\s*(?:(?:FIRST|ANY)\s+)?(\d+)\s*\(", re.IGNORECASE)
_SEE_ALL = "run the doctor with a role that is a member of pg_monitor"

# A standby shows the slots that it copies from its primary (since 17) as unused.
_SLOTS = """
SELECT slot_name::text AS name, wal_status,
  active OR pg_is_in_recovery() AND coalesce((to_jsonb(s) ->> 'synced')::bool, false) AS used,
  pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
    ELSE pg_current_wal_lsn() END, restart_lsn)::bigint AS held
FROM pg_replication_slots s ORDER BY slot_name
"""


async def _standby(connection: Connection, _: PostgresConfig) -> AsyncIterator[Finding]:
    if not await connection.fetchval("SELECT pg_is_in_recovery()"):
        return
    yield Finding(
        "warning", "server", "it is a standby: it takes no writes, and what was looked at is not "
        "the primary's", "run the doctor on the primary too, and let the application's URL name it",
    )  # fmt: skip
    received = await connection.fetch("SELECT status FROM pg_stat_wal_receiver")
    if not received:
        yield Finding(
            "warning", "replication", "this standby is not connected to a primary: it falls behind,"
            " unless it reads an archive", "read its log, and look at primary_conninfo",
        )  # fmt: skip
    elif await connection.fetchval("SELECT pg_is_wal_replay_paused()"):
        yield Finding(
            "warning", "replication", "this standby receives and does not apply: it was paused",
            "call pg_wal_replay_resume()",
        )  # fmt: skip
    elif received[0]["status"] is None:
        yield Finding(
            "notice", "replication", "whether this standby follows was not shown", _SEE_ALL
        )
    elif received[0]["status"] != "streaming":
        yield Finding(
            "warning", "replication", f"this standby does not follow yet: {received[0]['status']}",
            "read its log if that lasts",
        )  # fmt: skip
    else:
        yield Finding("ok", "replication", "this standby follows its primary")


async def _replication(connection: Connection, config: PostgresConfig) -> AsyncIterator[Finding]:
    named, commit, in_recovery = await row_of(
        connection,
        "SELECT current_setting('synchronous_standby_names'),"
        " current_setting('synchronous_commit'), pg_is_in_recovery()",
    )
    if in_recovery:
        return  # its own standbys are waited for by nobody
    states = [
        row["sync_state"]
        for row in await connection.fetch("SELECT sync_state FROM pg_stat_replication")
    ]
    shown = f"{len(states)} connected" if states else "none is connected"
    if not named.strip():
        yield Finding("ok", "replication", f"commits wait for no standby, {shown}")
    elif "off" in (commit, config.synchronous_commit) or commit == "local":
        yield Finding(
            "warning", "replication", f"synchronous_standby_names is {named!r}, and no commit waits"
            " for them: a failover can take back acknowledged writes",
            "set synchronous_commit to on, here and in the configuration",
        )  # fmt: skip
    else:
        yield _synchronous(named, states, shown)


def _synchronous(named: str, states: list[str | None], shown: str) -> Finding:
    """Whether as many standbys as a commit waits for are there to answer."""
    group = _GROUP.match(named)
    wanted = int(group[1]) if group else 1
    following = sum(state in ("sync", "quorum") for state in states)
    if following >= wanted:
        return Finding(
            "ok", "replication", f"commits wait for {wanted} of {following} that follow ({named})"
        )
    if len(states) >= wanted and None in states:
        return Finding(
            "notice", "replication", f"commits wait for {named!r}; this role may not see whether "
            f"they follow, {shown}", _SEE_ALL,
        )  # fmt: skip
    return Finding(
        "problem", "replication", f"every write waits for {wanted} of {named!r}, and {following} "
        f"follow ({shown}): it waits for ever, and its caller gets OutcomeUnknownError",
        "start the standby, under the application_name that is listed; or, until one follows, "
        "clear synchronous_standby_names and call pg_reload_conf()",
    )  # fmt: skip


async def _slots(connection: Connection, _: PostgresConfig) -> AsyncIterator[Finding]:
    for row in await connection.fetch(_SLOTS):
        name, status, held = row["name"], row["wal_status"], row["held"]
        drop = f"pg_drop_replication_slot('{name}')"
        if status == "lost":
            yield Finding(
                "warning", "replication slots", f"{name} has lost log that was kept for it: its "
                "reader cannot go on", f"call {drop} and make its standby anew",
            )  # fmt: skip
            continue
        if held is None:
            continue  # it keeps nothing: nobody has ever read from it
        keeps = f"{name} keeps {held / 1024**2:,.0f} MiB of log"
        if not row["used"]:
            yield Finding(
                "warning", "replication slots",
                f"{keeps}, and more as time goes by: nobody reads it",
                f"bring its reader back, or call {drop}; max_slot_wal_keep_size sets a limit",
            )  # fmt: skip
        elif status == "unreserved":
            yield Finding(
                "warning", "replication slots", f"{keeps}, more than max_slot_wal_keep_size: the "
                "next checkpoint takes it away", "look why its standby is slow, or raise the limit",
            )  # fmt: skip
        elif status == "extended" or held > GIB:
            yield Finding(
                "warning", "replication slots", f"{keeps}: its reader is behind",
                f"look why, and at the room on the disk; call {drop} if it is of no more use",
            )  # fmt: skip


LOOKS: list[Look] = [_standby, _replication, _slots]
