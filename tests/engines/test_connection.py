"""Which of several servers a connection is opened to."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from holdfast import PersistenceConnectionError, PostgresConfig, create_backend
from holdfast.config import PersistenceConfig
from holdfast.engines.postgres.connection import Known, open_connection
from holdfast.testing.databases import run_sql

from ..conformance.test_work import task

SECRET = "not-to-be-told"


@contextmanager
def black_hole() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def nobody() -> Iterator[str]:
    """A port that is bound and not listened to: it stays free, and refuses."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def settings(url: str, *servers: str, **options: Any) -> PostgresConfig:
    """With these servers instead of the URL's, which is written as ``here``."""
    found = PersistenceConfig.from_url(url).postgres
    assert found is not None
    here = f"{found.host}:{found.port}"
    places = [here if server == "here" else server for server in servers] or [here]
    host, port = found.place(places[0])
    return PostgresConfig.model_validate(
        found.model_dump()
        | {"host": host, "port": port, "fallback_hosts": tuple(places[1:]), **options}
    )


async def test_the_next_server_is_taken(postgres_url: str) -> None:
    with nobody() as dead:
        known = Known()
        config = settings(postgres_url, dead, "here")
        raw = await open_connection(config, known)
        await raw.close()
        assert known.last == config.servers[1]


async def test_a_silent_server_takes_its_share_only(postgres_url: str) -> None:
    with black_hole() as silent:
        config = settings(postgres_url, silent, "here", connect_timeout_seconds=6)
        known = Known()
        begun = time.perf_counter()
        raw = await open_connection(config, known)
        first = time.perf_counter() - begun
        await raw.close()
        begun = time.perf_counter()
        raw = await open_connection(config, known)
        again = time.perf_counter() - begun
        await raw.close()
    assert 2.9 <= first < 6
    assert again < 2.9  # the one that worked is asked first


async def test_the_whole_is_bounded(postgres_url: str) -> None:
    with black_hole() as one, black_hole() as other:
        config = settings(postgres_url, one, other, connect_timeout_seconds=0.6)
        begun = time.perf_counter()
        with pytest.raises(PersistenceConnectionError, match=r"no answer within 0\.3 s") as caught:
            await open_connection(config)
        assert 0.5 < time.perf_counter() - begun < 5
    assert one in str(caught.value)
    assert other in str(caught.value)


async def test_every_server_is_named_and_no_secret(postgres_url: str) -> None:
    with nobody() as dead, black_hole() as silent:
        config = settings(postgres_url, dead, silent, password=SECRET, connect_timeout_seconds=1.0)
        with pytest.raises(PersistenceConnectionError) as caught:
            await open_connection(config)
    text = str(caught.value)
    assert f"{dead}/{config.database}: " in text
    assert f"{silent}/{config.database}: no answer" in text
    assert SECRET not in text


async def test_a_server_that_refuses_writes_is_passed_over(postgres_url: str) -> None:
    database = postgres_url.rpartition("/")[2]
    read_only = f'ALTER DATABASE "{database}" SET default_transaction_read_only = on'
    await run_sql(postgres_url, read_only)
    with nobody() as dead:
        config = settings(postgres_url, "here", dead)
        with pytest.raises(PersistenceConnectionError, match="it refuses writes"):
            await open_connection(config)
        for pooler in ("none", "auto"):
            anyone = config.model_copy(update={"target_session_attrs": "any", "pooler": pooler})
            raw = await open_connection(anyone)
            await raw.close()
        told = config.model_copy(update={"pooler": "none"})
        with pytest.raises(PersistenceConnectionError, match="it refuses writes"):
            await open_connection(told)


async def test_nothing_stays_open_after_a_cancelled_attempt(postgres_url: str) -> None:
    with black_hole() as silent:
        attempt = asyncio.create_task(open_connection(settings(postgres_url, silent, "here")))
        await asyncio.sleep(0.1)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt


async def test_a_backend_with_a_dead_first_host(postgres_url: str) -> None:
    with nobody() as dead:
        config = settings(postgres_url, dead, "here")
        backend = create_backend(PersistenceConfig(postgres=config))
        await backend.connect()
        try:
            await backend.migrate()
            await backend.tasks.save(task("t"))
            assert await backend.tasks.get("t") == task("t")
        finally:
            await backend.disconnect()


async def test_the_kernel_watches_the_peer(postgres_url: str) -> None:
    raw = await open_connection(settings(postgres_url))
    try:
        peer = raw._transport.get_extra_info("socket")  # type: ignore[attr-defined]
        assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) > 0
    finally:
        await raw.close()
