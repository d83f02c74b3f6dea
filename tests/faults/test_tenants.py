"""Rows 31, 32 and 33: the database itself keeps tenants apart, notices when it would not, and gives
nothing away."""

from __future__ import annotations

import asyncio
import contextlib
import random
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
from pydantic import ValidationError
from sqlalchemy import (
    CheckConstraint,
    Column,
    Index,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    delete,
    literal,
    select,
    update,
)
from sqlalchemy.schema import ColumnCollectionConstraint

from holdfast import (
    InvalidArgumentError,
    PersistenceBackend,
    PersistenceError,
    TenantIsolationError,
    create_backend,
)
from holdfast.engines.protocol import Engine
from holdfast.engines.transactions import Kind
from holdfast.schema import metadata
from holdfast.schema.policies import SAME_TENANT
from holdfast.schema.tasks import tasks
from holdfast.storage.session import Statement
from holdfast.testing.catalogue import SUBJECTS
from holdfast.testing.databases import PostgresDatabases, at, run_sql
from holdfast.testing.subjects import Subject

from ..conformance.test_access import session
from ..conformance.test_records import user
from ..conformance.test_work import task
from ..shape import things
from .scorecard import SEED, Record, sized

#: Repositories whose records are put as they are; the others' are made of several calls.
SAVED = tuple(subject for subject in SUBJECTS if subject.save is not None)
SQL = "'; SET holdfast.tenant = 't1'; SELECT set_config('holdfast.tenant', 't1', false); --\" $1 %s"
TABLES = sorted(metadata.tables.values(), key=lambda table: table.name)


@pytest.fixture(scope="module")
def databases(holdfast_postgres: str) -> Iterator[PostgresDatabases]:
    """Databases of an owner, to which the application connects as its own role."""
    made = PostgresDatabases(holdfast_postgres, create_backend, confined=True)
    try:
        made.prepare()
        yield made
    finally:
        made.close()


@pytest.fixture
async def database(databases: PostgresDatabases) -> AsyncIterator[str]:
    name = await databases.create()
    yield name
    await databases.drop(name)


@pytest.fixture
async def confined(
    databases: PostgresDatabases, database: str
) -> AsyncIterator[PersistenceBackend]:
    backend = create_backend(f"{databases.url(database)}?row_security=required&pool_max_size=8")
    await backend.connect()
    yield backend
    await backend.disconnect()


def engine_of(backend: PersistenceBackend) -> Engine:
    inside: Any = backend
    engine: Engine = inside._core.engine
    return engine


def everything(table: Table) -> Statement:
    """Reads a table without looking at tenants: whatever comes, the database let through."""
    return Statement(f"{table.name}.everything", select(table.c.tenant), ("tenant",), table)


def of_another(table: Table, tenant: str) -> Statement:
    expression = select(table.c.tenant).where(table.c.tenant == literal(tenant))
    return Statement(f"{table.name}.of another", expression, ("tenant",), table)


def forgetting(table: Table) -> Statement:
    return Statement(f"{table.name}.forgetting", select(table.c.tenant), (), table)


EVERYTHING = {table.name: everything(table) for table in TABLES}
FORGETTING = {table.name: forgetting(table) for table in TABLES}


def with_sql(subject: Subject[Any]) -> Any:
    """A record with SQL in every text that takes any."""
    record = subject.full()
    for name, value in record:
        if type(value) is str and name not in (*subject.belongs, *subject.fixed):
            with contextlib.suppress(ValidationError):
                record = type(record).model_validate({**dict(record), name: SQL})
    return record


async def fill(backend: PersistenceBackend, tenants: list[str]) -> int:
    """Put a record, with SQL in it, into every repository of every tenant; how many took it."""
    took = 0
    for subject in SAVED:
        record = with_sql(subject)
        for tenant in tenants:
            owner = backend.for_tenant(tenant)
            try:
                await subject.put(owner, record)
                took += 1
            except InvalidArgumentError:
                await subject.put(owner, subject.full())
    return took


class Schedule:
    """Workers who call everything for tenants at random, forget to name one, and are cancelled."""

    def __init__(self, backend: PersistenceBackend, tenants: list[str]) -> None:
        self._backend = backend
        self._engine = engine_of(backend)
        self._tenants = tenants
        self._chance = random.Random(SEED)
        self.counts: Counter[str] = Counter()

    async def run(self, workers: int, rows: int) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work(rows))

    async def _work(self, rows: int) -> None:
        chance, counts = self._chance, self.counts
        acts = [self._read, self._read, self._read, self._write, self._both, self._forget]
        while counts["rows"] < rows:
            tenant = chance.choice(self._tenants)
            call = asyncio.create_task(chance.choice(acts)(tenant))
            if chance.random() < 0.1:
                await asyncio.sleep(chance.uniform(0, 0.005))
                call.cancel()
                counts["cancels"] += 1
            with contextlib.suppress(asyncio.CancelledError):
                await call

    def _see(self, tenant: str, rows: Any) -> None:
        self.counts["rows"] += len(rows)
        self.counts["foreign"] += sum(row[0] != tenant for row in rows)

    async def _read(self, tenant: str) -> None:
        name = self._chance.choice(TABLES).name
        self._see(tenant, await self._engine.fetch(EVERYTHING[name], (tenant,), at_most=10_000))
        table, other = metadata.tables[name], self._chance.choice(self._tenants)
        rows = await self._engine.fetch(of_another(table, other), (tenant,), at_most=10_000)
        self._see(tenant, rows)

    async def _write(self, tenant: str) -> None:
        await self._backend.for_tenant(tenant).tasks.save(
            task(f"t{self._chance.randrange(5)}", title=SQL)
        )
        subject = self._chance.choice(SAVED)
        owner = self._backend.for_tenant(tenant)
        await subject.read(owner, subject.full())

    async def _both(self, tenant: str) -> None:
        """Two tenants on one connection; then a transaction that is rolled back."""
        other = self._chance.choice(self._tenants)
        async with self._backend.transaction() as tx:
            inside: Any = tx
            for one in sorted({tenant, other}):  # in the same order, or they deadlock
                await tx.for_tenant(one).tasks.save(task("t0", title=one))
                rows = await inside._session.fetch(EVERYTHING["tasks"], (one,), at_most=10_000)
                self._see(one, rows)
            inside._session.abandon()

    async def _forget(self, _: str) -> None:
        name = self._chance.choice(TABLES).name
        try:
            rows = await self._engine.fetch(FORGETTING[name], (), at_most=10_000)
        except TenantIsolationError:
            self.counts["forgot, refused"] += 1
        else:
            self.counts["forgot, answered"] += 1
            self.counts["foreign"] += len(rows)


async def _leaks_of_session_settings(url: str, tenants: list[str]) -> int:
    """The control: a setting of the session, and a pool that resets nothing."""
    connection = await asyncpg.connect(url)
    leaks = 0
    for tenant in tenants:
        await connection.execute("SELECT set_config('holdfast.tenant', $1, false)", tenant)
        await connection.fetch("SELECT tenant FROM tasks")
        leaks += len(await connection.fetch("SELECT tenant FROM tasks"))  # whoever is next forgets
    await connection.close()
    return leaks


async def test_row_31_tenants_under_a_hostile_schedule(
    confined: PersistenceBackend, databases: PostgresDatabases, database: str, record: Record
) -> None:
    tenants = [f"t{number}" for number in range(20)]
    took = await fill(confined, tenants)
    schedule = Schedule(confined, tenants)
    await schedule.run(workers=40, rows=sized(2_000, 100_000))
    counts = schedule.counts

    # Writes without our condition touch the rows of the one tenant that is named.
    change = update(tasks).values(description="changed")
    engine = engine_of(confined)
    await engine.execute(Statement("tasks.all", change, ("tenant",), tasks), ("t0",))
    gone = await engine.execute(
        Statement("messages.all", delete(metadata.tables["messages"]), ("tenant",), tasks), ("t0",)
    )
    owner = create_backend(at(databases.server, database))
    await owner.connect()
    rows = await engine_of(owner).fetch(
        Statement("tasks.who", select(tasks.c.tenant, tasks.c.description), (), tasks), (),
        at_most=10_000,
    )  # fmt: skip
    changed = {tenant for tenant, description in rows if description == "changed"}
    of_owner = await engine_of(owner).fetch(EVERYTHING["tasks"], ("t0",), at_most=10_000)
    await owner.disconnect()
    leaked_to_owner = sum(row[0] != "t0" for row in of_owner)
    leaked = await _leaks_of_session_settings(databases.url(database), tenants)
    record(
        31,
        "tenants, hostile schedule",
        f"{counts['foreign']} foreign of {counts['rows']:,} rows from {len(TABLES)} tables, "
        f"{counts['cancels']} cancels; forgot the tenant: {counts['forgot, refused']} refused, "
        f"{counts['forgot, answered']} answered; {took} records with SQL in them",
        f"a setting of the session leaks {leaked} rows, the owner's role {leaked_to_owner}",
    )
    assert counts["foreign"] == counts["forgot, answered"] == 0
    assert counts["rows"] >= sized(2_000, 100_000)
    assert counts["forgot, refused"] > 0
    assert counts["cancels"] > 0
    assert took > len(tenants) * 10
    assert changed == {"t0"}
    assert gone > 0
    assert leaked > 0
    assert leaked_to_owner > 0


async def test_a_batch_cannot_carry_another_tenants_row(confined: PersistenceBackend) -> None:
    """What groups batches by tenant could be wrong: the policy looks at every row."""
    inside: Any = engine_of(confined)
    save = next(s for s in things.STATEMENTS.values() if s.name == "tasks.save")
    mapper = next(one for one in things.MAPPERS if one.table is tasks)
    rows = (mapper.encode("t0", task("a")), mapper.encode("t1", task("b")))
    with pytest.raises(TenantIsolationError, match="another tenant"):
        await inside._batches.repeat_write(
            Kind.WRITE, save, tuple(zip(*rows, strict=True)), many=True
        )
    assert await confined.for_tenant("t1").tasks.get("b") is None


def _ways_round(prefix: str) -> dict[str, tuple[str, str]]:
    """Mistakes by name: SQL that makes one, and SQL that undoes it."""
    app, owner, view = f"{prefix}_app", f"{prefix}_owner", "CREATE VIEW all_tasks"
    return {
        "the tables' owner": (
            f"ALTER TABLE tasks OWNER TO {app}",
            # Who gives it away keeps nothing.
            (f"ALTER TABLE tasks OWNER TO {owner};"
            f" GRANT SELECT, INSERT, UPDATE, DELETE ON tasks TO {app}"),
        ),
        "a member of the owner": (f"GRANT {owner} TO {app}", f"REVOKE {owner} FROM {app}"),
        "BYPASSRLS": (f"ALTER ROLE {app} BYPASSRLS", f"ALTER ROLE {app} NOBYPASSRLS"),
        "a superuser": (f"ALTER ROLE {app} SUPERUSER", f"ALTER ROLE {app} NOSUPERUSER"),
        "row security off": (
            "ALTER TABLE tasks DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE tasks ENABLE ROW LEVEL SECURITY",
        ),
        "another policy": (
            "CREATE POLICY everybody ON tasks USING (true)", "DROP POLICY everybody ON tasks",
        ),
        "a changed policy": (
            "ALTER POLICY holdfast_tenant ON tasks USING (true)",
            f"ALTER POLICY holdfast_tenant ON tasks USING ({SAME_TENANT})",
        ),
        "a new table": (
            (f"CREATE TABLE notes (tenant text); INSERT INTO notes SELECT tenant FROM tasks;"
            f" GRANT SELECT ON notes TO {app}"),
            "DROP TABLE notes",
        ),
        "a view": (
            f"{view} AS SELECT tenant FROM tasks; GRANT SELECT ON all_tasks TO {app}",
            "DROP VIEW all_tasks",
        ),
        "a view on a view": (
            ("CREATE VIEW inner_tasks AS SELECT tenant FROM tasks;"
            f" {view} AS SELECT tenant FROM inner_tasks; GRANT SELECT ON all_tasks TO {app}"),
            "DROP VIEW all_tasks; DROP VIEW inner_tasks",
        ),
        "a materialized view": (
            ("CREATE MATERIALIZED VIEW all_tasks AS SELECT tenant FROM tasks;"
            f" GRANT SELECT ON all_tasks TO {app}"),
            "DROP MATERIALIZED VIEW all_tasks",
        ),
        "SECURITY DEFINER": (
            ("CREATE FUNCTION all_tasks() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER"
            " AS 'SELECT tenant FROM tasks'"),
            "DROP FUNCTION all_tasks()",
        ),
        "TRUNCATE": (f"GRANT TRUNCATE ON tasks TO {app}", f"REVOKE TRUNCATE ON tasks FROM {app}"),
    }  # fmt: skip


#: What reads rows of others by them, if it is not the table itself.
_LEAKS = {
    "a new table": "SELECT tenant FROM notes",
    "a view": "SELECT tenant FROM all_tasks",
    "a view on a view": "SELECT tenant FROM all_tasks",
    "a materialized view": "SELECT tenant FROM all_tasks",
    "SECURITY DEFINER": "SELECT * FROM all_tasks() AS tenant",
}


async def _starts(url: str) -> bool:
    backend = create_backend(f"{url}?row_security=required")
    try:
        await backend.connect()
    except TenantIsolationError:
        return False
    await backend.disconnect()
    return True


async def _leak(url: str, way: str) -> int:
    """Rows of others that a role comes to which was let in all the same."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SELECT set_config('holdfast.tenant', 'nobody', false)")
        return len(await connection.fetch(_LEAKS.get(way, "SELECT tenant FROM tasks")))
    except asyncpg.InsufficientPrivilegeError:
        return 0
    finally:
        await connection.close()


async def test_row_32_ways_round_the_policies(
    databases: PostgresDatabases, database: str, record: Record
) -> None:
    url, admin = databases.url(database), at(databases.server, database)
    owner = create_backend(admin, tenant="t1")
    await owner.connect()
    await owner.tasks.save(task("a"))
    await owner.disconnect()
    prefix = databases.roles
    assert prefix is not None
    assert await _starts(url)
    caught, leaks = [], []
    ways = _ways_round(prefix)
    for way, (make, undo) in ways.items():
        await run_sql(admin, make)
        try:
            if not await _starts(url):
                caught.append(way)
            if await _leak(url, way):
                leaks.append(way)
        finally:
            await run_sql(admin, undo)
        assert await _starts(url), f"{way} was not undone"
    record(
        32,
        "ways round the policies",
        f"{len(caught)} of {len(ways)} refused at the start",
        f"let in all the same, plain SQL reads rows of others by {len(leaks)} of them",
    )
    assert caught == list(ways)
    assert set(ways) - set(leaks) == {"TRUNCATE"}  # which takes rows away, unseen


def _without_tenant(tables: list[Table]) -> list[str]:
    """Keys and unique rules by which one tenant could find another's rows."""
    return [
        f"{table.name}: {item.name}"
        for table in tables
        for item in (*table.constraints, *table.indexes)
        if not isinstance(item, CheckConstraint)
        and isinstance(item, Index | ColumnCollectionConstraint)
        and "tenant" not in [column.name for column in item.columns]
    ]


async def _answer(call: Any) -> str:
    """What a caller learns: the value, or the error with its text."""
    try:
        return repr(await call)
    except PersistenceError as error:
        return f"{type(error).__name__}: {error}"


async def test_row_33_probes_find_nothing(
    confined: PersistenceBackend, databases: PostgresDatabases, database: str, record: Record
) -> None:
    mine, theirs = confined.for_tenant("mine"), confined.for_tenant("theirs")
    await theirs.users.save(user("secret"))
    await theirs.tasks.save(task("secret"))
    await theirs.sessions.create(session("s", user_id="secret"))

    async def probes(key: str) -> list[str]:
        return [
            await _answer(mine.tasks.get(key)),
            await _answer(mine.tasks.delete(key)),
            await _answer(mine.users.get(key)),
            await _answer(mine.sessions.create(session(f"of {key}", user_id=key))),
            await _answer(mine.tasks.list_tasks(after=key, limit=1)),
            await _answer(mine.tasks.count_tasks()),
        ]

    there = [answer.replace("secret", "") for answer in await probes("secret")]
    absent = [answer.replace("absent", "") for answer in await probes("absent")]
    different = sum(one != other for one, other in zip(there, absent, strict=True))
    await mine.users.save(user("secret"))  # the same key and name are free

    times: dict[str, list[float]] = {"secret": [], "absent": []}
    chance = random.Random(SEED)
    for _ in range(sized(300, 3_000)):
        for key in chance.sample(sorted(times), 2):
            begun = time.perf_counter()
            await mine.tasks.get(key)
            times[key].append(time.perf_counter() - begun)
    ratio = statistics.median(times["secret"]) / statistics.median(times["absent"])

    # The control: a rule that forgets the tenant says what others have.
    admin = at(databases.server, database)
    await run_sql(admin, "CREATE UNIQUE INDEX oracle ON tasks (id)")
    oracle = {key: await _answer(mine.tasks.save(task(key))) for key in ("secret", "absent")}
    careless = Table("careless", MetaData(), Column("id", Text), UniqueConstraint("id"))
    found = _without_tenant(TABLES)
    record(
        33,
        "probes for another's records",
        f"{different} of {len(there)} answers differ; time {ratio:.2f} of that for absent keys; "
        f"{len(found)} keys of {len(TABLES)} tables without the tenant",
        f"a unique rule without the tenant: {oracle['secret'] != oracle['absent']}",
    )
    assert different == 0
    assert 0.7 < ratio < 1.4
    assert found == []
    assert _without_tenant([careless])
    assert oracle["secret"] != oracle["absent"]
    assert "theirs" not in oracle["secret"]
