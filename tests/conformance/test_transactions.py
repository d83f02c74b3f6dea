"""Transactions of two backends on one database; what one of them must do is in the suite."""

from __future__ import annotations

import asyncio

from holdfast import create_backend

from .test_work import task


async def test_an_open_transaction_delays_but_does_not_fail_others(shared_url: str) -> None:
    first, second = create_backend(shared_url), create_backend(shared_url)
    await first.connect()
    await second.connect()
    async with first.transaction() as tx:
        await tx.tasks.save(task("held"))
        waiting = asyncio.create_task(second.tasks.save(task("held", title="later")))
        await asyncio.sleep(0.2)
        assert not waiting.done()
    await waiting
    stored = await first.tasks.get("held")
    assert stored is not None
    assert stored.title == "later"
    await first.disconnect()
    await second.disconnect()
