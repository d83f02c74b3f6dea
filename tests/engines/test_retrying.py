"""What a blind retry is told: whether the same call, after a pause, can succeed."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from holdfast import (
    Health,
    PersistenceBackend,
    PersistenceConnectionError,
    PersistenceError,
    QueryError,
    create_backend,
)
from holdfast.migrations import HOLDFAST, head
from holdfast.testing.databases import connected, run_sql

OLD = HOLDFAST.history()[1].revision


async def refused(url: str) -> PersistenceConnectionError:
    with pytest.raises(PersistenceConnectionError) as caught:
        await create_backend(url).connect()
    return caught.value


def changed(url: str, **parts: str) -> str:
    return urlunsplit(urlsplit(url)._replace(**parts))


async def test_what_no_pause_mends(tmp_path: Path, postgres_server: str) -> None:
    """A directory, database, role or certificate that is not there, a file of another kind."""
    host = urlsplit(postgres_server).netloc.rpartition("@")[2]
    text, folder = tmp_path / "a.txt", tmp_path / "folder"
    text.write_text("no database " * 100)
    folder.mkdir()
    for url in (
        f"sqlite:///{tmp_path}/nowhere/org.db",
        f"sqlite:///{folder}",
        f"sqlite:///{text}",
        changed(postgres_server, path="/nowhere"),
        changed(postgres_server, netloc=f"nobody@{host}"),
        f"{postgres_server}?ssl_mode=require",
        f"{postgres_server}?ssl_root_cert={tmp_path}/none.pem",
    ):
        error = await refused(url)
        assert not error.is_retryable, error
        backend = create_backend(url)
        assert await backend.health_check() is False


async def test_what_a_pause_may_mend(tmp_path: Path) -> None:
    nobody_listens = "postgresql://u@127.0.0.1:1/x?connect_timeout=1"
    assert (await refused(nobody_listens)).is_retryable
    no_socket_yet = f"postgresql://u@/x?host={tmp_path}&connect_timeout=1"
    assert (await refused(no_socket_yet)).is_retryable


async def test_of_several_servers_one_may_come_back(postgres_server: str) -> None:
    parts = urlsplit(changed(postgres_server, path="/nowhere"))
    assert not (await refused(parts.geturl())).is_retryable
    both = changed(parts.geturl(), netloc=f"{parts.netloc},127.0.0.1:1")
    assert (await refused(both)).is_retryable


async def test_a_schema_that_is_not_there(url: str, empty_url: str) -> None:
    async with create_backend(empty_url) as backend:
        with pytest.raises(QueryError) as caught:
            await backend.tasks.get("t")
        assert not caught.value.is_retryable
        with pytest.raises(QueryError) as caught:
            async with backend.transaction() as tx:
                await tx.tasks.get("t")
        assert not caught.value.is_retryable


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/empty.db"
    return str(request.getfixturevalue("empty_postgres_url"))


async def at_revision(url: str, revision: str) -> None:
    """As if another release had migrated it."""
    if url.startswith("postgres"):
        await run_sql(url, f"UPDATE {HOLDFAST.version_table} SET version_num = '{revision}'")
    else:
        backend = create_backend(url)
        async with backend:
            sql = f"UPDATE {HOLDFAST.version_table} SET version_num = '{revision}'"
            await backend.get_db().run(lambda connection: connection.execute(sql).fetchall())


SCHEMAS = {
    "absent": (None, "the schema is not there: run `holdfast migrate`"),
    "old": (
        OLD,
        f"the schema is at revision {OLD}, older than this code's {head()}: run",
    ),
    "new": ("9999", "the database is at revision 9999, which this Holdfast does not know"),
}


@pytest.mark.parametrize("kind", SCHEMAS)
async def test_a_schema_of_another_release(
    empty_url: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    revision, text = SCHEMAS[kind]
    if revision is not None:
        async with connected(create_backend(empty_url)):
            pass
        await at_revision(empty_url, revision)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        async with create_backend(empty_url) as backend:
            assert await backend.health_check()  # the database answers
            found = await backend.health()
            assert not found
            assert found.reason.startswith(text)
            assert await backend.for_tenant("acme").health() == found
    assert [record.getMessage() for record in caplog.records] == [f"connected, but {found.reason}"]

    strict = create_backend(f"{empty_url}?schema_check=required")
    error = await refused(f"{empty_url}?schema_check=required")
    assert not error.is_retryable
    assert str(error) == f"schema_check is 'required', but {found.reason}"
    with pytest.raises(PersistenceConnectionError, match="'required'"):
        await strict.connect()
    assert not strict.is_connected
    assert await strict.health() == Health(
        False, "the backend is not connected: await backend.connect()"
    )
    if kind != "new":
        async with connected(create_backend(empty_url)):
            pass
        caplog.clear()
        async with strict:
            assert await strict.health() == Health(ok=True)
        assert not caplog.records


async def test_asked_for_by_every_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    yaml = tmp_path / "holdfast.yaml"
    yaml.write_text(f"sqlite:\n  path: {tmp_path}/y.db\n  schema_check: required\n")
    monkeypatch.setenv("HOLDFAST_SQLITE__SCHEMA_CHECK", "required")
    monkeypatch.setenv("HOLDFAST_SQLITE__PATH", str(tmp_path / "e.db"))
    from holdfast import PersistenceConfig

    for config in (PersistenceConfig.from_env(), PersistenceConfig.from_yaml(yaml)):
        with pytest.raises(PersistenceConnectionError, match="'required'"):
            await create_backend(config).connect()


async def test_health_of_a_backend_that_lost_its_database(postgres_url: str) -> None:
    async with create_backend(f"{postgres_url}?pool_timeout_seconds=1") as backend:
        await run_sql(
            changed(postgres_url, path="/postgres"),
            f"DROP DATABASE {urlsplit(postgres_url).path[1:]} WITH (FORCE)",
        )
        found = await backend.health()
        assert not found
        assert found.reason
        assert await backend.health_check() is False


async def test_health_on_another_loop(sqlite_url: str) -> None:
    async with create_backend(sqlite_url) as backend:

        def elsewhere() -> tuple[Health, bool]:
            async def ask() -> tuple[Health, bool]:
                return await backend.health(), await backend.health_check()

            return asyncio.run(ask())

        health, answers = await asyncio.to_thread(elsewhere)
        assert "another event loop" in health.reason
        assert not answers


async def _failing(backend: PersistenceBackend) -> PersistenceError:
    with pytest.raises(PersistenceError) as caught:
        await backend.tasks.get("t")
    return caught.value


async def test_after_disconnecting(url: str) -> None:
    backend = create_backend(url)
    assert not (await _failing(backend)).is_retryable
    async with backend:
        pass
    assert not (await _failing(backend)).is_retryable
