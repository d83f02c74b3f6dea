"""Data directories as `initdb` makes them: made once in a process, and copied from then on.

A copy takes half of the work, and is a cluster of its own: it gets another system identifier, by
which a standby and a reader of positions tell one server from another.
"""

from __future__ import annotations

import atexit
import functools
import secrets
import tempfile
from pathlib import Path

from holdfast.testing import processes

__all__ = ["initialise"]


def initialise(programs: processes.Programs, data: Path, locale: str | None) -> None:
    """Fill ``data``, which is not there yet, with a cluster whose superuser is ``postgres``."""
    programs.run("/bin/cp", "-R", str(_made(programs, locale)), str(data))
    # The identifier is what the file begins with. Its checksum is wrong then; `pg_resetwal -f`
    # takes the rest as it is, and writes that checksum and a log with the new identifier.
    with (data / "global" / "pg_control").open("r+b") as file:
        file.write(secrets.token_bytes(7))
    programs.run("pg_resetwal", "--force", "--pgdata", str(data))


@functools.cache
def _made(programs: processes.Programs, locale: str | None) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="holdfast-initdb-"))
    atexit.register(processes.Watcher(folder / "none", [folder]).close)
    programs.give(folder)
    options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync"]
    if locale is not None:
        options.append(f"--locale={locale}")
    elif programs.version >= 17:
        options += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    else:
        options.append("--locale=C")
    programs.run("initdb", *options, "--pgdata", str(folder / "data"))
    return folder / "data"
