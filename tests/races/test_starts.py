"""Processes that open and close one SQLite database, some of them by being killed."""

from __future__ import annotations

from ..forked import Child

#: Opens, saves and leaves, again and again; at last as a process does that is killed.
_VISITS = """
import asyncio, os, sys
from holdfast import create_backend

async def main(url, name):
    for turn in range(25):
        async with create_backend(url) as backend:
            await backend.set_setting(f"{name}-{turn}", "v" * 500)
    backend = create_backend(url)
    await backend.connect()
    await backend.set_setting(f"{name}-last", "v")
    os._exit(0)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_nobody_takes_a_database_that_is_being_closed_for_damaged(sqlite_url: str) -> None:
    visitors = [
        await Child.start(_VISITS, f"{sqlite_url}?checkpoint_bytes=5000", f"p{number}")
        for number in range(4)
    ]
    assert [await visitor.wait() for visitor in visitors] == [(0, b"")] * 4
