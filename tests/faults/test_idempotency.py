"""Row 38: one key, one effect, however many ask for it and wherever they die."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
from typing import Any

from holdfast import IdempotencyOutcome, PersistenceBackend, create_backend
from holdfast.testing.databases import connected

from ..conformance.test_records import cost
from ..forked import Child
from .scorecard import Record, sized

CALLERS = 50
HOUR = 3600.0


class PayloadMismatchError(Exception):
    """The key was used for another request."""


def _digest(payload: str) -> str:
    return hashlib.sha256(payload.encode()).hexdigest()


def _response(payload: str, answer: str) -> str:
    """What is kept under a key: the answer, and what it answers."""
    return json.dumps({"request": _digest(payload), "answer": answer})


async def charge(backend: PersistenceBackend, key: str, payload: str) -> tuple[bool, str]:
    """Claim, effect and answer in one transaction; whether it was done now, and the answer.

    A cost record has no natural key: a second effect would show as a second row.
    """
    async with backend.transaction() as tx:
        claim = await tx.idempotency_keys.claim("charges", key, HOUR)
        if claim.claim_token is None:
            assert claim.outcome is IdempotencyOutcome.COMPLETED  # else it is not committed
            stored = json.loads(claim.record.response or "")
            if stored["request"] != _digest(payload):
                raise PayloadMismatchError(key)
            return False, stored["answer"]
        await tx.cost_records.save(cost("a", key, 0.5))
        answer = f"receipt for {payload} {claim.claim_token}"
        done = await tx.idempotency_keys.complete(
            "charges", key, claim.claim_token, response=_response(payload, answer)
        )
        assert done
        return True, answer


async def careless(backend: PersistenceBackend, key: str) -> bool:
    """The control: looks, then acts, then remembers."""
    async with backend.transaction() as tx:
        if await tx.settings.get("charges", key) is not None:
            return False
    await backend.cost_records.save(cost("a", key, 0.5))
    await backend.settings.set("charges", key, "done", "2026-01-31T00:00:00+00:00")
    return True


async def effects(backend: PersistenceBackend, key: str) -> int:
    return len(await backend.cost_records.query(task_id=key))


async def test_row_38_many_callers_one_key(
    backend: PersistenceBackend, engine_name: str, record: Record
) -> None:
    keys = [f"k{number}" for number in range(sized(5, 100))]
    mismatches = 0
    for key in keys:
        calls = [charge(backend, key, "10 EUR") for _ in range(CALLERS)]
        answers = await asyncio.gather(*calls)
        assert [done for done, _ in answers].count(True) == 1
        assert len({answer for _, answer in answers}) == 1
        assert await effects(backend, key) == 1
        others = [charge(backend, key, f"{amount} EUR") for amount in range(3)]
        refused: list[Any] = await asyncio.gather(*others, return_exceptions=True)
        mismatches += sum(isinstance(one, PayloadMismatchError) for one in refused)
        assert await effects(backend, key) == 1

    # Claims on their own: who is not first is told so, and learns the answer once there is one.
    keyed = backend.idempotency_keys
    claims = await asyncio.gather(*(keyed.claim("s", "k", HOUR) for _ in range(CALLERS)))
    tokens = [claim.claim_token for claim in claims if claim.claim_token is not None]
    assert len(tokens) == 1
    waiting = [claim.outcome for claim in claims if claim.claim_token is None]
    assert waiting == [IdempotencyOutcome.IN_FLIGHT] * (CALLERS - 1)
    assert not await keyed.complete("s", "k", "somebody else's", response="no")
    assert await keyed.complete("s", "k", tokens[0], response="yes")
    replays = await asyncio.gather(*(keyed.claim("s", "k", HOUR) for _ in range(CALLERS - 1)))
    assert {(one.outcome, one.record.response) for one in replays} == {
        (IdempotencyOutcome.COMPLETED, "yes")
    }

    await asyncio.gather(*(careless(backend, "control") for _ in range(CALLERS)))
    control = await effects(backend, "control")
    record(
        38,
        f"one key, {CALLERS} callers, {engine_name}",
        f"{len(keys)} keys: 1 effect, {CALLERS - 1} replays each; "
        f"{mismatches} of {3 * len(keys)} other payloads refused",
        f"look, then act: {control} effects",
    )
    assert mismatches == 3 * len(keys)
    assert control > 1


_CALLER = """
import asyncio, sys
from datetime import UTC, datetime
from holdfast import CostRecord, create_backend

async def hang():
    print("here", flush=True)
    await asyncio.sleep(60)

async def main(url, key, where, response):
    effect = CostRecord(
        agent_id="a", task_id=key, provider="p", model="m", input_tokens=1, output_tokens=0,
        cost_usd=0.5, timestamp=datetime(2026, 1, 31, tzinfo=UTC),
    )
    async with create_backend(url) as backend:
        if where == "careless":
            await backend.cost_records.save(effect)
            await hang()
        async with backend.transaction() as tx:
            claim = await tx.idempotency_keys.claim("charges", key, 3600)
            await tx.cost_records.save(effect)
            await tx.idempotency_keys.complete(
                "charges", key, claim.claim_token, response=response
            )
            if where == "before the commit":
                await hang()
        await hang()  # the effect is committed, and nobody was told

asyncio.run(main(*sys.argv[1:]))
"""


async def _dies(url: str, key: str, where: str) -> None:
    process = await Child.start(_CALLER, url, key, where, _response("10 EUR", "died"))
    assert await process.stdout.readline() == b"here\n"
    process.kill()
    code, _ = await process.wait()
    assert code == -signal.SIGKILL


async def test_row_38_the_caller_dies(shared_url: str, record: Record) -> None:
    rounds = sized(1, 20)
    done_again = {"before the commit": 0, "before the reply": 0}
    for number in range(rounds):
        for where in done_again:
            key = f"{where} {number}"
            await _dies(shared_url, key, where)
            async with connected(create_backend(shared_url)) as backend:
                done, answer = await charge(backend, key, "10 EUR")
                assert (await charge(backend, key, "10 EUR")) == (False, answer)
                assert await effects(backend, key) == 1
                done_again[where] += done
    await _dies(shared_url, "control", "careless")
    async with connected(create_backend(shared_url)) as backend:
        await careless(backend, "control")
        control = await effects(backend, "control")
    record(
        38,
        f"killed around the commit, {shared_url.split(':')[0]}",
        f"{2 * rounds} deaths: repeated, 1 effect each "
        f"({done_again['before the commit']} done anew, "
        f"{rounds - done_again['before the reply']} replayed)",
        f"effect and key committed apart: {control} effects",
    )
    assert done_again == {"before the commit": rounds, "before the reply": 0}
    assert control == 2
