"""The throw-away server does what fault tests ask of it, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psutil  # type: ignore[import-untyped]
import pytest

from holdfast.config import PersistenceConfig
from holdfast.testing import PostgresCluster, processes
from holdfast.testing import cluster as cluster_module


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgresCluster]:
    with PostgresCluster.create(settings={"fsync": "on", "work_mem": "5MB"}) as cluster:
        yield cluster


async def connect(cluster: PostgresCluster) -> asyncpg.Connection[Any]:
    return await asyncpg.connect(cluster.url(), timeout=10, ssl=False)


def runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def test_answers_over_tcp_and_socket(cluster: PostgresCluster) -> None:
    for url in (cluster.url(), cluster.socket_url):
        connection = await asyncpg.connect(url, ssl=False)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
        postgres = PersistenceConfig.from_url(url).postgres
        assert postgres is not None
        assert (postgres.port, postgres.effective_ssl_mode) == (cluster.port, "prefer")


def test_psql_settings_and_encoding(cluster: PostgresCluster) -> None:
    assert cluster.psql("SHOW work_mem; SHOW fsync; SHOW full_page_writes") == "5MB\non\non"
    assert cluster.psql("SELECT 'é', 2") == "é|2"
    assert cluster.psql("SELECT string_agg(x, '' ORDER BY x) FROM unnest('{a,B,é}'::text[]) x") == (
        "Baé"
    )
    with pytest.raises(RuntimeError, match="nothing_here"):
        cluster.psql("SELECT * FROM nothing_here")


async def test_a_committed_row_survives_kill(cluster: PostgresCluster) -> None:
    cluster.psql("CREATE TABLE kept (n int)")
    connection = await connect(cluster)
    await connection.execute("INSERT INTO kept VALUES (7)")
    members, port = processes.family(cluster.pid), cluster.port
    assert len(members) > 2
    cluster.kill()
    assert not cluster.running
    assert not [pid for pid in members if runs(pid)]
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError)):
        await connection.fetchval("SELECT 1")
    with pytest.raises(RuntimeError, match="not running"):
        _ = cluster.pid
    cluster.start()
    assert cluster.port == port
    assert cluster.psql("SELECT n FROM kept") == "7"


async def test_freeze_blocks_and_thaw_releases(cluster: PostgresCluster) -> None:
    connection = await connect(cluster)
    cluster.freeze()
    try:
        answer = asyncio.ensure_future(connection.fetchval("SELECT 1"))
        done, _ = await asyncio.wait([answer], timeout=0.3)
        assert not done
        # The system still accepts connections: what a health check must not be fooled by.
        socket.create_connection(("127.0.0.1", cluster.port), timeout=1).close()
    finally:
        cluster.thaw()
    assert await asyncio.wait_for(answer, 10) == 1
    await connection.close()


def test_stop_restart_and_stop_while_frozen(cluster: PostgresCluster) -> None:
    first = cluster.pid
    cluster.restart()
    assert cluster.pid != first
    cluster.freeze()
    cluster.stop()
    cluster.stop()
    assert not cluster.running
    cluster.start()
    with pytest.raises(RuntimeError, match="running already"):
        cluster.start()


def test_starts_again_after_a_kill_from_outside(cluster: PostgresCluster) -> None:
    os.kill(cluster.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while cluster.running and time.monotonic() < deadline:
        time.sleep(0.01)
    cluster.start()
    assert cluster.psql("SELECT 1") == "1"


def test_a_taken_port_is_exchanged_at_the_first_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        with monkeypatch.context() as patch:
            patch.setattr(processes, "free_port", lambda: taken)
            cluster = PostgresCluster.create()
        with cluster:
            assert cluster.port != taken
            assert cluster.psql("SHOW fsync") == "off"


@pytest.mark.parametrize("end", ["close", "kill"])
def test_cleanup_leaves_no_process_and_no_directory(tmp_path: Path, end: str) -> None:
    with PostgresCluster.create(tmp_path / "made") as cluster:
        sockets = cluster.data.parent / "data", Path(cluster.socket_url.split("=")[1].split("&")[0])
        members = [*processes.family(cluster.pid), cluster._watcher._shell.pid]
        assert all(runs(pid) for pid in members)
        if end == "kill":
            cluster.kill()
    assert not [pid for pid in members if runs(pid)]
    assert not any(path.exists() for path in (cluster.directory, *sockets))
    cluster.close()
    with pytest.raises(RuntimeError, match="closed"):
        cluster.start()


def test_a_directory_that_was_there_is_kept(tmp_path: Path) -> None:
    with PostgresCluster.create(tmp_path) as cluster:
        pass
    assert cluster.log.exists()
    with pytest.raises(ValueError, match="not empty"):
        PostgresCluster.create(tmp_path)


@pytest.mark.parametrize(
    ("settings", "folder", "room", "expected"),
    [
        ({}, "memory", 0, "memory"),
        ({"fsync": "off"}, "memory", 0, "memory"),
        ({"fsync": "on"}, "memory", 0, "disk"),
        ({}, "memory", 2**62, "disk"),
        ({}, "missing", 0, "disk"),
    ],
)
def test_it_lies_in_memory_where_it_may(
    settings: dict[str, str],
    folder: str,
    room: int,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("memory", "disk"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "disk"))
    monkeypatch.setattr(cluster_module, "_MEMORY", tmp_path / folder)
    monkeypatch.setattr(cluster_module, "_ROOM", room)
    monkeypatch.setattr(PostgresCluster, "_initialise", lambda *_: None)
    cluster = PostgresCluster.create(settings=settings)
    assert cluster.directory.parent == tmp_path / expected
    cluster.close()
    assert not cluster.directory.exists()


def test_a_setting_the_server_refuses_is_told_and_cleaned_up() -> None:
    cluster = PostgresCluster.create(settings={"work_mem": "it's wrong"})
    with pytest.raises(RuntimeError, match="work_mem"), cluster:
        pass
    assert not cluster.directory.exists()
    with pytest.raises(ValueError, match="port is chosen"):
        PostgresCluster.create(settings={"port": "1"})
    with pytest.raises(ValueError, match="brings PostgreSQL"):
        PostgresCluster.create(version=9)


ABANDON = """
import os, signal, sys
from holdfast.testing import PostgresCluster
cluster = PostgresCluster.create().start()
if sys.argv[1] == "frozen":
    cluster.freeze()
print(cluster.pid, cluster.directory, flush=True)
if sys.argv[1] != "exit":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("how", ["killed", "frozen", "exit"])
def test_the_server_ends_with_its_process(how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ABANDON, how],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == (0 if how == "exit" else -signal.SIGKILL), done.stderr
    pid, directory = done.stdout.split()
    deadline = time.monotonic() + 15
    while (runs(int(pid)) or Path(directory).exists()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not runs(int(pid))
    assert not Path(directory).exists()
