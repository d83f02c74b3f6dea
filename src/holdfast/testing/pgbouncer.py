"""A real PgBouncer in front of a server, for tests of what changes behind a pooler.

::

    with PostgresCluster.create() as cluster, PgBouncer(cluster) as pooler:
        backend = create_backend(pooler.through(cluster.url()))

It listens on 127.0.0.1 alone, on a port of its own, lets everybody in, and ends with its Python
process as `PostgresCluster` does. The program must be installed.
"""

from __future__ import annotations

import atexit
import dataclasses
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from holdfast.testing import processes
from holdfast.testing.cluster import PostgresCluster

__all__ = ["PgBouncer"]

_DEFAULTS = {
    "max_client_conn": "1000",
    "default_pool_size": "10",
    # Sessions are given back soon: a test server has few, and databases come and go.
    "server_idle_timeout": "5",
    # A database that was dropped, or a server that is away, is not remembered for long.
    "server_login_retry": "1",
}


class PgBouncer:
    """One pooler, not started yet; entering it as a context manager starts it."""

    def __init__(
        self,
        server: PostgresCluster | str,
        pool_mode: str = "transaction",
        *,
        settings: Mapping[str, str] | None = None,
        program: str | None = None,
    ) -> None:
        """In front of ``server``, a cluster or a URL over TCP, for all its databases.

        Who connects needs no password. The pooler itself uses the URL's for its user; other users
        are let in if the server asks them for none. ``settings`` are those of its section
        ``[pgbouncer]``; ``program`` is its path, else it is looked for in PATH.
        """
        url = urlsplit(server.url() if isinstance(server, PostgresCluster) else server)
        if url.hostname is None or url.username is None:
            raise ValueError("the URL of the server must name a host and a user")
        found = shutil.which(program or "pgbouncer", path=f"{os.environ.get('PATH')}:/usr/sbin")
        if found is None:
            raise RuntimeError(f"{program or 'pgbouncer'} is not installed")
        self._server = (url.hostname, url.port or 5432)
        self._user, self._password = unquote(url.username), unquote(url.password or "")
        self._database = unquote(url.path.lstrip("/")) or self._user
        self._settings = {"pool_mode": pool_mode, **_DEFAULTS, **(settings or {})}
        self._program = found
        # Only the server's programs know which user may run them where this one is root.
        self._programs = dataclasses.replace(
            processes.find_programs(None), folder=Path(found).parent
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self.directory = Path(tempfile.mkdtemp(prefix="holdfast-pgbouncer-"))
        self.log = self.directory / "pgbouncer.log"
        self.port = processes.free_port()
        self._programs.give(self.directory)
        self._pid_file = self.directory / "pgbouncer.pid"
        self._watcher = processes.Watcher(self._pid_file, [self.directory])
        atexit.register(self.close)

    def url(self, database: str | None = None) -> str:
        """The URL of a database through the pooler, as the user of the server's URL."""
        name = quote(self._database if database is None else database, safe="")
        return f"postgresql://{quote(self._user, safe='')}@127.0.0.1:{self.port}/{name}"

    def through(self, url: str) -> str:
        """The URL that reaches the same database, as the same user, through the pooler; what needs
        a session goes to the server."""
        parts = urlsplit(url)
        user = parts.netloc.rpartition("@")[0]
        query = f"{parts.query}&" if parts.query else ""
        return urlunsplit(
            parts._replace(
                netloc=f"{user}@127.0.0.1:{self.port}",
                query=f"{query}direct_host={self.direct_host}",
            )
        )

    @property
    def direct_host(self) -> str:
        """The server behind it, ``host:port``."""
        return f"{self._server[0]}:{self._server[1]}"

    @property
    def version(self) -> str:
        """``1.24.1``."""
        done = subprocess.run(  # noqa: S603
            [self._program, "--version"], capture_output=True, text=True, check=True
        )
        return done.stdout.split("\n")[0].split()[-1]

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, timeout: float = 10.0) -> Self:
        """Start it and wait until it takes connections, on the same port every time."""
        if self.running or not self.directory.exists():
            raise RuntimeError("the pooler is running already, or closed")
        deadline = time.monotonic() + timeout
        while True:
            self.log.unlink(missing_ok=True)
            self._process = self._launch()
            self._watcher.watch(self._process.pid)
            while self._process.poll() is None and time.monotonic() < deadline:
                if "process up" in self._said():
                    return self
                time.sleep(0.01)
            if "nowhere to listen" not in self._said():
                break
            self.port = processes.free_port()  # another process was first to take it
        said = self._said()
        self.stop()
        raise RuntimeError(f"PgBouncer was not ready within {timeout:g} s:\n{said}")

    def stop(self) -> None:
        """End it at once, and all connections through it; nothing happens if it is down."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def close(self) -> None:
        """Stop it and remove its directory. Done at exit too; once is enough."""
        if os.getpid() == self._owner and self.directory.exists():
            atexit.unregister(self.close)
            self.stop()
            self._watcher.close()

    def _launch(self) -> subprocess.Popen[bytes]:
        users = self.directory / "users.txt"
        users.write_text(f'"{_doubled(self._user)}" "{_doubled(self._password)}"\n')
        host, port = self._server
        settings = self._settings | {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "logfile": str(self.log),
            "pidfile": str(self._pid_file),
            "auth_type": "trust",
            "auth_file": str(users),
            "auth_user": self._user,
            "auth_query": "SELECT rolname, NULL::text FROM pg_roles WHERE rolname = $1",
        }
        file = self.directory / "pgbouncer.ini"
        lines = [f"{name} = {value}" for name, value in settings.items()]
        file.write_text(f"[databases]\n* = host={host} port={port}\n[pgbouncer]\n")
        with file.open("a") as config:
            config.write("\n".join(lines) + "\n")
        for each in (users, file):
            if self._programs.account is not None:
                shutil.chown(each, self._programs.account, self._programs.account)
            each.chmod(0o600)
        with (self.directory / "output").open("ab") as output:
            return self._programs.popen(
                Path(self._program).name, str(file), stdout=output, stderr=output
            )

    def _said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def __enter__(self) -> Self:
        try:
            return self if self.running else self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _doubled(text: str) -> str:
    return text.replace('"', '""')
