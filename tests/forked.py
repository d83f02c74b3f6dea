"""Processes that do what ``python`` would, forked from one that has imported Holdfast.

Importing takes a core for most of a second, and the tests start hundreds of processes.
"""

from __future__ import annotations

import asyncio
import atexit
import multiprocessing
import os
import random
import runpy
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

__all__ = ["PRELOADED", "Child", "forks", "run"]

_ROOT = Path(__file__).parents[1]

#: What the processes have imported, since importing the package alone loads nothing. The tests'
#: modules import pytest. Not the command line, which looks at its terminal early.
PRELOADED = [
    "holdfast.backend", "holdfast.memory", "holdfast.demo", "holdfast.engines.postgres.engine",
    "alembic.command", "pytest", "rich.table", "typer",
]  # fmt: skip


def forks() -> Any:
    """The context of `multiprocessing` in which processes start fast."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def run(
    *command: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Do what ``python *command`` does, and capture what it prints.

    ``command`` is ``-m`` and a module or ``-c`` and a program, then arguments; before them may
    stand ``-P`` and ``-W error``.
    """
    with tempfile.TemporaryDirectory(prefix="holdfast-forked-") as name:
        place = Path(name)
        (place / "stdin").write_text(stdin, encoding="utf-8")
        surroundings = (str(cwd or Path.cwd()), dict(os.environ if env is None else env))
        process = forks().Process(target=_run_captured, args=(command, place, *surroundings))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(command, timeout)
        stdout, stderr = ((place / end).read_text("utf-8") for end in ("stdout", "stderr"))
    return subprocess.CompletedProcess(command, process.exitcode, stdout, stderr)


class Child:
    """A process of its own: what it prints is read from ``stdout``, as from a subprocess."""

    def __init__(self, process: Any, stdin: int, stdout: asyncio.StreamReader) -> None:
        self._process = process
        self._stdin: int | None = stdin
        self.stdout = stdout

    @classmethod
    async def start(cls, program: str, *arguments: str) -> Self:
        context = forks()
        there_in, here_in = context.Pipe(duplex=False)
        here_out, there_out = context.Pipe(duplex=False)
        process = context.Process(
            target=_run, args=(program, arguments, there_in, there_out), daemon=True
        )
        await asyncio.to_thread(process.start)
        stdin, stdout = os.dup(here_in.fileno()), os.dup(here_out.fileno())
        for end in (there_in, here_in, here_out, there_out):
            end.close()
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(stdout, "rb", buffering=0)
        )
        return cls(process, stdin, reader)

    def tell(self, line: str) -> None:
        assert self._stdin is not None
        os.write(self._stdin, f"{line}\n".encode())

    def end_input(self) -> None:
        if self._stdin is not None:
            os.close(self._stdin)
            self._stdin = None

    def kill(self) -> None:
        self._process.kill()

    async def wait(self) -> tuple[int, bytes]:
        """Its exit code, negative after a signal, and what was not read of its output."""
        rest = await self.stdout.read()
        await asyncio.to_thread(self._process.join)
        self.end_input()
        return self._process.exitcode, rest


def _run(
    program: str,
    arguments: tuple[str, ...],
    stdin: Connection[Any, Any],
    stdout: Connection[Any, Any],
) -> None:
    for connection, number in ((stdin, 0), (stdout, 1)):
        os.dup2(connection.fileno(), number)
        connection.close()
    sys.stdin, sys.stdout = open(0), open(1, "w")  # noqa: SIM115 - by their numbers
    sys.argv = ["-c", *arguments]
    random.seed()  # or all would have the chance of the process they are forked from
    exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})  # noqa: S102
    sys.stdout.flush()


def _run_captured(
    command: tuple[str, ...], place: Path, folder: str, environment: dict[str, str]
) -> None:
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        end = os.open(place / name, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        os.dup2(end, number)
        os.close(end)
    sys.stdin, sys.stdout = open(0), open(1, "w")  # noqa: SIM115 - by their numbers
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace")  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    random.seed()
    options = [*command]
    # What pytest has put there is not what the program would find.
    ours = ("", str(_ROOT), str(_ROOT / "examples"))
    more = list(filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)))
    sys.path[:] = [*more, *(path for path in sys.path if path not in ours)]
    while (option := options.pop(0)) not in ("-m", "-c"):
        if option == "-W":
            warnings.simplefilter(options.pop(0))  # type: ignore[arg-type]
    if "-P" not in command:
        sys.path.insert(0, folder)
    try:
        if option == "-m":
            sys.argv = options
            runpy.run_module(options[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = ["-c", *options[1:]]
            program = compile(options[0], "<string>", "exec")
            exec(program, {"__name__": "__main__"})  # noqa: S102
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
