"""Transactions that lose against others: run again as a whole, a few times, and never half."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from holdfast import PersistenceBackend, QueryError, SerializationFailureError, create_backend
from holdfast.backend.transaction import Transaction
from holdfast.engines.retry import ATTEMPTS
from holdfast.engines.transactions import TransactionSession
from holdfast.testing.suite.base import apart

from ..conformance.test_work import task


async def _cross(backend: PersistenceBackend, run: Any) -> list[Any]:
    """Two transactions that write the same two rows, each the other way round."""
    await backend.tasks.save(task("a"))
    await backend.tasks.save(task("b"))
    met = asyncio.Barrier(2)
    attempts: list[str] = []

    async def work(tx: Transaction, first: str, second: str) -> str:
        attempts.append(first)
        await tx.tasks.save(task(first, title=f"by {first}"))
        if len(attempts) <= 2:
            await met.wait()  # both hold one row, and want the other's
        await tx.tasks.save(task(second, title=f"by {first}"))
        return first

    return [
        await asyncio.gather(
            run(lambda tx: work(tx, "a", "b")),
            run(lambda tx: work(tx, "b", "a")),
            return_exceptions=True,
        ),
        attempts,
    ]


async def test_a_deadlock_is_run_again(postgres_url: str) -> None:
    backend = create_backend(postgres_url)
    await backend.connect()
    values, attempts = await _cross(backend, backend.atomically)
    assert values == ["a", "b"]
    assert len(attempts) == 3
    titles = {found.title for found in await backend.tasks.list_tasks()}
    assert len(titles) == 1  # both rows are of one transaction
    assert backend.stats().retries.serialization_failure == 1

    async def once(work: Any) -> Any:
        async with backend.transaction() as tx:
            return await work(tx)

    # The control: a transaction that is not run again.
    values, attempts = await _cross(backend, once)
    assert len(attempts) == 2
    assert sum(isinstance(value, SerializationFailureError) for value in values) == 1
    await backend.disconnect()


async def test_what_it_makes_is_committed_together(backend: PersistenceBackend) -> None:
    async def work(tx: Transaction) -> int:
        await tx.tasks.save(task("a"))
        await tx.tasks.save(task("b"))
        return await tx.tasks.count_tasks()

    assert await backend.atomically(work) == 2

    async def failing(tx: Transaction) -> None:
        await tx.tasks.save(task("c"))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await backend.atomically(failing)
    assert await backend.tasks.count_tasks() == 2


async def test_it_gives_up_after_a_few_attempts(backend: PersistenceBackend) -> None:
    attempts = 0

    async def losing(tx: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        await tx.tasks.save(task(f"t{attempts}"))
        raise SerializationFailureError("lost again")

    with pytest.raises(SerializationFailureError, match="lost again"):
        await backend.atomically(losing)
    assert attempts == ATTEMPTS
    assert await backend.tasks.count_tasks() == 0


async def test_inside_a_transaction_it_is_run_once(backend: PersistenceBackend) -> None:
    attempts = 0

    async def losing(tx: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        await tx.tasks.save(task("inner"))
        raise SerializationFailureError("lost")

    async with backend.transaction() as tx:
        await tx.tasks.save(task("outer"))
        with pytest.raises(SerializationFailureError):
            await tx.atomically(losing)
    assert attempts == 1
    assert [found.id for found in await backend.tasks.list_tasks()] == ["outer"]


async def test_a_loss_that_was_caught_is_a_loss(backend: PersistenceBackend) -> None:
    """Whoever swallows it cannot commit, and the whole is run again all the same."""
    attempts = 0

    async def swallowing(tx: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            session: Any = tx._session
            while not isinstance(session, TransactionSession):
                session = session._inner
            session._failed = SerializationFailureError("lost")
        else:
            await tx.tasks.save(task("t"))

    await backend.atomically(swallowing)
    assert attempts == 2
    assert await backend.tasks.count_tasks() == 1

    with pytest.raises(QueryError, match="statement of this transaction failed") as caught:
        async with backend.transaction() as tx:
            attempts = 0
            await swallowing(tx)
    assert isinstance(caught.value, SerializationFailureError)


async def test_a_repository_runs_its_own_transactions_again(postgres_url: str) -> None:
    backend = create_backend(postgres_url)
    await backend.connect()
    keys = ("a", "b")
    async with backend.transaction() as tx:
        await tx.settings.set("n", "b", "first", "now")
        # It has "a" and waits for "b". Who has waited longer for what we then want is the victim.
        saving = apart(backend.settings.set_many([("n", key, "second", "now") for key in keys]))
        await asyncio.sleep(0.3)
        await tx.settings.set("n", "a", "first", "now")
    assert await saving
    assert [await backend.settings.get("n", key) for key in keys] == [("second", "now")] * 2
    assert backend.stats().retries.serialization_failure == 1
    await backend.disconnect()
