"""Row 35: a password goes through every way to fail, and is seen nowhere."""

from __future__ import annotations

import asyncio
import copy
import io
import logging
import pickle
import socket
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import BaseModel

from holdfast import (
    PersistenceConfig,
    PersistenceConnectionError,
    PostgresConfig,
    create_backend,
)
from holdfast.testing import PostgresCluster

from .scorecard import Record

CANARY = "kanarienvogel-7%20x"
_RAW, _DECODED = "kanarienvogel-7%20x", "kanarienvogel-7 x"


def shown(error: BaseException) -> str:
    """Everything a careless logger would write of an error: locals of every frame included."""
    trace = traceback.TracebackException.from_exception(error, capture_locals=True)
    _forget_ourselves(trace)
    texts = ["".join(trace.format()), repr(error), str(error), repr(error.args)]
    try:
        texts.append(repr(pickle.dumps(error)))
    except Exception as problem:
        texts.append(repr(problem))
    return "\n".join(texts)


def _forget_ourselves(trace: traceback.TracebackException | None) -> None:
    """This file's own variables hold the URL, which is no fault of Holdfast's."""
    while trace is not None:
        for frame in trace.stack:
            if frame.filename == __file__:
                frame.locals = None
        _forget_ourselves(trace.__context__)
        trace = trace.__cause__


def leaks(text: str) -> bool:
    return _RAW in text or _DECODED in text or "kanarienvogel" in text


BAD_URLS = [
    f"postgresql://app:{CANARY}@127.0.0.1:notaport/org",
    f"postgresql://app:{CANARY}@127.0.0.1:99999/org",
    f"postgresql://app:{CANARY}@127.0.0.1/org?nonsense=1",
    f"postgresql://app:{CANARY}@127.0.0.1/org?pool_max_size=0",
    f"postgresql://app:{CANARY}@127.0.0.1/",
    f"postgresql://app:{CANARY}@[::1/org",
    f"mysql://app:{CANARY}@127.0.0.1/org",
    f"postgresql://app:{CANARY}@127.0.0.1/org?sslmode=maybe",
    f"postgresql://app:{CANARY}@127.0.0.1/org?statement_timeout_ms=soon",
    f"postgresql://a pp:{CANARY}@127.0.0.1/org",
    f"postgresql://app:{CANARY}#@127.0.0.1/org",
]

#: Refused, no such host, no such socket, no such certificate.
UNREACHABLE = [
    f"postgresql://app:{CANARY}@127.0.0.1:1/org?connect_timeout_seconds=1",
    f"postgresql://app:{CANARY}@no-such-host.invalid/org?connect_timeout_seconds=1",
    f"postgresql://app:{CANARY}@/org?host=/no/such/directory",
    f"postgresql://app:{CANARY}@127.0.0.1:1/org?sslmode=verify-ca&sslrootcert=/no/such/file",
]


@asynccontextmanager
async def _black_hole() -> AsyncIterator[str]:
    """Who listens, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        yield f"postgresql://app:{CANARY}@127.0.0.1:{port}/org?connect_timeout_seconds=0.5"


@asynccontextmanager
async def _strict_server() -> AsyncIterator[tuple[PostgresCluster, str]]:
    """A server that wants a password, and knows another one."""
    with PostgresCluster.create() as cluster:
        cluster.psql("CREATE ROLE app LOGIN PASSWORD 'another one'")
        rules = cluster.data / "pg_hba.conf"
        rules.write_text(
            "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
            "local all all trust\n"
        )
        cluster.psql("SELECT pg_reload_conf()")
        yield cluster, f"postgresql://app:{CANARY}@127.0.0.1:{cluster.port}/postgres"


async def _connect(url: str) -> BaseException:
    backend = create_backend(url)
    try:
        await backend.connect()
    except Exception as error:
        return error
    await backend.disconnect()
    raise AssertionError("it connected")


class _Naive(BaseModel):
    """The control: what a configuration without care looks like."""

    url: str


async def test_row_35_a_password_is_seen_nowhere(
    record: Record,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    caplog.set_level(logging.DEBUG)
    stream = io.StringIO()
    logging.getLogger().addHandler(handler := logging.StreamHandler(stream))
    texts: dict[str, str] = {}

    for url in BAD_URLS:
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - whatever it is called
            create_backend(url)
        texts[url] = shown(caught.value)
    good = f"postgresql://app:{CANARY}@127.0.0.1:1/org"
    config = PersistenceConfig.from_url(good)
    assert config.postgres is not None
    assert config.postgres.password.get_secret_value() == _DECODED
    views: dict[str, Callable[[Any], str]] = {
        "repr": repr, "str": str, "json": lambda c: c.model_dump_json(),
        "dump": lambda c: repr(c.model_dump()), "safe_url": lambda c: c.safe_url,
        "copy": lambda c: repr(copy.deepcopy(c)),
    }  # fmt: skip
    for name, view in views.items():
        texts[f"config {name}"] = view(config)
    texts["backend"] = repr(create_backend(config)) + repr(vars(create_backend(config)))
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - Pydantic's own
        PostgresConfig(
            host="h", database="d", username="u", password=_DECODED, pool_max_size=0,
        )  # fmt: skip
    texts["constructor"] = str(caught.value) + repr(caught.value)

    monkeypatch.setenv("HOLDFAST_URL", BAD_URLS[2])
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        create_backend()
    texts["environment"] = shown(caught.value)
    monkeypatch.delenv("HOLDFAST_URL")
    yaml = tmp_path / "holdfast.yaml"
    for content in (f"url: '{BAD_URLS[3]}'\n", f"url: 'postgresql://app:{CANARY}\n  x: [\n"):
        yaml.write_text(content)
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            PersistenceConfig.from_yaml(yaml)
        texts[f"yaml {len(texts)}"] = shown(caught.value)

    for url in UNREACHABLE:
        texts[url] = shown(await _connect(url))
    async with _black_hole() as url:
        texts["black hole"] = shown(await _connect(url))
    async with _strict_server() as (cluster, url):
        allowed = url.replace("app:", "postgres:")
        nowhere = allowed.removesuffix("/postgres") + "/nowhere"
        for name, path, why in (
            ("wrong password", url, "28P01"),
            ("no such database", nowhere, "3D000"),
            ("no TLS where it is demanded", f"{url}?sslmode=require", "TLS"),
        ):
            texts[name] = shown(error := await _connect(path))
            assert why in str(error)
        backend = create_backend(f"{allowed}?pool_timeout_seconds=1")
        await backend.connect()
        texts["connected"] = repr(backend) + repr(backend.get_db()) + repr(backend.stats())
        failing: list[Callable[[], Any]] = [
            backend.tasks.list_tasks, backend.status, lambda: backend.tasks.get("t"),
        ]  # fmt: skip
        for number, call in enumerate(failing):
            try:
                texts[f"call {number}"] = repr(await call())
            except Exception as error:
                texts[f"call {number}"] = shown(error)
        cluster.kill()
        with pytest.raises(PersistenceConnectionError) as gone:
            await backend.tasks.get("t")
        texts["server gone"] = shown(gone.value)
        await backend.disconnect()
    assert any(entry.name.startswith("holdfast") for entry in caplog.records)
    texts["log"] = caplog.text + stream.getvalue()
    texts["log records"] = "".join(repr(vars(entry)) for entry in caplog.records)
    logging.getLogger().removeHandler(handler)
    await asyncio.sleep(0)

    found = [name for name, text in texts.items() if leaks(text)]
    naive = _Naive(url=good)
    with pytest.raises(OSError) as bare:  # noqa: PT011 - refused
        await asyncpg.connect(good)
    careless = [repr(naive), str(naive), shown(bare.value)]
    record(
        35,
        "a password on every way to fail",
        f"seen in {len(found)} of {len(texts)} places",
        f"a naive configuration and the bare driver show it in {sum(map(leaks, careless))} of 3",
    )
    assert {name.replace(CANARY, "***"): texts[name] for name in found} == {}
    assert all(map(leaks, careless))
