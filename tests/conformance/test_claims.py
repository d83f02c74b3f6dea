"""What waits is not handed out, what need not wait is; and what nobody gets stays where it was."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from holdfast import MalformedRowError, PersistenceBackend, Task, create_backend
from holdfast.entities import ProjectCostAggregate, RefreshRecord
from holdfast.repositories.claims import _CLAIM
from holdfast.testing.databases import connected

from .test_access import begin, session, with_users
from .test_work import ids, save, task


def done(key: str, **fields: Any) -> Task:
    return task(key, status="completed", assigned_to="x", **fields)


async def claimed(backend: PersistenceBackend, agent: str = "ada", **where: Any) -> str | None:
    found = await backend.tasks.claim(agent, **where)
    return found.id if found else None


async def run_sql(backend: PersistenceBackend, *statements: str) -> None:
    """What another program does to the table, or a careless administrator."""
    engine: Any = backend._core.engine  # type: ignore[attr-defined]

    def send(connection: Any) -> None:
        for statement in statements:
            connection.exec_driver_sql(statement)

    await engine.run_sync(send)


async def waiting(backend: PersistenceBackend) -> dict[str, str]:
    """What each marked task is marked with."""
    engine: Any = backend._core.engine  # type: ignore[attr-defined]

    def look(connection: Any) -> dict[str, str]:
        sql = "SELECT id, waits_for FROM tasks WHERE waits_for IS NOT NULL"
        return dict(tuple(row) for row in connection.exec_driver_sql(sql))

    found: dict[str, str] = await engine.run_sync(look)
    return found


@pytest.mark.owner
class TestWaiting:
    @pytest.mark.alone
    async def test_it_is_marked_with_one_that_is_missing(self, backend: PersistenceBackend) -> None:
        await save(backend, done("b"), task("t", dependencies=("c", "b", "a")), task("plain"))
        assert await waiting(backend) == {"t": "a"}
        await save(backend, done("a"))
        assert await waiting(backend) == {"t": "c"}
        await save(backend, done("c"))
        assert await waiting(backend) == {}
        assert [await claimed(backend) for _ in range(3)] == ["t", "plain", None]

    async def test_one_that_is_completed_later_ends_it(self, backend: PersistenceBackend) -> None:
        """Not by its first save, nor by any status but this."""
        await save(backend, task("t", dependencies=("d",)))
        for status in ("assigned", "in_progress", "blocked", "failed", "cancelled", "in_review"):
            await save(backend, task("d", status=status, assigned_to="x"))
            assert await claimed(backend) is None
        await save(backend, done("d"))
        assert await claimed(backend) == "t"

    async def test_it_waits_again_when_one_is_reopened(self, backend: PersistenceBackend) -> None:
        await save(backend, done("d"), task("t", dependencies=("d",)), task("u", priority="low"))
        await save(backend, task("d", status="in_progress", assigned_to="x"))
        assert await claimed(backend) == "u"
        assert await claimed(backend) is None
        await save(backend, done("d"))
        assert await claimed(backend) == "t"

    async def test_it_waits_again_when_one_is_deleted(self, backend: PersistenceBackend) -> None:
        await save(backend, done("d"), task("t", dependencies=("d",)))
        await backend.tasks.delete("d")
        assert await claimed(backend) is None
        await save(backend, done("d"))
        assert await claimed(backend) == "t"

    @pytest.mark.alone
    async def test_other_dependencies_count_from_their_save_on(
        self, backend: PersistenceBackend
    ) -> None:
        await save(backend, done("d"), task("t", dependencies=("never",)))
        await save(backend, task("t", dependencies=("d",)))
        assert await waiting(backend) == {}
        await save(backend, task("t", dependencies=("d", "never")))
        assert await waiting(backend) == {"t": "never"}
        await save(backend, task("t"))
        assert await waiting(backend) == {}
        assert await claimed(backend) == "t"

    @pytest.mark.alone
    async def test_only_what_is_created_waits(self, backend: PersistenceBackend) -> None:
        await save(backend, task("t", dependencies=("d",), status="blocked"))
        assert await waiting(backend) == {}
        await save(backend, task("t", dependencies=("d",)))
        assert await waiting(backend) == {"t": "d"}
        await save(backend, task("t", dependencies=("d",), status="suspended"), done("d"))
        await save(backend, task("t", dependencies=("d",)))
        assert await claimed(backend) == "t"

    async def test_two_that_wait_for_each_other_do(self, backend: PersistenceBackend) -> None:
        await save(backend, task("a", dependencies=("b",)), task("b", dependencies=("a",)))
        assert await claimed(backend) is None
        await save(backend, done("b", dependencies=("a",)))
        assert await claimed(backend) == "a"

    @pytest.mark.alone
    async def test_strange_names_are_found(self, backend: PersistenceBackend) -> None:
        names = ['"', "\\", "é", "🦑", "a'b", "%", "1", "null", "[]", "\x7f", "x" * 300]
        await save(backend, *(task(f"t{n}", dependencies=(name,)) for n, name in enumerate(names)))
        assert await waiting(backend) == {f"t{n}": name for n, name in enumerate(names)}
        await save(backend, *map(done, names))
        assert await waiting(backend) == {}

    @pytest.mark.alone
    async def test_another_tenants_task_is_none(self, backend: PersistenceBackend) -> None:
        other = backend.for_tenant("other")
        await save(backend, task("t", dependencies=("d",)))
        await save(other, done("d"), task("t", dependencies=("d",)))
        assert await claimed(backend) is None
        assert await claimed(other) == "t"

    async def test_in_one_transaction_in_any_order(self, backend: PersistenceBackend) -> None:
        async with backend.transaction() as tx:
            await tx.tasks.save(task("t", dependencies=("d", "e")))
            await tx.tasks.save(done("d"))
            assert await tx.tasks.claim("ada") is None
            await tx.tasks.save(done("e"))
            found = await tx.tasks.claim("ada")
            assert found is not None
            assert found.id == "t"

    @pytest.mark.alone
    @pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
    async def test_whatever_a_transaction_sees(
        self, backend: PersistenceBackend, isolation: Any
    ) -> None:
        """One with an older snapshot completes what a task waits for that it cannot see."""
        if backend.backend_name == "sqlite":
            await save(backend, task("t", dependencies=("d",)), done("d"))
        else:
            async with backend.transaction(isolation=isolation) as tx:
                assert await tx.tasks.get("t") is None
                other = save(backend, task("t", dependencies=("d",)))
                await asyncio.create_task(other, context=contextvars.Context())
                await tx.tasks.save(done("d"))
        assert await claimed(backend) == "t"
        assert await waiting(backend) == {}
        async with backend.transaction(isolation=isolation) as tx:
            await tx.tasks.save(task("u", dependencies=("e",)))
            assert await tx.tasks.claim("ada") is None
            await tx.tasks.save(done("e"))
            found = await tx.tasks.claim("ada")
            assert found is not None
            assert found.id == "u"

    @pytest.mark.alone
    async def test_a_rollback_takes_its_marks_with_it(self, backend: PersistenceBackend) -> None:
        await save(backend, task("t", dependencies=("d",)))
        async with backend.transaction() as tx:
            with pytest.raises(ZeroDivisionError):
                async with tx.transaction() as inner:
                    await inner.tasks.save(done("d"))
                    raise ZeroDivisionError
            assert await tx.tasks.claim("ada") is None
            await tx.tasks.save(task("u", dependencies=("e",)))
        assert await waiting(backend) == {"t": "d", "u": "e"}

    @pytest.mark.alone
    async def test_another_program_completes_one(self, backend: PersistenceBackend) -> None:
        await save(backend, task("t", dependencies=("d",)), task("d", status="in_review",
                   assigned_to="x"))  # fmt: skip
        await run_sql(backend, "UPDATE tasks SET status = 'completed' WHERE id = 'd'")
        assert await claimed(backend) == "t"

    @pytest.mark.alone
    async def test_those_in_front_that_wait_after_all_are_marked(
        self, backend: PersistenceBackend
    ) -> None:
        """Else every claim would look at all of them again."""
        await save(backend, done("d"))
        await asyncio.gather(
            *(backend.tasks.save(task(f"t{n}", dependencies=("d",))) for n in range(150))
        )
        await save(backend, *(task(f"u{n}", priority="low") for n in range(40)))
        await backend.tasks.delete("d")
        assert await waiting(backend) == {}
        assert [await claimed(backend) for n in range(40)] == [f"u{n}" for n in range(40)]
        assert await waiting(backend) == {f"t{n}": "d" for n in range(150)}
        await save(backend, done("d"))
        assert await waiting(backend) == {}

    async def test_many_at_once(self, backend: PersistenceBackend) -> None:
        """A graph is saved in any order, while others complete and claim."""
        chance = random.Random(7)
        needs = {f"t{n:03}": [f"t{m:03}" for m in chance.sample(range(n), min(n, 3))]
                 for n in range(120)}  # fmt: skip
        names = list(needs)
        chance.shuffle(names)
        got: list[str] = []

        async def work(agent: str) -> None:
            while len(got) < len(names):
                if (one := await backend.tasks.claim(agent)) is None:
                    await asyncio.sleep(0.001)
                    continue
                assert set(one.dependencies) <= finished
                got.append(one.id)
                await backend.tasks.save(one.model_copy(update={"status": "completed"}))
                finished.add(one.id)

        finished: set[str] = set()
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for n in range(8):
                group.create_task(work(f"a{n}"))
            for name in names:
                group.create_task(backend.tasks.save(task(name, dependencies=tuple(needs[name]))))
        assert sorted(got) == sorted(names)


class TestCancelled:
    @pytest.mark.parametrize("seed", range(5))
    async def test_nothing_is_lost_or_handed_out_twice(
        self, backend: PersistenceBackend, seed: int
    ) -> None:
        """Workers of one name give up at random moments."""
        await asyncio.gather(*(backend.tasks.save(task(f"t{n:03}")) for n in range(100)))
        chance = random.Random(seed)
        told: list[str] = []

        async def ask() -> None:
            # Not `asyncio.timeout` alone: a task that is cancelled has no other end.
            asking = asyncio.ensure_future(backend.tasks.claim("w"))
            await asyncio.wait([asking], timeout=chance.random() * 0.01)
            asking.cancel()
            (found,) = await asyncio.gather(asking, return_exceptions=True)
            if isinstance(found, Task):
                told.append(found.id)

        for _ in range(6):
            await asyncio.gather(*(ask() for _ in range(10)))
        stored = await backend.tasks.list_tasks(status="assigned")  # type: ignore[arg-type]
        assert sorted(told) == ids(stored)
        assert len(set(told)) == len(told)
        rest = [await claimed(backend) for _ in range(100 - len(told))]
        assert rest == [f"t{n:03}" for n in range(100) if f"t{n:03}" not in told]
        assert await claimed(backend) is None

    @pytest.mark.alone
    async def test_it_keeps_its_place(self, backend: PersistenceBackend) -> None:
        await save(backend, task("first", dependencies=("d",)), task("second"), done("d"))
        await self._taken_by_nobody(backend)
        assert await backend.tasks.get("first") == task("first", dependencies=("d",))
        assert [await claimed(backend) for _ in range(3)] == ["first", "second", None]

    async def test_what_somebody_changed_is_left_alone(self, backend: PersistenceBackend) -> None:
        repository: Any = backend.tasks
        claims = repository._claims
        for change in ({"status": "in_progress"}, {"title": "mine"}, {"assigned_to": "bob"}):
            await save(backend, task("t"))
            rows: Sequence[Any] = ()

            async def take(session: Any) -> None:
                nonlocal rows
                rows = await session.returning(_CLAIM, (repository._tenant, "ada"))

            await claims._session.atomically(take)
            changed = task("t", **{"status": "assigned", "assigned_to": "ada", **change})
            await save(backend, changed)
            await claims._session.atomically(lambda tx, rows=rows: claims._give_back(tx, rows[0]))
            assert await backend.tasks.get("t") == changed

    async def test_before_the_backend_closes(self, shared_url: str) -> None:
        backend = create_backend(shared_url)
        await backend.connect()
        await save(backend, *(task(f"t{n}") for n in range(20)))
        asking = [asyncio.ensure_future(backend.tasks.claim("w")) for _ in range(20)]
        await asyncio.sleep(0)
        for one in asking:
            one.cancel()
        await asyncio.sleep(0)
        await backend.disconnect()
        found = await asyncio.gather(*asking, return_exceptions=True)
        told = [one.id for one in found if isinstance(one, Task)]
        await backend.connect()
        stored = await backend.tasks.list_tasks(status="assigned")  # type: ignore[arg-type]
        assert sorted(told) == ids(stored)
        await backend.disconnect()

    async def test_a_transaction_is_rolled_back(self, backend: PersistenceBackend) -> None:
        await save(backend, task("t"))

        async def work() -> None:
            async with backend.transaction() as tx:
                assert await tx.tasks.claim("ada") is not None
                await asyncio.sleep(60)

        working = asyncio.ensure_future(work())
        await asyncio.sleep(0.2)
        working.cancel()
        await asyncio.wait([working])
        assert await claimed(backend) == "t"

    async def _taken_by_nobody(self, backend: PersistenceBackend) -> None:
        """Cancel a claim at the very moment that its answer is there."""
        asking = asyncio.ensure_future(backend.tasks.claim("ada"))
        engine: Any = backend._core.engine  # type: ignore[attr-defined]
        before = engine.stats().commits
        while engine.stats().commits == before:  # noqa: ASYNC110 - the first moment it is true
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


DAMAGE = {
    "status": "UPDATE tasks SET type = 'unheard of' WHERE id = 'bad'",
    "json": "UPDATE tasks SET reviewers = '{}' WHERE id = 'bad'",
    "blank": "UPDATE tasks SET title = ' ' WHERE id = 'bad'",
    "dependencies": "UPDATE tasks SET dependencies = '{}' WHERE id = 'bad'",
    "delegation": "UPDATE tasks SET delegation_chain = '3' WHERE id = 'bad'",
}


@pytest.mark.owner
class TestUnreadable:
    @pytest.mark.alone
    @pytest.mark.parametrize("kind", DAMAGE)
    async def test_it_stays_as_it_is_and_stops_nobody(
        self, backend: PersistenceBackend, kind: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        await save(backend, task("bad", priority="critical"), task("a"), task("b", project="q"))
        await run_sql(backend, DAMAGE[kind])
        with caplog.at_level(logging.WARNING, "holdfast"):
            assert [await claimed(backend), await claimed(backend, project="q")] == ["a", "b"]
        said = [record.getMessage() for record in caplog.records if record.name == "holdfast"]
        assert ["id='bad'" in line for line in said] == [True]
        for _ in range(2):
            with pytest.raises(MalformedRowError, match="id='bad'"):
                await backend.tasks.claim("ada")
        assert await backend.tasks.count_tasks(status="created") == 1  # type: ignore[arg-type]
        await save(backend, task("bad"))
        assert await claimed(backend) == "bad"

    @pytest.mark.alone
    async def test_in_a_transaction(self, backend: PersistenceBackend) -> None:
        await save(backend, task("bad", priority="critical"), task("a"))
        await run_sql(backend, DAMAGE["status"])
        async with backend.transaction() as tx:
            found = await tx.tasks.claim("ada")
            assert found is not None
            assert found.id == "a"
            with pytest.raises(MalformedRowError):
                await tx.tasks.claim("ada")
        assert await backend.tasks.count_tasks(status="created") == 1  # type: ignore[arg-type]

    @pytest.mark.alone
    async def test_one_that_is_damaged_does_not_keep_others_waiting(
        self, backend: PersistenceBackend
    ) -> None:
        """Nor does it fail whoever completes what it waits for."""
        await save(backend, task("bad", dependencies=("d",)), task("t", dependencies=("d",)))
        await run_sql(backend, DAMAGE["dependencies"])
        await save(backend, done("d"))
        assert await claimed(backend) == "t"


@pytest.mark.parametrize("column", ["title", "dependencies", "delegation_chain", "priority"])
@pytest.mark.parametrize(
    "value", ["x'ff'", "CAST(x'ff' AS TEXT)", "CAST('[\"' || x'ff' || '\"]' AS TEXT)"]
)
async def test_one_whose_text_is_none_stops_nobody(
    sqlite_url: str, column: str, value: str
) -> None:
    """Only SQLite stores such."""
    async with connected(create_backend(sqlite_url)) as backend:
        await save(
            backend, task("bad", priority="critical"), task("a"), task("b", dependencies=("d",))
        )
        await run_sql(backend, f"UPDATE tasks SET {column} = {value} WHERE id = 'bad'")
        assert await claimed(backend) == "a"
        await save(backend, done("d"))
        assert await claimed(backend) == "b"
        await save(backend, task("bad"))
        assert await claimed(backend) == "bad"


class PickyToken(RefreshRecord):
    @field_validator("used_at")
    @classmethod
    def _unused(cls, value: datetime | None) -> datetime | None:
        if value is not None:
            raise ValueError("used")
        return value


class PickyTotal(ProjectCostAggregate):
    @field_validator("record_count")
    @classmethod
    def _few(cls, value: int) -> int:
        if value > 1:
            raise ValueError("too many")
        return value


async def test_other_writes_too_are_read_before_they_are_kept(shared_url: str) -> None:
    entities: dict[type[BaseModel], type[BaseModel]] = {
        RefreshRecord: PickyToken,
        ProjectCostAggregate: PickyTotal,
    }
    plain, picky = create_backend(shared_url), create_backend(shared_url, entities=entities)
    await plain.connect()
    await picky.connect()
    end = datetime.now(UTC) + timedelta(hours=1)
    await with_users(plain, "ada")
    await begin(plain, session("s", created_at=end - timedelta(hours=1), expires_at=end))
    await plain.refresh_tokens.create("hash", "s", "ada", end)
    for _ in range(2):
        with pytest.raises(MalformedRowError):
            await picky.refresh_tokens.consume("hash")
    assert await plain.refresh_tokens.consume("hash") is not None

    await picky.project_cost_aggregates.increment("p", 1.0, 1, 1)
    for _ in range(2):
        with pytest.raises(MalformedRowError):
            await picky.project_cost_aggregates.increment("p", 1.0, 1, 1)
    async with picky.transaction() as tx:
        with pytest.raises(MalformedRowError):
            await tx.project_cost_aggregates.increment("p", 1.0, 1, 1)
    found = await plain.project_cost_aggregates.get("p")
    assert found is not None
    assert (found.record_count, found.total_cost) == (1, 1.0)
    await picky.disconnect()
    await plain.disconnect()
