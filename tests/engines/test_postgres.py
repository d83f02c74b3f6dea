"""What is true of PostgreSQL only."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import bindparam, case, func, select

from holdfast import (
    DuplicateRecordError,
    InvalidArgumentError,
    PersistenceConnectionError,
    PostgresConfig,
    PostgresPersistenceBackend,
    QueryError,
    QueryTimeoutError,
    SerializationFailureError,
    create_backend,
)
from holdfast.config import PersistenceConfig
from holdfast.engines.postgres.attempt import _tls
from holdfast.engines.postgres.engine import PostgresEngine
from holdfast.engines.retry import ATTEMPTS
from holdfast.engines.transactions import Kind
from holdfast.repositories.claims import TASKS
from holdfast.schema.tasks import projects, tasks
from holdfast.storage.session import CHUNK, Statement

from ..conformance.samples import full
from ..conformance.test_work import task
from ..conftest import at


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[PostgresPersistenceBackend]:
    settings = PersistenceConfig.from_url(url).postgres
    assert settings is not None
    backend = PostgresPersistenceBackend(settings.model_copy(update=options))
    await backend.connect()
    try:
        yield backend
    finally:
        await backend.disconnect()


def engine_of(backend: Any) -> PostgresEngine:
    engine: PostgresEngine = backend._core.engine
    return engine


@asynccontextmanager
async def lent(backend: PostgresPersistenceBackend) -> AsyncIterator[Any]:
    """A connection of the pool."""
    connection = await backend.get_db().acquire()
    try:
        yield connection
    finally:
        backend.get_db().release(connection)


# -- sessions --------------------------------------------------------------------------------------


async def test_every_session_is_set_up(postgres_url: str) -> None:
    async with opened(postgres_url, application_name="shop", statement_timeout_ms=1234) as backend:
        async with lent(backend) as connection:
            for name, expected in {
                "TimeZone": "UTC", "application_name": "shop", "statement_timeout": "1234ms",
                "jit": "off", "synchronous_commit": "on",
            }.items():  # fmt: skip
                assert await connection.raw.fetchval(f"SHOW {name}") == expected
        direct = await engine_of(backend).run_sync(
            lambda c: c.exec_driver_sql("SHOW statement_timeout").scalar()
        )
        assert direct == "0"  # migrations may take their time
    async with opened(postgres_url, synchronous_commit="off") as backend, lent(backend) as faster:
        assert await faster.raw.fetchval("SHOW synchronous_commit") == "off"


SLEEP = Statement("tests.sleep", select(func.pg_sleep(30)), (), tasks)


async def test_a_statement_that_runs_too_long_is_ended(postgres_url: str) -> None:
    async with opened(postgres_url, statement_timeout_ms=150) as backend:
        engine = engine_of(backend)
        engine._executor._limit = None  # the server's deadline alone
        with pytest.raises(QueryTimeoutError, match=r"tests\.sleep: .*statement_timeout"):
            await engine.fetch(SLEEP, (), at_most=100)
        async with lent(backend) as connection:  # the connection is still good
            assert await connection.raw.fetchval("SELECT 1") == 1
        with pytest.raises(QueryTimeoutError):
            async with engine.transaction() as session:
                await session.fetch(SLEEP, (), at_most=100)
        assert engine.stats().pool.lost == 0


async def test_a_server_that_does_not_keep_its_deadline_is_left(postgres_url: str) -> None:
    async with opened(postgres_url, statement_timeout_ms=0, pool_max_size=1) as backend:
        engine = engine_of(backend)
        engine._executor._limit = 0.1
        with pytest.raises(QueryTimeoutError, match=r"did not answer within 0\.1 s"):
            await engine.fetch(SLEEP, (), at_most=100)
        engine._executor._limit = None
        await backend.tasks.save(task("t"))
        assert engine.stats().pool.lost == 1


async def test_a_lock_that_is_held_ends_a_write_in_time(postgres_url: str) -> None:
    async with opened(postgres_url, statement_timeout_ms=150) as backend:
        await backend.tasks.save(task("t"))
        other = await asyncpg.connect(postgres_url)
        async with other.transaction():
            await other.execute("SELECT * FROM tasks FOR UPDATE")
            with pytest.raises(QueryTimeoutError):
                await backend.tasks.save(task("t"))
        await other.close()
        await backend.tasks.save(task("t"))


#: The second piece takes long.
_NUMBER = func.generate_series(1, 2 * CHUNK).column_valued("n")
SLOW_STREAM = Statement(
    "tests.slow_stream",
    select(_NUMBER, case((_NUMBER == CHUNK + 1, func.pg_sleep(30)))),
    (),
    tasks,
)


async def test_a_stream_that_runs_too_long_says_so(postgres_url: str) -> None:
    async with opened(postgres_url, statement_timeout_ms=150) as backend:
        engine = engine_of(backend)
        engine._executor._limit = None  # the server's deadline alone
        with pytest.raises(QueryTimeoutError, match=r"tests\.slow_stream: .*statement_timeout"):
            async for _ in engine.stream(SLOW_STREAM, ()):
                pass
        assert engine.stats().pool.lost == 0


async def test_a_stream_can_be_cancelled_at_any_piece(postgres_url: str) -> None:
    async with opened(postgres_url) as backend:
        first = asyncio.Event()

        async def read() -> None:
            async for _ in engine_of(backend).stream(SLOW_STREAM, ()):
                first.set()

        reading = asyncio.ensure_future(read())
        async with asyncio.timeout(20):
            await first.wait()
        await asyncio.sleep(0.05)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await backend.tasks.save(task("t"))


# -- connecting ------------------------------------------------------------------------------------


async def refused(config: PostgresConfig) -> str:
    backend = PostgresPersistenceBackend(config)
    with pytest.raises(PersistenceConnectionError) as caught:
        await backend.connect()
    assert not backend.is_connected
    error: BaseException | None = caught.value
    assert "hunter2" not in str(error)
    return str(error)


def config(**options: Any) -> PostgresConfig:
    return PostgresConfig.model_validate(
        {
            "database": "d",
            "username": "annabel",
            "password": "hunter2",
            "host": "127.0.0.1",
            **options,
        }
    )


@pytest.fixture
def nobody() -> int:
    """A port on which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


async def test_nobody_listens(nobody: int) -> None:
    says = await refused(config(port=nobody))
    assert says.startswith(f"cannot connect to PostgreSQL at 127.0.0.1:{nobody}/d: ")
    assert "annabel" not in says


async def test_a_host_that_does_not_exist() -> None:
    assert "nowhere.invalid:5432/d" in await refused(config(host="nowhere.invalid"))


async def test_a_database_that_does_not_exist(postgres_server: str) -> None:
    settings = PersistenceConfig.from_url(at(postgres_server, "nowhere")).postgres
    assert settings is not None
    says = await refused(settings)
    assert "nowhere: the database does not exist (SQLSTATE 3D000)" in says


class PretendServer:
    """Speaks enough of the protocol to ask for a password and refuse it, or to say nothing."""

    def __init__(self, *, speaks: bool) -> None:
        self.speaks = speaks
        self.heard = b""
        self.talks: set[asyncio.Task[Any]] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.talks.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while self.speaks:
                (length,) = struct.unpack("!i", await reader.readexactly(4))
                body = await reader.readexactly(length - 4)
                if length == 8:  # it asks for TLS
                    writer.write(b"N")
                    continue
                writer.write(b"R" + struct.pack("!ii", 8, 3))  # the password, please
                self.heard = await reader.readexactly(5)
                self.heard += await reader.readexactly(struct.unpack("!i", self.heard[1:5])[0] - 4)
                fields = [b"SFATAL", b"C28P01", b"Mpassword hunter2 of annabel is wrong", b""]
                text = b"\0".join(fields) + b"\0"
                writer.write(b"E" + struct.pack("!i", len(text) + 4) + text)
                assert body
                break
            await reader.read()  # until the other side is gone
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def pretending(*, speaks: bool) -> AsyncIterator[tuple[int, PretendServer]]:
    pretend = PretendServer(speaks=speaks)
    server = await asyncio.start_server(pretend, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], pretend
    finally:
        server.close()
        if pretend.talks:
            await asyncio.wait(pretend.talks, timeout=10)


async def test_a_password_that_is_wrong() -> None:
    async with pretending(speaks=True) as (port, pretend):
        says = await refused(config(port=port))
        assert b"hunter2" in pretend.heard
        assert says.endswith("the server refused the user or password (SQLSTATE 28P01)")


async def test_a_server_that_says_nothing() -> None:
    async with pretending(speaks=False) as (port, _):
        begun = asyncio.get_running_loop().time()
        says = await refused(config(port=port, connect_timeout_seconds=0.2))
        assert says.endswith("no answer within 0.2 s")
        # Without the limit it would be ten.
        assert asyncio.get_running_loop().time() - begun < 8


async def test_beyond_this_machine_tls_is_insisted_on() -> None:
    """Unset means verify-full there; what speaks no TLS gets no password."""
    async with pretending(speaks=True) as (port, pretend):
        says = await refused(config(port=port, ssl_mode="verify-full"))
        assert says
        assert pretend.heard == b""


def test_certificates_are_read_once_and_again_when_they_change(tmp_path: Path) -> None:
    given = ssl.create_default_context().get_ca_certs(binary_form=True)[0]
    file = tmp_path / "ca.pem"
    file.write_text(ssl.DER_cert_to_PEM_cert(given))
    config = PostgresConfig(
        database="d", username="u", password="p", host="db.example.com", ssl_mode="verify-full",
        ssl_root_cert=file,
    )  # fmt: skip
    context = _tls(config)
    assert _tls(config.model_copy()) is context
    assert context.check_hostname
    assert not _tls(config.model_copy(update={"ssl_mode": "verify-ca"})).check_hostname
    os.utime(file, (1, 1))
    assert _tls(config) is not context
    file.unlink()
    with pytest.raises(PersistenceConnectionError, match="ssl_root_cert cannot be read: No such"):
        _tls(config)


def test_without_the_driver_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['asyncpg'] = None\n"
        "import holdfast\n"
        "try: holdfast.create_backend('postgresql://u@localhost/d')\n"
        "except holdfast.PersistenceConnectionError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "needs the package asyncpg: pip install 'holdfast[postgres]'" in done.stdout


# -- the pool on a real server ---------------------------------------------------------------------


async def test_no_more_connections_than_allowed(postgres_url: str) -> None:
    async with opened(postgres_url, pool_max_size=3, application_name="counted") as backend:
        other = await asyncpg.connect(postgres_url)

        async def hold() -> None:
            async with backend.transaction() as tx:
                await tx.tasks.get("t")
                await asyncio.sleep(0.02)

        holding = asyncio.gather(*(hold() for _ in range(12)))
        most = 0
        while not holding.done():
            most = max(
                most,
                await other.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'counted'"
                ),
            )
        await holding
        assert most == 3
        assert backend.stats().pool.opened == 3
        await other.close()


async def test_connections_the_server_ended_are_replaced(postgres_url: str) -> None:
    async with opened(postgres_url, application_name="ended", pool_min_size=3) as backend:
        await backend.tasks.save(task("t"))
        other = await asyncpg.connect(postgres_url)
        for n in range(3):
            await other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'ended'"
            )
            assert await backend.tasks.get("t") is not None
            await backend.tasks.save(task(f"t{n}"))
        await other.close()
        assert await backend.tasks.count_tasks() == 4
        assert backend.stats().pool.lost >= 3


# -- COMMIT ---------------------------------------------------------------------------------------


async def test_a_commit_that_the_server_answers_with_rollback(postgres_url: str) -> None:
    """The driver alone calls it success."""
    async with opened(postgres_url) as backend:
        engine = engine_of(backend)
        async with lent(backend) as connection:
            for run in (connection.raw.execute, None):
                await connection.raw.execute("BEGIN")
                await connection.raw.execute("INSERT INTO settings VALUES ('t', 'n', 'k', 'v', '')")
                with contextlib.suppress(asyncpg.PostgresError):
                    await connection.raw.execute("SELECT 1/0")
                if run is not None:
                    assert await run("COMMIT") == "ROLLBACK"  # the control
                else:
                    with pytest.raises(QueryError, match="answered ROLLBACK to COMMIT"):
                        await engine._executor.command(connection, "COMMIT")
            assert await connection.raw.fetchval("SELECT count(*) FROM settings") == 0
        assert backend.stats().commits == 0


async def test_a_transaction_in_which_a_failure_was_swallowed(postgres_url: str) -> None:
    async with opened(postgres_url) as backend:
        with pytest.raises(QueryError, match="nothing was committed"):
            async with backend.transaction() as tx:
                await tx.tasks.save(task("t"))
                session: Any = tx._session
                with contextlib.suppress(asyncpg.PostgresError):
                    await session._lent._connection.raw.execute("SELECT 1/0")
        assert await backend.tasks.get("t") is None
        async with backend.transaction() as tx:
            await tx.tasks.save(task("t"))
        assert await backend.tasks.get("t") is not None


# -- many calls in one statement -------------------------------------------------------------------


def prepared(backend: PostgresPersistenceBackend) -> set[str]:
    """The SQL of every statement any idle connection has prepared."""
    return {sql for connection in engine_of(backend)._pool._idle for sql in connection._prepared}


async def test_gets_that_wait_together_are_one_statement(postgres_url: str) -> None:
    async with opened(postgres_url) as backend:
        await asyncio.gather(*(backend.tasks.save(task(f"t{n}")) for n in range(100)))
        wanted = [f"t{n}" for n in (5, 99, 1000, 5, 0, -1)] + [f"t{n}" for n in range(100)]
        found = await asyncio.gather(*(backend.tasks.get(name) for name in wanted))
        assert [t and t.id for t in found] == [
            name if name not in ("t1000", "t-1") else None for name in wanted
        ]
        reads = backend.stats().reads
        assert reads.largest > 50
        assert reads.batches < 20
        assert any("LATERAL" in sql and "unnest" in sql for sql in prepared(backend))


@pytest.mark.parametrize(
    ("column", "bad"),
    [("id", 5), ("id", "\ud800"), ("id", "a\0b"), ("max_retries", 2**70), ("max_retries", "x")],
)
async def test_an_argument_that_is_refused_fails_its_caller_only(
    postgres_url: str, column: str, bad: Any
) -> None:
    asked = tasks.c[column]
    expression = select(tasks.c.id).where(asked == bindparam(column, type_=asked.type))
    statement = Statement("tasks.asked", expression, (column,), tasks)
    good: Any = "t" if column == "id" else 3
    async with opened(postgres_url) as backend:
        await backend.tasks.save(task("t", max_retries=3))
        found = await asyncio.gather(
            *(
                engine_of(backend).fetch(statement, (value,), at_most=1)
                for value in (*[good] * 9, bad, *[good] * 9, bad, *[good] * 9)
            ),
            return_exceptions=True,
        )
        assert backend.stats().reads.largest > 20
    refused = [place for place, rows in enumerate(found) if isinstance(rows, BaseException)]
    assert refused == [9, 19]
    for place in refused:
        assert isinstance(found[place], InvalidArgumentError)
    for rows in found:
        assert isinstance(rows, BaseException) or [row[0] for row in rows] == ["t"]


async def test_saves_that_wait_together_are_one_statement(postgres_url: str) -> None:
    async with opened(postgres_url) as backend:
        await asyncio.gather(*(backend.tasks.save(task(f"t{n}")) for n in range(200)))
        stats = backend.stats()
        assert stats.writes.items == 200
        assert stats.commits == stats.writes.batches < 10
        assert any("INSERT" in sql and "unnest" in sql for sql in prepared(backend))
        async with lent(backend) as connection:
            written = await connection.raw.fetch("SELECT xmin::text FROM tasks GROUP BY 1")
            assert len(written) == stats.commits
        projects_: list[Any] = [full()["projects"].model_copy(update={"id": f"p{n % 3}"})
                                for n in range(30)]  # fmt: skip
        results = await asyncio.gather(
            *(backend.projects.create(p) for p in projects_), return_exceptions=True
        )
        assert [type(r) for r in results].count(DuplicateRecordError) == 27
        assert results.count(None) == 3


async def test_many_gets_look_each_key_up_in_the_index(postgres_url: str) -> None:
    """Whether or not the planner knows yet how large the table is."""
    async with opened(postgres_url) as backend, lent(backend) as connection:
        sql = engine_of(backend)._executor.compile.many(TASKS._get)
        arrays = (["default"] * 100, [f"t{n}" for n in range(100)])

        async def plan() -> str:
            return "\n".join(
                row[0] for row in await connection.raw.fetch(f"EXPLAIN {sql}", *arrays)
            )

        empty = await plan()
        assert empty.count("Index Scan") == 1, empty
        assert "Seq Scan" not in empty, empty
        await connection.raw.execute(
            "INSERT INTO tasks SELECT 'default', 't' || n, 't', 'd', 'admin', 'low', 'p', 'me',"
            " NULL, '[]', '[]', '[]', '[]', 'simple', 0, NULL, 1, 'created', NULL, '[]', NULL,"
            " 'auto', NULL, 0, n FROM generate_series(1, 5000) n"
        )
        for _ in range(2):
            grown = await plan()
            assert grown.count("Index Scan using pk_tasks") == 1, grown
            assert "Seq Scan" not in grown, grown
            await connection.raw.execute("ANALYZE tasks")


# -- what passes by itself -------------------------------------------------------------------------


async def test_a_changed_column_goes_unnoticed(postgres_url: str) -> None:
    """The server refuses plans made before; outside of transactions they are made anew."""
    async with opened(postgres_url, pool_max_size=1) as backend:
        for entity in ("t1", "t2"):
            await backend.tasks.save(task(entity))
        other = await asyncpg.connect(postgres_url)
        for n in range(2):
            await asyncio.gather(*(backend.tasks.get(t) for t in ("t1", "t2", "t3")))
            await backend.tasks.claim("nobody", project="none")
            await other.execute(f"ALTER TABLE tasks ALTER title TYPE varchar({100 + n})")
            stale = next(sql for sql in prepared(backend) if "LATERAL" in sql)
            async with lent(backend) as connection:
                with pytest.raises(asyncpg.exceptions.InvalidCachedStatementError):  # the control
                    await connection.prepared(stale).fetch(["default"], ["t1"])
            found = await asyncio.gather(*(backend.tasks.get(t) for t in ("t1", "t2", "t3")))
            assert [t and t.id for t in found] == ["t1", "t2", None]
            assert await backend.tasks.claim("nobody", project="none") is None
            await backend.tasks.save(task("t1"))
        await other.close()
        assert backend.stats().pool.opened == 1


async def test_inside_a_transaction_it_asks_to_begin_anew(postgres_url: str) -> None:
    async with opened(postgres_url, pool_max_size=1) as backend:
        await backend.tasks.save(task("t"))
        await backend.tasks.get("t")
        other = await asyncpg.connect(postgres_url)
        await other.execute("ALTER TABLE tasks ALTER title TYPE varchar(100)")
        await other.close()
        with pytest.raises(SerializationFailureError, match="schema changed") as caught:
            async with backend.transaction() as tx:
                await tx.tasks.get("t")
        assert caught.value.is_retryable
        async with backend.transaction() as tx:
            assert await tx.tasks.get("t") is not None


async def test_a_deadlock_is_tried_again(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other transaction holds `b` and wants `a`; our batch holds `a` and wants `b`."""
    other, watch = await asyncpg.connect(postgres_url), await asyncpg.connect(postgres_url)
    name = postgres_url.rsplit("/", 1)[1].split("?")[0]
    await other.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '1s'")
    await other.execute("SET deadlock_timeout = '30s'")  # so that ours is the one that loses

    async def until_blocked(pid: int) -> None:
        while not await watch.fetchval("SELECT pg_blocking_pids($1) <> '{}'", pid):  # noqa: ASYNC110
            await asyncio.sleep(0.002)

    async with opened(postgres_url, pool_max_size=1) as backend, asyncio.timeout(30):
        await asyncio.gather(*(backend.tasks.save(task(n)) for n in "ab"))
        async with lent(backend) as connection:
            ours = connection.raw.get_server_pid()
        runner, lost = engine_of(backend)._executor, []
        run = runner.run

        async def watched(*arguments: Any, **options: Any) -> Any:
            try:
                return await run(*arguments, **options)
            except SerializationFailureError as error:
                lost.append(str(error))
                raise

        monkeypatch.setattr(runner, "run", watched)
        async with other.transaction():
            await other.execute("UPDATE tasks SET title = 'theirs' WHERE id = 'b'")
            saves = [asyncio.ensure_future(backend.tasks.save(task(n, title="ours"))) for n in "ab"]
            await until_blocked(ours)
            await other.execute("UPDATE tasks SET title = 'theirs' WHERE id = 'a'")
        await asyncio.gather(*saves)
        assert [text.split("SQLSTATE ")[1] for text in lost] == ["40P01)"]
        titles = {t.id: t.title for t in await backend.tasks.list_tasks()}
        assert titles == {"a": "ours", "b": "ours"}
    await other.close()
    await watch.close()


async def test_a_write_that_always_loses_gives_up(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(postgres_url) as backend:
        runner = engine_of(backend)._executor
        tries = 0

        async def losing(*_: Any, **__: Any) -> Any:
            nonlocal tries
            tries += 1
            raise SerializationFailureError("lost again")

        monkeypatch.setattr(runner, "run", losing)
        with pytest.raises(SerializationFailureError, match="lost again"):
            await backend.tasks.save(task("t"))
        assert tries == ATTEMPTS
        monkeypatch.undo()
        await backend.tasks.save(task("t"))


async def test_prepared_statements_are_kept_within_their_number(postgres_url: str) -> None:
    for size in (0, 2):
        async with opened(postgres_url, statement_cache_size=size, pool_max_size=1) as backend:
            await backend.tasks.save(task("t"))
            await backend.tasks.get("t")
            await backend.tasks.count_tasks()
            await backend.tasks.list_tasks(limit=3)
            assert len(prepared(backend)) == size


async def test_a_statement_answers_the_rows_it_touched(postgres_url: str) -> None:
    async with opened(postgres_url) as backend:
        await asyncio.gather(*(backend.settings.set("n", k, "v", "") for k in "abc"))
        assert await backend.settings.delete_namespace("n") == 3
        async with lent(backend) as connection:
            statement = Statement("tests.none", projects.delete(), (), projects)
            runner = engine_of(backend)._executor
            assert await runner.run(connection, Kind.EXECUTE, statement, ()) == 0


async def test_the_url_of_a_socket_works_too(postgres_server: str, postgres_url: str) -> None:
    other = await asyncpg.connect(postgres_url)
    directory = (await other.fetchval("SHOW unix_socket_directories")).split(",")[0].strip()
    port = await other.fetchval("SHOW port")
    await other.close()
    name = postgres_url.rsplit("/", 1)[1]
    user = PersistenceConfig.from_url(postgres_server).postgres
    assert user is not None
    url = f"postgresql://{user.username}@/{name}?host={directory}&port={port}"
    backend = create_backend(url)
    await backend.connect()
    await backend.tasks.save(task("t"))
    await backend.disconnect()
