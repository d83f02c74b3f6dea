"""Sums and firsts: each call counts once, and of many that make the same thing one made it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from uuid import UUID

from holdfast import ConstraintViolationError, DuplicateRecordError, PersistenceBackend
from tests.entities.samples import make

from .racers import PROCESSES, Race, Racer, winners

CALLS = 25
KEYS = 30
ORGANISATIONS = 20


async def _spend(racer: Racer) -> list[tuple[int, float, int]]:
    totals = []
    for n in range(CALLS):
        total = await racer.backend.project_cost_aggregates.increment("p", 0.1, racer.number, n % 2)
        totals.append((total.record_count, total.total_cost, total.total_input_tokens))
    return totals


async def test_no_addition_is_lost(race: Race, backend: PersistenceBackend) -> None:
    totals = [total for totals in await race(_spend) for total in totals]
    calls = PROCESSES * CALLS
    # Each was answered the totals of its own addition.
    assert sorted(count for count, _, _ in totals) == list(range(1, calls + 1))
    assert all(cost == count / 10 for count, cost, _ in totals)  # 0.1 each, which no float is
    stored = await backend.project_cost_aggregates.get("p")
    assert stored is not None
    assert (stored.record_count, stored.total_cost) == (calls, calls / 10)
    assert stored.total_input_tokens == max(tokens for _, _, tokens in totals)
    assert stored.total_input_tokens == CALLS * sum(range(PROCESSES))
    assert stored.total_output_tokens == PROCESSES * (CALLS // 2)


class _ChangedItsMindError(Exception):
    pass


async def _spend_in_transactions(racer: Racer) -> int:
    """How many were committed."""
    for n in range(CALLS):
        with suppress(_ChangedItsMindError):
            async with racer.backend.transaction() as tx:
                await tx.project_cost_aggregates.increment("p", 0.25, 1, 1)
                await tx.artifacts.save(make("Artifact", id=f"{racer.name}/{n}"))
                if n % 3 == 0:
                    raise _ChangedItsMindError
    return sum(n % 3 != 0 for n in range(CALLS))


async def test_what_is_rolled_back_is_not_counted(race: Race, backend: PersistenceBackend) -> None:
    committed = sum(await race(_spend_in_transactions))
    stored = await backend.project_cost_aggregates.get("p")
    assert stored is not None
    assert (stored.record_count, stored.total_cost) == (committed, committed * 0.25)
    assert len(await backend.artifacts.list_artifacts()) == committed


async def _whether(call: Awaitable[object], refusal: type[Exception]) -> bool:
    try:
        await call
    except refusal:
        return False
    return True


async def _create(racer: Racer) -> list[tuple[bool, bool]]:
    """Half of it one after the other, half at once, as one batch."""
    projects, messages = racer.backend.projects, racer.backend.messages

    async def create(n: int) -> tuple[bool, bool]:
        project = make("Project", id=f"{n:02}", name=racer.name)
        message = make("Message", id=UUID(int=n), sender=racer.name)
        return (
            await _whether(projects.create(project), DuplicateRecordError),
            await _whether(messages.save(message), DuplicateRecordError),
        )

    won = []
    for n in range(KEYS // 2):
        await racer.meet()
        won.append(await create(n))
    await racer.meet()
    return won + await asyncio.gather(*(create(n) for n in range(KEYS // 2, KEYS)))


async def test_what_is_inserted_only_has_one_author(
    race: Race, backend: PersistenceBackend
) -> None:
    answers = await race(_create)
    projects = await backend.projects.list_projects()
    messages = sorted(await backend.messages.get_history("c"), key=lambda one: one.id)
    assert [project.id for project in projects] == [f"{n:02}" for n in range(KEYS)]
    assert [message.id.int for message in messages] == list(range(KEYS))
    makers, senders = (winners([[pair[k] for pair in won] for won in answers]) for k in (0, 1))
    assert [project.name for project in projects] == makers
    assert [message.sender for message in messages] == senders


async def _save_artifacts(racer: Racer) -> list[bool]:
    new = []
    for n in range(KEYS):
        await racer.meet()
        new.append(await racer.backend.artifacts.save(make("Artifact", id=f"{n}")))
    return new


async def test_an_artifact_is_new_to_one(race: Race, backend: PersistenceBackend) -> None:
    assert len(winners(await race(_save_artifacts))) == KEYS
    assert len(await backend.artifacts.list_artifacts()) == KEYS


async def _save_and_delete(racer: Racer) -> int:
    """How many more it made than it deleted."""
    artifacts, balance = racer.backend.artifacts, 0
    for n in range(CALLS):
        if (n + racer.number) % 2:
            balance += await artifacts.save(make("Artifact", id="a"))
        else:
            balance -= await artifacts.delete("a")
    return balance


async def test_what_was_made_was_deleted_or_is_there(
    race: Race, backend: PersistenceBackend
) -> None:
    assert sum(await race(_save_and_delete)) == len(await backend.artifacts.list_artifacts())


async def _lead(racer: Racer) -> list[tuple[bool, bool]]:
    """In an organisation per round: who becomes the CEO, and who gets a name."""
    won = []
    for n in range(ORGANISATIONS):
        users = racer.backend.for_tenant(f"org-{n}").users
        ceo = make("User", id=racer.name, username=racer.name, role="ceo")
        named = make("User", id=f"{racer.name}'s", username="ada")
        await racer.meet()
        won.append(
            (
                await _whether(users.save(ceo), ConstraintViolationError),
                await _whether(users.save(named), ConstraintViolationError),
            )
        )
    return won


async def test_one_becomes_ceo_and_one_gets_the_name(
    race: Race, backend: PersistenceBackend
) -> None:
    answers = await race(_lead)
    ceos, named = (winners([[pair[k] for pair in won] for won in answers]) for k in (0, 1))
    for n, (ceo, other) in enumerate(zip(ceos, named, strict=True)):
        users = await backend.for_tenant(f"org-{n}").users.list_users()
        assert {one.id for one in users} == {ceo, f"{other}'s"}


async def _leave(racer: Racer) -> list[bool]:
    """In an organisation per round, in which each process is an owner: who ceases to be one."""
    left = []
    for n in range(ORGANISATIONS):
        users = racer.backend.for_tenant(f"org-{n}").users
        await users.save(make("User", id=racer.name, username=racer.name, org_roles=("owner",)))
        await racer.meet()
        call = (
            users.delete(racer.name)
            if racer.number % 2
            else users.save(make("User", id=racer.name, username=racer.name))
        )
        left.append(await _whether(call, ConstraintViolationError))
    return left


async def test_the_last_owner_stays(race: Race, backend: PersistenceBackend) -> None:
    answers = await race(_leave)
    for n, last in enumerate(winners([[not gone for gone in left] for left in answers])):
        users = await backend.for_tenant(f"org-{n}").users.list_users()
        assert [one.id for one in users if one.org_roles] == [last]
