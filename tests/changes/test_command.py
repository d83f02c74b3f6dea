"""``holdfast changes``, as a shell runs it."""

from __future__ import annotations

import json

from holdfast import create_backend
from holdfast.testing.databases import connected

from ..cli.test_commands import run
from .conftest import put


async def test_on_list_prune_and_off(sqlite_url: str) -> None:
    run("changes", "on", "tasks", "settings", url=sqlite_url)
    assert run("changes", "list", url=sqlite_url).split() == ["settings", "tasks"]
    async with connected(create_backend(sqlite_url)) as backend:
        await put(backend, "a", "b")
    assert "0 changes" in run("changes", "prune", "1", url=sqlite_url)
    assert "2 changes" in run("changes", "prune", "0", url=sqlite_url)
    run("changes", "off", "settings", url=sqlite_url)
    assert json.loads(run("changes", "list", "--json", url=sqlite_url)) == {"recorded": ["tasks"]}
    # It has a method of this name, but no repository.
    assert "no repository 'connect'" in run("changes", "on", "connect", code=1, url=sqlite_url)
