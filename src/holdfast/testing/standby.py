"""A standby of a `PostgresCluster`: it follows, falls behind, and takes over.

::

    with PostgresCluster.create() as primary, primary.standby() as standby:
        standby.synchronise()          # from here on commits wait for it
        primary.kill()
        standby.promote()
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from typing import Literal, Self

from holdfast.testing import processes
from holdfast.testing.cluster import PostgresCluster

__all__ = ["Standby"]


class Standby(PostgresCluster):
    """Made by `PostgresCluster.standby`. Its name is that of its replication slot."""

    primary: PostgresCluster
    name: str

    @classmethod
    def of(
        cls,
        primary: PostgresCluster,
        *,
        settings: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> Self:
        """A copy of ``primary`` that follows it, not started yet.

        ``settings`` are added to those of the primary. ``port`` is one that is free again, such as
        that of a server that was closed; by default it is a new one.
        """
        beside = primary.directory.parent if primary._temporary else None
        standby = cls._place(None, beside, primary._programs)
        standby.primary = primary
        standby.name = f"standby_{standby.port if port is None else port}"
        if port is not None:
            standby.port, standby._started_once = port, True
        try:
            source = (
                f"host=127.0.0.1 port={primary.port} user=postgres application_name={standby.name}"
            )
            primary._programs.run(
                "pg_basebackup", "--dbname", source, "--pgdata", str(standby.data),
                "--checkpoint=fast", "--wal-method=stream", "--no-sync", "--write-recovery-conf",
                "--create-slot", f"--slot={standby.name}",
            )  # fmt: skip
            # Whom the primary waits for, its copy must not wait for once it is promoted.
            overruled = {"synchronous_standby_names": ""}
            standby._configure("postgresql.auto.conf", {**overruled, **(settings or {})})
        except BaseException:
            standby.close()
            raise
        return standby

    def synchronise(self) -> None:
        """Let the primary's commits wait for this standby, and wait until they do."""
        self.primary.psql(
            f"ALTER SYSTEM SET synchronous_standby_names = '{self.name}'; SELECT pg_reload_conf()"
        )
        self._wait(lambda: self._as_the_primary_sees("sync_state") == "sync", "synchronous")

    def promote(self, timeout: float = 30.0) -> None:
        """Make it a primary; returns when it takes writes."""
        if self.psql(f"SELECT pg_promote(true, {int(timeout)})") != "t":
            raise TimeoutError(f"the standby was not promoted within {timeout:g} s")

    def hold_back(self) -> None:
        """SIGSTOP to the process of the primary that sends to this standby: it falls behind.

        `PostgresCluster.thaw` of the primary, or its end, is the end of it.
        """
        pid = self._as_the_primary_sees("pid")
        if not pid:
            raise RuntimeError("the primary does not send to this standby")
        processes.send(int(pid), signal.SIGSTOP)
        self.primary._frozen = True

    def replay(self, what: Literal["pause", "resume"]) -> None:
        """Stop applying what arrives, or go on."""
        self.psql(f"SELECT pg_wal_replay_{what}()")
        wanted = "paused" if what == "pause" else "not paused"
        self._wait(lambda: self.psql("SELECT pg_get_wal_replay_pause_state()") == wanted, wanted)

    def catch_up(self) -> None:
        """Wait until everything the primary has written by now is applied."""
        position = self.primary.psql("SELECT pg_current_wal_flush_lsn()")
        self._wait(
            lambda: self.psql(f"SELECT pg_last_wal_replay_lsn() >= '{position}'") == "t",
            f"at {position}",
        )

    def _as_the_primary_sees(self, column: str) -> str:
        return self.primary.psql(
            f"SELECT {column} FROM pg_stat_replication"  # noqa: S608 - both are ours
            f" WHERE application_name = '{self.name}'"
        )

    def _wait(self, condition: Callable[[], bool], wanted: str, timeout: float = 30.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the standby is not {wanted} within {timeout:g} s")
            time.sleep(0.02)
