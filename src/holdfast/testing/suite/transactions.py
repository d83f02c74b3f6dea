"""Transactions: all or nothing, seen by nobody before, and left cleanly in every way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest

from holdfast.backend import PersistenceBackend
from holdfast.entities import Message, Task, User
from holdfast.errors import (
    ConstraintViolationError,
    DuplicateRecordError,
    InvalidArgumentError,
    MigrationError,
    QueryError,
)
from holdfast.testing.databases import MakeBackend, connected
from holdfast.testing.samples import required
from holdfast.testing.suite.base import Suite, apart, fresh

__all__ = ["ConcurrencySuite", "TransactionSuite"]


class _StopError(Exception):
    pass


def _task(key: str, **fields: Any) -> Task:
    return required(Task, id=key, **fields)


def _message(number: int, channel: str = "c") -> Message:
    return required(Message, id=UUID(int=number), channel=channel)


async def _refused(_: object) -> None:
    raise AssertionError


async def _ids(owner: Any) -> list[str]:
    return [task.id for task in await owner.tasks.list_tasks()]


class TransactionSuite(Suite):
    """What an engine must do around the statements of several repositories."""

    async def test_commit_and_rollback(self, holdfast_shared: PersistenceBackend) -> None:
        backend = fresh(holdfast_shared)
        async with backend.transaction() as tx:
            await tx.tasks.save(_task("kept"))
            await tx.settings.set("n", "k", "v", "1")
            assert await tx.tasks.get("kept") == _task("kept")
            assert await _ids(tx) == ["kept"]
        with pytest.raises(_StopError):
            async with backend.transaction() as tx:
                await tx.tasks.save(_task("lost"))
                await tx.tasks.delete("kept")
                raise _StopError
        assert await _ids(backend) == ["kept"]
        assert await backend.settings.get("n", "k") == ("v", "1")

    async def test_what_both_read_neither_has_changed(
        self, holdfast_shared: PersistenceBackend
    ) -> None:
        backend = fresh(holdfast_shared)
        both, tries = asyncio.Event(), 0

        async def only_if_alone(tx: Any) -> bool:
            nonlocal tries
            tries += 1
            mine, alone = f"try {tries}", not await _ids(tx)
            if tries == 2:
                both.set()
            # Not for long: where transactions are one at a time, the other cannot come.
            with suppress(TimeoutError):
                async with asyncio.timeout(0.3):
                    await both.wait()
            if alone:
                await tx.tasks.save(_task(mine))
            return alone

        decided = await asyncio.gather(
            *(backend.atomically(only_if_alone, isolation="serializable") for _ in range(2))
        )
        assert sorted(decided) == [False, True]
        assert len(await _ids(backend)) == 1

    async def test_an_isolation_that_does_not_exist(
        self, holdfast_shared: PersistenceBackend
    ) -> None:
        unknown: Any = "snapshot"
        with pytest.raises(InvalidArgumentError, match="isolation: 'snapshot' is none of read"):
            async with holdfast_shared.transaction(isolation=unknown):
                pass

    async def test_a_savepoint_is_undone_alone(self, holdfast_shared: PersistenceBackend) -> None:
        backend = fresh(holdfast_shared)
        async with backend.transaction() as tx:
            await tx.tasks.save(_task("outer"))
            with pytest.raises(_StopError):
                async with tx.transaction() as inner:
                    await inner.tasks.save(_task("inner"))
                    async with inner.transaction() as innermost:
                        await innermost.tasks.save(_task("innermost"))
                    raise _StopError
            async with tx.transaction() as inner:
                await inner.tasks.save(_task("second"))
        assert await _ids(backend) == ["outer", "second"]

    async def test_a_failure_in_a_savepoint_can_be_survived(
        self, holdfast_shared: PersistenceBackend
    ) -> None:
        backend = fresh(holdfast_shared)
        await backend.messages.save(_message(1))
        async with backend.transaction() as tx:
            await tx.tasks.save(_task("before"))
            with pytest.raises(DuplicateRecordError):
                async with tx.transaction() as inner:
                    await inner.messages.save(_message(1))
            await tx.tasks.save(_task("later"))
        assert await _ids(backend) == ["before", "later"]

    async def test_a_failed_statement_ends_the_transaction(
        self, holdfast_shared: PersistenceBackend
    ) -> None:
        backend = fresh(holdfast_shared)
        await backend.users.save(required(User, id="boss", username="boss", role="ceo"))
        with pytest.raises(QueryError, match="failed"):
            async with backend.transaction() as tx:
                await tx.tasks.save(_task("t"))
                with pytest.raises(ConstraintViolationError):
                    await tx.users.save(required(User, id="other", username="o", role="ceo"))
                with pytest.raises(QueryError, match="failed"):
                    await tx.tasks.get("t")
        assert await backend.tasks.get("t") is None

    async def test_its_backend_is_refused_inside(self, holdfast_shared: PersistenceBackend) -> None:
        """At once, whatever it is: a write would wait for the transaction, or be kept without it;
        a read would not see what the transaction wrote."""
        backend = fresh(holdfast_shared)
        view, outside = fresh(holdfast_shared), backend.tasks
        watch = backend.watch(backend.tasks)
        calls: list[Callable[[], Awaitable[Any]]] = [
            lambda: backend.tasks.save(_task("t")), lambda: outside.get("t"),
            lambda: view.tasks.list_tasks(), lambda: backend.tasks.delete("t"),
            lambda: backend.tasks.claim("a"), lambda: backend.set_setting("k", "v"),
            lambda: backend.settings.set_many([("n", "k", "v", "1")]),
            lambda: backend.transaction().__aenter__(),
            lambda: view.transaction(isolation="serializable").__aenter__(),
            lambda: backend.atomically(_refused), lambda: backend.status(),
            lambda: backend.migrate(), lambda: backend.schema_drift(),
            lambda: backend.record_changes(backend.tasks), lambda: watch.__aenter__(),
            lambda: backend.prune_changes(through=1), lambda: backend.operations.tenants(),
            lambda: backend.operations.backup("nowhere"),
            lambda: asyncio.gather(backend.tasks.get("t"), outside.get("u")),
            lambda: asyncio.create_task(outside.count_tasks()),
        ]  # fmt: skip
        async with asyncio.timeout(10):
            async with backend.transaction() as tx:
                await tx.tasks.save(_task("kept"))
                for call in calls:
                    with pytest.raises(
                        (QueryError, MigrationError), match="inside a transaction of the same"
                    ) as caught:
                        await call()
                    assert not caught.value.is_retryable
                assert backend.stats().commits >= 0
                assert await backend.health_check()
                async with tx.transaction() as inner:
                    with pytest.raises(QueryError, match="inside"):
                        await outside.get("t")
                    await inner.tasks.save(_task("inner"))
            # And in `atomically`, whose work runs inside as well.
            with pytest.raises(QueryError, match="inside"):
                await backend.atomically(lambda tx: backend.tasks.get("t"))
            assert await _ids(backend) == ["inner", "kept"]
            await watch.aclose()

    async def test_what_is_about_something_else_goes_on_beside_it(
        self, holdfast_shared: PersistenceBackend, holdfast_make_backend: MakeBackend
    ) -> None:
        backend, go = fresh(holdfast_shared), asyncio.Event()

        async def later() -> Task | None:
            await go.wait()
            return await backend.tasks.get("kept")

        async with connected(await holdfast_make_backend()) as other:
            async with backend.transaction() as tx, other.transaction() as theirs:
                await tx.tasks.save(_task("kept"))
                await theirs.tasks.save(_task("theirs"))
                outlives = asyncio.create_task(later())
                for owner in (backend, other):
                    with pytest.raises(QueryError, match="inside"):
                        await owner.tasks.get("t")
                assert await apart(backend.tasks.get("kept")) is None
            async with backend.transaction() as tx:
                assert await tx.tasks.get("kept") == _task("kept")
                await other.tasks.save(_task("another backend"))
                go.set()
                await asyncio.sleep(0)
            # It was made inside of the first one, which is over.
            assert await outlives == _task("kept")
            assert await _ids(other) == ["another backend", "theirs"]

    async def test_blocks_that_are_left_in_any_order(
        self, holdfast_shared: PersistenceBackend, holdfast_make_backend: MakeBackend
    ) -> None:
        """As by async generators, and in another task than they were entered in."""
        backend = fresh(holdfast_shared)
        async with connected(await holdfast_make_backend()) as other:
            first, second = backend.transaction(), other.transaction()
            await first.__aenter__()
            await second.__aenter__()
            await first.__aexit__(None, None, None)
            await backend.tasks.save(_task("t"))
            with pytest.raises(QueryError, match="inside"):
                await other.tasks.get("t")
            await second.__aexit__(None, None, None)
            assert await other.tasks.get("t") is None

            third = backend.transaction()
            await third.__aenter__()
            await asyncio.create_task(third.__aexit__(None, None, None))
            assert await backend.tasks.get("t") == _task("t")

    async def test_a_transaction_ends_with_its_block(
        self, holdfast_shared: PersistenceBackend
    ) -> None:
        backend = fresh(holdfast_shared)
        async with backend.transaction() as tx:
            await tx.tasks.save(_task("t"))
            async with tx.transaction() as inner:
                pass
            with pytest.raises(QueryError, match="over"):
                await inner.tasks.get("t")
        with pytest.raises(QueryError, match="over"):
            await tx.tasks.get("t")

    async def test_a_cancelled_transaction_is_rolled_back(
        self, holdfast_shared: PersistenceBackend
    ) -> None:
        backend = fresh(holdfast_shared)
        begun = asyncio.Event()

        async def work() -> None:
            async with backend.transaction() as tx:
                await tx.tasks.save(_task("t"))
                begun.set()
                await asyncio.sleep(60)

        running = asyncio.create_task(work())
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        async with asyncio.timeout(10):
            await backend.tasks.save(_task("next"))
        assert await _ids(backend) == ["next"]

    async def test_calls_in_one_transaction_take_turns(
        self, holdfast_shared: PersistenceBackend
    ) -> None:
        backend = fresh(holdfast_shared)
        async with backend.transaction() as tx:
            await asyncio.gather(*(tx.tasks.save(_task(f"t{n}")) for n in range(20)))
            assert len(await asyncio.gather(*(tx.tasks.get(f"t{n}") for n in range(20)))) == 20
        assert await backend.tasks.count_tasks() == 20

    @pytest.mark.parametrize("rows", [0, 1, 999, 1000, 1001, 2000])
    async def test_lists_of_every_length_within_a_transaction(
        self, holdfast_shared: PersistenceBackend, rows: int
    ) -> None:
        """Long lists are read in pieces; thrice, since a piece may leave something open."""
        backend = fresh(holdfast_shared)
        await asyncio.gather(
            *(backend.settings.set("n", f"{number:05}", "v", "1") for number in range(rows))
        )
        async with backend.transaction() as tx:
            for _ in range(3):
                assert len(await tx.settings.get_namespace("n")) == rows
            async with tx.transaction() as inner:
                assert len(await inner.settings.get_all()) == rows
            assert await tx.settings.set("n", "later", "v", "1")
        found = await backend.settings.get_namespace("n")
        assert [row[0] for row in found] == [*(f"{n:05}" for n in range(rows)), "later"]


class ConcurrencySuite(Suite):
    """Calls at the same time, which an engine may answer together."""

    async def test_one_bad_write_among_many_fails_alone(
        self, holdfast_shared: PersistenceBackend
    ) -> None:
        backend = fresh(holdfast_shared)
        await backend.messages.save(_message(7))
        outcomes: list[Any] = await asyncio.gather(
            *(backend.messages.save(_message(n)) for n in range(50)), return_exceptions=True
        )
        assert [n for n, outcome in enumerate(outcomes) if outcome is not None] == [7]
        assert isinstance(outcomes[7], DuplicateRecordError)
        assert len(await backend.messages.get_history("c")) == 50

        users = [
            required(User, id=f"u{n}", username="taken" if n in (3, 9) else f"n{n}", role="manager")
            for n in range(30)
        ]
        outcomes = await asyncio.gather(
            *(backend.users.save(one) for one in users), return_exceptions=True
        )
        (refused,) = [outcome for outcome in outcomes if outcome is not None]
        assert isinstance(refused, ConstraintViolationError)
        assert refused.constraint == "users.username"
        assert await backend.users.count() == 29

    async def test_saves_of_one_key_keep_their_order(
        self, holdfast_shared: PersistenceBackend
    ) -> None:
        backend = fresh(holdfast_shared)
        for _ in range(5):
            await asyncio.gather(*(backend.tasks.save(_task("t", title=f"{n}")) for n in range(20)))
            stored = await backend.tasks.get("t")
            assert stored is not None
            assert stored.title == "19"

    async def test_cancelled_callers_take_nothing_with_them(
        self, holdfast_shared: PersistenceBackend
    ) -> None:
        backend = fresh(holdfast_shared)
        calls = [asyncio.create_task(backend.tasks.save(_task(f"t{n:03}"))) for n in range(100)]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        stored = {*await _ids(backend)}
        assert {f"t{n:03}" for n, outcome in enumerate(outcomes) if outcome is None} <= stored
        assert all(outcome is None for outcome in outcomes[1::2])
        await asyncio.gather(*(backend.tasks.save(_task(f"t{n:03}")) for n in range(100)))
        assert await backend.tasks.count_tasks() == 100

    async def test_reads_that_wait_together_do_not_mix(
        self, holdfast_shared: PersistenceBackend
    ) -> None:
        backend = fresh(holdfast_shared)
        await asyncio.gather(
            *(
                backend.messages.save(_message(10 * c + n, f"c{c}"))
                for c in range(20)
                for n in range(3)
            )
        )
        found = await asyncio.gather(
            *(backend.messages.get_history(f"c{c}", limit=1 + c % 3) for c in range(25))
        )
        for channel, messages in enumerate(found):
            expected = [10 * channel + n for n in (2, 1, 0)][: 1 + channel % 3]
            assert [one.id.int for one in messages] == (expected if channel < 20 else [])
        tasks = await asyncio.gather(*(backend.tasks.get(f"t{n}") for n in range(50)))
        assert tasks == [None] * 50

    async def test_mixed_work_in_parallel(self, holdfast_shared: PersistenceBackend) -> None:
        backend = fresh(holdfast_shared)

        async def one(number: int) -> None:
            await backend.tasks.save(_task(f"t{number}"))
            assert await backend.tasks.get(f"t{number}") is not None
            await backend.messages.save(_message(number))
            async with backend.transaction() as tx:
                await tx.settings.set("n", f"{number}", "v", "1")
            assert await backend.tasks.delete(f"t{number}") is True

        await asyncio.gather(*(one(number) for number in range(30)))
        assert await backend.tasks.count_tasks() == 0
        assert len(await backend.settings.get_namespace("n")) == 30

    async def test_an_open_transaction_delays_but_does_not_fail_others(
        self, holdfast_shared: PersistenceBackend
    ) -> None:
        backend = fresh(holdfast_shared)
        async with backend.transaction() as tx:
            await tx.tasks.save(_task("held"))
            waiting = apart(backend.tasks.save(_task("held", title="later")))
            await asyncio.sleep(0.2)
            assert not waiting.done()
        await waiting
        stored = await backend.tasks.get("held")
        assert stored is not None
        assert stored.title == "later"
