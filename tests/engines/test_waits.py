"""What transactions of PostgreSQL that do not see each other leave of what tasks wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import asyncpg
import pytest

from holdfast import PersistenceBackend, Task, create_backend
from holdfast.testing.databases import connected, run_sql

from ..conformance.test_claims import claimed, done, waiting
from ..conformance.test_work import save, task
from ..objects.opened import in_schema

#: With one name, and with more than a transaction locks one by one.
COUNTS = pytest.mark.parametrize("count", [1, 40])


@pytest.fixture
async def here(postgres_url: str) -> AsyncIterator[PersistenceBackend]:
    async with connected(create_backend(postgres_url)) as backend:
        yield backend


@pytest.fixture
async def there(postgres_url: str) -> AsyncIterator[PersistenceBackend]:
    """Another process of the same database."""
    async with connected(create_backend(postgres_url)) as backend:
        yield backend


def _waiting(count: int) -> list[Task]:
    return [task(f"t{n:02}", dependencies=(f"d{n:02}",)) for n in range(count)]


def _completed(count: int) -> list[Task]:
    return [done(f"d{n:02}") for n in range(count)]


async def _at_once(backend: PersistenceBackend, tasks: Iterable[Task]) -> None:
    """Save, without waiting for the transaction that is open."""
    async with asyncio.timeout(20):
        await save(backend, *tasks)


async def _claim_all(backend: PersistenceBackend) -> list[str]:
    claims = []
    while (key := await claimed(backend)) is not None:
        claims.append(key)
    return claims


async def _locks(url: str) -> int:
    """Advisory locks of anybody in this database."""
    connection = await asyncpg.connect(url)
    try:
        found: int = await connection.fetchval(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        return found
    finally:
        await connection.close()


@COUNTS
async def test_it_was_saved_while_what_it_waits_for_was_completed(
    here: PersistenceBackend, there: PersistenceBackend, postgres_url: str, count: int
) -> None:
    async with here.transaction() as tx:
        for one in _waiting(count):
            await tx.tasks.save(one)
        await _at_once(there, _completed(count))
        assert await claimed(there) is None
    assert await _claim_all(there) == [one.id for one in _waiting(count)]
    assert await waiting(here) == {}
    assert await _locks(postgres_url) == 0


@COUNTS
async def test_what_it_waits_for_was_completed_while_it_was_saved(
    here: PersistenceBackend, there: PersistenceBackend, postgres_url: str, count: int
) -> None:
    async with here.transaction() as tx:
        for one in _completed(count):
            await tx.tasks.save(one)
        await _at_once(there, _waiting(count))
        assert await claimed(there) is None
    assert await _claim_all(there) == [one.id for one in _waiting(count)]
    assert await waiting(here) == {}
    assert await _locks(postgres_url) == 0


@COUNTS
@pytest.mark.parametrize("completes_first", [True, False])
async def test_two_transactions_that_are_open_at_once(
    here: PersistenceBackend, there: PersistenceBackend, count: int, completes_first: bool
) -> None:
    saves, completes = _waiting(count), _completed(count)
    outside, inside = (completes, saves) if completes_first else (saves, completes)
    async with asyncio.timeout(20), here.transaction() as tx, there.transaction() as other:
        for one, another in zip(outside, inside, strict=True):
            await other.tasks.save(one)
            await tx.tasks.save(another)
    assert await _claim_all(there) == [one.id for one in saves]


async def test_it_stays_with_what_is_rolled_back(
    here: PersistenceBackend, there: PersistenceBackend
) -> None:
    """Which of both gave way to the other is seen only while both are there."""
    with pytest.raises(ZeroDivisionError):
        async with here.transaction() as tx:
            await tx.tasks.save(done("d00"))
            await _at_once(there, _waiting(1))
            raise ZeroDivisionError
    assert await claimed(there) is None
    assert await waiting(here) == {"t00": "d00"}
    with pytest.raises(ZeroDivisionError):
        async with here.transaction() as tx:
            await tx.tasks.save(task("u", dependencies=("d00",)))
            await _at_once(there, _completed(1))
            raise ZeroDivisionError
    assert await _claim_all(there) == ["t00"]
    assert await waiting(here) == {}


async def test_a_savepoint_gives_up_its_locks_with_its_rows(
    here: PersistenceBackend, there: PersistenceBackend
) -> None:
    async with here.transaction() as tx:
        with pytest.raises(ZeroDivisionError):
            async with tx.transaction() as inner:
                await inner.tasks.save(task("t00", dependencies=("d00",)))
                raise ZeroDivisionError
        await tx.tasks.save(task("t00", dependencies=("d00",)))
        await _at_once(there, _completed(1))
    assert await _claim_all(there) == ["t00"]


async def test_it_is_being_written_while_what_it_waits_for_is_completed(
    here: PersistenceBackend, there: PersistenceBackend
) -> None:
    """And a claim, too, waits for nobody who writes."""
    await save(here, *_waiting(2))
    async with here.transaction() as tx:
        await tx.tasks.save(task("t00", dependencies=("d00",), title="new"))
        await _at_once(there, _completed(2))
        async with asyncio.timeout(20):
            assert await _claim_all(there) == ["t01"]
    assert await _claim_all(there) == ["t00"]


async def test_a_claim_marks_nothing_that_is_being_written(
    here: PersistenceBackend, there: PersistenceBackend
) -> None:
    await save(here, done("d00"), *_waiting(1))
    await here.tasks.delete("d00")
    async with here.transaction() as tx:
        await tx.tasks.save(task("t00", dependencies=("d00",), title="new"))
        async with asyncio.timeout(20):
            assert await claimed(there) is None
    assert await waiting(here) == {"t00": "d00"}


async def test_a_completed_task_is_saved_again_before_anybody_claims(
    here: PersistenceBackend, there: PersistenceBackend
) -> None:
    """Or is reopened, and completed again."""
    async with here.transaction() as tx:
        await tx.tasks.save(task("t00", dependencies=("d00",)))
        await _at_once(there, [done("d00"), done("d00", title="new")])
    await save(there, done("d00", title="newer"))
    assert await _claim_all(there) == ["t00"]
    async with here.transaction() as tx:
        await tx.tasks.save(task("t01", dependencies=("d01",)))
        await _at_once(there, [done("d01"), task("d01"), done("d01")])
    assert await _claim_all(there) == ["t01"]


async def test_its_schema_was_renamed(postgres_url: str) -> None:
    async with connected(create_backend(postgres_url)) as backend:
        await save(backend, *_waiting(1))
    await run_sql(postgres_url, "ALTER SCHEMA public RENAME TO moved", "CREATE SCHEMA public")
    async with connected(create_backend(in_schema(postgres_url, "moved"))) as backend:
        await save(backend, *_completed(2), *_waiting(2)[1:])
        assert await _claim_all(backend) == ["t00", "t01"]
