"""Processes that run a program as ``python -c`` does, forked from one that has imported Holdfast.

Importing takes a core for more than a second, and some tests start hundreds of processes.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import sys
from multiprocessing.connection import Connection
from typing import Any, Self

__all__ = ["Child", "forks"]


def forks() -> Any:
    """The context of `multiprocessing` in which processes start fast."""
    context = multiprocessing.get_context("forkserver")
    # The tests' modules import pytest.
    context.set_forkserver_preload(["holdfast", "asyncpg", "pytest"])
    return context


class Child:
    """A process of its own: what it prints is read from ``stdout``, as from a subprocess."""

    def __init__(self, process: Any, stdin: int, stdout: asyncio.StreamReader) -> None:
        self._process = process
        self._stdin = stdin
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
        os.write(self._stdin, f"{line}\n".encode())

    def kill(self) -> None:
        self._process.kill()

    async def wait(self) -> tuple[int, bytes]:
        """Its exit code, negative after a signal, and what was not read of its output."""
        rest = await self.stdout.read()
        await asyncio.to_thread(self._process.join)
        os.close(self._stdin)
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
